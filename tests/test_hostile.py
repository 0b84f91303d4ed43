"""Lesson 8 with files and requests made to hurt: refused or answered in time, and
nobody else loses an answer."""

import encodings
import http.client
import io
import platform
import socket
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import psutil
import pytest
import requests
from collection import change, free_port, lesson, port_of, serve, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import (
    PNG_END,
    arithmetic_jpeg,
    decoded,
    frame,
    incomplete_animation,
    jpeg,
    jpeg_segment,
    jpeg_with_empty_segments,
    largest_picture,
    plain,
    png,
    png_chunk,
    png_head,
    qr,
    scans,
    unreadable_qr,
    webp,
)
from uploads import (
    ANIMATED,
    BERRIES,
    CANNOT_BE_READ,
    CODES,
    DAMAGED,
    NO_FORMAT,
    REFUSALS,
    TOO_LARGE,
    TOO_MANY_PIXELS,
    TOO_SLOW,
    WORKERS,
    check_refused,
    check_result,
    needs_memory_limit,
    result_of,
    upload,
)

MEGABYTE = 1_000_000
MAX_SECONDS = 3


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "tmp").mkdir()
    env = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), str(folder / "tmp"))
    with lesson("08_inference", folder, env) as server:
        # The tests measure time: so one worker is ready.
        result_of(server, BERRIES)
        yield server
        # Whatever was sent to it: no error of the server.
        assert " 500 " not in server.log
        assert "Traceback" not in server.log


# --- The files


def lossless_jpeg(count):
    """SOF3: lossless. The table has two codes: one of 1 bit, one of 2."""
    huffman_table = jpeg_segment(0xC4, b"\0\1\1" + bytes(14) + b"\0\1")
    head = b"\xff\xd8" + huffman_table + frame(0xC3, 5000, 5000)
    return head + scans(count, (1, 0, 0), b"\0")


def jpeg_with_scans(count):
    """A progressive JPEG whose last scan is there again and again."""
    data = jpeg(plain(800, 800), cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    head, last = data[:-2].rsplit(b"\xff\xda", 1)
    copies = count - head.count(b"\xff\xda")
    return head + (b"\xff\xda" + last) * copies + b"\xff\xd9"


def png_with(*chunks):
    """A PNG of 9 x 9 black pixels with these chunks before them."""
    rows = png_chunk(b"IDAT", zlib.compress(bytes(9 * (1 + 3 * 9))))
    return png_head(9, 9) + b"".join(chunks) + rows + PNG_END


def forging_png():
    """A colour profile that is wrong: libpng prints its name as it is."""
    name = b'\n1.2.3.4 "GET /forged HTTP/1.1" 200 -\n\x1b[31m'
    profile = np.random.default_rng(0).bytes(500)
    return png_with(png_chunk(b"iCCP", name + b"\0\0" + zlib.compress(profile)))


def finder_patterns(count, side):
    """A sheet of count x count squares that mark a QR code."""
    square = np.zeros((9, 9), np.uint8)
    square[0] = square[-1] = square[:, 0] = square[:, -1] = 255
    square[2:7, 2:7] = 255
    square[3:6, 3:6] = 0
    sheet = np.tile(square, (count, count))
    return png(cv2.resize(sheet, (side, side), interpolation=cv2.INTER_NEAREST))


# Nearly 16 MB that unpack to 16 GB of zeros: after a full flush the same piece may be
# repeated.
PACKER = zlib.compressobj(9, wbits=-15)
PACKED_50_MB = PACKER.compress(bytes(50 * MEGABYTE)) + PACKER.flush(zlib.Z_FULL_FLUSH)
ZEROS_16_GB = b"\x78\xda" + PACKED_50_MB * (15_500_000 // len(PACKED_50_MB))
PACKED_TEXT = zlib.compress(bytes(8 * MEGABYTE), 9)
EIGHT_MB_OF_TEXT = png_chunk(b"zTXt", b"x\0\0" + PACKED_TEXT)
SMALL_JPEG = jpeg(plain(64, 64))
PACKED_NOTHING = png_chunk(b"IDAT", zlib.compress(b""))
# REFUSED, BOUNDED and HOSTILE, which is both, hold files by their names. REFUSED: each
# with the reason that the lesson must give.
REFUSED = {
    "empty": (b"", NO_FORMAT),
    "gif bomb": (b"GIF89a\xff\xff\xff\xff" + bytes(99), NO_FORMAT),
    "bmp": (cv2.imencode(".bmp", plain(9, 9))[1].tobytes(), NO_FORMAT),
    "tiff": (cv2.imencode(".tiff", plain(9, 9))[1].tobytes(), NO_FORMAT),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(99), NO_FORMAT),
    "animated png": (incomplete_animation(640, 480), ANIMATED),
    "jpeg signature": (b"\xff\xd8\xff", DAMAGED),
    "png signature": (b"\x89PNG\r\n\x1a\n", DAMAGED),
    "webp signature": (b"RIFF\0\0\0\0WEBP", DAMAGED),
    "jpeg cut": (BERRIES[:200], DAMAGED),
    "jpeg 65000x65000": (
        b"\xff\xd8" + frame(0xC0, 65000, 65000) + SMALL_JPEG[2:],
        TOO_MANY_PIXELS,
    ),
    # 16384 x 16384 pixels.
    "webp bomb": (
        b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\xff\xff\xff\x0f\0\x07\x10\x11\x11\x88\x88\x08",
        TOO_MANY_PIXELS,
    ),
    "png 0x0": (png_head(0, 0) + PACKED_NOTHING + PNG_END, DAMAGED),
    "png 60000x60000": (
        png_head(60000, 60000) + PACKED_NOTHING + PNG_END,
        TOO_MANY_PIXELS,
    ),
    "png bad pixels": (
        png_head(9, 9) + png_chunk(b"IDAT", b"no zlib") + PNG_END,
        DAMAGED,
    ),
    "text bomb": (png_with(*[EIGHT_MB_OF_TEXT] * 1000), TOO_SLOW),
    "arithmetic, 1000 scans": (arithmetic_jpeg(1000), TOO_SLOW),
}
# Refused for any of the lesson's reasons, or answered in the right form.
BOUNDED = {
    "41 bytes ask for 4 GB": png_head(1, 1) + b"\xff\xff\xff\xf0IDAT",
    "2 GB of text": png_head(1, 1) + png_chunk(b"tEXt", b"", 0x7FFFFFFF) + PNG_END,
    "16 GB of pixels": png_head(9, 9) + png_chunk(b"IDAT", ZEROS_16_GB) + PNG_END,
    "without end": CODES[:-12],
    "6000 chunks": png_with(*[png_chunk(b"tRNS", b"")] * 6000),
    "arithmetic": arithmetic_jpeg(1),
    "arithmetic, 50 scans": arithmetic_jpeg(50),
    "lossless, 50 scans": lossless_jpeg(50),
    "progressive, 1006 scans": jpeg_with_scans(1006),
    "empty segments": jpeg_with_empty_segments(3_900_000),
    "forged log": forging_png(),
    "finder patterns": finder_patterns(24, 800),
    "many finder patterns": finder_patterns(100, 2700),
    "Latin-1": png(qr(b"\xff\xfe\xfd")),
    "surrogate": png(qr(b"\xed\xa0\x80")),
    "a million wide": png(plain(1_000_000, 1)),
}
# Of the slow files only these are in test_eight_attackers_and_eight_others.
SLOW_ATTACKS = ["arithmetic, 1000 scans", "text bomb", "empty segments"]
SLOW = [
    *SLOW_ATTACKS,
    "16 GB of pixels",
    "arithmetic, 50 scans",
    "lossless, 50 scans",
    "progressive, 1006 scans",
]
HOSTILE = BOUNDED | {name: data for name, (data, _) in REFUSED.items()}


def check_answered_or_refused(response):
    """400 with one of the lesson's reasons, or a result of the right form."""
    if response.status_code == 200:
        check_result(response.json()["results"][0])
        return
    assert response.status_code == 400, response.text
    assert response.json()["error"] in [f"img_file: 'x' {text}" for text in REFUSALS]


# --- One at a time


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_gets_its_answer_in_time(server, name):
    """REFUSED: for its own reason. TOO_SLOW: not early, and its worker was ended."""
    ended = "a worker was ended: MAX_SECONDS are over"
    ended_before = server.log.count(ended)
    start = time.monotonic()
    response = upload(server, ("x", HOSTILE[name]), model_type="qrcode")
    elapsed = time.monotonic() - start
    assert elapsed < MAX_SECONDS + 1
    check_answered_or_refused(response)
    if name in REFUSED:
        reason = REFUSED[name][1]
        check_refused(response, 400, f"img_file: 'x' {reason}")
        if reason == TOO_SLOW:
            assert elapsed >= MAX_SECONDS
            assert server.log.count(ended) > ended_before


@pytest.mark.parametrize("name", ["finder patterns", "many finder patterns"])
def test_thousands_of_squares_are_no_codes(server, name):
    """They are not refused, not even because they take too long."""
    assert result_of(server, BOUNDED[name], "qrcode")["detections"] == []


def test_codes_that_are_no_text(server):
    """OpenCV turns Latin-1 into UTF-8. Invalid UTF-8 that it lets through becomes
    U+FFFD."""
    for name, text in (("Latin-1", "ÿþý"), ("surrogate", "\ufffd" * 3)):
        (found,) = result_of(server, BOUNDED[name], "qrcode")["detections"]
        assert found["label"] == text


def test_a_code_that_cannot_be_read_hides_no_other(server):
    # Without the lesson's guard OpenCV raises an exception.
    with pytest.raises(cv2.error):
        cv2.QRCodeDetectorAruco().detectAndDecodeBytes(unreadable_qr())
    codes = np.hstack([unreadable_qr(), qr("Hello"), unreadable_qr()])
    (found,) = result_of(server, png(codes), "qrcode")["detections"]
    assert found["label"] == "Hello"


def test_a_million_pixels_wide_is_drawn(server):
    response = upload(server, ("x", BOUNDED["a million wide"]), query="?draw=1")
    assert decoded(response.content).shape == (1, 1600, 3)


def test_a_text_that_names_the_chunk_of_animations_is_no_animation(server):
    text = png_chunk(b"tEXt", b"a\0" + png_chunk(b"acTL", bytes(8)))
    assert result_of(server, png_with(text))["width"] == 9


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another malloc")
def test_nothing_of_an_earlier_picture_is_in_the_memory(copy):
    """If animated PNGs were not refused: OpenCV leaves pixels out, and shows memory."""
    file = copy / "08_inference.py"
    port = free_port()
    change(file, 'has_chunk(data, b"acTL")', "False")
    change(file, "=4958", f"={port}")
    with serve([sys.executable, file.name], port, copy) as server:
        # The workers take turns: so each gets two of hers, and then two of his.
        for _ in range(2 * WORKERS):
            upload(server, ("her.png", png(decoded(BERRIES))), query="?draw=1")
        data = incomplete_animation(640, 480)
        for _ in range(2 * WORKERS):
            response = upload(server, ("his.png", data), query="?draw=1")
            assert response.status_code == 200
            # The 50 bytes that it has are in the first row.
            assert decoded(response.content)[16:].std() < 1


@pytest.mark.parametrize("encode", [jpeg, png, webp])
def test_25_megapixels_and_not_one_row_more(server, encode):
    result = result_of(server, encode(plain(5000, 5000)))
    assert (result["width"], result["height"]) == (5000, 5000)
    response = upload(server, ("x", encode(plain(5000, 5001))))
    check_refused(response, 400, f"img_file: 'x' {TOO_MANY_PIXELS}")


# --- All at once


class Watch(threading.Thread):
    """Notes the memory of a server's processes: before a `with`, and its peak there."""

    def __init__(self, server):
        super().__init__()
        self.process = psutil.Process(server.process.pid)
        self.ended = threading.Event()
        self.server_idle, self.tree_idle = self.memory()
        self.server_peak = self.server_idle
        self.tree_peak = self.tree_idle

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc_info):
        self.ended.set()
        self.join()

    def memory(self):
        """Bytes of the server, and of it and all its workers."""
        server = self.process.memory_info().rss
        tree = server
        for child in self.process.children(recursive=True):
            try:
                tree += child.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return server, tree

    def left(self):
        """What must not grow: the processes, the server's threads and open files."""
        children = self.process.children(recursive=True)
        zombies = [p for p in children if p.status() == psutil.STATUS_ZOMBIE]
        threads = self.process.num_threads()
        return len(children), len(zombies), threads, self.process.num_fds()

    def run(self):
        while not self.ended.wait(0.02):
            server, tree = self.memory()
            self.server_peak = max(self.server_peak, server)
            self.tree_peak = max(self.tree_peak, tree)


@needs_memory_limit
def test_eight_attackers_and_eight_others(server):
    """Every good picture gets its answer, and nothing is left."""
    attacks = [(HOSTILE[name], "strawberry") for name in SLOW_ATTACKS]
    for name, data in HOSTILE.items():
        if name not in SLOW:
            attacks += [(data, "strawberry"), (data, "qrcode")]
    assert len(attacks) >= 50
    good = result_of(server, BERRIES)
    largest = largest_picture()
    watch = Watch(server)
    before = watch.left()
    with watch:
        with ThreadPoolExecutor(8) as attackers, ThreadPoolExecutor(8) as others:
            bad = [
                attackers.submit(upload, server, ("x", data), model_type=model)
                for data, model in attacks
            ]
            large = [others.submit(result_of, server, largest) for _ in range(2)]
            answers = [others.submit(result_of, server, BERRIES) for _ in range(60)]
            for answer in bad:
                check_answered_or_refused(answer.result())
            assert [answer.result() for answer in answers] == [good] * 60
            assert [answer.result()["width"] for answer in large] == [5000] * 2
    assert watch.server_peak - watch.server_idle < 60 * MEGABYTE
    assert watch.tree_peak - watch.tree_idle < 300 * MEGABYTE * WORKERS
    wait_until(lambda: watch.left() == before, 10)
    # No temporary file that has a name. (left() counts the others as open files.)
    temporary = server.log_file.parent / "tmp"
    assert [path for path in temporary.rglob("*") if path.is_file()] == []


# Fields without files, as curl -d sends them. Parsing 16 MB of them takes a gigabyte.
TEXTS = {
    "fields without a value": b"a&" * 7_900_000,
    "escaped letters": b"%41" * 5_000_000,
    "one field": b"a=" + b"b" * 15_000_000,
}


def in_pieces(data):
    """The data as a generator: then requests does not tell the server its length."""
    for start in range(0, len(data), MEGABYTE):
        yield data[start : start + MEGABYTE]


def send_form(server, body, kind="application/x-www-form-urlencoded"):
    headers = {"Content-Type": kind}
    return requests.post(f"{server.url}/exam", body, headers=headers, timeout=60)


@pytest.mark.parametrize("sent", [bytes, in_pieces], ids=["length", "no length"])
@pytest.mark.parametrize("name", TEXTS)
def test_text_does_not_fill_the_memory(server, name, sent):
    text = TEXTS[name]
    with Watch(server) as watch:
        response = send_form(server, sent(text))
    check_refused(response, 413, TOO_LARGE)
    assert watch.server_peak - watch.server_idle < 60 * MEGABYTE


def answer_to(request):
    """Send these bytes, and nothing more; the answer, head and body."""
    with socket.create_connection(("127.0.0.1", port_of("08_inference")), 60) as sock:
        sock.sendall(request)
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := sock.recv(1 << 16):
            answer += piece
    return answer


CHUNKED = (
    b"POST /exam HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Type: multipart/form-data; boundary=x\r\n\r\n"
)
PART = b"--x\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\n"


@pytest.mark.parametrize("length", [b"7fffffff", b"ffff", b"100"])
def test_a_chunk_that_ends_early_brings_no_memory_of_the_server(server, length):
    """Without the lesson's guard the first is a 413: 16 MB of memory become a file."""
    answer = answer_to(CHUNKED + length + b"\r\n" + PART)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'{"error":"%s"}' % CANNOT_BE_READ.encode() in answer


def test_whole_chunks_are_read(server):
    body = PART + b"c" * 70_000 + b"\r\n--x--\r\n"
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(piece), piece)
        for piece in (body[:9], body[9:66_000], body[66_000:])
    )
    answer = answer_to(CHUNKED + chunks + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"files":{"a":{"filename":"b","bytes":70000}}' in answer


@pytest.mark.parametrize("kind", ["form-data", "mixed"])
def test_long_boundaries_are_not_kept(server, kind):
    """re would keep more than a megabyte for each."""
    with Watch(server) as watch:
        for number in range(100):
            long = f"multipart/{kind}; boundary={'b' * 60_000}{number}"
            response = send_form(server, b"", long)
            check_refused(response, 400, CANNOT_BE_READ)
    assert watch.server_peak - watch.server_idle < 30 * MEGABYTE


def status_for(lines):
    """The status for a request with these header lines, and no body."""
    request = b"\r\n".join([b"GET / HTTP/1.1", b"Host: a", *lines, b"", b""])
    return answer_to(request).split()[1]


MIXED = b"Content-Type: multipart/mixed; boundary"


# The server would read them as the headers of an email.
@pytest.mark.parametrize(
    "lines",
    [
        # It would count quotes before each ";": with two lines for 6 seconds.
        [MIXED + b'="' + b";" * 45_000, b" " + b";" * 15_000 + b'"'],
        # It would keep the name of an encoding that there is not.
        [MIXED + b"*=" + b"q" * 60_000 + b"''x", b"Content-Type: text/plain"],
        # It would make a letter of each line that ends with a bare \r.
        [MIXED + b"=x", b"z\r" + b"--x\r\r" * 10_000],
        [b"Content-Type: message/rfc822\r\rContent-Type: message/rfc822\r\r" * 999],
    ],
    ids=["quotes", "encoding", "parts", "letters in letters"],
)
def test_headers_are_no_letter(server, lines):
    with Watch(server) as watch:
        start = time.monotonic()
        for _ in range(20):
            assert status_for(lines) in (b"200", b"400", b"431")
    assert time.monotonic() - start < 20
    assert watch.server_peak - watch.server_idle < 30 * MEGABYTE
    assert "Traceback" not in server.log


def test_no_parts_and_no_encoding_are_read(module):
    """Whatever the Content-Type says. Python would keep each name of an encoding."""
    kept = len(encodings._cache)
    for lines in (
        [MIXED + b"*=" + b"q" * 60_000 + b"''x"],
        [MIXED + b"=x", b"z\r--x\r\r"],
    ):
        received = io.BytesIO(b"\r\n".join([*lines, b"", b""]))
        headers = http.client.parse_headers(received, _class=module.PlainHeaders)
        assert headers["Content-Type"].startswith("multipart/mixed")
        assert not headers.is_multipart()
    assert len(encodings._cache) == kept


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        # With Host 99, 100 and 101.
        ([b"A: b"] * 98, b"200"),
        ([b"A: b\rA: b"] * 49 + [b"A: b"], b"200"),
        ([b"A: b\rA: b"] * 50, b"431"),
        ([b"A: " + b"b" * 60_000, b" " + b"b" * 60_000], b"431"),
    ],
)
def test_how_many_headers_and_how_long(server, lines, status):
    assert status_for(lines) == status


def test_a_boundary_of_70_characters(server):
    boundary = "b" * 70
    body = f"--{boundary}\r\nContent-Disposition: form-data; name=a\r\n\r\nc\r\n"
    body += f"--{boundary}--\r\n"
    kind = f"multipart/form-data; boundary={boundary}"
    assert send_form(server, body.encode(), kind).json()["form"] == {"a": "c"}


@pytest.mark.parametrize("sent", [bytes, in_pieces], ids=["length", "no length"])
def test_100_kilobytes_of_text_and_no_more(server, sent):
    longest = b"a=" + b"b" * 99_998
    response = send_form(server, sent(longest))
    assert response.json()["form"] == {"a": "b" * 99_998}
    kind = "application/x-www-form-urlencoded"
    # As curl writes it, and as HTTPie does.
    for name in (kind, f"{kind}; charset=utf-8"):
        response = send_form(server, sent(longest + b"b"), name)
        check_refused(response, 413, TOO_LARGE)


@pytest.mark.parametrize(
    ("lines", "allowed"), [(30_000, (200, 413)), (140_000, (413,))]
)
def test_headers_of_files_do_not_fill_the_memory(server, lines, allowed):
    """Werkzeug keeps each line. Lines of Ā, 3 bytes: 90 kB for each file, then 420 kB.

    Which of two answers the smaller ones get depends on how the body arrives."""
    head = b"--x\r\nContent-Disposition: form-data; name=f; filename=f\r\n"
    body = (head + b"\xc4\x80\n" * lines + b"z\r\n\r\n\r\n") * 19 + b"--x--\r\n"
    with Watch(server) as watch:
        response = send_form(server, body, "multipart/form-data; boundary=x")
    assert response.status_code in allowed
    assert watch.server_peak - watch.server_idle < 60 * MEGABYTE


EDITS = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)),
    min_size=1,
    max_size=8,
)
VALID = [
    jpeg(qr("Hello")),
    jpeg(qr("Hello"), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    png(qr("Hello")),
    webp(cv2.cvtColor(qr("Hello"), cv2.COLOR_GRAY2BGR)),
]


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(VALID),
    st.sampled_from(["strawberry", "qrcode"]),
    EDITS,
    st.none() | st.floats(0, 1),
)
def test_mutated_pictures_are_answered_or_refused(server, valid, model, edits, cut):
    """Damage anywhere in a valid file: a result with the right form, or a 400."""
    data = bytearray(valid)
    for place, new in edits:
        position = int(place * len(data))
        data[position : position + len(new)] = new
    # Some of the files end too early.
    if cut is not None:
        del data[int(cut * len(data)) :]
    check_answered_or_refused(upload(server, ("x", bytes(data)), model_type=model))


def test_a_file_writes_no_line_into_the_log(server, tmp_path):
    """Not even where OpenCV prints a piece of it."""
    # Without the lesson's guard OpenCV does print the forged line.
    decode = "import sys, cv2; cv2.imread(sys.argv[1])"
    file = tmp_path / "forged.png"
    file.write_bytes(forging_png())
    unguarded = subprocess.run(
        [sys.executable, "-c", decode, str(file)], stderr=subprocess.PIPE, timeout=60
    )
    assert b'\n1.2.3.4 "GET /forged' in unguarded.stderr
    assert upload(server, ("x", forging_png())).status_code in (200, 400)
    assert "forged" not in server.log
