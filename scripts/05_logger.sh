#!/bin/sh
# Lesson 5's calls. In another terminal first:  python 05_logger.py
# Run this script in the folder where you started the lesson: exam_log.log is there.
# When you have stopped the lesson, you can delete the files exam_log.log*.
# A line with #=> is the answer to expect. There "..." stands for text that can differ; a
# line with only "..." stands for any number of lines.
URL=${1:-http://127.0.0.1:8080}

# You can skip the lines up to "set -v": they prepare HTTPie and look for lesson 5. After
# "set -v" the shell prints each line before it runs it.
# In a script HTTPie may look for input from another program (standard input): it then
# waits for this input, or sends it as the body. --ignore-stdin forbids that.
http() { command http --ignore-stdin --pretty=none "$@"; }
# Ask the lesson itself, even if a proxy is set on this computer.
export no_proxy="*" NO_PROXY="*"
# A browser's address bar adds "/" at the end: leave it out.
URL=${URL%/}
# Only lesson 5 has the path /levels.
case $(curl -s -m 9 -o /dev/null -w '%{http_code}' -X OPTIONS "$URL/levels") in
    200) ;;
    000 | "") echo "Nothing answers at $URL. In another terminal start: python 05_logger.py" >&2; exit 1 ;;
    *) echo "Another server answers at $URL. Stop it, then start: python 05_logger.py" >&2; exit 1 ;;
esac
set -v

# The view logs 50 warnings.
curl -s "$URL/fill"
#=> 50 warnings logged

# The last line of the file is the last warning. (An older line, or an error? Run this
# script in the folder where you started the lesson.)
tail -n 1 exam_log.log
#=> ... WARNING warning 50 of 50

# 50 lines are more than 2000 bytes, so there are two files or more. (-1 prints one name
# on each line.)
ls -1 exam_log.log exam_log.log.1
#=> exam_log.log
#=> exam_log.log.1

# How many log files are larger than 2000 bytes? None, so the answer is 0. find lists
# them (-size +2000c; c means bytes), only in this folder (-maxdepth 1), and awk counts
# the lines. (If you see a number above 0, a file is left that you made with another
# maxBytes: delete it.)
find . -maxdepth 1 -name 'exam_log.log*' -size +2000c | awk 'END { print NR }'
#=> 0

# The view logs a warning, then an info, then a debug message.
curl -s "$URL/levels"
#=> logged

# The last line is the warning. The info is only in the server's terminal, and the
# debug message is nowhere.
tail -n 1 exam_log.log
#=> ... WARNING a warning

# No route matches this path: the error handler for 404 logs an error.
http --print=hb "$URL/nowhere"
#=> HTTP/1.1 404 NOT FOUND
#=> ...
#=> <h1>404 Error</h1>

# The line in the file names the path.
tail -n 1 exam_log.log
#=> ... ERROR 404: '/nowhere'

# In a URL %0a is a newline and %20 is a space. This client tries to add a line to the
# log.
curl -s -w '\n' "$URL/x%0a2026-01-01%2000:00:00,000%20ERROR%20all%20is%20lost"
#=> <h1>404 Error</h1>

# It is all in one line: ascii() writes the newline as \n.
tail -n 1 exam_log.log
#=> ... ERROR 404: '/x\n2026-01-01 00:00:00,000 ERROR all is lost'
