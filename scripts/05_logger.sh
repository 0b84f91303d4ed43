#!/bin/sh
# Lesson 5's calls. In another terminal first:  python 05_logger.py
# Play this in the folder where you started it: exam_log.log lies there.
URL=${1:-http://127.0.0.1:8080}
set -v

# Three messages are sent, two arrive: info stops at the logger's own level.
curl -s "$URL/levels"
#=> logged
tail -n 2 exam_log.log
#=> ... WARNING a warning
#=> ... ERROR an error
http --ignore-stdin --pretty=none --body "$URL/levels"
#=> logged
tail -n 2 exam_log.log
#=> ... WARNING a warning
#=> ... ERROR an error

# A path that is not there adds a line.
curl -s -w '\n%{http_code}\n' "$URL/nowhere"
#=> <h1>404 Error</h1>
#=> 404
http --ignore-stdin --pretty=none --body "$URL/nowhere"
#=> <h1>404 Error</h1>
tail -n 2 exam_log.log
#=> ... ERROR 404: '/nowhere'
#=> ... ERROR 404: '/nowhere'

# A newline in the path (%0a) stays inside its line: nobody forges a second one.
curl -s -w '\n' "$URL/x%0a2026-01-01%2000:00:00,000%20ERROR%20all%20is%20lost"
#=> <h1>404 Error</h1>
tail -n 1 exam_log.log
#=> ... ERROR 404: '/x\n2026-01-01 00:00:00,000 ERROR all is lost'
http --ignore-stdin --pretty=none --body "$URL/x%0a2026-01-01%2000:00:00,000%20ERROR%20all%20is%20lost"
#=> <h1>404 Error</h1>
tail -n 1 exam_log.log
#=> ... ERROR 404: '/x\n2026-01-01 00:00:00,000 ERROR all is lost'

# 60 requests in one call of curl, which counts up: the file rolls over.
curl -s -o /dev/null -w '%{http_code}\n' "$URL/page[01-60]" | grep -c 404
#=> 60
tail -n 1 exam_log.log
#=> ... ERROR 404: '/page60'
ls exam_log.log exam_log.log.1
#=> exam_log.log
#=> exam_log.log.1

# Files of more than 2000 bytes: none.
find . -maxdepth 1 -name 'exam_log.log*' -size +2000c | grep -c .
#=> 0
