#!/bin/sh
# Lesson 3's calls. In another terminal first:  python 03_errorhandler.py
# A line with #=> is the answer to expect. There "..." stands for text that can differ; a
# line with only "..." stands for any number of lines.
URL=${1:-http://127.0.0.1:8080}

# You can skip the lines up to "set -v": they prepare HTTPie and look for lesson 3. After
# "set -v" the shell prints each line before it runs it.
# In a script HTTPie may look for input from another program (standard input): it then
# waits for this input, or sends it as the body. --ignore-stdin forbids that.
http() { command http --ignore-stdin --pretty=none "$@"; }
# Ask the lesson itself, even if a proxy is set on this computer.
export no_proxy="*" NO_PROXY="*"
# A browser's address bar adds "/" at the end: leave it out.
URL=${URL%/}
# Only lesson 3 has the path /divide/8/2.
case $(curl -s -m 9 -o /dev/null -w '%{http_code}' -X OPTIONS "$URL/divide/8/2") in
    200) ;;
    000 | "") echo "Nothing answers at $URL. In another terminal start: python 03_errorhandler.py" >&2; exit 1 ;;
    *) echo "Another server answers at $URL. Stop it, then start: python 03_errorhandler.py" >&2; exit 1 ;;
esac
set -v

# 2 is even: the view returns its text.
curl -s -w '\n%{http_code}\n' "$URL/even/2"
#=> 2 is even
#=> 200

# 3 is not even: the view calls abort(404), and the handler for 404 makes the page.
# The description is from the view.
curl -s -w '\n%{http_code}\n' "$URL/even/3"
#=> <h1>404 Error</h1>
#=> <p>404 Not Found: 3 is not even.</p>
#=> 404

# No route matches this path: the same handler makes the page. The description is from
# Flask. With --print=hb HTTPie prints the headers (h) and the body (b).
http --print=hb "$URL/nowhere"
#=> HTTP/1.1 404 NOT FOUND
#=> ...
#=> <h1>404 Error</h1>
#=> <p>404 Not Found: The requested URL was not found on the server. ...</p>

# Divide 8 by 2.
curl -s -w '\n%{http_code}\n' "$URL/divide/8/2"
#=> 4
#=> 200

# Divide 8 by 0. Python raises ZeroDivisionError, and its handler makes the page.
curl -s -w '\n%{http_code}\n' "$URL/divide/8/0"
#=> <h1>The second number must not be 0</h1>
#=> 400

# FRUITS has three fruits, with the numbers 0, 1 and 2. Ask for number 2.
curl -s -w '\n%{http_code}\n' "$URL/fruit/2"
#=> melon
#=> 200

# There is no fruit number 3. Python raises IndexError. It has no handler of its own, so
# the handler for 500 makes the page. The traceback is only in the server's terminal.
curl -s -w '\n%{http_code}\n' "$URL/fruit/3"
#=> <h1>500 Error</h1>
#=> <p>The mistake is ours, not yours.</p>
#=> 500
