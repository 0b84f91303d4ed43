"""Lesson 6: jsonify: answer with JSON, first step by step, then in one line.

Run    python 06_jsonify.py
Open   http://127.0.0.1:8080/test/foo
Calls  scripts/06_jsonify.sh
Notes  app > response_class; jsonify
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

import json

from flask import Flask, jsonify

app = Flask(__name__)


# 1. response_class: you make every part of the answer yourself.
@app.route("/test/<username>")
def get_username(username):
    result = {"username": username, "foo": "foo", "bar": 10000}
    return app.response_class(
        # json.dumps turns the dict into text. It needs "import json"
        # (notes: mistake 16).
        response=json.dumps(result),
        # You can choose any status. 201 means "Created". Without this line it is 200.
        status=201,
        # This tells the client that the text is JSON. It is not a part of the route
        # (notes: mistake 15).
        mimetype="application/json",
    )


# json.dumps writes Korean letters as \uXXXX, and so does jsonify below. This setting
# changes that for jsonify, in the whole app.
# The old setting JSON_AS_ASCII has no effect any more (notes: mistake 21).
app.json.ensure_ascii = False

# jsonify also sorts the keys: "one", "tmp", "two". With this setting it keeps the
# order of the dict.
app.json.sort_keys = False


# 2. jsonify: it makes the text and sets the type. The status is 200.
@app.route("/json_test")
def hello_json():
    data = {"one": 1, "two": 2, "tmp": 10000}
    return jsonify(data)


# 3. Return the dict: Flask calls jsonify for you. A list works, too.
@app.route("/dict")
def plain_dict():
    return {"인사": "안녕하세요"}


# JSON has no sets: jsonify raises TypeError, and the client gets a 500. A list would
# work: list({1, 2, 3}).
@app.route("/set")
def plain_set():
    return jsonify({1, 2, 3})


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     app.json.ensure_ascii = False
# with
#     app.json.ensure_ascii = True
# Stop the lesson with Ctrl+C, start it again, and call it in the other terminal:
#     curl -s http://127.0.0.1:8080/dict
#     #=> {"\uc778\uc0ac":"\uc548\ub155\ud558\uc138\uc694"}
# For a program both answers are the same text. But a person cannot read this one.
# What does /json_test answer when you also set sort_keys to True?
