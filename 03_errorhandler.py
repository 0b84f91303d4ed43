"""Lesson 3: errorhandler: answer errors with your own page.

Run    python 03_errorhandler.py
Calls  scripts/03_errorhandler.sh
Notes  app > decorater > errorhandler
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

from flask import Flask, abort

app = Flask(__name__)


# No route matched: Flask raises NotFound and this function makes the answer.
# The status does not follow by itself: without ", 404" the page leaves as 200.
@app.errorhandler(404)
def page_not_found(error):
    return "<h1>404 Error</h1>", 404


# abort() raises the same NotFound from inside a view: nothing after it runs.
@app.route("/even/<int:number>")
def even(number):
    if number % 2:
        abort(404)
    return f"{number} is even"


# A handler can also wait for an exception of Python's, or of your own.
@app.errorhandler(ZeroDivisionError)
def division_by_zero(error):
    return "<h1>The second number must not be 0</h1>", 400


@app.route("/divide/<int:a>/<int:b>")
def divide(a, b):
    return f"{a // b}"


# Any other exception becomes a 500. Flask logs the traceback, the client sees
# this page alone. Under debug this handler is not called.
@app.errorhandler(500)
def our_mistake(error):
    return "<h1>500 Error: our mistake</h1>", 500


@app.route("/bug")
def bug():
    return {}["missing"]


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     return "<h1>404 Error</h1>", 404
# with
#     return "<h1>404 Error</h1>"
# and a person still reads "Error", but a program is told that all went well.
#     curl -s -w '\n%{http_code}\n' http://127.0.0.1:8080/nowhere
#     #=> <h1>404 Error</h1>
#     #=> 200
