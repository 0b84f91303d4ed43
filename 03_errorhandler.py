"""Lesson 3: errorhandler: answer errors with a page of your own.

Run    python 03_errorhandler.py
Open   http://127.0.0.1:8080/even/2
Calls  scripts/03_errorhandler.sh
Notes  app > decorater > errorhandler
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

from flask import Flask, abort
from markupsafe import escape

app = Flask(__name__)


# abort(404) ends the view at once: it raises an exception that stands for the
# status 404. The description is the reason: page_not_found(), below, puts it into the
# page.
@app.route("/even/<int:number>")
def even(number):
    if number % 2 == 1:
        abort(404, description=f"{number} is not even.")
    return f"{number} is even"


# This function is an error handler. Flask calls it after abort(404), and when no route
# matches the path. What it returns is the answer.
@app.errorhandler(404)
def page_not_found(error):
    # error is the exception. It holds a code (404), a name and a description. Here the
    # client chooses only a number in the description, which can do no harm. In another
    # app the client may choose any text, so escape the description.
    reason = f"{error.code} {error.name}: {escape(error.description)}"
    page = f"<h1>404 Error</h1>\n<p>{reason}</p>"
    # A function can return two values: the body and the status. If you return only
    # page, the status is 200. (A third value may be a dict of headers.)
    return page, 404


@app.route("/divide/<int:a>/<int:b>")
def divide(a, b):
    # "//" divides and leaves out the fraction.
    quotient = a // b
    # A view cannot return a number: make a string of it.
    return str(quotient)


# You can also write an error handler for one of Python's exceptions. When b is 0,
# divide() raises ZeroDivisionError, and Flask calls this function. Flask always passes
# the exception, so the function must take it, even if it does not use it. The status
# 400 means that the client's request is wrong.
@app.errorhandler(ZeroDivisionError)
def division_by_zero(error):
    return "<h1>The second number must not be 0</h1>", 400


FRUITS = ["apple", "pear", "melon"]


# This view has a bug. The items of FRUITS have the numbers 0, 1 and 2: for 3 and every
# larger number Python raises IndexError.
@app.route("/fruit/<int:number>")
def fruit(number):
    return FRUITS[number]


# IndexError has no error handler of its own, so Flask calls the one for the status 500.
# 500 means that the server's program has an error. Flask prints the traceback (the
# lines of code that led to the error) in the server's terminal. The client gets only
# this page.
# error is not the IndexError, but an InternalServerError; the IndexError is
# error.original_exception.
# With debug=True Flask does not call this function for an exception of Python: the
# client gets the traceback.
@app.errorhandler(500)
def server_error(error):
    return "<h1>500 Error</h1>\n<p>The mistake is ours, not yours.</p>", 500


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     return page, 404
# with
#     return page
# If the lesson is running, stop it with Ctrl+C. Then type "sh scripts/run.sh 3", which
# makes this call. Or start the lesson again, and call it in the other terminal:
#     curl -s -o /dev/null -w '%{http_code}\n' "http://127.0.0.1:8080/nowhere"
#     #=> 200
# A person still reads "404 Error". A program reads the status, and 200 means that
# the page exists.
# Undo the change. How can fruit() answer 404 when the number is too large?
