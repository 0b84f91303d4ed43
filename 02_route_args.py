"""Lesson 2: route arguments: read values from the path, and choose the methods.

Run    python 02_route_args.py
Open   http://127.0.0.1:8080/test/foo
Calls  scripts/02_route_args.sh
Notes  app > decorater > route > argument; route > methods
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

from flask import Flask, request
from markupsafe import escape  # Flask installs markupsafe, too.

app = Flask(__name__)


# <username> stands for one part of the path, up to the next "/".
# Flask passes it to the function as a string: /test/foo calls get_username("foo").
@app.route("/test/<username>")
def get_username(username):
    # The client chose this text, and the answer is HTML. escape() turns "<" into
    # "&lt;". Without it the text could be a script that runs in the browser
    # (notes: mistake 2).
    text = escape(username)
    return f"test: {text} (a string)"


# <int:number> takes digits only. Flask turns them into an int.
# For /test/42 both routes are possible: Flask takes this one, because it is the
# more exact one. Without get_username, /test/-1 and /test/1.5 would be 404: they
# are not digits only (notes: mistake 6).
# Each view needs a name of its own (notes: mistake 7).
@app.route("/test/<int:number>")
def get_number(number):
    return f"test: {number} (a number, and {number + 1} is the next)"


# <path:name> takes the rest of the path, with every "/" in it.
# Flask has four more converters:
#     <float:price>           a number with a point: 1.5, but not 1
#     <string(length=2):code> a string of two characters
#     <any(red, blue):color>  one of these words
#     <uuid:key>              a UUID: 32 hexadecimal digits with "-" between them
@app.route("/folder/<path:name>")
def get_path(name):
    return f"folder: {escape(name)}"


# A route answers GET requests. methods replaces that: this one answers POST and
# PUT. For any other method Flask answers 405 and names the right methods in the
# header Allow.
@app.route("/exam", methods=["POST", "PUT"])
def exam():
    return f"method: {request.method}"


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     @app.route("/test/<int:number>")
# with
#     @app.route("/test/<int(signed=True):number>")
# Stop the lesson with Ctrl+C, start it again, and call it in the other terminal:
#     curl -s -w '\n' http://127.0.0.1:8080/test/-1
#     #=> test: -1 (a number, and 0 is the next)
# With signed=True the converter takes a "-" in front of the digits. Before, the
# string view answered.
# Which converter would you need for /test/1.5?
