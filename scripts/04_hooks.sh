#!/bin/sh
# Lesson 4's calls. In another terminal first:  python 04_hooks.py
# Look at that terminal, too: every step is printed there as it happens.
URL=${1:-http://127.0.0.1:8080}
set -v

# Twice the same. The very first request since the start takes one hook more: to
# see it again, start the lesson again.
curl -si "$URL/open"
#=> HTTP/1.1 200 OK
#=> ...
#=> X-Order: before_first_request, before_request, view, after_request
#=> ...
#=> open
http --ignore-stdin --pretty=none --print=hb "$URL/open"
#=> HTTP/1.1 200 OK
#=> ...
#=> X-Order: before_request, view, after_request
#=> ...
#=> open

# A before_request that answers by itself: the view never runs.
curl -si "$URL/closed"
#=> HTTP/1.1 503 SERVICE UNAVAILABLE
#=> ...
#=> X-Order: before_request, after_request
#=> ...
#=> closed
http --ignore-stdin --pretty=none --print=hb "$URL/closed"
#=> HTTP/1.1 503 SERVICE UNAVAILABLE
#=> ...
#=> X-Order: before_request, after_request
#=> ...
#=> closed

# No route, so no view: the hooks run all the same.
curl -s -o /dev/null -D - "$URL/nowhere"
#=> HTTP/1.1 404 NOT FOUND
#=> ...
#=> X-Order: before_request, after_request
#=> ...
http --ignore-stdin --pretty=none --headers "$URL/nowhere"
#=> HTTP/1.1 404 NOT FOUND
#=> ...
#=> X-Order: before_request, after_request
#=> ...
