#!/bin/sh
# Lesson 4's calls. In another terminal first:  python 04_hooks.py
URL=${1:-http://127.0.0.1:8080}
# In a script HTTPie must not read standard input: it would wait, or send a POST.
http() { command http --ignore-stdin --pretty=none "$@"; }
# Only lesson 4 has the path /hosts.
case $(curl -s -o /dev/null -w '%{http_code}' -X OPTIONS "$URL/hosts") in
    200) ;;
    000 | "") echo "Nothing answers at $URL. In another terminal start: python 04_hooks.py" >&2; exit 1 ;;
    *) echo "Another server answers at $URL. Stop it, then start: python 04_hooks.py" >&2; exit 1 ;;
esac
set -v

# -i prints the headers, too. X-Steps shows what ran for this request, in order. Look
# into the server's terminal as well: it prints each step.
curl -s -i "$URL/open"
#=> HTTP/1.1 200 OK
#=> ...
#=> X-Steps: before_request, view, after_request
#=> ...
#=> open since ...

# For /closed a hook answers: the view does not run, after_request does.
curl -s -i "$URL/closed"
#=> HTTP/1.1 503 SERVICE UNAVAILABLE
#=> ...
#=> X-Steps: before_request, after_request
#=> ...
#=> closed

# No route has this path, so there is no view. The hooks run all the same.
http --headers "$URL/nowhere"
#=> HTTP/1.1 404 NOT FOUND
#=> ...
#=> X-Steps: before_request, after_request
#=> ...

# The first request since the start set FIRST_HOST to the host in its URL.
curl -s "$URL/hosts"
#=> first request: 127.0.0.1:...
#=> this request: 127.0.0.1:...

# A later request cannot change FIRST_HOST. -H sends a header; Host is the header that
# holds the host name.
curl -s -H 'Host: example.org' "$URL/hosts"
#=> first request: 127.0.0.1:...
#=> this request: example.org

# With HTTPie you write a header as name:value behind the URL.
http --body "$URL/hosts" Host:example.org
#=> first request: 127.0.0.1:...
#=> this request: example.org
