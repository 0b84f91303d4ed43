"""Lesson 2: route arguments: read values from the path, and choose the methods.

Run    python 02_route_args.py
Open   http://127.0.0.1:8080/test/foo
Calls  scripts/02_route_args.sh
Notes  app > decorater > route > argument, methods
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

from flask import Flask, request
from markupsafe import escape  # Flask installs markupsafe, too.

app = Flask(__name__)


# A function with a route is called a view.
# <username> stands for one part of the path, up to the next "/".
# Flask passes it to the view as a string, by its name: /test/foo calls
# get_username(username="foo"). So the argument of the view must have the same name.
@app.route("/test/<username>")
def get_username(username):
    # The client (a browser or curl) chooses this text. It could be
    # <img src=x onerror=alert(1)>. In HTML this means: show the picture x, and if that
    # fails, run the JavaScript code alert(1). Flask sends the answer as HTML, and there
    # is no picture x, so a browser would run the code. alert(1) only opens a small
    # window; other code could do harm.
    # escape() turns "<" into "&lt;": then the browser shows the character "<" and runs
    # nothing (notes: mistake 2).
    text = escape(username)
    # The f before the quotes: Python puts the value of text in the place of {text}.
    return f"test: {text} (a string)"


# int in <int:number> is a converter: it takes only digits and turns them into an int.
# /test/42 matches both routes. Flask takes this one: a number wins over a string.
# The order of the two in the file does not matter.
# -1 and 1.5 contain other characters, so they go to get_username(). Without
# get_username() they would be a 404 (notes: mistake 6).
# Give each view a name of its own: when a name comes twice, Flask raises AssertionError
# at the start (notes: mistake 7).
@app.route("/test/<int:number>")
def get_number(number):
    # A number cannot contain "<": no escape() is needed.
    return f"test: {number} (a number)"


# In <path:name> the word path is a converter, as int is above: it takes the rest of the
# URL's path, including "/".
# The other converters of Flask:
#     <float:price>           a number with a point: 1.5, but not 1
#     <string(length=2):code> a string of two characters
#     <any(red, blue):color>  one of these words
#     <uuid:key>              such as 123e4567-e89b-12d3-a456-426614174000
# <username> is short for <string:username>. any, string(...) and uuid have the rank of
# <username>, not that of int: where two of these match, the route that stands first in
# the file answers.
@app.route("/folder/<path:name>")
def get_path(name):
    return f"folder: {escape(name)}"


# Every request has a method. It says what the client wants: GET asks for a page, POST
# sends data, PUT stores or replaces something. When you open a URL in a browser, it
# sends GET.
# A route answers GET requests, unless you name other methods: this one answers POST
# and PUT. For GET or DELETE Flask answers with the status 405 (method not allowed), and
# lists the allowed methods in the header Allow. (A client can ask for that list with
# the method OPTIONS. Flask answers it without calling the view.)
@app.route("/exam", methods=["POST", "PUT"])
def exam():
    # request, from the import above, describes the request that Flask is answering now.
    return f"method: {request.method}"


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     @app.route("/test/<int:number>")
# with
#     @app.route("/test/<int(signed=True):number>")
# If the lesson is running, stop it with Ctrl+C. Then type "sh scripts/run.sh 2", which
# makes this call. Or start the lesson again, and call it in the other terminal:
#     curl -s -w '\n' "http://127.0.0.1:8080/test/-1"
#     #=> test: -1 (a number)
# With signed=True the converter takes a "-" before the digits. Without signed=True,
# get_username() answers.
# Which converter would you need for /test/1.5?
