"""Uploads to lesson 8, and what a refused one gets."""

import os

import psutil
import pytest
import requests
from collection import PICTURES

BERRIES = (PICTURES / "strawberries.jpg").read_bytes()
CODES = (PICTURES / "qrcode.png").read_bytes()
# How many workers lesson 8 has here.
WORKERS = min(os.cpu_count() or 1, 8)
needs_memory_limit = pytest.mark.skipif(
    not psutil.LINUX, reason="only Linux keeps the limit of memory"
)

# What the lesson says of a file that it does not take: written again here, so that a
# change there fails a test.
NO_FORMAT = "is not a JPEG, PNG or WebP picture: save it as JPEG"
ANIMATED = "is an animated PNG: save it as JPEG"
DAMAGED = "cannot be read: it is damaged, or takes too much memory"
WRONG_SIZE = "is damaged: its header gives another size than its picture has"
TOO_MANY_PIXELS = "has more than 25 megapixels: send a smaller picture"
TOO_SLOW = "takes more than 3 seconds: save it as a new JPEG"
TOO_MUCH_MEMORY = "takes too much memory: save it as a new JPEG"
CRASHED = "stops the process that reads it: save it as a new JPEG"
REFUSALS = [NO_FORMAT, ANIMATED, DAMAGED, WRONG_SIZE, TOO_MANY_PIXELS]
REFUSALS += [TOO_SLOW, TOO_MUCH_MEMORY, CRASHED]
TOO_LARGE = "request: over 16 MB, 20 parts or 100 kB of text"
CANNOT_BE_READ = (
    "request: its URL or its body cannot be read; names must be UTF-8, the body must "
    "be complete, and the Content-Type multipart/form-data must name a boundary"
)

# A path that tries to write a second line into the log.
TWO_LINES = "/<img>%0aa%20second%20line"


def upload(server, *files, query="", method="POST", **fields):
    """Send (filename, bytes) pairs as img_file; the response.

    Without fields the model is strawberry."""
    return requests.request(
        method,
        f"{server.url}/inference{query}",
        data=fields or {"model_type": "strawberry"},
        files=[("img_file", pair) for pair in files],
        timeout=60,
    )


def result_of(server, data, model_type="strawberry"):
    """Upload one picture, see that it is answered, and return its result."""
    response = upload(server, ("p", data), model_type=model_type)
    assert response.status_code == 200, response.text
    (result,) = response.json()["results"]
    return result


def check_refused(response, status, text):
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {"error": text}


def check_no_second_line(server):
    """After a request for TWO_LINES: the log names it once, in a line of its own."""
    (line,) = [line for line in server.log.splitlines() if "second" in line]
    assert line.startswith("127.0.0.1 ")


def check_result(result):
    """What holds for the result of any picture."""
    for found in result["detections"]:
        assert list(found) == ["label", "score", "box"]
        assert 0 <= found["score"] <= 1
        assert round(found["score"], 3) == found["score"]
        assert all(isinstance(number, int) for number in found["box"])
        x, y, width, height = found["box"]
        assert 0 <= x < x + width <= result["width"]
        assert 0 <= y < y + height <= result["height"]
