#!/bin/sh
# Lesson 2's calls. In another terminal first:  python 02_route_args.py
URL=${1:-http://127.0.0.1:8080}
set -v

# <username> takes any text ...
curl -s -w '\n' "$URL/test/foo"
#=> test: foo
http --ignore-stdin --pretty=none --body "$URL/test/foo"
#=> test: foo

# ... and <int:number> digits: the header X-View tells which view answered.
curl -si -w '\n' "$URL/test/42"
#=> HTTP/1.1 200 OK
#=> ...
#=> X-View: get_number
#=> ...
#=> test: 42
http --ignore-stdin --pretty=none --print=hb "$URL/test/42"
#=> HTTP/1.1 200 OK
#=> ...
#=> X-View: get_number
#=> ...
#=> test: 42

# It is a number by then, no longer the text of the path: 007 is 7.
curl -s -w '\n' "$URL/test/007"
#=> test: 7
http --ignore-stdin --pretty=none --body "$URL/test/007"
#=> test: 7

# -1 and 1.5 are not digits alone: to Flask they are text.
curl -si -w '\n' "$URL/test/-1" "$URL/test/1.5"
#=> HTTP/1.1 200 OK
#=> ...
#=> X-View: get_username
#=> ...
#=> test: -1
#=> HTTP/1.1 200 OK
#=> ...
#=> X-View: get_username
#=> ...
#=> test: 1.5
http --ignore-stdin --pretty=none --body "$URL/test/-1"
#=> test: -1
http --ignore-stdin --pretty=none --body "$URL/test/1.5"
#=> test: 1.5

# HTML in the path comes back as text.
curl -s -w '\n' "$URL/test/%3Cimg%20src=x%20onerror=alert(1)%3E"
#=> test: &lt;img src=x onerror=alert(1)&gt;
http --ignore-stdin --pretty=none --body "$URL/test/<img src=x onerror=alert(1)>"
#=> test: &lt;img src=x onerror=alert(1)&gt;

# The methods that the route names ...
curl -s -w '\n' -X POST "$URL/exam"
#=> method: POST
http --ignore-stdin --pretty=none --body POST "$URL/exam"
#=> method: POST
curl -s -w '\n' -X PUT "$URL/exam"
#=> method: PUT
http --ignore-stdin --pretty=none --body PUT "$URL/exam"
#=> method: PUT

# ... and one that it does not: Allow lists the right ones, in any order.
curl -si "$URL/exam"
#=> HTTP/1.1 405 METHOD NOT ALLOWED
#=> ...
#=> Allow: ...
#=> ...
http --ignore-stdin --pretty=none --headers GET "$URL/exam"
#=> HTTP/1.1 405 METHOD NOT ALLOWED
#=> ...
#=> Allow: ...
#=> ...

# A slash ends the piece: no route takes two of them.
curl -s -o /dev/null -w '%{http_code}\n' "$URL/test/foo/bar"
#=> 404
http --ignore-stdin --pretty=none --headers "$URL/test/foo/bar"
#=> HTTP/1.1 404 NOT FOUND
#=> ...
