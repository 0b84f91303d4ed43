"""Lesson 7: request.args: read the values that come after the "?" of a URL.

Run    python 07_request_args.py
Calls  scripts/07_request_args.sh
Notes  request > args
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

from flask import Flask, jsonify, request
from werkzeug.exceptions import BadRequestKeyError  # comes with Flask

app = Flask(__name__)


# /login?user_name=foo&tmp_parameter=bar: each name gets its own value, always a
# string. get() answers None for a name that is not there.
# A lesson on args, not on security: a real login never takes secrets in a URL.
@app.route("/login")
def login():
    username = request.args.get("user_name")
    if username == "foo":
        return_data = {"auth": "success"}  # Erratum 22: "seccess" in the notes.
    else:
        return_data = {"auth": "failed"}
    return_data["tmp_parameter"] = request.args.get("tmp_parameter")
    return jsonify(return_data)


# A default stands in for a missing value, getlist() takes every value of a
# repeated name. Erratum 24: with type=int a bad number becomes the default, and
# the client is never told. The next view tells it.
@app.route("/items")
def items():
    page = request.args.get("page", default=1, type=int)
    return jsonify(page=page, tags=request.args.getlist("tag"))


# args["number"] is for what must be there: without it Werkzeug raises
# BadRequestKeyError, the view ends, and the client gets 400.
@app.route("/twice")
def twice():
    number = request.args["number"]
    try:
        return jsonify(twice=2 * int(number))
    except ValueError:
        return jsonify(error=f"number: {number[:40]!r} is not a whole number"), 400


# Flask's own 400 page does not say which name is missing; this one does.
@app.errorhandler(BadRequestKeyError)
def missing(error):
    return jsonify(error=f"{error.args[0]}: missing in the URL"), 400


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     request.args.get("user_name")
# with
#     request.args["user_name"]
# and a login without a name is no longer "failed" but a bad request.
#     curl -s -w '%{http_code}\n' http://127.0.0.1:8080/login
#     #=> {"error":"user_name: missing in the URL"}
#     #=> 400
