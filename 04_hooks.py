"""Lesson 4: hooks: run your code before and after every request.

Run    python 04_hooks.py
Open   http://127.0.0.1:8080/open
Calls  scripts/04_hooks.sh
Notes  app > decorater > before_first_request, before_request, after_request
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

import time
from threading import Lock

from flask import Flask, g, request
from markupsafe import escape

app = Flask(__name__)  # Flask, not False (notes: mistake 8).


# Work that must be done once, before the first request: do it here. Python runs
# this line once, when the lesson starts.
# Flask 2.3 removed @app.before_first_request, which the notes use for such work
# (notes: mistake 9).
START_TIME = time.strftime("%H:%M:%S")


# Flask calls this function before every view.
@app.before_request
def before_request():
    # g holds values for one request: the hooks and the view can all use it. The
    # next request gets an empty g.
    g.steps = []
    add_step("before_request")


# Flask calls this function after the view and gives it the response.
# It must return the response: without "return response" every request is a 500
# (notes: mistake 11).
@app.after_request
def after_request(response):
    add_step("after_request")
    response.headers["X-Steps"] = ", ".join(g.steps)
    return response


# The client sees the steps in the header X-Steps. The server prints them, too;
# flush=True prints at once, also into a file or a pipe.
def add_step(step):
    g.steps.append(step)
    print(step, flush=True)


# There may be several hooks: Flask calls them in the order of this file.
# A hook that returns None lets the request go on. Any other value is the answer,
# and Flask does not call the view (notes: mistake 10).
@app.before_request
def stop_closed():
    if request.path == "/closed":
        return "closed\n", 503


# Two routes for one view. It never runs for /closed: stop_closed() answers first.
@app.route("/open")
@app.route("/closed")
def show_open():
    add_step("view")
    return f"open since {START_TIME}\n"


# Some work needs the first request itself: here the host name in its URL.
# Flask runs each request in a thread of its own, so two requests can run this
# function at the same time. The lock lets in one thread after the other: only one
# of them finds that FIRST_HOST is missing.
first_lock = Lock()


@app.before_request
def remember_first_host():
    with first_lock:
        if "FIRST_HOST" not in app.config:
            app.config["FIRST_HOST"] = request.host


@app.route("/hosts")
def hosts():
    first_host = escape(app.config["FIRST_HOST"])
    this_host = escape(request.host)
    return f"first request: {first_host}\nthis request: {this_host}\n"


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     return "closed\n", 503
# with
#     return None
# Stop the lesson with Ctrl+C, start it again, and call it in the other terminal:
#     curl -s http://127.0.0.1:8080/closed
#     #=> open since ...
# The hook returns None now, so the request goes on to the view.
# What does the client get when a before_request hook raises an exception?
