#!/bin/sh
# Lesson 1's calls. In another terminal first:  python 01_hello.py
# A line with #=> is the answer to expect. There "..." stands for text that can differ; a
# line with only "..." stands for any number of lines.
# $URL is the lesson's address, http://127.0.0.1:8080. For another one, type it after the
# script's name. To make a call by hand, first type  URL=http://127.0.0.1:8080
URL=${1:-http://127.0.0.1:8080}

# You can skip the lines up to "set -v": they prepare HTTPie and look for lesson 1. After
# "set -v" the shell prints each line before it runs it.
# In a script HTTPie may look for input from another program (standard input): it then
# waits for this input, or sends it as the body. --ignore-stdin forbids that.
http() { command http --ignore-stdin --pretty=none "$@"; }
# Ask the lesson itself, even if a proxy is set on this computer.
export no_proxy="*" NO_PROXY="*"
# A browser's address bar adds "/" at the end: leave it out.
URL=${URL%/}
# Only lesson 1 has the path /hello.
case $(curl -s -m 9 -o /dev/null -w '%{http_code}' -X OPTIONS "$URL/hello") in
    200) ;;
    000 | "") echo "Nothing answers at $URL. In another terminal start: python 01_hello.py" >&2; exit 1 ;;
    *) echo "Another server answers at $URL. Stop it, then start: python 01_hello.py" >&2; exit 1 ;;
esac
set -v

# Get the page. -s hides curl's errors and progress bar. -w '\n' adds a newline.
curl -s -w '\n' "$URL/hello"
#=> <h1>Hello World!</h1>

# -w can print the status as well: %{http_code} stands for it. The status is a number
# that says how the request went. 200 means that everything is all right.
curl -s -w '\n%{http_code}\n' "$URL/hello"
#=> <h1>Hello World!</h1>
#=> 200

# HTTPie (the command http) is another tool for this. With -v it prints what goes over
# the network: first the request, then the answer. Lines such as "Content-Type: ..." are
# headers: they say something about the request or the answer. An empty line ends them.
# After it comes the body. The answer has one, the HTML; this request has none.
http -v "$URL/hello"
#=> GET /hello HTTP/1.1
#=> ...
#=> Host: ...
#=> ...
#=> HTTP/1.1 200 OK
#=> ...
#=> Content-Type: text/html; charset=utf-8
#=> ...
#=> <h1>Hello World!</h1>

# No route matches "/". Flask answers with its own page and the status 404. (The page
# ends with a newline of its own, so -w needs none before the status.)
curl -s -w '%{http_code}\n' "$URL/"
#=> ...
#=> <title>404 Not Found</title>
#=> ...
#=> 404

# "/hello/" is not "/hello": no route matches it. (If the route were "/hello/", Flask
# would answer "/hello", too: with the status 308, which sends the client on to
# "/hello/".) With --headers HTTPie prints only the headers of the answer.
http --headers "$URL/hello/"
#=> HTTP/1.1 404 NOT FOUND
#=> ...
