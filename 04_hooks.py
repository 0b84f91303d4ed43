"""Lesson 4: hooks: run code before and after every request, and once at first.

Run    python 04_hooks.py
Calls  scripts/04_hooks.sh
Notes  app > decorater > before_first_request, before_request, after_request
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

from threading import Lock

from flask import Flask, g, request

app = Flask(__name__)  # Erratum 12: False(__name__) is a TypeError.
first_lock = Lock()
first_done = False


# Erratum 11: @app.before_first_request is gone since Flask 2.3. Each request has a
# thread of its own: without the lock two could both be the first.
@app.before_request
def before_first_request():
    global first_done
    g.order = []  # g lives as long as this one request
    with first_lock:
        if not first_done:
            first_done = True
            note("before_first_request")


# Runs before every view, in the order of the file. Erratum 14: a hook that
# returns anything but None answers the request, and the view is skipped.
@app.before_request
def before_request():
    note("before_request")
    if request.path == "/closed":
        return "closed\n", 503


# Erratum 13: it is given the response and must return one; None would be a 500.
@app.after_request
def after_request(response):
    note("after_request")
    response.headers["X-Order"] = ", ".join(g.order)
    return response


@app.route("/open")
@app.route("/closed")
def view():
    note("view")
    return "open\n"


def note(step):
    g.order.append(step)
    print(step, flush=True)  # flush: seen at once, also in a pipe


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     return "closed\n", 503
# with
#     pass
# and the door is open: the hook returns None, so the view answers.
#     curl -s http://127.0.0.1:8080/closed
#     #=> open
