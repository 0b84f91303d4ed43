#!/bin/sh
# Lesson 6's calls. In another terminal first:  python 06_jsonify.py
URL=${1:-http://127.0.0.1:8080}
set -v

# The long way: response_class with json.dumps.
curl -s -w '\n%{http_code} %{content_type}\n' "$URL/test/foo"
#=> {"username": "foo", "foo": "foo", "bar": 10000}
#=> 200 application/json
http --ignore-stdin --pretty=none --body "$URL/test/foo"
#=> {"username": "foo", "foo": "foo", "bar": 10000}

# jsonify: the same type, fewer spaces, a newline at the end. The second call is
# that of the notes; without --ignore-stdin it would wait in a script for input or
# send what it finds there, and without GET become a POST (erratum 21).
curl -s -w '%{http_code} %{content_type}\n' "$URL/json_test"
#=> {"one":1,"two":2,"tmp":10000}
#=> 200 application/json
http --ignore-stdin --pretty=none --body GET "$URL/json_test"
#=> {"one":1,"two":2,"tmp":10000}

# HTTPie can lay JSON out for you to read; it sorts the keys then.
http --ignore-stdin --pretty=format --body GET "$URL/json_test"
#=> {
#=>     "one": 1,
#=>     "tmp": 10000,
#=>     "two": 2
#=> }

# A plain dict is enough, and Korean text is readable on the wire.
curl -s -w '%{http_code} %{content_type}\n' "$URL/dict"
#=> {"인사":"안녕하세요"}
#=> 200 application/json
http --ignore-stdin --pretty=none --body "$URL/dict"
#=> {"인사":"안녕하세요"}

# Korean in the path: %ED%95%9C is one letter in UTF-8.
curl -s -w '\n' "$URL/test/%ED%95%9C"
#=> {"username": "한", "foo": "foo", "bar": 10000}
http --ignore-stdin --pretty=none --body "$URL/test/한"
#=> {"username": "한", "foo": "foo", "bar": 10000}

# A set is no JSON: TypeError in the server's log, 500 for the client.
curl -s -o /dev/null -w '%{http_code} %{content_type}\n' "$URL/set"
#=> 500 text/html; charset=utf-8
http --ignore-stdin --pretty=none --headers "$URL/set"
#=> HTTP/1.1 500 INTERNAL SERVER ERROR
#=> ...
