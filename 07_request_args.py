"""Lesson 7: request.args: read the values after the "?" of a URL.

Run    python 07_request_args.py
Open   http://127.0.0.1:8080/login?user_name=foo
Calls  scripts/07_request_args.sh
Notes  request > args
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

from flask import Flask, jsonify, request
from werkzeug.exceptions import BadRequestKeyError  # Flask installs werkzeug, too.

app = Flask(__name__)


# request.args holds the arguments of the URL: for
# /login?user_name=foo&tmp_parameter=bar it holds two. Every value is a string.
# get() returns None when the argument is missing.
# This is not a real login: never put a password into a URL.
@app.route("/login")
def login():
    username = request.args.get("user_name")
    if username == "foo":
        return_data = {"auth": "success"}  # Not "seccess" (notes: mistake 24).
    else:
        return_data = {"auth": "failed"}

    tmp_parameter = request.args.get("tmp_parameter")
    return_data["tmp_parameter"] = tmp_parameter
    return jsonify(return_data)


@app.route("/items")
def items():
    # type=int turns the string into a number. When the argument is missing, page
    # is the default. When it is not a number, page is the default as well, and
    # the client does not learn of the mistake (notes: mistake 23).
    page = request.args.get("page", default=1, type=int)

    # One name may come more than once: getlist() returns all its values.
    tags = request.args.getlist("tag")
    return jsonify(page=page, tags=tags)


@app.route("/even")
def even():
    # [] is for an argument that must be there. When it is missing, Flask raises
    # BadRequestKeyError, and the client gets a 400.
    text = request.args["number"]

    # Check the value yourself: then you can tell the client what is wrong.
    try:
        number = int(text)
    except ValueError:
        return jsonify(error="number must be a whole number", number=text), 400

    is_even = number % 2 == 0
    return jsonify(number=number, even=is_even)


# Flask's own page for this error does not name the missing argument. This one does.
@app.errorhandler(BadRequestKeyError)
def argument_missing(error):
    # The first value in error.args is the name that the view asked for.
    name = error.args[0]
    return jsonify(error=f"{name} is missing in the URL"), 400


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     username = request.args.get("user_name")
# with
#     username = request.args["user_name"]
# Stop the lesson with Ctrl+C, start it again, and call it in the other terminal:
#     curl -s -w '%{http_code}\n' http://127.0.0.1:8080/login
#     #=> {"error":"user_name is missing in the URL"}
#     #=> 400
# Before, a login without a name was "failed". Now the client learns what is missing.
# Should tmp_parameter be read with [] as well?
