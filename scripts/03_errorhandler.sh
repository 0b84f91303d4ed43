#!/bin/sh
# Lesson 3's calls. In another terminal first:  python 03_errorhandler.py
URL=${1:-http://127.0.0.1:8080}
set -v

# The view finds nothing wrong.
curl -s -w '\n%{http_code}\n' "$URL/even/2"
#=> 2 is even
#=> 200
http --ignore-stdin --pretty=none --body "$URL/even/2"
#=> 2 is even

# A path that no route matches: not Flask's page but ours.
curl -s -w '\n%{http_code}\n' "$URL/nowhere"
#=> <h1>404 Error</h1>
#=> 404
http --ignore-stdin --pretty=none --print=hb "$URL/nowhere"
#=> HTTP/1.1 404 NOT FOUND
#=> ...
#=> <h1>404 Error</h1>

# A view that calls abort(404): the same page.
curl -s -w '\n%{http_code}\n' "$URL/even/3"
#=> <h1>404 Error</h1>
#=> 404
http --ignore-stdin --pretty=none --body "$URL/even/3"
#=> <h1>404 Error</h1>

# A view that works ...
curl -s -w '\n%{http_code}\n' "$URL/divide/7/2"
#=> 3
#=> 200
http --ignore-stdin --pretty=none --body "$URL/divide/7/2"
#=> 3

# ... until Python raises an exception for which there is a handler.
curl -s -w '\n%{http_code}\n' "$URL/divide/7/0"
#=> <h1>The second number must not be 0</h1>
#=> 400
http --ignore-stdin --pretty=none --print=hb "$URL/divide/7/0"
#=> HTTP/1.1 400 BAD REQUEST
#=> ...
#=> <h1>The second number must not be 0</h1>

# An exception that nobody expected: the traceback stays in the server's log.
curl -s -w '\n%{http_code}\n' "$URL/bug"
#=> <h1>500 Error: our mistake</h1>
#=> 500
http --ignore-stdin --pretty=none --print=hb "$URL/bug"
#=> HTTP/1.1 500 INTERNAL SERVER ERROR
#=> ...
#=> <h1>500 Error: our mistake</h1>
