"""Lesson 8 over HTTP: what it answers, what it refuses, and that it lives on."""

import re
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import requests
from collection import PICTURES, lesson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BERRIES = (PICTURES / "strawberries.jpg").read_bytes()
CODES = (PICTURES / "qrcode.png").read_bytes()
NO_PICTURE = "img_file: {!r} is no JPEG or PNG up to 25 Mpx"
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with lesson("08_inference", tmp_path_factory.mktemp("inference")) as server:
        yield server


def post(server, files, query="", method="POST", **fields):
    """Send (filename, bytes) pairs as img_file; the answer of the server."""
    return requests.request(
        method,
        f"{server.url}/inference{query}",
        data=fields or {"model_type": "strawberry"},
        files=[("img_file", pair) for pair in files],
        timeout=60,
    )


def jpeg(img, *options):
    return cv2.imencode(".jpg", img, options)[1].tobytes()


def png(img):
    return cv2.imencode(".png", img)[1].tobytes()


def chunk(name, body, length=None):
    """A chunk of a PNG; `length` may lie."""
    length = len(body) if length is None else length
    return (
        struct.pack(">I", length)
        + name
        + body
        + struct.pack(">I", zlib.crc32(name + body))
    )


def qr(text, scale=6, border=4):
    code = cv2.QRCodeEncoder.create().encode(text)
    code = cv2.copyMakeBorder(code, *[border] * 4, cv2.BORDER_CONSTANT, value=255)
    return cv2.resize(code, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)


def plain(width, height, value=128):
    return np.full((height, width, 3), value, np.uint8)


# --- What it answers


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_one_result_for_each_file_in_order(server, method):
    files = [("a.png", CODES), ("b.jpg", BERRIES), ("a.png", png(plain(30, 20)))]
    answer = post(server, files, method=method)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    assert list(body) == ["model_type", "results"]
    assert body["model_type"] == "strawberry"
    sizes = [(r["filename"], r["width"], r["height"]) for r in body["results"]]
    assert sizes == [("a.png", 480, 240), ("b.jpg", 640, 480), ("a.png", 30, 20)]
    assert [len(r["detections"]) for r in body["results"]] == [0, 3, 0]


def check_detections(result):
    for found in result["detections"]:
        assert list(found) == ["label", "score", "box"]
        assert 0 <= found["score"] <= 1
        assert round(found["score"], 3) == found["score"]
        x, y, w, h = found["box"]
        assert all(isinstance(number, int) for number in found["box"])
        assert 0 <= x < x + w <= result["width"]
        assert 0 <= y < y + h <= result["height"]


def test_boxes_are_whole_pixels_inside_the_picture(server):
    berries = cv2.imdecode(np.frombuffer(BERRIES, np.uint8), cv2.IMREAD_COLOR)
    # Berries cut by every edge, and the thinnest pictures that there are.
    files = [
        ("cut.png", png(berries[170:330, 200:400])),
        ("half.png", png(berries[:200])),
    ]
    files += [
        (f"{w}x{h}.png", png(plain(w, h))) for w, h in [(1, 1), (1, 900), (900, 1)]
    ]
    for result in post(server, files).json()["results"]:
        check_detections(result)


@pytest.mark.parametrize(
    "text",
    ["Hello Flask", "https://flask.palletsprojects.com/", "안녕하세요", "A" * 200],
)
def test_qr_codes_are_read_back_exactly(server, text):
    code = qr(text)
    result = post(server, [("q.png", png(code))], model_type="qrcode").json()[
        "results"
    ][0]
    assert [found["label"] for found in result["detections"]] == [text]
    check_detections(result)
    edge = (4 + 2) * 6  # ours and the encoder's own, in modules of 6 pixels
    side = len(code) - 2 * edge
    assert result["detections"][0]["box"] == pytest.approx(
        [edge, edge, side, side], abs=2
    )


def test_every_code_in_the_picture(server):
    texts = {f"code {n}" for n in range(12)}
    tiles = [qr(text, scale=4) for text in sorted(texts)]
    sheet = np.vstack([np.hstack(tiles[row : row + 4]) for row in (0, 4, 8)])
    answer = post(server, [("sheet.jpg", jpeg(sheet))], model_type="qrcode")
    found = answer.json()["results"][0]["detections"]
    assert {one["label"] for one in found} == texts
    assert len(found) == 12


def with_orientation(data, orientation):
    """A JPEG with an EXIF block that says how the camera was held."""
    tiff = b"MM\0*\0\0\0\x08" + struct.pack(
        ">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0
    )
    exif = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def test_exif_rotation_is_applied(server):
    """A picture taken with the camera turned answers like the upright one."""
    berries = cv2.imdecode(np.frombuffer(BERRIES, np.uint8), cv2.IMREAD_COLOR)
    turned = cv2.rotate(berries, cv2.ROTATE_90_COUNTERCLOCKWISE)
    lossless = (cv2.IMWRITE_JPEG_QUALITY, 100)
    files = [
        ("upright.jpg", jpeg(berries, *lossless)),
        ("turned.jpg", with_orientation(jpeg(turned, *lossless), 6)),
    ]
    upright, exif = post(server, files).json()["results"]
    assert (exif["width"], exif["height"]) == (640, 480)
    assert len(exif["detections"]) == len(upright["detections"]) == 3
    boxes = [sorted(found["box"] for found in r["detections"]) for r in (upright, exif)]
    assert np.abs(np.subtract(*boxes)).max() <= 3


@pytest.mark.parametrize("kind", ["gray.jpg", "gray.png", "alpha.png", "sixteen.png"])
def test_other_kinds_of_picture(server, kind):
    gray = plain(64, 48)[..., 0]
    alpha = np.dstack([plain(64, 48), gray])
    img = {"gray": gray, "alpha": alpha, "sixteen": gray.astype(np.uint16) * 257}
    data = cv2.imencode(kind[-4:], img[kind.split(".")[0]])[1].tobytes()
    result = post(server, [(kind, data)]).json()["results"][0]
    assert (result["width"], result["height"]) == (64, 48)


def test_draw_answers_the_picture_with_boxes(server):
    found = post(server, [("b.jpg", BERRIES)]).json()["results"][0]["detections"]
    answer = post(server, [("b.jpg", BERRIES)], "?draw=1")
    assert answer.headers["Content-Type"] == "image/jpeg"
    drawn = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    before = cv2.imdecode(np.frombuffer(BERRIES, np.uint8), cv2.IMREAD_COLOR)
    assert drawn.shape == before.shape
    assert found
    pink = (drawn[..., 1] < 90) & (drawn[..., 0] > 170) & (drawn[..., 2] > 170)
    assert not (before[..., 1] < 90)[before[..., 0] > 170].any()
    for one in found:
        x, y, w, h = one["box"]
        # Along the left and the right side of the box, and not in its middle.
        assert pink[y : y + h, max(x - 2, 0) : x + 3].any(axis=1).mean() > 0.9
        assert pink[y : y + h, x + w - 3 : x + w + 2].any(axis=1).mean() > 0.9
        assert not pink[y + h // 2, x + w // 2]


def test_draw_0_is_json(server):
    answer = post(server, [("b.jpg", BERRIES)], "?draw=0")
    assert answer.json() == post(server, [("b.jpg", BERRIES)]).json()


def test_16_clients_each_get_their_own_answer(server):
    """Different pictures at once: exactly what each gets alone."""
    berries = cv2.imdecode(np.frombuffer(BERRIES, np.uint8), cv2.IMREAD_COLOR)
    pictures = [png(np.roll(berries, 17 * n, axis=1)[: 480 - 9 * n]) for n in range(15)]
    pictures.append(CODES)

    def ask(data):
        return post(server, [("p.png", data)]).json()

    alone = [ask(data) for data in pictures]
    assert len({str(answer) for answer in alone}) == 16
    with ThreadPoolExecutor(16) as clients:
        for _ in range(4):
            assert list(clients.map(ask, pictures)) == alone


# --- What it refuses


def refused(answer, status, text):
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json() == {"error": text}


ALLOWED = "is not one of strawberry, qrcode"


@pytest.mark.parametrize(
    ("fields", "files", "query", "text"),
    [
        ({"x": "y"}, 1, "", f"model_type: '' {ALLOWED}"),
        ({"model_type": "banana"}, 1, "", f"model_type: 'banana' {ALLOWED}"),
        ({"model_type": "STRAWBERRY"}, 1, "", f"model_type: 'STRAWBERRY' {ALLOWED}"),
        ({"model_type": "b" * 999}, 1, "", f"model_type: '{'b' * 40}' {ALLOWED}"),
        ({}, 0, "", "img_file: 0 files, allowed are 1 to 10, 1 with draw=1"),
        ({}, 11, "", "img_file: 11 files, allowed are 1 to 10, 1 with draw=1"),
        ({}, 2, "?draw=1", "img_file: 2 files, allowed are 1 to 10, 1 with draw=1"),
        ({}, 0, "?draw=1", "img_file: 0 files, allowed are 1 to 10, 1 with draw=1"),
        ({}, 1, "?draw=yes", "draw: 'yes' is not one of 0, 1"),
        ({}, 1, "?draw=", "draw: '' is not one of 0, 1"),
    ],
)
def test_wrong_fields(server, fields, files, query, text):
    answer = post(server, [("p.png", CODES)] * files, query, **fields)
    refused(answer, 400, text)


def test_no_multipart_at_all(server):
    for body in ({"data": b"{}"}, {"json": {"model_type": "qrcode"}}, {}):
        answer = requests.post(f"{server.url}/inference", timeout=60, **body)
        refused(answer, 400, f"model_type: '' {ALLOWED}")


def test_an_empty_file_input_of_a_browser(server):
    answer = post(server, [("", b"")])
    refused(answer, 400, "img_file: 0 files, allowed are 1 to 10, 1 with draw=1")


def test_one_bad_file_refuses_the_request(server):
    files = [("a.png", CODES), ("b.txt", b"no picture"), ("c.png", CODES)]
    refused(post(server, files), 400, NO_PICTURE.format("b.txt"))


def test_errors_are_json_everywhere(server):
    answer = requests.get(f"{server.url}/inference", timeout=60)
    assert set(answer.headers["Allow"].split(", ")) == {"POST", "PUT", "OPTIONS"}
    refused(answer, 405, "The method is not allowed for the requested URL.")
    answer = requests.get(f"{server.url}/nowhere", timeout=60)
    assert (answer.status_code, list(answer.json())) == (404, ["error"])


TOO_MUCH = "request: over 16 MB, 20 parts or 500 kB of text"


@pytest.mark.parametrize("path", ["/inference", "/exam"])
def test_413(server, path):
    url = server.url + path
    big = {"img_file": ("big.jpg", b"\xff\xd8\xff" + bytes(16 * MEGABYTE))}
    refused(requests.post(url, files=big, timeout=60), 413, TOO_MUCH)
    parts = [("img_file", (f"{n}.png", b"x")) for n in range(21)]
    refused(requests.post(url, files=parts, timeout=60), 413, TOO_MUCH)
    field = {"img_file": ("a.png", CODES)}, {"model_type": "q" * 600_000}
    answer = requests.post(url, files=field[0], data=field[1], timeout=60)
    refused(answer, 413, TOO_MUCH)
    # Sent in pieces, without saying how much there will be.
    pieces = (bytes(MEGABYTE) for _ in range(18))
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = requests.post(url, data=pieces, headers=headers, timeout=60)
    refused(answer, 413, TOO_MUCH)


def test_just_below_the_limit(server):
    """A picture of nearly 16 MB and 25 megapixels is still answered."""
    data = largest_picture()
    result = post(server, [("large.jpg", data)]).json()["results"][0]
    assert (result["width"], result["height"]) == (5000, 5000)


def largest_picture():
    """25 megapixels, progressive, full colour: what costs the most memory."""
    noise = np.random.default_rng(0).integers(0, 256, (625, 625, 3), np.uint8)
    img = cv2.resize(noise, (5000, 5000), interpolation=cv2.INTER_LINEAR)
    full_colour = (
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    )
    data = jpeg(
        img, cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_QUALITY, 95, *full_colour
    )
    filler = 15_900_000 - len(data)
    assert filler > 0
    return data + bytes(filler)


# --- Hostile files


def png_head(width, height):
    return b"\x89PNG\r\n\x1a\n" + chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    )


def jpeg_with_scans(number):
    """A progressive JPEG whose last scan is there again and again."""
    data = jpeg(plain(800, 800), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    head, last = data[:-2].rsplit(b"\xff\xda", 1)
    more = number - data.count(b"\xff\xda")
    return head + (b"\xff\xda" + last) * (1 + more) + b"\xff\xd9"


def size_changed(data, width, height):
    """A JPEG that says it is larger than it is."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def zeros(size):
    """Nearly `size` bytes that unpack to a thousand times as many zeros."""
    packer = zlib.compressobj(9, wbits=-15)
    piece = packer.compress(bytes(50 * MEGABYTE)) + packer.flush(zlib.Z_FULL_FLUSH)
    return b"\x78\xda" + piece * (size // len(piece))


END = chunk(b"IEND", b"")
HOSTILE = {
    "empty": b"",
    "text": b"GET / HTTP/1.1\r\n\r\n" * 100,
    "signature-jpeg": b"\xff\xd8\xff",
    "signature-png": b"\x89PNG\r\n\x1a\n",
    "41-byte-png-4-gb": png_head(1, 1)[:33] + struct.pack(">I", 0xFFFFFFF0) + b"IDAT",
    "png-2-gb-tail": png_head(1, 1) + chunk(b"tEXt", b"", 0x7FFFFFFF) + END,
    "png-2-gb-text": png_head(9, 9)
    + chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(10**6))),
    "png-6000-chunks": CODES[:33] + chunk(b"tRNS", b"") * 6000 + CODES[33:],
    "png-16-gb": png_head(9, 9) + chunk(b"IDAT", zeros(15_500_000)) + END,
    "png-25-mpx-16-gb": png_head(5000, 5000) + chunk(b"IDAT", zeros(15_500_000)) + END,
    "png-damaged-pixels": png_head(9, 9) + chunk(b"IDAT", b"no zlib") + END,
    "png-without-end": CODES[:-12],
    "png-end-cut": CODES[:-1],
    "png-end-with-length": CODES[:-12] + chunk(b"IEND", b"x"),
    "png-60000x60000": png_head(60000, 60000)
    + chunk(b"IDAT", zlib.compress(b""))
    + END,
    "png-5001x5000": png_head(5001, 5000) + chunk(b"IDAT", zlib.compress(b"")) + END,
    "png-0x0": png_head(0, 0) + chunk(b"IDAT", zlib.compress(b"")) + END,
    "png-no-pixels": png_head(9, 9) + chunk(b"IDAT", zlib.compress(b"")) + END,
    "jpeg-truncated": BERRIES[:200],
    "jpeg-65000x65000": size_changed(jpeg(plain(64, 64)), 65000, 65000),
    "jpeg-1006-scans": jpeg_with_scans(1006),
    "jpeg-51-scans": jpeg_with_scans(51),
    "webp-bomb": b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f\0\x07\x10\x11\x11\x88\x88\x08",
    "gif-bomb": b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x02\x02D\x01\0;",
    "bmp": cv2.imencode(".bmp", plain(9, 9))[1].tobytes(),
    "webp": cv2.imencode(".webp", plain(9, 9))[1].tobytes(),
    "tiff": cv2.imencode(".tiff", plain(9, 9))[1].tobytes(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused(server, name):
    refused(post(server, [(name, HOSTILE[name])]), 400, NO_PICTURE.format(name))


def test_50_scans_are_a_picture(server):
    """The limit is where the text says: one less is answered."""
    result = post(server, [("p.jpg", jpeg_with_scans(50))]).json()["results"][0]
    assert (result["width"], result["height"]) == (800, 800)


@pytest.mark.skipif(not psutil.LINUX, reason="reads the peak from Linux's /proc")
def test_memory_stays_bounded(server):
    """All hostile files, then 16 clients with the largest picture: 400 MB at most."""
    process = Path(f"/proc/{server.process.pid}")
    post(server, [("b.jpg", BERRIES)])
    (process / "clear_refs").write_text("5")  # the peak starts anew
    idle = memory(process, "VmRSS")
    for name, data in HOSTILE.items():
        assert post(server, [(name, data)]).status_code == 400
    largest = largest_picture()
    with ThreadPoolExecutor(16) as clients:
        asked = [
            clients.submit(post, server, [("large.jpg", largest)]) for _ in range(16)
        ]
        assert [one.result().status_code for one in asked] == [200] * 16
    above = memory(process, "VmHWM") - idle
    assert above < 400 * MEGABYTE, f"{above / MEGABYTE:.0f} MB above idle"
    assert post(server, [("b.jpg", BERRIES)]).status_code == 200


def memory(process, name):
    """A figure of Linux's /proc/PID/status in bytes."""
    status = (process / "status").read_text()
    return int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) * 1024


def test_a_sheet_of_finder_patterns_is_answered(server):
    """Thousands of the squares that mark a QR code: minutes of work, if looked at."""
    square = np.full((9, 9), 255, np.uint8)
    square[1:8, 1:8], square[2:7, 2:7], square[3:6, 3:6] = 0, 255, 0
    for size in (40, 100):
        sheet = np.kron(np.tile(square, (size, size)), np.ones((3, 3), np.uint8))
        answer = post(server, [("sheet.png", png(sheet))], model_type="qrcode")
        assert answer.json()["results"][0]["detections"] == []


def test_names_come_back_as_data(server):
    """A file name with HTML or a newline: JSON in the answer, nothing in the log."""
    name = "<img src=x onerror=alert(1)>\r\nforged 한.png"
    files = [("img_file", (name, CODES))]
    for path in ("/inference", "/exam"):
        answer = requests.post(
            server.url + path, data={"model_type": "qrcode"}, files=files, timeout=60
        )
        assert answer.headers["Content-Type"] == "application/json"
        assert "한.png" in answer.text
    assert "forged" not in server.log
    assert "<img" not in requests.get(f"{server.url}/<img>", timeout=60).text


mutations = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
edits = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("model_type", ["strawberry", "qrcode"])
@pytest.mark.parametrize("kind", ["jpg", "progressive.jpg", "png"])
def test_mutated_pictures_are_answered_or_refused(server, model_type, kind):
    """Damage anywhere in a valid file: a result with the right form, or a 400."""
    img = cv2.imdecode(np.frombuffer(CODES, np.uint8), cv2.IMREAD_COLOR)[:, 240:]
    progressive = (cv2.IMWRITE_JPEG_PROGRESSIVE, int("progressive" in kind))
    valid = png(img) if kind == "png" else jpeg(img, *progressive)

    @mutations
    @given(edits, st.floats(0, 1))
    def check(edits, cut):
        data = bytearray(valid)
        for place, new in edits:
            at = int(place * len(data))
            data[at : at + len(new)] = new
        if cut < 0.2:
            del data[int(cut * 5 * len(data)) :]
        answer = post(server, [("m", bytes(data))], model_type=model_type)
        if answer.status_code == 200:
            check_detections(answer.json()["results"][0])
        else:
            refused(answer, 400, NO_PICTURE.format("m"))

    check()
    assert " 500 " not in server.log
    assert "Traceback" not in server.log
