"""Lesson 1: hello: start a web server and open your first page in a browser.

Run    python 01_hello.py
Open   http://127.0.0.1:8080/hello
Calls  scripts/01_hello.sh
Notes  flask > app; app > decorater > route; app > run
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

from flask import Flask

# The app object is your web application.
# Python gives every file a name, __name__. With it Flask finds the folder of the app.
# If there is a folder "static" in it, for example with pictures, Flask answers
# /static/cat.jpg with the file cat.jpg. (This app has none.)
app = Flask(__name__)


# In http://127.0.0.1:8080/hello the host is 127.0.0.1, the port is 8080, and the path
# is /hello. A path starts with "/".
# The line with @ is a decorator. It connects the path with the function below it: this
# is a route. When you open the URL, your browser sends a request for /hello, and Flask
# calls hello().
@app.route("/hello")
def hello():
    # The text that the function returns is the answer. It is HTML, the language of web
    # pages: <h1> begins a heading, and </h1>, with the slash, ends it
    # (notes: mistake 1, in docs/notes.md).
    return "<h1>Hello World!</h1>"


# When you start this file with "python 01_hello.py", __name__ is "__main__", and
# app.run() is called. When another program loads the file, __name__ is "01_hello", and
# app.run() is not called. (The command "flask --app 01_hello run" loads the file like
# this, and starts a server itself.)
# With a spelling mistake in __name__, Python stops with NameError (notes: mistake 3).
if __name__ == "__main__":
    # Start Flask's development server. Flask prints a warning: this server is made for
    # learning and developing only. Ctrl+C stops it.
    app.run(
        # A computer has several addresses. host is the one at which the server waits
        # for requests (notes: mistake 12). "127.0.0.1" is an address that only programs
        # on your own computer can call. "0.0.0.0" means all the addresses: then other
        # computers can call the server, too (notes: mistake 4).
        host="127.0.0.1",
        # The port: write a number, not a string (notes: mistake 5).
        # It is part of the URL: http://127.0.0.1:8080/hello. If a URL has no port,
        # the browser uses 80 for http and 443 for https (notes: mistake 13).
        port=8080,
        # debug=True helps while you write code: Flask restarts when you save the file.
        # When your code fails (raises an exception), the browser shows the error with
        # your source code. Never use debug=True when other computers can call the
        # server: they would see your source code and could run programs on your
        # computer (notes: mistake 14).
        debug=False,
    )

# Try it: replace
#     @app.route("/hello")
# with
#     @app.route("/hello")
#     @app.route("/")
# If the lesson is running, stop it with Ctrl+C. Then type "sh scripts/run.sh 1", which
# makes these calls. Or start the lesson again, open a second terminal, and call it
# there (scripts/01_hello.sh explains -s and -w):
#     curl -s -w '\n' "http://127.0.0.1:8080/"
#     #=> <h1>Hello World!</h1>
#     curl -s -w '\n' "http://127.0.0.1:8080/hello"
#     #=> <h1>Hello World!</h1>
# A function can have two routes. When the lesson starts, Flask prints "Running on
# http://127.0.0.1:8080". Before your change this address got the error 404 (not found);
# now it works, too.
# Write a second function below hello(), with another name and the route "/hello". Which
# one answers?
