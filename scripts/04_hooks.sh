#!/bin/sh
# Lesson 4's calls. In another terminal first:  python 04_hooks.py
# A line with #=> is the answer to expect. There "..." stands for text that can differ; a
# line with only "..." stands for any number of lines.
URL=${1:-http://127.0.0.1:8080}

# You can skip the lines up to "set -v": they prepare HTTPie and look for lesson 4. After
# "set -v" the shell prints each line before it runs it.
# In a script HTTPie may look for input from another program (standard input): it then
# waits for this input, or sends it as the body. --ignore-stdin forbids that.
http() { command http --ignore-stdin --pretty=none "$@"; }
# Ask the lesson itself, even if a proxy is set on this computer.
export no_proxy="*" NO_PROXY="*"
# A browser's address bar adds "/" at the end: leave it out.
URL=${URL%/}
# Only lesson 4 has the path /hosts.
case $(curl -s -m 9 -o /dev/null -w '%{http_code}' -X OPTIONS "$URL/hosts") in
    200) ;;
    000 | "") echo "Nothing answers at $URL. In another terminal start: python 04_hooks.py" >&2; exit 1 ;;
    *) echo "Another server answers at $URL. Stop it, then start: python 04_hooks.py" >&2; exit 1 ;;
esac
set -v

# -i prints the headers of the answer, too. X-Steps lists the steps in order; "view" is
# show_open(). The same steps are in the server's terminal. (If you run this script,
# that terminal first shows one more before_request and after_request: the check at the
# top of the script sends OPTIONS, for which no view runs.)
curl -s -i "$URL/open"
#=> HTTP/1.1 200 OK
#=> ...
#=> X-Steps: before_request, view, after_request
#=> ...
#=> open since ...

# The hook stop_closed() answers this request. The view does not run, but
# after_request() does.
curl -s -i "$URL/closed"
#=> HTTP/1.1 503 SERVICE UNAVAILABLE
#=> ...
#=> X-Steps: before_request, after_request
#=> ...
#=> closed

# No route matches this path, so no view runs. But the hooks run.
http --headers "$URL/nowhere"
#=> HTTP/1.1 404 NOT FOUND
#=> ...
#=> X-Steps: before_request, after_request
#=> ...

# The last three calls are about the part of the lesson that you may skip. There the
# first request after the start stores its host in FIRST_HOST. The two hosts here are the
# same, unless your browser came first with another one, such as localhost:8080.
curl -s "$URL/hosts"
#=> first request: ...
#=> this request: ...

# Send another host: -H sets a header of the request. FIRST_HOST stays the same.
curl -s -H 'Host: example.org' "$URL/hosts"
#=> first request: ...
#=> this request: example.org

# With HTTPie you write a header as name:value after the URL.
http --body "$URL/hosts" Host:example.org
#=> first request: ...
#=> this request: example.org
