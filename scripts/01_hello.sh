#!/bin/sh
# Lesson 1's calls. In another terminal first:  python 01_hello.py
URL=${1:-http://127.0.0.1:8080}
set -v

# The path that the route names. curl prints the page ...
curl -s -w '\n%{http_code}\n' "$URL/hello"
#=> <h1>Hello World!</h1>
#=> 200
# ... and HTTPie, told to, the headers as well.
http --ignore-stdin --pretty=none --print=hb "$URL/hello"
#=> HTTP/1.1 200 OK
#=> ...
#=> Content-Type: text/html; charset=utf-8
#=> ...
#=> <h1>Hello World!</h1>

# A path that no route names: Flask answers with a 404 page of its own.
curl -s -o /dev/null -w '%{http_code}\n' "$URL/"
#=> 404
http --ignore-stdin --pretty=none --headers "$URL/"
#=> HTTP/1.1 404 NOT FOUND
#=> ...

# A path is matched whole: with one more slash it is another one.
curl -s -o /dev/null -w '%{http_code}\n' "$URL/hello/"
#=> 404
http --ignore-stdin --pretty=none --headers "$URL/hello/"
#=> HTTP/1.1 404 NOT FOUND
#=> ...
