"""Lesson 2: route arguments: read values out of the path, choose the methods.

Run    python 02_route_args.py
Calls  scripts/02_route_args.sh
Notes  app > decorater > route > argument; route > methods
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

from flask import Flask, request
from markupsafe import escape  # comes with Flask

app = Flask(__name__)


# <username> takes one piece of the path, as a string, without "/".
# What a client sent is never HTML: without escape() the path
# /test/<img src=x onerror=alert(1)> would run a script in the browser
# (erratum 4). The header X-View shows which of the two views answered.
@app.route("/test/<username>")
def get_username(username):
    return f"test: {escape(username)}", {"X-View": "get_username"}


# <int:number> takes digits alone and hands over an int. It goes before
# <username>, in whatever order the views stand. -1 and 1.5 are no digits: here
# the view above answers them, without it they would be 404 (erratum 5).
# Other converters: float, path (may hold "/"), uuid, any(red,blue),
# int(signed=True).
# Erratum 3: two views cannot share a name: Flask raises AssertionError.
@app.route("/test/<int:number>")
def get_number(number):
    return f"test: {number}", {"X-View": "get_number"}


# A route takes GET (with HEAD and OPTIONS) unless methods says otherwise. For
# other methods Werkzeug, the library below Flask, answers 405 and lists the
# right ones in the Allow header.
@app.route("/exam", methods=["POST", "PUT"])
def exam():
    return f"method: {request.method}"


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     @app.route("/test/<int:number>")
# with
#     @app.route("/test/<int(signed=True):number>")
# and get_number takes negative numbers as well.
#     curl -s -o /dev/null -D - http://127.0.0.1:8080/test/-1 | grep View
#     #=> X-View: get_number
