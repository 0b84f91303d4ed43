#!/bin/sh
# Lesson 6's calls. In another terminal first:  python 06_jsonify.py
# A line with #=> is the answer to expect. There "..." stands for text that can differ; a
# line with only "..." stands for any number of lines.
URL=${1:-http://127.0.0.1:8080}

# You can skip the lines up to "set -v": they prepare HTTPie and look for lesson 6. After
# "set -v" the shell prints each line before it runs it.
# In a script HTTPie may look for input from another program (standard input): it then
# waits for this input, or sends it as the body. --ignore-stdin forbids that
# (notes: mistake 22).
http() { command http --ignore-stdin --pretty=none "$@"; }
# Ask the lesson itself, even if a proxy is set on this computer.
export no_proxy="*" NO_PROXY="*"
# A browser's address bar adds "/" at the end: leave it out.
URL=${URL%/}
# Only lesson 6 has the path /json_test.
case $(curl -s -m 9 -o /dev/null -w '%{http_code}' -X OPTIONS "$URL/json_test") in
    200) ;;
    000 | "") echo "Nothing answers at $URL. In another terminal start: python 06_jsonify.py" >&2; exit 1 ;;
    *) echo "Another server answers at $URL. Stop it, then start: python 06_jsonify.py" >&2; exit 1 ;;
esac
set -v

# With response_class the view chose the status 201 and the type application/json.
# %{content_type} stands for the header Content-Type.
curl -s -w '\n%{http_code} %{content_type}\n' "$URL/test/foo"
#=> {"username": "foo", "foo": "foo", "bar": 10000}
#=> 201 application/json

# %ED%95%9C in a URL is the Korean letter 한. json.dumps writes it as \ud55c.
curl -s -w '\n' "$URL/test/%ED%95%9C"
#=> {"username": "\ud55c", "foo": "foo", "bar": 10000}

# jsonify sets the same type with less code. It writes no spaces after "," and ":", and
# ends with a newline.
curl -s -w '%{http_code} %{content_type}\n' "$URL/json_test"
#=> {"one":1,"two":2,"tmp":10000}
#=> 200 application/json

# The notes make this call with HTTPie. You can leave out GET: it is the default when
# HTTPie sends no data.
http --body GET "$URL/json_test"
#=> {"one":1,"two":2,"tmp":10000}

# With --pretty=format HTTPie prints JSON on several lines. It also sorts the keys, and
# prints \uXXXX as the letter: to see what was sent, use curl or --pretty=none.
http --pretty=format --body "$URL/json_test"
#=> {
#=>     "one": 1,
#=>     "tmp": 10000,
#=>     "two": 2
#=> }

# The view returns a dict. With app.json.ensure_ascii = False you can read the Korean
# text.
curl -s -w '%{http_code} %{content_type}\n' "$URL/dict"
#=> {"인사":"안녕하세요"}
#=> 200 application/json

# A set is not JSON: jsonify raises TypeError, and the client gets a 500, with Flask's
# own page, which is HTML. The server's terminal shows the traceback, as it should.
curl -s -o /dev/null -w '%{http_code} %{content_type}\n' "$URL/set"
#=> 500 text/html; charset=utf-8
