#!/bin/sh
# Lesson 2's calls. In another terminal first:  python 02_route_args.py
# A line with #=> is the answer to expect. There "..." stands for text that can differ; a
# line with only "..." stands for any number of lines.
URL=${1:-http://127.0.0.1:8080}

# You can skip the lines up to "set -v": they prepare HTTPie and look for lesson 2. After
# "set -v" the shell prints each line before it runs it.
# In a script HTTPie may look for input from another program (standard input): it then
# waits for this input, or sends it as the body. --ignore-stdin forbids that.
http() { command http --ignore-stdin --pretty=none "$@"; }
# Ask the lesson itself, even if a proxy is set on this computer.
export no_proxy="*" NO_PROXY="*"
# A browser's address bar adds "/" at the end: leave it out.
URL=${URL%/}
# Only lesson 2 has the path /folder/a.
case $(curl -s -m 9 -o /dev/null -w '%{http_code}' -X OPTIONS "$URL/folder/a") in
    200) ;;
    000 | "") echo "Nothing answers at $URL. In another terminal start: python 02_route_args.py" >&2; exit 1 ;;
    *) echo "Another server answers at $URL. Stop it, then start: python 02_route_args.py" >&2; exit 1 ;;
esac
set -v

# <username> takes any text without "/". The view gets it as a string.
curl -s -w '\n' "$URL/test/foo"
#=> test: foo (a string)

# <int:number> takes digits. The view gets a number.
curl -s -w '\n' "$URL/test/42"
#=> test: 42 (a number)

# The text 007 becomes the number 7.
curl -s -w '\n' "$URL/test/007"
#=> test: 7 (a number)

# "-" and "." are not digits, so -1 and 1.5 go to the view for strings. curl can ask for
# two URLs in one command.
curl -s -w '\n' "$URL/test/-1" "$URL/test/1.5"
#=> test: -1 (a string)
#=> test: 1.5 (a string)

# <path:name> takes the rest of the path, including "/".
curl -s -w '\n' "$URL/folder/2026/11/photo.jpg"
#=> folder: 2026/11/photo.jpg

# /exam takes POST. With curl you write the method after -X.
curl -s -w '\n' -X POST "$URL/exam"
#=> method: POST

# It takes PUT, too. With HTTPie you write the method before the URL. --body prints only
# the body of the answer.
http --body PUT "$URL/exam"
#=> method: PUT

# It does not take GET. The status is 405, and Allow lists the allowed methods: POST,
# PUT and OPTIONS, in any order.
http --headers GET "$URL/exam"
#=> HTTP/1.1 405 METHOD NOT ALLOWED
#=> ...
#=> Allow: ...
#=> ...

# This client sends an HTML tag in the path. (In a URL a space is written as %20 and "<"
# as %3C: that is called encoding. HTTPie does it for you; curl does not.) Without
# escape() a browser would run the code in onerror. After escape() it is text: the
# browser shows it and runs nothing.
http --body "$URL/test/<img src=x onerror=alert(1)>"
#=> test: &lt;img src=x onerror=alert(1)&gt; (a string)

# <username> ends at the next "/". No route takes two parts after /test/. -o /dev/null
# throws the body away, so you see only the status.
curl -s -o /dev/null -w '%{http_code}\n' "$URL/test/foo/bar"
#=> 404
