#!/bin/sh
# Lesson 5's calls. In another terminal first:  python 05_logger.py
# Play this in the same folder: exam_log.log lies there.
URL=${1:-http://127.0.0.1:8080}
set -v

# Three messages are sent, two arrive: info stops at the logger's level.
curl -s "$URL/levels"
#=> logged
tail -n 2 exam_log.log
#=> ... WARNING a warning
#=> ... ERROR an error

# A 404 adds a line with its path.
http --ignore-stdin --pretty=none --body "$URL/nowhere"
#=> <h1>404 Error</h1>
tail -n 1 exam_log.log
#=> ... ERROR 404: '/nowhere'

# A newline in the path (%0a) stays inside its own line.
curl -s -w '\n' "$URL/x%0a2026-01-01%2000:00:00,000%20ERROR%20all%20is%20lost"
#=> <h1>404 Error</h1>
tail -n 1 exam_log.log
#=> ... ERROR 404: '/x\n2026-01-01 00:00:00,000 ERROR all is lost'

# 60 more lines (curl counts up [01-60]): the file rolls over.
curl -s -o /dev/null "$URL/page[01-60]"
tail -n 1 exam_log.log
#=> ... ERROR 404: '/page60'
ls exam_log.log exam_log.log.1
#=> exam_log.log
#=> exam_log.log.1

# Files over 2000 bytes: none.
find . -maxdepth 1 -name 'exam_log.log*' -size +2000c | grep -c .
#=> 0
