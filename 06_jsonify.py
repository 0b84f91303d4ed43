"""Lesson 6: jsonify: answer with JSON, the long way and the short ways.

Run    python 06_jsonify.py
Calls  scripts/06_jsonify.sh
Notes  app > response_class; jsonify
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

import json  # Erratum 15: not imported in the notes, nor is status ever set.

from flask import Flask, jsonify

app = Flask(__name__)

# Flask writes Korean text as \uXXXX unless told otherwise. Erratum 20: the old
# setting JSON_AS_ASCII is ignored since Flask 2.3, without a word.
app.json.ensure_ascii = False
# Flask also sorts the keys; this keeps them as you wrote them.
app.json.sort_keys = False

STATUS = 200  # Any status you like: it travels beside the JSON, not in it.


# The long way: you make the text, name the status and the type. Erratum 16: a
# mimetype is type/subtype and has nothing to do with the route.
@app.route("/test/<username>")
def get_username(username):
    result = {"username": username, "foo": "foo", "bar": 10000}
    return app.response_class(
        response=json.dumps(result, ensure_ascii=False),
        status=STATUS,
        mimetype="application/json",
    )


# jsonify does all of that in one call.
@app.route("/json_test")
def hello_json():
    data = {"one": 1, "two": 2, "tmp": 10000}
    return jsonify(data)


# A view may also return a dict or a list: Flask calls jsonify for you.
@app.route("/dict")
def plain_dict():
    return {"인사": "안녕하세요"}


# Not everything is JSON: a set raises TypeError, so the client gets a 500. (So do
# NumPy's numbers: lesson 8 turns them into Python's.)
@app.route("/set")
def a_set():
    return jsonify({1, 2, 3})


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     app.json.ensure_ascii = False
# with
#     app.json.ensure_ascii = True
# and the same JSON is no longer readable on the wire.
#     curl -s http://127.0.0.1:8080/dict
#     #=> {"\uc778\uc0ac":"\uc548\ub155\ud558\uc138\uc694"}
