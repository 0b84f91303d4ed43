#!/bin/sh
# Lesson 1's calls. In another terminal first:  python 01_hello.py
URL=${1:-http://127.0.0.1:8080}
set -v

# The path that the route names.
curl -s -w '\n%{http_code}\n' "$URL/hello"
#=> <h1>Hello World!</h1>
#=> 200

# The same call with HTTPie: it shows the status and the headers, too.
http --ignore-stdin --pretty=none --print=hb "$URL/hello"
#=> HTTP/1.1 200 OK
#=> ...
#=> Content-Type: text/html; charset=utf-8
#=> ...
#=> <h1>Hello World!</h1>

# A path that no route names: Flask answers with its own 404 page.
curl -s -o /dev/null -w '%{http_code}\n' "$URL/"
#=> 404

# A path is matched whole: one more slash is another path.
curl -s -o /dev/null -w '%{http_code}\n' "$URL/hello/"
#=> 404
