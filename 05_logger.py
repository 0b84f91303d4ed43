"""Lesson 5: logger: write messages into log files that do not grow for ever.

Run    python 05_logger.py
Open   http://127.0.0.1:8080/fill
Calls  scripts/05_logger.sh
Notes  app > logger
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

import logging
from logging.handlers import RotatingFileHandler

from flask import Flask, request  # The notes have Flast (notes: mistake 17).

app = Flask(__name__)

# app.logger takes the messages of your app. A log handler (not an error handler as in
# lesson 3) sends them to one place. This one writes them into the file exam_log.log, in
# the folder where you start the lesson.
# When the next message would bring exam_log.log to 2000 bytes (maxBytes), that file
# becomes exam_log.log.1, and a new exam_log.log starts. The old .1 becomes .2, and so
# on; .10, with the oldest messages, is deleted (backupCount). With a backupCount of 0,
# the default, no new file starts, and exam_log.log grows for ever.
# With encoding="utf-8" it can hold Korean letters on every system.
# With delay=True it is created with the first message, not when the lesson starts.
file_handler = RotatingFileHandler(
    "exam_log.log", maxBytes=2000, backupCount=10, encoding="utf-8", delay=True
)

# The time and the level stand in front of each message. The level says how important
# the message is. logging puts the time in the place of %(asctime)s, and so on.
file_handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

# app.logger has a handler for the terminal from the start. From here on app.logger
# writes into the file as well. If a view raises an exception, Flask logs the traceback
# with app.logger: so the file gets it, too (but not under debug). The server's line for
# each request, such as "GET /fill HTTP/1.1" 200, comes from another logger: it is in
# the terminal only.
# The notes have "if not app.debug:" before this. That is too early: at the end of the
# program app.run(debug=True) would turn debug on (notes: mistake 18).
app.logger.addHandler(file_handler)

# The levels are, from low to high: DEBUG, INFO, WARNING, ERROR, CRITICAL.
# A message must pass two levels. The first is the level of the logger. Here it is INFO:
# app.logger drops every message below INFO. Without this line it is WARNING. (With
# "flask run --debug", which turns debug on before it loads this file, it is DEBUG.)
app.logger.setLevel(logging.INFO)

# The second is the level of the handler: messages below WARNING do not go into the
# file (notes: mistake 19). The terminal's handler has no level: it prints all that the
# logger lets pass.
file_handler.setLevel(logging.WARNING)


# 50 lines are more than 2000 bytes: after this request there is an exam_log.log.1.
@app.route("/fill")
def fill():
    for number in range(1, 51):
        # logging puts number in the place of %s. A text with f and {number}, as in
        # lesson 2, would work, too. But it would cost time even for messages that are
        # not logged.
        app.logger.warning("warning %s of 50", number)
    return "50 warnings logged\n"


@app.route("/levels")
def levels():
    app.logger.warning("a warning")  # in the terminal and in the file
    app.logger.info("an info")  # in the terminal only
    app.logger.debug("a debug message")  # nowhere
    return "logged\n"


@app.errorhandler(404)
def page_not_found(error):
    # The text of error does not name the path, so log the path (notes: mistake 20). A
    # browser also asks for /favicon.ico, the small picture in its tab: so the log has a
    # line for that, too.
    # The client chooses the path, and %0a in it is a newline. Without ascii() the
    # client could add a line to your log. ascii() puts the text in quotes, and writes a
    # newline as \n and a Korean letter as \uXXXX.
    path = ascii(request.path)
    # Log 200 characters at most, so that one path does not fill the whole file.
    app.logger.error("404: %s", path[:200])
    return "<h1>404 Error</h1>", 404


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     file_handler.setLevel(logging.WARNING)
# with
#     file_handler.setLevel(logging.DEBUG)
# If the lesson is running, stop it with Ctrl+C. Then type "sh scripts/run.sh 5", which
# makes these calls. Or start the lesson again, and call it in the other terminal:
#     curl -s "http://127.0.0.1:8080/levels"
#     #=> logged
#     tail -n 1 exam_log.log
#     #=> ... INFO an info
# The handler writes every level now, but the logger still drops the debug message.
# What else must you change so that the debug message is in the file?
