"""Lesson 8: inference: send pictures, get back what a network sees in them.

Run    python 08_inference.py   (then open http://127.0.0.1:4958/)
Calls  scripts/08_inference.sh
Notes  request > files, from, e.g.
"""
# /// script
# dependencies = ["flask>=3.1,<4", "numpy>=2.3,<3", "opencv-python>=5.0,<6"]
# ///

import os
import socket
import zlib
from concurrent.futures import ThreadPoolExecutor

os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = "25000000"  # read once, while cv2 loads

import cv2
import numpy as np
from flask import Flask, abort, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

app = Flask(__name__)  # Erratum 30: the notes leave out this line and three imports.
app.json.ensure_ascii = app.json.sort_keys = False
app.config.update(MAX_CONTENT_LENGTH=16_000_000, MAX_FORM_PARTS=20)  # beyond: 413
RequestEntityTooLarge.description = "request: over 16 MB, 20 parts or 500 kB of text"
# One thread for all pictures: a crowd waits its turn and cannot fill the memory, and a
# net must not be used by two at once.
worker = ThreadPoolExecutor(1)
cv2.setNumThreads(1)  # more would cost more time in sum; for more cores: gunicorn


# 1. From the client's bytes to a picture: an array (height, width, 3) of uint8,
# blue first. Erratum 25: a name in request.files holds one file, not a list.
def read_picture(file):
    data = file.read()
    # Each FF DA in a JPEG is one more pass over the picture: 1000 take half a minute.
    jpeg = data.startswith(b"\xff\xd8\xff") and data.count(b"\xff\xda") <= 50
    # A PNG is a list of chunks with their lengths, which OpenCV believes: 41 bytes can
    # ask for 4 GB. And 16 MB can unpack to 16 GB, where 25 Mpx need 100 MB.
    at, chunks, unpack = (len(data) if jpeg else 8), [], zlib.decompressobj()
    while data[at + 4 : at + 8] not in (b"IEND", b"") and len(chunks) < 5000:
        start, at = at, at + 12 + int.from_bytes(data[at : at + 4], "big")
        chunks.append(data[start + 4 : at - 4])
    png = data[:8] + data[at : at + 12] == b"\x89PNG\r\n\x1a\n\0\0\0\0IEND\xaeB`\x82"
    packed = b"".join(chunk[4:] for chunk in chunks if chunk.startswith(b"IDAT"))
    try:
        unpack.decompress(packed, 101_000_000)
        fits = jpeg or (png and not unpack.unconsumed_tail)
        pixels = np.frombuffer(data, np.uint8)  # Erratum 26: not fromstring, not int8.
        img = cv2.imdecode(pixels, cv2.IMREAD_COLOR) if fits else None
    except (cv2.error, zlib.error):  # Erratum 28: too many pixels raise, others do not.
        img = None
    if img is None:  # Erratum 29: name the file, do not print what is in it.
        abort(400, f"img_file: {file.filename[:99]!r} is no JPEG or PNG up to 25 Mpx")
    return img


# 2. From a picture to detections, with boxes [x, y, width, height] in whole pixels.
def detection(img, label, score, box):
    size = np.array(img.shape[1::-1])
    low = np.clip(np.round(box[:2]), 0, size - 1)
    high = np.clip(np.round(np.add(box[:2], box[2:])), low + 1, size)
    box = [int(n) for n in (*low, *(high - low))]  # NumPy's numbers are not JSON
    return {"label": label, "score": round(float(score), 3), "box": box}


def resized(img, longer_side):
    scale = longer_side / max(img.shape[:2])
    width, height = (max(1, round(side * scale)) for side in img.shape[1::-1])
    return cv2.resize(img, (width, height), interpolation=cv2.INTER_AREA), scale


# Codes from an eighth of the longer side on: thousands of tiny ones cost minutes.
def find_qrcodes(img):
    small, scale = resized(img, min(800, max(img.shape[:2])))
    detector = cv2.QRCodeDetectorAruco()
    settings = detector.getArucoParameters()
    settings.minMarkerPerimeterRate = 0.15
    detector.setArucoParameters(settings)
    found, texts, corners, _ = detector.detectAndDecodeMulti(small)
    codes = zip(texts, corners) if found else []  # a text is empty if unreadable
    return [detection(img, t, 1, cv2.boundingRect(c / scale)) for t, c in codes if t]


# A small network: for every fourth pixel a score and the ways to the berry's sides.
MODEL = np.fromfile(f"{app.root_path}/models/strawberry.onnx", np.uint8)
NET = cv2.dnn.readNetFromONNX(MODEL)
THRESHOLD = 0.4  # on dev photographs: precision 0.78, recall 0.78


def find_strawberries(img):
    small, scale = resized(img, 416)
    square = np.full((416, 416, 3), 114, np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    NET.setInput(cv2.dnn.blobFromImage(square, 1 / 255, swapRB=True))
    score, *sides = NET.forward()[0]
    # The middle of a berry is where no neighbour scores higher.
    peaks = (score >= THRESHOLD) & (score == cv2.dilate(score, np.ones((3, 3))))
    (y, x), scores = np.nonzero(peaks), score[peaks]
    left, top, right, bottom = (side[peaks] for side in sides)
    boxes = np.stack([x * 4 + 2 - left, y * 4 + 2 - top, left + right, top + bottom], 1)
    best = cv2.dnn.NMSBoxes(boxes, scores, THRESHOLD, 0.5)  # one box for each berry
    return [detection(img, "strawberry", scores[i], boxes[i] / scale) for i in best]


MODELS = {"strawberry": find_strawberries, "qrcode": find_qrcodes}  # add yours here


def inference(img, model_type):
    return MODELS[model_type](img)


def work(file, model_type, draw):
    img = read_picture(file)
    found = inference(img, model_type)
    if not draw:
        size = {"width": img.shape[1], "height": img.shape[0]}
        return {"filename": file.filename, **size, "detections": found}
    thick, pink = max(2, max(img.shape) // 300), (255, 0, 255)
    for one in found:
        above = one["box"][0], max(one["box"][1] - 2 * thick, 8 * thick)
        cv2.rectangle(img, one["box"], pink, thick)
        cv2.putText(img, one["label"], above, 0, thick / 3, pink, thick)
    return cv2.imencode(".jpg", img)[1].tobytes()


# 3. The request (erratum 32): args in the URL, form and files in the body (erratum 33).
@app.post("/exam")
def exam():
    names = request.files.items()
    files = {n: {"filename": f.filename, "bytes": len(f.read())} for n, f in names}
    return jsonify(args=request.args, form=request.form, files=files)


@app.route("/inference", methods=["POST", "PUT"])
def api_inference():
    model_type = request.form.get("model_type", "")[:40]
    if model_type not in MODELS:
        abort(400, f"model_type: {model_type!r} is not one of {', '.join(MODELS)}")
    draw = request.args.get("draw", "0")[:40]
    if draw not in ("0", "1"):
        abort(400, f"draw: {draw!r} is not one of 0, 1")
    files = [file for file in request.files.getlist("img_file") if file.filename]
    if not 1 <= len(files) <= (10 if draw == "0" else 1):
        abort(400, f"img_file: {len(files)} files, allowed are 1 to 10, 1 with draw=1")
    # One after the other; erratum 31: every result is kept, not the last one alone.
    answers = [worker.submit(work, f, model_type, draw == "1").result() for f in files]
    if draw == "1":
        return app.response_class(answers[0], status=200, mimetype="image/jpeg")
    return jsonify(model_type=model_type, results=answers)


# Every error is JSON: what abort() says above, and what Flask and Werkzeug raise.
@app.errorhandler(HTTPException)
def json_error(error):
    headers = error.get_headers()[1:]  # such as Allow; the first says that it is HTML
    return jsonify(error=error.description), error.code, headers


@app.get("/")
def page():
    return f"""<!doctype html><title>Lesson 8</title><h1>What is in the picture?</h1>
<form method="post" enctype="multipart/form-data" action="/inference">
<p><label>Pictures <input type="file" name="img_file" multiple required></label>
<p><label>Model <select name="model_type">{"<option>".join(["", *MODELS])}</select></label>
<p>Answer as <button>JSON</button> <button formaction="/inference?draw=1">Picture</button></form>"""


if __name__ == "__main__":
    socket.setdefaulttimeout(30)  # who is silent for half a minute is hung up on
    app.run(host="127.0.0.1", port=4958, debug=False)

# Try it: replace
#     "qrcode": find_qrcodes}
# with
#     "qrcode": find_qrcodes, "blind": lambda img: []}
# and there is a third model, which sees nothing: the answer names it, too.
#     curl -s http://127.0.0.1:4958/inference -d model_type=banana
#     #=> {"error":"model_type: 'banana' is not one of strawberry, qrcode, blind"}
