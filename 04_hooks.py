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

app = Flask(__name__)  # The notes have False(__name__) (notes: mistake 8).


# Some work must be done once, before the first request. Do it outside the functions:
# Python runs the line "START_TIME = ..." once, when the lesson starts.
# The notes use @app.before_first_request. Flask 2.3 removed it (notes: mistake 9).
START_TIME = time.strftime("%H:%M:%S")


# g holds the values of one request: all functions that run for it share them. The next
# request gets a new, empty g. Here it holds a list of steps.
# The functions before_request(), after_request() and show_open(), below, each add a
# step with add_step(): so you see in which order they run.
def add_step(step):
    g.steps.append(step)
    # Python may collect text before it prints it. flush=True prints it at once.
    print(step, flush=True)


# A hook is a function that Flask calls for every request: this one before the view. The
# line with @ says when. You choose the function's name; here, as in the notes, it is
# before_request again.
@app.before_request
def before_request():
    g.steps = []
    # A browser also asks for /favicon.ico, the small picture in its tab. The hooks run
    # for that request, too: so they print two more steps.
    add_step("before_request")


# Flask turns what the view returned into a response: an object with the status, the
# headers and the body. Flask passes it to this hook before sending it. The client sees
# the steps in the header X-Steps.
# The hook must take the response and return it, or another one: otherwise the client
# gets a 500 (notes: mistake 11).
@app.after_request
def after_request(response):
    add_step("after_request")
    response.headers["X-Steps"] = ", ".join(g.steps)
    return response


# A second before_request hook: Flask calls them in the order of this file (but
# after_request hooks in the opposite order).
# If a before_request hook returns nothing (None), the next hook or the view runs. If it
# returns anything else, that is the answer: neither the next before_request hook nor
# the view runs (notes: mistake 10).
# The status 503 means "not available now". "\n" ends the line in the terminal: so curl
# needs no -w '\n' here.
@app.before_request
def stop_closed():
    if request.path == "/closed":
        return "closed\n", 503


# This view has two routes. For /closed it never runs, since stop_closed() answers
# first. The route /closed is there only for the "Try it" at the end.
@app.route("/open")
@app.route("/closed")
def show_open():
    add_step("view")
    return f"open since {START_TIME}\n"


# At a first reading you may skip the rest, down to "if __name__".
#
# Some work can only be done with the first request, because it needs something from
# it. remember_first_host() stores the first request's host (name and port) as
# FIRST_HOST in app.config: unlike g, this dict is the same for all requests.
# The server runs each request in a thread of its own. Threads run at the same time, so
# two requests can be in remember_first_host() at once. With the lock only one thread at
# a time runs the code under "with"; the others wait. Without it two requests could both
# find that FIRST_HOST is missing, and the second host would overwrite the first.
first_lock = Lock()


# A request for /closed does not get here: stop_closed() comes earlier and answers it.
@app.before_request
def remember_first_host():
    with first_lock:
        if "FIRST_HOST" not in app.config:
            app.config["FIRST_HOST"] = request.host


@app.route("/hosts")
def hosts():
    # The client chooses the host, so escape it. (Since Werkzeug 3.1.8 a host with
    # characters such as "<" becomes an empty text.)
    first_host = escape(app.config["FIRST_HOST"])
    this_host = escape(request.host)
    return f"first request: {first_host}\nthis request: {this_host}\n"


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     return "closed\n", 503
# with
#     return None
# If the lesson is running, stop it with Ctrl+C. Then type "sh scripts/run.sh 4", which
# makes this call. Or start the lesson again, and call it in the other terminal:
#     curl -s "http://127.0.0.1:8080/closed"
#     #=> open since ...
# The hook returns None now, so the request goes on to the view.
# Now write 1 / 0 in place of "return None", and call /closed again: what does the
# client get when a before_request hook raises an exception?
