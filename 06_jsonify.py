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

# Two settings for the JSON that Flask makes, in parts 2 and 3 below. (In part 1
# json.dumps makes the JSON: the settings do not change it.)
# Send Korean letters as they are. Without this line (the notes do not have it) each
# becomes \uXXXX, as with json.dumps (notes: mistake 21). The old setting JSON_AS_ASCII
# has no effect any more.
app.json.ensure_ascii = False
# Keep the keys in your order. Without this line Flask sorts them: the keys of part 2
# would be "one", "tmp", "two".
app.json.sort_keys = False


# 1. response_class makes the response: the object with status, headers and body. You
# choose every part yourself.
@app.route("/test/<username>")
def get_username(username):
    # Unlike lesson 2, no escape() here: the answer is JSON, not HTML, so a browser does
    # not run code in it.
    result = {"username": username, "foo": "foo", "bar": 10000}
    return app.response_class(
        # The argument response is only the body. json.dumps turns the dict into text.
        # It needs "import json" (notes: mistake 16).
        response=json.dumps(result),
        # You can choose any status. 201 means "Created"; here it is only an example.
        # Without this line the status is 200.
        status=201,
        # The mimetype goes into the header Content-Type. It tells the client that the
        # text is JSON (notes: mistake 15). Without this line it is text/html: then a
        # browser would run code in username.
        mimetype="application/json",
    )


# 2. jsonify makes the text and sets the type. The status is 200.
@app.route("/json_test")
def hello_json():
    data = {"one": 1, "two": 2, "tmp": 10000}
    return jsonify(data)


# 3. Return a dict: Flask makes the same answer as with jsonify. A list works, too.
@app.route("/dict")
def plain_dict():
    return {"인사": "안녕하세요"}  # "greeting": "hello"


# What does not work? {1, 2, 3} is a set: values without an order. JSON has no sets:
# jsonify raises TypeError, and the client gets a 500. A list would work:
# list({1, 2, 3}).
@app.route("/set")
def plain_set():
    return jsonify({1, 2, 3})


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     app.json.ensure_ascii = False
# with
#     app.json.ensure_ascii = True
# If the lesson is running, stop it with Ctrl+C. Then type "sh scripts/run.sh 6", which
# makes this call. Or start the lesson again, and call it in the other terminal:
#     curl -s "http://127.0.0.1:8080/dict"
#     #=> {"\uc778\uc0ac":"\uc548\ub155\ud558\uc138\uc694"}
# A program that reads the JSON gets the same text as before your change. But a person
# cannot read it.
# Undo the change. Look at /test/한 with curl. (HTTPie, typed in a terminal, shows 한 in
# any case.) How can you make this answer readable as well?
