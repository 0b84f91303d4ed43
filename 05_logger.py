"""Lesson 5: logger: write what went wrong into files that cannot grow for ever.

Run    python 05_logger.py
Calls  scripts/05_logger.sh
Notes  app > logger
"""
# /// script
# dependencies = ["flask>=3.1,<4"]
# ///

import logging
from logging.handlers import RotatingFileHandler

# Erratum 17: the notes import Flast, an ImportError.
from flask import Flask, request

app = Flask(__name__)

# Under debug you watch the terminal; the files are for when nobody does.
if not app.debug:
    # At 2000 bytes exam_log.log becomes exam_log.log.1, .1 becomes .2, and what
    # was .10 is deleted. The files lie in the folder where you start the lesson.
    handler = RotatingFileHandler("exam_log.log", maxBytes=2000, backupCount=10)
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    app.logger.addHandler(handler)


# A message passes two gates: the logger's level, then the handler's. Erratum 19:
# outside debug app.logger itself stands at WARNING, so info() gets nowhere.
@app.route("/levels")
def levels():
    app.logger.info("an info")
    app.logger.warning("a warning")
    app.logger.error("an error")
    return "logged\n"


# Erratum 18: str(error) does not hold the path, so log the path. It is the
# client's text: with %s, %0a in a URL would start a new line that looks like one
# of ours. %a prints it as a Python literal, in ASCII, a newline as \n; .200 cuts
# it, since one long line would make a file larger than maxBytes.
@app.errorhandler(404)
def page_not_found(error):
    app.logger.error("404: %.200a", request.path)
    return "<h1>404 Error</h1>", 404


if __name__ == "__main__":
    app.run(host="127.0.0.1", port=8080, debug=False)

# Try it: replace
#     app.logger.addHandler(handler)
# with
#     app.logger.addHandler(handler)
#     app.logger.setLevel(logging.INFO)
#     handler.setLevel(logging.INFO)
# and both gates are open: the info is in the file, too.
#     curl -s http://127.0.0.1:8080/levels
#     #=> logged
#     grep -c 'INFO an info' exam_log.log
#     #=> 1
