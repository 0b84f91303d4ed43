"""Lesson 8: inference: send pictures, get back what a model finds in them.

Run    python 08_inference.py
Open   http://127.0.0.1:4958/
Calls  scripts/08_inference.sh
Notes  request > files; request > from > e.g.

The file has five parts, and you may stop reading after any of them: 1 the request,
2 the models, 3 checks and sizes, 4 limits and workers, 5 the page. If you copy it
elsewhere, copy the folders models (for find_strawberries) and scripts (for
/sample.jpg), too.
"""
# /// script
# dependencies = ["flask>=3.1,<4", "numpy>=2.3,<3", "opencv-python>=5.0,<6"]
# ///

# Most of these are for parts 3 and 4: you can skip them now.
import atexit
import collections
import http.client
import io
import logging
import math
import multiprocessing
import multiprocessing.connection
import multiprocessing.resource_tracker
import os
import queue
import signal
import sys
import threading
import traceback

import cv2
import numpy as np
from flask import (
    Flask,
    Request,
    abort,
    jsonify,
    render_template_string,
    request,
    send_from_directory,
)
from werkzeug.exceptions import BadHost, HTTPException, RequestEntityTooLarge
from werkzeug.serving import WSGIRequestHandler

# --- 1. THE REQUEST: files -> bytes -> numpy -> cv2 -> model -> JSON ------------------

app = Flask(__name__)  # The notes lack this line and some imports (notes: mistake 30).


# This view shows what arrived: args from the URL, form (the text fields) and files from
# the body (notes: mistakes 29, 34). Of two values of one name you see the first. This
# view is only for learning: leave it out of a service of your own.
# app.post(...) is app.route(..., methods=["POST"]).
@app.post("/exam")
def exam():
    files = {}
    for name, file in request.files.items():
        files[name] = {"filename": file.filename, "bytes": len(file.read())}
    # jsonify(args=x) is jsonify({"args": x}).
    return jsonify(args=request.args, form=request.form, files=files)


@app.route("/inference", methods=["POST", "PUT"])  # PUT, as in the notes
def api_inference():
    # What does the client ask for? If it is wrong, these functions call abort().
    check_content_type()
    model_type = asked_model()
    # With ?draw=1 the answer is the picture with boxes in it, and not JSON.
    wants_picture = asked_draw()
    files = asked_files(wants_picture)

    # One file after the other. The list keeps the result of each (notes: mistake 33).
    results = []
    for file in files:
        # ask_worker() (part 4) sends the file to a worker, a program beside the server.
        # The worker calls look_at_picture(), and answer is what that returns. If one
        # file is bad, ask_worker() calls abort(400): then the client gets no results at
        # all, not even those of the good files.
        answer = ask_worker(file, model_type, wants_picture)
        if wants_picture:
            # The JPEG is the whole answer: asked_files() allows only one file.
            return app.response_class(answer, status=200, mimetype="image/jpeg")
        # "|" makes one dict of the two.
        results.append({"filename": file.filename} | answer)
    return jsonify(model_type=model_type, results=results)


# This runs in a worker. If a bad file crashes the worker, or keeps it busy too long,
# only the worker is lost: the server goes on.
def look_at_picture(data, model_type, wants_picture):
    """Take the bytes of a picture file. Return a dict of width, height and detections;
    if wants_picture, the bytes of a JPEG. For a bad file raise BadPicture."""
    # Most of what is used here is in part 3.
    check_format(data)
    # A large JPEG is read at 1/2, 1/4 or 1/8 of its width and height, to save time:
    # then reduction is 2, 4 or 8, else 1.
    reduction = choose_reduction(data)
    # The bytes as an array of uint8: numbers from 0 to 255 (notes: mistake 28).
    encoded = np.frombuffer(data, np.uint8)
    # Decode them: from a compressed file to pixels. The picture is an array (height,
    # width, 3) of uint8: blue, green and red of each pixel.
    img = cv2.imdecode(encoded, IMREAD_MODES[reduction])
    # None: a bad file, or too little memory (notes: mistakes 31, 32). If imdecode
    # raises an exception instead, answer_of_worker() in part 4 catches it.
    if img is None:
        raise BadPicture("cannot be read: it is damaged, or takes too much memory")
    detections = inference(img, model_type)
    if wants_picture:
        return draw_detections(img, detections)
    return answer_in_pixels_of_upload(data, img, reduction, detections)


def inference(img, model_type):
    """The detections of one model in a picture, as a list."""
    # MODELS, at the end of part 2, has a function for each name. find is that function.
    find = MODELS[model_type]
    # list(): a model may use yield instead of return. What that gives can be gone
    # through only once, and draw_detections() does so twice.
    return list(find(img))


# What the client asks for. A 400 or 415 (in JSON: see json_error() in part 3) names the
# field, shows what is wrong (at most 40 characters of it; 99 of a file's name), and
# says what is allowed. "!r" puts a value in quotes, and writes a newline as \n.

# curl -F and the page send the first kind of body, curl -d the second.
FORM_TYPES = ["multipart/form-data", "application/x-www-form-urlencoded"]


def check_content_type():
    """Refuse a body of another kind, such as JSON: it brings no fields and no files."""
    # The Content-Type without what may follow it, such as a boundary; "" without one.
    mimetype = request.mimetype
    if mimetype and mimetype not in FORM_TYPES:
        allowed = ", ".join(FORM_TYPES)
        # 415: Unsupported Media Type.
        abort(415, f"Content-Type: {mimetype[:40]!r} is not one of {allowed}")


def asked_model():
    """The name of the model to use."""
    # With request.form["model_type"], as in the notes, a request without this field
    # would get a 400 that does not name it.
    model_type = request.form.get("model_type", "")
    if model_type not in MODELS:
        allowed = ", ".join(MODELS)
        abort(400, f"model_type: {model_type[:40]!r} is not one of {allowed}")
    return model_type


def asked_draw():
    """Whether ?draw=1 is in the URL."""
    draw = request.args.get("draw", "0")
    if draw not in ("0", "1"):
        abort(400, f"draw: {draw[:40]!r} is not one of 0, 1")
    return draw == "1"


def asked_files(wants_picture):
    """The files to look at. (MAX_FILES is in part 4.)"""
    # request.files["img_file"] is the first file alone; getlist() gives all of them
    # (notes: mistake 27).
    files = []
    for file in request.files.getlist("img_file"):
        # seek() returns the new position: that of the end is the file's length.
        length = file.seek(0, os.SEEK_END)
        # Back to the beginning of the file.
        file.seek(0)
        # Leave out an empty file without a name: a browser sends one if nobody has
        # chosen a file.
        if file.filename or length > 0:
            files.append(file)
    most_files = 1 if wants_picture else MAX_FILES
    if len(files) < 1 or len(files) > most_files:
        allowed = f"1 to {MAX_FILES}, or only 1 with draw=1"
        abort(400, f"img_file: {len(files)} files, allowed are {allowed}")
    return files


class BadPicture(Exception):
    """The file cannot be looked at. The text says why, and goes on after the name of
    the file: with "is damaged" the client gets a 400, img_file: 'a.jpg' is damaged."""


# Requests are refused in other places, too: the end of part 4 lists all the places.


# --- 2. THE MODELS: from a picture to a list of detections ----------------------------

# A model is a function: it is given a picture, and it returns a list of detections, an
# empty one if it finds nothing. The picture is an array (height, width, 3) of uint8:
# blue, green, red. A JPEG whose longer side has 1600 pixels or more arrives at 1/2, 1/4
# or 1/8 of its size; at least 800 pixels are left on that side (ENOUGH_SIDE, part 3).
# Do not change the pixels: with ?draw=1 the client gets them, with the boxes drawn in.
#
# To add a model, read detection(), just below, and MODELS, at the end of this part.
# What is between them you can skip at a first reading: the two models, and resized(),
# which part 3 calls, too.


def detection(img, label, score, box):
    """One thing that was found, as a dict of label, score and box.

    label: a text. score: from 0 to 1; the higher, the more certain (1 if your model
    does not know). box: [x, y, width, height] in pixels of img; x, y: its top left
    corner. Raise ValueError if score is not from 0 to 1."""
    # img.shape is (height, width, 3); [:2] takes the first two.
    img_height, img_width = img.shape[:2]
    # float(): in NumPy's uint8, for example, 200 + 100 is 44.
    box = [float(number) for number in box]
    x, y, width, height = box
    # "not 0 <= ..." is True for NaN ("not a number"), too; "score < 0 or score > 1" is
    # not. Check a number from a client in this way as well: float("nan") is NaN.
    if not 0 <= score <= 1:
        raise ValueError(f"score: {score} is not from 0 to 1")
    # Cut off what lies outside the picture: np.clip(x, 0, 640) is 0 if x is less than
    # 0, and 640 if x is more than 640.
    left = np.clip(x, 0, img_width)
    top = np.clip(y, 0, img_height)
    right = np.clip(x + width, 0, img_width)
    bottom = np.clip(y + height, 0, img_height)
    # np.clip() returns numbers of NumPy. Before they go into the JSON, part 3 rounds
    # them to whole pixels (round() gives numbers of Python), and makes the box at least
    # 1 x 1.
    return {
        "label": str(label),
        # float() turns a number of NumPy into one of Python: jsonify does not take most
        # of NumPy's.
        "score": round(float(score), 3),
        "box": [left, top, right - left, bottom - top],
    }


def resized(img, longer_side):
    """The picture with this many pixels on its longer side, and the scale: its new size
    divided by its old one."""
    height, width = img.shape[:2]
    scale = longer_side / max(height, width)
    # At least one pixel: a picture may be 1000000 x 1.
    new_width = max(1, round(width * scale))
    new_height = max(1, round(height * scale))
    # Mind the order: cv2.resize wants (width, height), img.shape begins with (height,
    # width).
    size = (new_width, new_height)
    # Most pictures become smaller here, and INTER_AREA is the way to do that: each new
    # pixel is the mean of the old ones in its place.
    return cv2.resize(img, size, interpolation=cv2.INTER_AREA), scale


# Search in a picture whose longer side has at most this many pixels.
QR_SIDE = 800
# OpenCV first looks for the squares in the corners of a QR code. Ignore squares whose
# perimeter is shorter than 0.15 x the longer side of the picture: thousands of tiny
# ones would take minutes.
QR_MIN_PERIMETER = 0.15


def find_qrcodes(img):
    longer_side = max(img.shape[:2])
    small, scale = resized(img, min(QR_SIDE, longer_side))

    detector = cv2.QRCodeDetectorAruco()
    settings = detector.getArucoParameters()
    settings.minMarkerPerimeterRate = QR_MIN_PERIMETER
    detector.setArucoParameters(settings)
    # corners has the shape (codes, 4, 2): x and y of the four corners of each code.
    is_found, corners = detector.detectMulti(small)
    if not is_found:
        return []

    detections = []
    for corners_of_code in corners:
        content = read_qrcode(detector, small, corners_of_code)
        # Leave out a code that was seen but could not be read.
        if not content:
            continue
        # min(axis=0) is the smallest x and the smallest y. From pixel 3 to pixel 5 are
        # three pixels, but 5 - 3 is 2: so add 1 to the largest.
        left, top = corners_of_code.min(axis=0)
        right, bottom = corners_of_code.max(axis=0) + 1
        # Back to pixels of img: the search was in small. (With an array, "/" divides
        # each of the four numbers.)
        box = np.array([left, top, right - left, bottom - top]) / scale
        # errors="replace": bytes that are not UTF-8 become "\ufffd".
        text = content.decode("utf-8", errors="replace")
        # A code that could be read is certain: its score is 1.
        detections.append(detection(img, text, 1, box))
    return detections


def read_qrcode(detector, img, corners_of_code):
    """The content of the code with these corners (4, 2), as bytes; empty if it cannot
    be read."""
    try:
        # Not detector.decode(): it raises an exception if the text is not UTF-8.
        # decodeBytes() wants (1, 4, 2): so one more pair of []. "_": nobody needs this
        # value.
        content, _ = detector.decodeBytes(img, np.array([corners_of_code]))
    except cv2.error as error:
        if is_out_of_memory(error):
            # Give up the whole picture: answer_of_worker() in part 4 catches this.
            raise
        # There are kinds of QR codes that OpenCV does not know.
        return b""
    return content


# Read the neural network when this file is loaded. Each worker loads this file (part 4
# says how), so each has a network of its own, and looks at one picture at a time. Two
# pictures at the same time in one network would give errors or wrong answers. (The
# server loads this file as well: its network takes memory, but sees no picture.)
# app.root_path is the folder of this file. Read the file with NumPy: in a folder with
# Korean letters OpenCV would not find it on Windows.
NET_FILE = os.path.join(app.root_path, "models", "strawberry.onnx")
NET = cv2.dnn.readNetFromONNX(np.fromfile(NET_FILE, np.uint8))
# The network looks at pictures whose longer side has 384 pixels. Both sides must be
# multiples of 32. It answers for each cell of 4 x 4 pixels (its output stride is 4).
NET_SIDE = 384
NET_STEP = 32
CELL = 4
# The grey around the pictures that trained the network.
GREY = (114, 114, 114)
# Below this score, from 0 to 1, nothing is called a strawberry. models/README.md says
# how often the network is right.
THRESHOLD = 0.48
# Two boxes are of the same berry if their IoU (intersection over union) is above this
# number: the area that they share, divided by the area that they cover together.
MAX_IOU = 0.5


def find_strawberries(img):
    # A picture whose longer side has fewer than 384 pixels becomes larger.
    small, scale = resized(img, NET_SIDE)
    height, width = small.shape[:2]
    # Add grey rows below and grey columns on the right, up to the next multiples of 32
    # (this is called letterboxing). For 216 rows: -216 % 32 is 8, and 216 + 8 is 224.
    grey_rows = -height % NET_STEP
    grey_columns = -width % NET_STEP
    # The four numbers: how many above, below, on the left, on the right.
    padded = cv2.copyMakeBorder(
        small, 0, grey_rows, 0, grey_columns, cv2.BORDER_CONSTANT, value=GREY
    )

    # The network wants (1, 3, height, width) of the padded picture: 1 picture; red,
    # green and blue, as numbers from 0 to 1.
    NET.setInput(cv2.dnn.blobFromImage(padded, 1 / 255, swapRB=True))
    # It answers (1, 5, height / 4, width / 4). [0] takes the 1 picture: five numbers
    # for each cell.
    numbers = NET.forward()[0]

    # The first of the five is the score: is the middle of a strawberry in this cell?
    scores = numbers[0]
    # A cell counts if its score is high enough and no neighbour has a higher one.
    # dilate() gives for each cell the highest score in the 3 x 3 cells around it,
    # itself included. (np.ones((3, 3)) says which of them count: all nine.)
    highest_near = cv2.dilate(scores, np.ones((3, 3)))
    # "&" is "and" for each cell: is_middle holds True or False for each.
    is_middle = (scores >= THRESHOLD) & (scores == highest_near)

    boxes = []
    box_scores = []
    # argwhere gives the row and the column of each cell that is True.
    for row, column in np.argwhere(is_middle):
        # The cell's other four numbers: the distances from the cell's middle to the
        # berry's sides, in pixels of small. "1:" leaves out number 0, the score.
        distances = numbers[1:, row, column]
        # tolist() makes a list of Python's numbers.
        to_left, to_top, to_right, to_bottom = distances.tolist()
        middle_x = column * CELL + CELL / 2
        middle_y = row * CELL + CELL / 2
        left = middle_x - to_left
        top = middle_y - to_top
        boxes.append([left, top, to_left + to_right, to_top + to_bottom])
        box_scores.append(float(scores[row, column]))

    # Two cells that are near, or neighbours with the same score, may both find the same
    # berry. Their boxes overlap: keep the better one (non-maximum suppression, NMS).
    # NMSBoxes gives the positions of the boxes to keep, the best one first.
    detections = []
    for position in cv2.dnn.NMSBoxes(boxes, box_scores, THRESHOLD, MAX_IOU):
        box = np.array(boxes[position]) / scale
        detections.append(detection(img, "strawberry", box_scores[position], box))
    return detections


# Add your own model here, and its function above: the end of this file has an example.
# After a restart the page and the error message list it, and ?draw=1 works with it.
# Change MODELS and the limits in this file, not in one that imports it: the workers may
# not see the change.
# - If your model needs a file, for example a neural network, read it outside the
#   function, as NET is read above: then every worker reads it once, while it starts.
#   (So does the server: count its memory once more.)
# - If it looks at pictures larger than ENOUGH_SIDE (part 3), make that number larger.
# - The server's terminal shows what it print()s or writes with app.logger.warning().
# - If it raises BadPicture, the client gets a 400 with the text. After any other
#   exception (but see the next point) the client gets a 500, and the terminal shows the
#   traceback.
# - Each picture may take at most MAX_SECONDS (3) and, on Linux, MAX_MEMORY (280 MB). If
#   your model needs more, the client gets a 400 that blames the picture: make these two
#   numbers in part 4 larger. The client gets such a 400 as well if your model ends the
#   worker. The terminal shows "a worker was ended" if it was too slow, and "a worker
#   has crashed" if it ended by itself.
# - If it keeps more than MAX_KEPT (60 MB) from picture to picture, make that number
#   larger, too: otherwise, on Linux, the worker is replaced after the picture.
# - If a traceback names inference(), answer_in_pixels_of_upload(), draw_detections() or
#   jsonify(), and none of your functions, your model returned a wrong value: no list,
#   or an item that detection() did not make, or a box with NaN.
MODELS = {
    "strawberry": find_strawberries,
    "qrcode": find_qrcodes,
}


# --- 3. CHECKS AND SIZES: formats, large photographs, the answer, drawing, JSON -------

# MAX_PIXELS and the texts whose names begin with TOO are in part 4.


def check_format(data):
    """Raise BadPicture for a file that does not start like a JPEG, PNG or WebP, and for
    an animated PNG.

    OpenCV reads more formats, but photographs seldom come in them, and each has a
    decoder of its own (the code that makes pixels of the file), which a bad file can
    attack. (If you allow one more, change the page in part 5, too: where "image/webp"
    and "WebP" stand.)"""
    # A JPEG starts with the bytes \xff (255) and \xd8 (216). The next \xff begins its
    # first segment (see jpeg_size()).
    is_jpeg = data.startswith(b"\xff\xd8\xff")
    is_png = data.startswith(b"\x89PNG\r\n\x1a\n")
    is_webp = data.startswith(b"RIFF") and data[8:12] == b"WEBP"
    # With "ftyp" in this place OpenCV takes any file for an AVIF, even if it starts
    # like a JPEG or a WebP.
    is_avif = data[4:8] == b"ftyp"
    if is_avif or not (is_jpeg or is_png or is_webp):
        raise BadPicture("is not a JPEG, PNG or WebP picture: save it as JPEG")
    # An animated PNG holds several pictures. If a part of one is missing, imdecode() of
    # OpenCV 5.0 leaves there what was in the memory before: perhaps a part of another
    # client's picture.
    if is_png and has_chunk(data, b"acTL"):
        raise BadPicture("is an animated PNG: save it as JPEG")


def has_chunk(data, wanted):
    """Whether a PNG has a chunk of this kind."""
    # After 8 bytes come the chunks: a length (4 bytes), a kind (4 bytes), as many bytes
    # as the length says, and 4 more bytes, a checksum.
    position = 8
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8]
        if kind == wanted:
            return True
        position += 12 + length
    return False


# Large photographs. A phone's JPEG is 4000 pixels wide or more, and the models look at
# pictures with 384 pixels (strawberries) or at most 800 (QR codes) on the longer side.
# Decoding a JPEG at 1/4 of its width and height takes half the time, and its pixels
# take a sixteenth of the memory.
IMREAD_MODES = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
# At least this many pixels must be left on the longer side of a JPEG that is decoded
# smaller. No model here looks at more (QR_SIDE, NET_SIDE).
ENOUGH_SIDE = 800


def choose_reduction(data):
    """How many times smaller to decode a file: 1, 2, 4 or 8.

    Raise BadPicture if a JPEG has too many pixels."""
    size = jpeg_size(data)
    if size is None:
        return 1
    width, height = size
    # Check the full size here. OpenCV has the same limit (WORKER_ENVIRONMENT, in part
    # 4), but it checks the size of the smaller picture: at 1/8 it would accept a JPEG
    # with 64 times as many pixels.
    if width * height > MAX_PIXELS:
        raise BadPicture(TOO_MANY_PIXELS)
    longer_side = max(width, height)
    reduction = 1
    # For example 4000 pixels: 2000 and 1000 are enough, 500 is not. So reduction
    # becomes 4.
    while reduction < 8 and longer_side / (2 * reduction) >= ENOUGH_SIDE:
        reduction = 2 * reduction
    return reduction


def jpeg_size(data):
    """(width, height) as a JPEG's header says; None if there is no such header.

    You may skip the inside: it goes from piece to piece until it finds the header."""
    # After two bytes, \xff and \xd8, come segments: \xff, a kind (1 byte), a length (2
    # bytes), and what the segment holds. The length counts its own two bytes. Two bytes
    # a and b are the number 256 * a + b: from_bytes() calls this order "big".
    position = 2
    # data[position] alone would be a number, 255; this is one byte.
    while data[position : position + 1] == b"\xff":
        kind = data[position + 1 : position + 2]
        # In the usual JPEGs a segment of one of these three kinds is the header of the
        # picture. It holds 1 other byte, then the height (2 bytes), then the width (2
        # bytes). So before the height stand 5 bytes: \xff, the kind, the length (2
        # bytes) and the other byte.
        if kind in (b"\xc0", b"\xc1", b"\xc2"):
            height = int.from_bytes(data[position + 5 : position + 7], "big")
            width = int.from_bytes(data[position + 7 : position + 9], "big")
            return width, height
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        position += 2 + length
    return None


def size_before_decoding(data, img, reduction):
    """(width, height) of a JPEG of which img is a smaller copy.

    Raise BadPicture if the JPEG's header and the picture do not fit together."""
    # The size in the header.
    width, height = jpeg_size(data)
    # Decoding at 1/4 makes 3 pixels of 9, 10, 11 or 12: it rounds up.
    small_width = math.ceil(width / reduction)
    small_height = math.ceil(height / reduction)
    img_height, img_width = img.shape[:2]
    if (img_width, img_height) == (small_width, small_height):
        return width, height
    # A photograph's EXIF block says how the camera was held. OpenCV turns the picture
    # accordingly: width and height may change places. (If the smaller copy is a square,
    # this cannot be seen: then width and height may be wrong by up to 7 pixels.)
    if (img_width, img_height) == (small_height, small_width):
        return height, width
    raise BadPicture("is damaged: its header gives another size than its picture has")


def answer_in_pixels_of_upload(data, img, reduction, detections):
    """What the client gets for a file: a dict of width, height and detections.

    A model's boxes are in pixels of img, with fractions. Change them to whole pixels of
    the file. Raise BadPicture as size_before_decoding() does."""
    height, width = img.shape[:2]
    if reduction > 1:
        width, height = size_before_decoding(data, img, reduction)

    in_pixels_of_upload = []
    for found in detections:
        x, y, box_width, box_height = found["box"]
        left = round(x * reduction)
        top = round(y * reduction)
        right = round((x + box_width) * reduction)
        bottom = round((y + box_height) * reduction)
        # max(): at least one pixel. min(): stay inside the picture. A width of 9 is
        # decoded at 1/4 as 3, and 3 * 4 is more than 9.
        left = min(left, width - 1)
        top = min(top, height - 1)
        right = min(max(right, left + 1), width)
        bottom = min(max(bottom, top + 1), height)
        box = [left, top, right - left, bottom - top]
        # "|" makes a new dict: a model may keep the old one, and return it again.
        in_pixels_of_upload.append(found | {"box": box})
    return {"width": width, "height": height, "detections": in_pixels_of_upload}


PINK = (155, 0, 208)  # blue, green, red
WHITE = (255, 255, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX  # OpenCV 5 writes Korean letters, too
# Pixels of the drawn picture's longer side, at most: enough for a screen.
DRAWN_SIDE = 1600
# Characters of a label, at most: a QR code can hold thousands.
MAX_LABEL = 30


def draw_detections(img, detections):
    """The bytes of a JPEG: the picture with a box and a label for each detection.

    It is img, so a large JPEG is drawn at 1/2, 1/4 or 1/8 of its size. Raise BadPicture
    if there is too little memory."""
    longer_side = min(DRAWN_SIDE, max(img.shape[:2]))
    drawn, scale = resized(img, longer_side)
    height, width = drawn.shape[:2]
    # A larger picture gets thicker lines and larger letters.
    thickness = max(2, longer_side // 300)
    font_scale = max(0.4, longer_side / 1400)
    # For each pixel: is a label there already? The next one must not cover it. At first
    # all are False. [rows, columns] is a rectangle of them.
    is_taken = np.zeros((height, width), bool)

    # The boxes in pixels of the drawn picture.
    boxes = []
    for found in detections:
        scaled = [round(number * scale) for number in found["box"]]
        x, y, box_width, box_height = scaled
        # At least one pixel: otherwise rectangle() draws nothing.
        boxes.append([x, y, max(1, box_width), max(1, box_height)])

    # First all the boxes, so that none of them covers a label.
    for box in boxes:
        cv2.rectangle(drawn, box, PINK, thickness)

    for found, box in zip(detections, boxes):
        x, y, box_width, _ = box
        score = f"{found['score']:.2f}"
        text = f"{found['label'][:MAX_LABEL]} {score}"
        label_width, label_height, to_baseline = label_size(text, font_scale)
        # If the label is much wider than the box, write the score alone.
        if label_width > 1.5 * box_width:
            text = score
            label_width, label_height, to_baseline = label_size(text, font_scale)
        # The label stands above its box, but inside the picture.
        left = max(0, min(x, width - label_width))
        top = free_row(is_taken, left, y - label_height, label_width, label_height)
        # There is no free row down to the edge: this box stays without a label.
        if top is None:
            continue
        is_taken[top : top + label_height, left : left + label_width] = True
        cv2.rectangle(drawn, (left, top, label_width, label_height), PINK, cv2.FILLED)
        start = (left + 2, top + to_baseline)
        cv2.putText(drawn, text, start, FONT, font_scale, WHITE, 1, cv2.LINE_AA)

    # With too little memory OpenCV 5.0 gives False and a part of the JPEG, or nothing.
    is_encoded, jpeg = cv2.imencode(".jpg", drawn)
    if not is_encoded:
        raise BadPicture(TOO_MUCH_MEMORY)
    return jpeg.tobytes()


def label_size(text, font_scale):
    """Width and height of a label, and the distance from its top to the line on which
    the letters stand: there putText starts. Letters such as g go below that line."""
    size, below = cv2.getTextSize(text, FONT, font_scale, 1)
    text_width, text_height = size
    # 2 pixels of margin on the left, on the right and at the top.
    return text_width + 4, text_height + below + 2, text_height + 2


def free_row(is_taken, left, top, label_width, label_height):
    """Start at y = top, and go down in steps of one label's height. Return the first y
    where the label covers no other one; None if there is none."""
    top = max(0, top)
    while top + label_height <= is_taken.shape[0]:
        # any(): is one of these pixels taken?
        if not is_taken[top : top + label_height, left : left + label_width].any():
            return top
        top += label_height
    return None


# Send Korean letters as they are, and the keys in the order in which they are written.
app.json.ensure_ascii = False
app.json.sort_keys = False


# Every error becomes JSON: those of abort(), and those that Flask and Werkzeug raise,
# such as 404, 405, 413 (the request is too large) and 500 (a view has raised an
# exception). The response keeps its headers, such as Allow.
@app.errorhandler(HTTPException)
def json_error(error):
    text = error.description
    if error.code == 413:
        text = TOO_LARGE
    # Werkzeug does not say which header it means.
    if isinstance(error, BadHost):
        text = f"Host: {request.host[:40]!r} is not the name of a host"
    response = error.get_response()
    response.data = jsonify(error=text).data
    response.content_type = "application/json"
    return response


# --- 4. LIMITS AND WORKERS ------------------------------------------------------------

# First the request, then the workers. What stands from here to the end of read_form()
# is for every route of the app, also for routes that you add. So is json_error().

# How large a request may be, in bytes: a few photographs of a phone.
MAX_REQUEST = 16_000_000
MEGABYTES = MAX_REQUEST // 1_000_000
# For requests of curl -F and of the page: how many parts, that is fields and files
# together.
MAX_PARTS = 20
# How many bytes in each text field, and in the headers of each file. (Keep it above
# 70000: Werkzeug reads pieces of 65536 bytes, and a piece must fit, with a few more.)
MAX_TEXT = 100_000
KILOBYTES = MAX_TEXT // 1000
# Above one of these limits the answer is 413, with this text.
TOO_LARGE = f"request: over {MEGABYTES} MB, {MAX_PARTS} parts or {KILOBYTES} kB of text"
app.config["MAX_CONTENT_LENGTH"] = MAX_REQUEST
app.config["MAX_FORM_PARTS"] = MAX_PARTS
app.config["MAX_FORM_MEMORY_SIZE"] = MAX_TEXT


class StrictRequest(Request):
    """Flask's request, but a form that breaks the rules raises ValueError. Otherwise
    Werkzeug would go on without any field or file, and the client would be told that
    model_type is missing."""

    def make_form_data_parser(self):
        # The Content-Type of a form holds its boundary, a text that the client chooses.
        # Werkzeug searches for it with re, and re keeps a megabyte for a long one. (It
        # has 70 characters at most, says the standard, RFC 2046.)
        if len(self.content_type or "") > 300:
            raise ValueError("the Content-Type is too long")
        parser = super().make_form_data_parser()
        # With True, as it was, the parser would catch the ValueError itself.
        parser.silent = False
        return parser


app.request_class = StrictRequest


class PlainHeaders(http.client.HTTPMessage):
    """The headers of a request in Python's own server, that of "python 08_inference.py"
    and "flask run".

    It reads headers as it reads those of an email. If the Content-Type is multipart/...
    or message/..., it looks for the parts of that email: a long Content-Type can take
    minutes, or leave megabytes behind for ever. So tell it text/plain, which has no
    parts, and limit the headers. An exception here becomes the status 431."""

    def get_content_type(self):
        return "text/plain"

    def set_raw(self, name, value):
        """Keep one more header.

        Python limits the lines (100 of 65536 bytes), and that is not enough: a header
        may go on in further lines, and one line may hold several headers, with a "\\r"
        after each."""
        if len(self) == 100 or len(value) > 65_536:
            raise http.client.HTTPException("more than 100, or one is too long")
        super().set_raw(name, value)


WSGIRequestHandler.MessageClass = PlainHeaders
# When this server has waited for a client for 30 seconds, it closes the connection.
WSGIRequestHandler.timeout = 30


CANNOT_BE_READ = (
    "request: its URL or its body cannot be read; names must be UTF-8, the body must "
    "be complete, and the Content-Type multipart/form-data must name a boundary"
)


# A body may come in chunks. If the client stops in the middle of one, the server of
# "python 08_inference.py" (Werkzeug 3.1.9) makes a buffer shorter than it was. Python
# then reads past the end of the buffer. What stands there in the memory, perhaps a part
# of another request, would become a part of this body. So give Werkzeug a buffer that
# cannot become shorter, that of io.BufferedReader: trying it is a ValueError, and the
# client gets a 400.
@app.before_request
def use_buffer_of_fixed_length():
    body = request.environ["wsgi.input"]
    if isinstance(body, io.RawIOBase):
        request.environ["wsgi.input"] = io.BufferedReader(body)


# Read the body of a form here, before the view: so the views need not care about a body
# that cannot be read. There are three kinds of reasons: one "except" for each.
@app.before_request
def read_form():
    # curl -d sends the Content-Type application/x-www-form-urlencoded. For this type
    # Werkzeug 3.1.9 does not look at MAX_FORM_PARTS and MAX_FORM_MEMORY_SIZE: it reads
    # all fields at once, and 16 MB of them take a gigabyte of memory. So for such a
    # request the whole body may have at most MAX_TEXT bytes.
    is_urlencoded = request.mimetype == "application/x-www-form-urlencoded"
    if is_urlencoded:
        # If the body comes in chunks, nobody knows its length beforehand. Then Werkzeug
        # reads up to this limit, and no error says that there was more. So let it read
        # one byte too many: see below.
        request.max_content_length = MAX_TEXT + 1
    try:
        # Asking for args and form makes Flask read the URL and the body of the request.
        _ = request.args
        _ = request.form
    except RequestEntityTooLarge:
        # 413: pass it on.
        raise
    except OSError:
        # For example, the disk is full: Flask puts a large file into a temporary file.
        # Do not pass this error on: Flask would log it together with the path. This
        # hook runs before Flask answers 404, so the client may have chosen any path,
        # even one with a newline (lesson 5): with it the client could write false lines
        # into the log. So log it here: exception() is error(), with the traceback.
        app.logger.exception("the body of a request could not be read")
        abort(500)
    except Exception:
        # ValueError: see StrictRequest. Under waitress, a server for real use, a URL
        # that is not UTF-8 is a ValueError, too. If a body ends early or its chunks
        # break the rules of HTTP, Werkzeug raises a 400 that does not say so; another
        # server for real use, gunicorn, has exceptions of its own.
        abort(400, CANNOT_BE_READ)
    # tell(): how many bytes have been read.
    if is_urlencoded and request.stream.tell() > MAX_TEXT:
        abort(413)


# The pictures in one request. MAX_PARTS has to be larger: it counts model_type, too.
MAX_FILES = 10

# The workers.
#
# A small file can make a decoder, the code that reads a JPEG, PNG or WebP, compute for
# minutes, ask for gigabytes, or crash. No check finds every such file. So the server
# never decodes a picture. It passes the bytes to a worker, and ends the worker if the
# answer takes too long.
#
# A worker is a process: a running program with its own memory. One process can be ended
# without harm to another. So such a file costs one worker at most, and a new worker
# takes its place. The server is a process, too. In it the requests run in threads:
# threads run at the same time and share the variables of their process.
#
#   server: api_inference() calls ask_worker() for each file. ask_worker()
#           - takes a worker that has nothing to do: idle_workers.take(),
#           - sends it the file through a pipe and waits for the answer: Worker.ask(),
#           - gives it back: idle_workers.give_back().
#   worker: run_worker() calls look_at_next_file() again and again. That waits for a
#           file and calls answer_of_worker(), which calls look_at_picture(). The answer
#           goes back through the pipe.
#
# The workers also make the lesson fast: there is one for each core of the processor,
# up to 8, and each looks at a different picture. But the pictures of one request come
# one after the other.

# The largest picture. 25 megapixels are 75 MB once they are decoded.
MAX_PIXELS = 25_000_000
MEGAPIXELS = MAX_PIXELS // 1_000_000
TOO_MANY_PIXELS = f"has more than {MEGAPIXELS} megapixels: send a smaller picture"

# A worker that needs more than MAX_SECONDS for one picture is ended. The time begins
# when the worker has the whole file; waiting for a worker does not count. The largest
# good picture takes about one second. (On a computer that is busy with other things it
# takes longer: these are seconds by the clock.)
MAX_SECONDS = 3
TOO_SLOW = f"takes more than {MAX_SECONDS} seconds: save it as a new JPEG"

# The memory that a picture may take, in bytes, beyond what its worker holds already.
# This is about 11 bytes for each of MAX_PIXELS: enough for nearly all pictures. (Not
# for a WebP with transparent parts that has 25 megapixels and 15 MB.)
# Only Linux keeps such a limit.
MAX_MEMORY = 280_000_000
TOO_MUCH_MEMORY = "takes too much memory: save it as a new JPEG"

# A worker that has finished a picture and still holds this many bytes more than at its
# start is replaced. Photographs of 12 megapixels leave up to 40 million behind.
MAX_KEPT = 60_000_000

# The text for a picture that has crashed its worker.
CRASHED = "stops the process that reads it: save it as a new JPEG"

# One worker for each core. (cpu_count() returns None if it cannot find out: then one
# worker.) At most 8, because each can fill MAX_MEMORY.
WORKERS = min(os.cpu_count() or 1, 8)

# A worker is a new Python that imports this file: this way of starting a process is
# called "spawn". (The import does not start a server or more workers: the calls for
# that stand under "if __name__" at the end. If you start another file, which imports
# this one, "spawn" imports that file, too: there the start of the server must stand
# under "if __name__" as well.) "spawn" works on every system and under every server;
# "fork", a copy of the server, is not safe where threads run. SPAWN has what
# multiprocessing has, such as Process and Pipe, and starts processes in this way.
SPAWN = multiprocessing.get_context("spawn")


# ask_worker() is all that the server does with one file. Below it stand, in this order:
# how a worker is asked (Worker), how requests wait for a worker (IdleWorkers), how the
# workers are started, and what runs in a worker.
# task is what look_at_picture() gets beside the file: model_type and wants_picture. In
# "def" the "*" collects all further arguments in one tuple; in a call it passes them on
# one by one. So to give look_at_picture() one more value, change look_at_picture(), and
# in api_inference() the call of ask_worker().
def ask_worker(file, *task):
    """The answer of look_at_picture() for an uploaded file. Call abort() if there is no
    answer."""
    # With "python 08_inference.py" the workers are started already, and this does
    # nothing.
    # "flask run", or a server for real use such as gunicorn, imports this file. Then
    # the last lines of the file do not run, and the first picture starts the workers.
    start_workers()
    # worker is not the process itself, but a Worker object, which stays in the server.
    # worker.process is its process, or None if stop() has ended that. (If it has ended
    # by itself, ask() notices it.)
    worker = idle_workers.take()
    try:
        # Flask has put a large file (of more than 500 kB) into a temporary file. Read
        # it only now, with a worker at hand: so the server holds about as many large
        # files in memory as there are workers, however many requests wait.
        data = file.read()
        outcome, answer = worker.ask(data, *task)
    finally:
        # Always give the worker back, even after an exception. If its process was
        # ended, start_in_background() gives it a new one and then puts it back. It does
        # so in a thread: this request need not wait.
        if worker.process is None:
            start_in_background(worker)
        else:
            idle_workers.give_back(worker)
    if outcome == "bad picture":
        abort(400, f"img_file: {file.filename[:99]!r} {answer}")
    if outcome == "bug":
        app.logger.error("look_at_picture() failed:\n%s", answer)
        abort(500)
    return answer


# Two threads must not start or end a process at the same time: start() also asks which
# processes have ended, and Linux and macOS tell that only once for each. So there is a
# lock: only one thread can be inside "with process_lock"; the others wait there until
# it has left.
process_lock = threading.Lock()


class Worker:
    """An object in the server. It starts one worker process, sends pictures to it, and
    receives the answers. If the process ends, the object stays: start() gives it a new
    process."""

    def __init__(self):
        self.process = None
        self.pipe = None

    def start(self):
        """Start a process, and wait until it is ready. There must not be one: call
        stop() first. Raise EOFError or ConnectionError if the process ends before it is
        ready, and for example OSError if the system cannot start one."""
        # A pipe has two ends, one for each process. What one end sends, the other
        # receives: recv() receives what send() sends, and recv_bytes() receives what
        # send_bytes() sends. recv() and recv_bytes() wait until something comes.
        # poll(3) waits at most 3 seconds, and says whether something has come; poll()
        # does not wait.
        # If the other end is closed, poll() and poll(3) say True at once (on Windows
        # they raise an exception); the sending and receiving functions raise
        # ConnectionError or EOFError.
        self.pipe, pipe_of_worker = SPAWN.Pipe()
        # The new process calls run_worker(pipe_of_worker). daemon=True: when the
        # server ends as usual, this process is ended, too.
        process = SPAWN.Process(target=run_worker, args=(pipe_of_worker,), daemon=True)
        # The process gets a copy of pipe_of_worker. "with" closes the server's copy,
        # even if start() raises, for example OSError because the server has too many
        # open files. The server notices the end of the process only when no copy is
        # open any more.
        with pipe_of_worker, process_lock:
            process.start()
        self.process = process
        try:
            # Wait until the process says "ready", or has ended (process.sentinel stands
            # for its end).
            multiprocessing.connection.wait([self.pipe, process.sentinel])
            # If nothing has come, the process has ended. But the pipe need not know: on
            # Windows a copy of the other end can be left over. recv() would wait for
            # ever.
            if not self.pipe.poll():
                raise EOFError("it ended before it was ready")
            # Take "ready" out of the pipe. If the process has ended, this raises
            # EOFError.
            self.pipe.recv()
        except (EOFError, ConnectionError):
            self.stop()
            raise

    def stop(self):
        if self.process is None:
            return
        with process_lock:
            self.process.kill()
            # Wait for its end: without this it would stay in the list of processes.
            self.process.join()
        self.process = None
        self.pipe.close()

    def send_task(self, task):
        """Tell the process which task comes (see ask_worker()). Return True if it
        answers "go on"; False if it does not answer.

        So ask(), below, knows that the process is alive before it sends the file. If
        the process ends after that, the file is most likely the reason."""
        if self.process is None:
            return False
        try:
            self.pipe.send(task)
            # The process answers at once. This time does not count for the picture.
            if not self.pipe.poll(MAX_SECONDS):
                return False
            return self.pipe.recv() == "go on"
        except (EOFError, ConnectionError):
            return False

    def ask(self, data, *task):
        """Let the process look at a file; data: its bytes; task: see ask_worker().
        Return ("ok", answer), ("bad picture", reason) or ("bug", traceback)."""
        try:
            # The process may have ended since its last picture, for example because it
            # kept too much memory (see run_worker()), or because the system killed it.
            # Or it has never started, or does not answer. Then end what is left of it,
            # start a new one, and wait for that: this request needs it now.
            if not self.send_task(task):
                self.stop()
                self.start()
                if not self.send_task(task):
                    raise RuntimeError("a new worker does not take a picture")
            return self.send_file(data)
        except Exception:
            # For example, the server has too little memory to receive what the process
            # has sent. A part of it may still be in the pipe: the next picture must not
            # get that.
            self.stop()
            # Raise the same exception again: the client gets a 500.
            raise

    def send_file(self, data):
        """Send the file to a process that has said "go on". Return as ask()."""
        try:
            self.pipe.send_bytes(data)
            # No answer in MAX_SECONDS: end the process. (If it has crashed, recv()
            # raises an exception: see "except" below.)
            if not self.pipe.poll(MAX_SECONDS):
                self.stop()
                app.logger.warning("a worker was ended: MAX_SECONDS are over")
                return "bad picture", TOO_SLOW
            # What answer_of_worker() has returned, in the other process.
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            # The other end of the pipe is closed: the process has crashed. On Linux and
            # macOS its exit code is the number of a signal with a minus, such as -11.
            process = self.process
            self.stop()
            app.logger.warning("a worker has crashed: exit code %s", process.exitcode)
            return "bad picture", CRASHED


@atexit.register
def start_and_stop_no_more():
    """You may skip this function. atexit: Python calls it when the server ends.

    After it multiprocessing ends the workers. A request that is waiting for a worker's
    answer would take that for a crash, and would tell its client that the picture is
    bad. So this function takes the lock and keeps it: the request then waits in stop()
    until the program is gone. (multiprocessing does not use this lock.)"""
    process_lock.acquire()


class IdleWorkers:
    """The Worker objects that have nothing to do. A request takes one out, and puts it
    back.

    The request that has waited longest gets the next worker.

    Several threads may come here at the same time: hence the lock."""

    # For those who know queue.Queue and concurrent.futures.ProcessPoolExecutor: with a
    # Queue a request with ten files could take back the worker that it has just given
    # back, again and again, while others wait. An Executor fails for everybody once one
    # of its processes dies.

    def __init__(self):
        self.lock = threading.Lock()
        # A deque is like a list; popleft() takes its first item out.
        self.workers = collections.deque()
        # One queue for each request that waits. A queue passes things from one thread
        # to another: its get() waits until somebody calls its put().
        self.waiting = collections.deque()

    def take(self):
        """Take a worker out; wait if there is none."""
        with self.lock:
            if self.workers:
                return self.workers.popleft()
            my_queue = queue.SimpleQueue()
            self.waiting.append(my_queue)
        # Wait here, outside of "with self.lock": give_back() has to come in to bring a
        # worker. (If it was quick, the worker is in my_queue already, and get() returns
        # at once.)
        return my_queue.get()

    def give_back(self, worker):
        """Hand a worker to the request that has waited longest, or keep it."""
        with self.lock:
            if self.waiting:
                queue_of_request = self.waiting.popleft()
                # That request stops waiting: its my_queue.get() returns the worker.
                queue_of_request.put(worker)
            else:
                self.workers.append(worker)


idle_workers = IdleWorkers()


# Each of these calls the next:
#   start_workers()        all the workers, once
#   start_in_background()  one worker: makes a thread, and does not wait for it
#   start_worker()         runs in that thread: starts the worker, and then puts it into
#                          idle_workers
#   Worker.start()         makes the process, and waits until it says "ready"


# Environment variables: texts that a process passes on to the processes that it starts.
# start_workers() sets them for the server, and so for all that it starts from then on.
WORKER_ENVIRONMENT = {
    # Above MAX_PIXELS cv2.imdecode() raises cv2.error: so a PNG or WebP that is too
    # large is refused. (choose_reduction() counts a JPEG's pixels.) OpenCV reads the
    # variable while a worker imports cv2.
    "OPENCV_IO_MAX_IMAGE_PIXELS": str(MAX_PIXELS),
    # NumPy would start a thread for each core in each worker, and reserve memory for
    # them: see cv2.setNumThreads(1) in run_worker().
    "OPENBLAS_NUM_THREADS": "1",
    # What your model print()s appears at once, even in a log file.
    "PYTHONUNBUFFERED": "1",
    # malloc, the function that hands out memory, reads the next three on most Linux
    # systems. This one makes it overwrite memory that is not used any more (blocks of
    # more than a kilobyte). If a decoder has a mistake, and does not fill a whole
    # picture, nothing of an earlier picture is left there.
    "MALLOC_PERTURB_": "85",
    # You may skip these two: they only make the lesson a tenth faster. Without them
    # malloc would give the memory of each picture back to the system, and ask for it
    # again for the next.
    "MALLOC_TRIM_THRESHOLD_": "64000000",
    "MALLOC_MMAP_THRESHOLD_": "32000000",
}


start_lock = threading.Lock()
workers_are_started = False


def start_workers():
    """Start the workers, unless they are started already."""
    # global: change the variable of the file; do not make a new one in the function.
    global workers_are_started
    # Two requests may come at once; only the first one starts them.
    with start_lock:
        if workers_are_started:
            return
        workers_are_started = True
        os.environ.update(WORKER_ENVIRONMENT)
        for _ in range(WORKERS):
            start_in_background(Worker())


def start_in_background(worker):
    """Start a worker in a thread of its own. A start takes half a second; the caller
    does not wait for it."""
    # daemon=False: so the server, when it ends, waits for this thread, and no worker is
    # left half started. (Without it a thread takes daemon from the thread that makes
    # it. That is often one which answers a request, and most servers make it with
    # daemon=True.)
    thread = threading.Thread(target=start_worker, args=(worker,), daemon=False)
    try:
        thread.start()
    except RuntimeError:
        # There are too many threads, or the server is ending. ask() starts the process
        # with the next picture.
        idle_workers.give_back(worker)


def start_worker(worker):
    try:
        ignore_ctrl_c_while_starting()
        # The server is ending: a new process could not import this file any more.
        if not threading.main_thread().is_alive():
            return
        worker.start()
    except Exception as error:
        # There is no process, or it ended before it was ready, and has printed why. Its
        # Worker object still becomes one of the idle workers: ask() tries to start it
        # again with the next picture.
        app.logger.error("a worker did not start: %r", error)
    idle_workers.give_back(worker)


def ignore_ctrl_c_while_starting():
    """You may skip this function.

    Ctrl+C reaches the workers, too, as the signal SIGINT. Later run_worker() ignores
    it. Without this function a worker that is just starting would end with a
    traceback."""
    # Windows cannot do it.
    if sys.platform == "win32":
        return
    # This thread blocks SIGINT, and the worker that it starts inherits that. But when
    # Python starts its helper process, resource_tracker, it unblocks SIGINT again. So
    # start the helper first.
    multiprocessing.resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


# From here to the end of end_with_server(): what runs in the worker. The worker also
# runs look_at_picture() in part 1, the models, and most of part 3.


def run_worker(pipe):
    """Look at one picture after the other, until the server is gone, or until this
    process has kept too much memory."""
    # Ctrl+C (the signal SIGINT) does not end a worker: the server ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # daemon=True: the end of this process does not wait for this thread.
    threading.Thread(target=end_with_server, daemon=True).start()
    # OpenCV computes in one thread in each worker: with more, the workers would disturb
    # each other, and be slower together.
    cv2.setNumThreads(1)
    send_decoder_messages_nowhere()
    held_at_start = held_memory()
    pipe.send("ready")
    while True:
        held = held_memory()
        # Some pictures leave memory behind. If it has become too much, return: the
        # process ends with this function. The next request that takes this worker finds
        # it dead, and starts a new one.
        if held > held_at_start + MAX_KEPT:
            app.logger.warning("a worker is replaced: it kept more than MAX_KEPT")
            return
        limit_memory(held + MAX_MEMORY)
        try:
            look_at_next_file(pipe)
        except (EOFError, ConnectionError):
            # The server is gone.
            return


def send_decoder_messages_nowhere():
    """You may skip the inside.

    If a file is bad, the decoders of OpenCV may print a piece of it to stderr, which is
    for error messages. So a client could write into it what looks like a line of the
    server's log. Throw away what OpenCV prints."""
    # What app.logger writes to sys.stderr must still get out. The system knows each
    # open file by a number, and stderr by number 2. dup() gives the same file one more
    # number.
    old_stderr = sys.stderr
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1, errors="backslashreplace")
    # If you have called logging.basicConfig(), its handler still has the old one.
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is old_stderr:
            handler.setStream(sys.stderr)
    # os.devnull is a file that throws everything away. After dup2() number 2, where
    # OpenCV prints, leads to it.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)


def look_at_next_file(pipe):
    """Wait for a task of Worker.ask() and for its file, and send the answer."""
    task = pipe.recv()
    pipe.send("go on")
    data = pipe.recv_bytes()
    pipe.send(answer_of_worker(data, *task))


def answer_of_worker(data, *task):
    """Return ("ok", answer), ("bad picture", reason) or ("bug", traceback)."""
    try:
        return "ok", look_at_picture(data, *task)
    except BadPicture as error:
        return "bad picture", str(error)
    except Exception as error:
        if is_out_of_memory(error):
            return "bad picture", TOO_MUCH_MEMORY
        if has_too_many_pixels(error):
            return "bad picture", TOO_MANY_PIXELS
        # A mistake in this file, or in a model of yours: the server logs it.
        return "bug", traceback.format_exc()


def is_out_of_memory(error):
    """Whether an exception says that there is not enough memory."""
    # Not error.code: it may be left over from an earlier exception.
    if isinstance(error, cv2.error):
        text = str(error)
        return "Insufficient memory" in text or "bad_alloc" in text
    return isinstance(error, MemoryError)


def has_too_many_pixels(error):
    """Whether cv2.imdecode() has raised this exception because of MAX_PIXELS."""
    # validateInputImageSize is the function inside imdecode() that checks the size.
    return isinstance(error, cv2.error) and "validateInputImageSize" in str(error)


def held_memory():
    """How many bytes this process has asked for and not given back (0 if the system is
    not Linux)."""
    if sys.platform != "linux":
        return 0
    with open("/proc/self/status") as status:
        for line in status:
            # Such as "VmData:   132848 kB". Memory that the process has never used
            # counts, too. RLIMIT_DATA, below, counts in the same way.
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024


def limit_memory(limit):
    """On Linux: from now on this process gets at most this many bytes in all."""
    if sys.platform != "linux":
        return
    # Imported here, not at the top: Windows does not have this module.
    import resource

    # Two numbers: the limit, and the highest that it may become. Keep the second.
    _, highest = resource.getrlimit(resource.RLIMIT_DATA)
    # You may have set a limit, too, for example with ulimit -d.
    if highest != resource.RLIM_INFINITY:
        limit = min(limit, highest)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, highest))


def end_with_server():
    """End this process as soon as the server has ended, however it ended, even in the
    middle of a picture."""
    # Two other things are not enough. daemon=True in Worker.start() does not help when
    # the server is killed. And run_worker() notices that the server is gone only when
    # it uses the pipe: after its picture. With no server to end it, that picture may
    # take minutes.
    # The parent process is the server, and join() waits until it ends.
    multiprocessing.parent_process().join()
    # sys.exit() would end only this thread.
    os._exit(0)


# These refuse a request, each with a message that says why, in this order:
# - Python's own server, before Flask sees the request: its first line cannot be read
#   (400 or 505) or is too long (414); too many headers, or too long (431: PlainHeaders
#   and Python's own limits). These are pages of that server, not JSON. (For a URL such
#   as http://[/ or http://a:99999/ it sends nothing: it closes the connection, and
#   prints a traceback.)
# - read_form(): the request is too large (413), or it cannot be read (400).
# - Flask, before the view: the header Host is not the name of a host (400), no route
#   has this path (404), or the route does not allow this method (405).
# - check_content_type(), asked_model(), asked_draw(), asked_files(): the body is no
#   form (415); model_type, draw, or the number of files is wrong (400).
# - look_at_picture() and what it calls: the file is no JPEG, PNG or WebP, is an
#   animated PNG, cannot be read, is damaged, or has too many pixels (a JPEG). They
#   raise BadPicture.
# - answer_of_worker(): the picture has too many pixels (a PNG, a WebP, or a JPEG whose
#   header jpeg_size() does not find), or takes too much memory (on Linux).
# - Worker.send_file(): the picture takes more than MAX_SECONDS, or the worker crashes.
# ask_worker() turns the last three of this list into a 400, and json_error() in part 3
# turns all but the first into JSON. (A 500 is no refusal: something is wrong in the
# server.)
# What if the fault lies with a model of yours? The comment above MODELS in part 2 says
# what the client gets.


# --- 5. THE PAGE ----------------------------------------------------------------------


# The page is one string: HTML, its style, its script. You may skip style and script:
# the script sends the same requests as curl, and shows the answers, names and labels as
# text, never as HTML. page(), below, fills in models and limits at {% %} and {{ }}.
# Only a browser without JavaScript shows <noscript>.
PAGE = """<!doctype html>
<html lang="ko">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>사진에 무엇이 있나요? · What is in the picture?</title>
<style>
  :root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }
  body { max-width: 45rem; margin: auto; padding: 1rem; overflow-wrap: anywhere }
  label { display: block; margin-top: 1rem; font-weight: bold }
  input, select, button { padding: 0.5rem 1rem; font: inherit; border-radius: 0.5rem }
  input { box-sizing: border-box; width: 100%; padding: 2rem 1rem; border: 2px dashed }
  button { margin-top: 1rem; border: 0; background: #d0009b; color: white }
  :focus-visible { outline: 3px solid #d0009b; outline-offset: 2px }
  pre { white-space: pre-wrap }
  figure { position: relative; width: fit-content; margin: 2rem 0 1rem }
  img { display: block; max-width: 100%; max-height: 80vh }
  .box { position: absolute; box-sizing: border-box; border: 3px solid #d0009b }
  .box span { position: absolute; z-index: 1; bottom: 100%; left: -3px; padding: 0 3px;
              background: #d0009b; color: white; font-size: 0.75rem;
              white-space: nowrap }
</style>

<h1>사진에 무엇이 있나요?<br><small>What is in the picture?</small></h1>
<form method="post" enctype="multipart/form-data" action="/inference">
  <label for="pictures">사진을 고르거나 끌어다 놓으세요 · Choose or drop pictures</label>
  <input type="file" id="pictures" name="img_file" multiple required
         accept="image/jpeg,image/png,image/webp" aria-describedby="limits">
  <small id="limits">JPEG, PNG, WebP · {{ megabytes }} MB ·
    한 장에 {{ 100 * megapixels }}만 픽셀까지 ({{ megapixels }} megapixels)</small>
  <label for="model">모델 · Model</label>
  <select id="model" name="model_type">
    {% for name in models %}<option>{{ name }}</option>{% endfor %}
  </select><br>
  <button id="find">찾기 · Find</button>
  <button id="sample" type="button" hidden>예제 사진으로 해 보기 · Try a sample</button>
  <noscript>
    <button formaction="/inference?draw=1">사진에 상자 그리기 · Picture with boxes</button>
  </noscript>
</form>
<div id="results" aria-live="polite"></div>

<script>
  const form = document.querySelector("form");
  const input = document.getElementById("pictures");
  const sample = document.getElementById("sample");
  const results = document.getElementById("results");
  const NO_ANSWER = "서버가 응답하지 않습니다 · The server does not answer";
  let newestSearch = 0;

  function add(parent, tag, text = "") {
    const element = document.createElement(tag);
    element.textContent = text;
    parent.append(element);
    return element;
  }

  async function ask(file) {
    const fields = new FormData();
    fields.set("model_type", form.model_type.value);
    fields.set("img_file", file);
    let error = NO_ANSWER;
    try {
      const response = await fetch("/inference", { method: "POST", body: fields });
      // A server in front of the lesson, such as nginx, answers in its own way.
      if (!response.ok) error = `${response.status} ${response.statusText}`;
      const answer = await response.json();
      if (answer.results || answer.error) return answer;
    } catch {
      // No answer, or one that is not JSON.
    }
    return { error };
  }

  async function search(file) {
    add(results, "h2", file.name);
    const message = add(results, "p", "찾는 중… · Looking…");
    const figure = add(results, "figure");
    // A screen reader reads the list below.
    figure.setAttribute("aria-hidden", "true");
    const image = add(figure, "img");
    image.alt = "";
    image.src = URL.createObjectURL(file);
    // Loaded, or not a picture: the browser need not keep the file in memory.
    image.onload = () => URL.revokeObjectURL(image.src);
    image.onerror = image.onload;
    const list = add(results, "ol");
    const details = add(results, "details");
    add(details, "summary", "JSON");

    const answer = await ask(file);
    add(details, "pre", JSON.stringify(answer, null, 2));
    if (answer.error) {
      message.textContent = answer.error;
      return;
    }
    const { width, height, detections } = answer.results[0];
    message.textContent = `${detections.length}개를 찾았습니다 · ${detections.length} found`;
    if (detections.length === 0) {
      message.textContent = "아무것도 찾지 못했습니다 · Nothing found";
    }
    for (const { label, score, box } of detections) {
      add(list, "li", `${label} ${score.toFixed(2)}`);
      const frame = add(figure, "div");
      frame.className = "box";
      // In percent of the picture, since the screen may show it smaller.
      frame.style.left = `${(100 * box[0]) / width}%`;
      frame.style.top = `${(100 * box[1]) / height}%`;
      frame.style.width = `${(100 * box[2]) / width}%`;
      frame.style.height = `${(100 * box[3]) / height}%`;
      // A small box has room for its number in the list, not for the score as well.
      const number = list.children.length;
      const isSmall = box[2] < width / 6;
      add(frame, "span", isSmall ? number : `${number}: ${score.toFixed(2)}`);
    }
  }

  // One request for each picture, one after the other.
  async function searchAll(files) {
    newestSearch += 1;
    const thisSearch = newestSearch;
    results.replaceChildren();
    for (const file of files) {
      if (thisSearch === newestSearch) {
        await search(file);
      }
    }
  }

  form.onsubmit = (event) => {
    event.preventDefault();
    searchAll(input.files);
  };
  input.onchange = () => searchAll(input.files);
  sample.hidden = false;
  sample.onclick = async () => {
    // No files yet: this ends an earlier search.
    searchAll([]);
    const thisSearch = newestSearch;
    const files = [];
    try {
      const response = await fetch("/sample.jpg");
      if (response.ok) {
        const blob = await response.blob();
        files.push(new File([blob], "strawberries.jpg"));
      }
    } catch {
      // No answer.
    }
    // Meanwhile another picture may have been chosen.
    if (thisSearch !== newestSearch) return;
    searchAll(files);
    if (files.length === 0) results.textContent = NO_ANSWER;
  };
</script>
"""


@app.get("/")
def page():
    # Flask's templates (Jinja) fill in the {{ name }} of each model. A "<" in it
    # becomes "&lt;".
    return render_template_string(
        PAGE, models=MODELS, megabytes=MEGABYTES, megapixels=MEGAPIXELS
    )


# The picture behind "Try a sample".
@app.get("/sample.jpg")
def sample():
    # conditional=False: always send the picture. Otherwise Werkzeug obeys the header
    # If-Modified-Since (send it only if it has changed since this date), and for some
    # dates Werkzeug 3.1.9 raises OverflowError.
    # The folder is the one beside this file: Flask begins at app.root_path.
    folder = "scripts/pictures"
    return send_from_directory(folder, "strawberries.jpg", conditional=False)


if __name__ == "__main__":
    # Start the workers now, not with the first picture.
    start_workers()
    app.run(host="127.0.0.1", port=4958, debug=False)

# Try it: replace
#     MODELS = {
# with
#     def find_middle(img):
#         height, width = img.shape[:2]
#         box = [width / 4, height / 4, width / 2, height / 2]
#         return [detection(img, "middle", 1, box)]
#     MODELS = {
#         "middle": find_middle,
# MODELS stands at the end of part 2. In your file "def" and "MODELS" begin at the left
# edge: leave out the "#" and the five spaces after it.
# If the lesson is running, stop it with Ctrl+C. Then type "sh scripts/run.sh 8", which
# makes this call. Or start the lesson again, and use your model in the other terminal:
#     curl -s "http://127.0.0.1:4958/inference" -F model_type=middle -F img_file=@scripts/pictures/qrcode.png
#     #=> {"model_type":"middle","results":[{"filename":"qrcode.png","width":480,"height":240,"detections":[{"label":"middle","score":1.0,"box":[120,60,240,120]}]}]}
# Open the page http://127.0.0.1:4958/ as well: it offers your model.
# What does the lesson answer if you write 2 * width in place of width / 2?
