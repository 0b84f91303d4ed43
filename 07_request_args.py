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
from werkzeug.exceptions import BadRequestKeyError  # Flask is built on Werkzeug.

app = Flask(__name__)


# The part of a URL after "?" is the query string. It holds arguments of the form
# name=value, with "&" between them: /login?user_name=foo&tmp_parameter=bar has two.
# request.args holds these arguments (not those of lesson 2, which came from the path).
# Every value is a string.
# If an argument is missing, get() returns None and raises no error: nobody notices it,
# unless your code looks for None (notes: mistake 23).
# This is not a real login: never put a password into a URL. Browsers keep URLs in their
# history, servers in their logs.
@app.route("/login")
def login():
    username = request.args.get("user_name")
    if username == "foo":
        # The notes have "seccess" (notes: mistake 24).
        return_data = {"auth": "success"}
    else:
        return_data = {"auth": "failed"}

    # tmp_parameter means nothing here: the view only sends it back.
    tmp_parameter = request.args.get("tmp_parameter")
    return_data["tmp_parameter"] = tmp_parameter
    return jsonify(return_data)


@app.route("/items")
def items():
    # With type=int, page is a number. If the argument is missing, page is the
    # default, 1.
    # If the argument is not a whole number, page is 1 as well, and the client does not
    # learn that it made a mistake. even() below tells the client.
    page = request.args.get("page", default=1, type=int)

    # A URL can hold the same name several times. getlist() returns all the values.
    tags = request.args.getlist("tag")
    return jsonify({"page": page, "tags": tags})


@app.route("/even")
def even():
    # Use [] for an argument that is required. If it is missing, Werkzeug raises
    # BadRequestKeyError, and the client gets a 400.
    text = request.args["number"]

    # int() raises ValueError if it cannot make a whole number of the text. Then Python
    # runs the line below "except", which tells the client what is wrong, and why.
    try:
        number = int(text)
    except ValueError:
        return jsonify({"error": "number must be a whole number", "number": text}), 400

    is_even = number % 2 == 0
    return jsonify({"even": is_even, "number": number})


# Flask's own page for this error does not name the missing argument. This answer does.
@app.errorhandler(BadRequestKeyError)
def argument_missing(error):
    # error.args[0] is the name that stood between [ and ]: for even() it is "number".
    # (error.args has nothing to do with request.args: every Python exception has args.)
    name = error.args[0]
    return jsonify({"error": f"{name} is missing in the URL"}), 400


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     username = request.args.get("user_name")
# with
#     username = request.args["user_name"]
# If the lesson is running, stop it with Ctrl+C. Then type "sh scripts/run.sh 7", which
# makes this call. Or start the lesson again, and call it in the other terminal:
#     curl -s -w '%{http_code}\n' "http://127.0.0.1:8080/login"
#     #=> {"error":"user_name is missing in the URL"}
#     #=> 400
# With get() a login without a name is "failed". With [] the client learns which
# argument is missing.
# Read tmp_parameter with [], too: what does /login?user_name=foo get then? Is that what
# a client wants?
