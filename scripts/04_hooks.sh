#!/bin/sh
# Lesson 4's calls. In another terminal first:  python 04_hooks.py
# Look at that terminal, too: each step is printed there as it happens.
URL=${1:-http://127.0.0.1:8080}
set -v

# The first request since the lesson was started: one hook more. (A second
# play finds it done: start the lesson again.)
curl -si "$URL/open"
#=> HTTP/1.1 200 OK
#=> ...
#=> X-Order: before_first_request, before_request, view, after_request
#=> ...
#=> open

# Every later one.
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

# No route: there is no view to run, the hooks run all the same.
http --ignore-stdin --pretty=none --headers "$URL/nowhere"
#=> HTTP/1.1 404 NOT FOUND
#=> ...
#=> X-Order: before_request, after_request
#=> ...
