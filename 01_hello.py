"""Lesson 1: hello: start a web server with one page and open it in a browser.

Run    python 01_hello.py
Calls  scripts/01_hello.sh
Notes  flask > app; app > decorater > route; app > run
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

from flask import Flask

# The app object holds everything that follows: routes, settings, the logger.
# __name__ tells Flask which file it lives in.
app = Flask(__name__)


# The route ties a path to a function. Without the "/" in front Flask raises
# ValueError while the file loads, before any request.
@app.route("/hello")
def hello():
    # Erratum 1: the notes close with a second <h1>, so the heading never ends.
    return "<h1>Hello World!</h1>"


# True for "python 01_hello.py", False when something else imports the file:
# an import must not start a server.
# Erratum 2: misspelt "__nmame__", this line stops the program with NameError.
if __name__ == "__main__":
    app.run(
        # The network interface that listens, not the site's address (erratum 9).
        # 127.0.0.1, also the default, answers this computer alone; "0.0.0.0"
        # answers every machine that can reach yours (erratum 6).
        host="127.0.0.1",
        # A number, 5000 if you leave it out; the notes write a string (erratum 7).
        # A URL without a port means 80 for http, 443 for https (erratum 8).
        port=8080,
        # True shows your source to whoever causes an error, and a Python console
        # behind a PIN to whoever also sends "Host: localhost": never on a network
        # (erratum 10). The default follows the environment variable FLASK_DEBUG.
        debug=False,
    )

# Try it: replace
#     @app.route("/hello")
# with
#     @app.route("/")
# and the page moves to the front door: /hello is gone.
#     curl -s http://127.0.0.1:8080/
#     #=> <h1>Hello World!</h1>
#     curl -s -o /dev/null -w '%{http_code}\n' http://127.0.0.1:8080/hello
#     #=> 404
