"""Lesson 8: what it answers and refuses. Files made to hurt: test_hostile.py."""

import urllib.parse
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import requests
from pictures import (
    decoded,
    frame,
    jpeg,
    jpeg_segment,
    plain,
    png,
    qr,
    qr_box,
    webp,
    with_orientation,
)
from uploads import (
    BERRIES,
    CANNOT_BE_READ,
    CODES,
    NO_FORMAT,
    TOO_LARGE,
    TOO_MUCH_MEMORY,
    TWO_LINES,
    WRONG_SIZE,
    check_no_second_line,
    check_refused,
    check_result,
    result_of,
    upload,
)

# --- What it answers


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_one_result_for_each_file_in_order(server, method):
    files = [("a.png", CODES), ("b.jpg", BERRIES), ("a.png", png(plain(30, 20)))]
    response = upload(server, *files, method=method)
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    body = response.json()
    assert list(body) == ["model_type", "results"]
    assert body["model_type"] == "strawberry"
    for result in body["results"]:
        assert list(result) == ["filename", "width", "height", "detections"]
    sizes = [(r["filename"], r["width"], r["height"]) for r in body["results"]]
    assert sizes == [("a.png", 480, 240), ("b.jpg", 640, 480), ("a.png", 30, 20)]
    assert [len(r["detections"]) for r in body["results"]] == [0, 3, 0]


def test_boxes_are_whole_pixels_inside_the_picture(server):
    berries = decoded(BERRIES)
    for img in (berries[170:330, 200:400], berries[:240]):
        result = result_of(server, png(img))
        check_result(result)
        height, width = img.shape[:2]
        assert (result["width"], result["height"]) == (width, height)
        boxes = [found["box"] for found in result["detections"]]
        # At least one berry is cut by an edge.
        assert any(
            x == 0 or y == 0 or x + w == width or y + h == height
            for x, y, w, h in boxes
        )


def test_the_thinnest_pictures_are_answered(server):
    for width, height in ((1, 1), (1, 900), (900, 1)):
        result = result_of(server, png(plain(width, height)))
        assert result == {
            "filename": "p",
            "width": width,
            "height": height,
            "detections": [],
        }


@pytest.mark.parametrize(
    "text",
    ["Hello Flask", "https://flask.palletsprojects.com/", "안녕하세요", "A" * 200],
)
def test_qr_codes_are_read_back_exactly(server, text):
    code = qr(text)
    result = result_of(server, png(code), "qrcode")
    check_result(result)
    (found,) = result["detections"]
    assert found["label"] == text
    assert found["box"] == pytest.approx(qr_box(code, 6), abs=2)


def test_every_code_in_the_picture(server):
    texts = {f"code {number}" for number in range(12)}
    tiles = [qr(text, scale=4) for text in sorted(texts)]
    sheet = np.vstack([np.hstack(tiles[row : row + 4]) for row in (0, 4, 8)])
    detections = result_of(server, jpeg(sheet), "qrcode")["detections"]
    assert {found["label"] for found in detections} == texts
    assert len(detections) == 12


@pytest.mark.parametrize("encode", [jpeg, png, webp])
@pytest.mark.parametrize("side", [1200, 3400])
def test_a_code_in_a_large_picture(server, side, encode):
    img = plain(side, side * 3 // 4, 255)
    scale = side // 100
    code = cv2.cvtColor(qr("large", scale), cv2.COLOR_GRAY2BGR)
    left = side // 2
    top = side // 8
    img[top : top + len(code), left : left + len(code)] = code
    result = result_of(server, encode(img), "qrcode")
    assert (result["width"], result["height"]) == (side, side * 3 // 4)
    (found,) = result["detections"]
    box = qr_box(code, scale, left, top)
    assert found["box"] == pytest.approx(box, abs=side / 400)


# What a camera saves so that EXIF's orientation N turns it upright.
SAVED = {
    1: lambda img: img,
    2: lambda img: cv2.flip(img, 1),
    3: lambda img: cv2.rotate(img, cv2.ROTATE_180),
    4: lambda img: cv2.flip(img, 0),
    5: cv2.transpose,
    6: lambda img: cv2.rotate(img, cv2.ROTATE_90_COUNTERCLOCKWISE),
    7: lambda img: cv2.flip(cv2.transpose(img), -1),
    8: lambda img: cv2.rotate(img, cv2.ROTATE_90_CLOCKWISE),
}
# 1803 pixels: decoded at half of its size.
WHOLE_AND_HALF = [(640, orientation) for orientation in SAVED] + [(1803, 6), (1803, 3)]


@pytest.mark.parametrize(("width", "orientation"), WHOLE_AND_HALF)
def test_exif_turns_the_picture(server, width, orientation):
    """Width, height and boxes are those of the picture as it is seen.

    A code in one corner: turned in any other way, its box or the size would differ."""
    height = width // 2 + 1
    upright = plain(width, height, 255)
    scale = width // 100
    code = cv2.cvtColor(qr("corner", scale), cv2.COLOR_GRAY2BGR)
    upright[: len(code), : len(code)] = code
    data = with_orientation(jpeg(SAVED[orientation](upright)), orientation)
    result = result_of(server, data, "qrcode")
    assert (result["width"], result["height"]) == (width, height)
    (found,) = result["detections"]
    assert found["box"] == pytest.approx(qr_box(code, scale), abs=width / 200)


GRAY = np.full((48, 64), 128, np.uint8)
OTHER_KINDS = {
    "gray JPEG": jpeg(GRAY),
    "gray PNG": png(GRAY),
    "transparent PNG": png(np.dstack([GRAY] * 4)),
    "16-bit PNG": png(GRAY.astype(np.uint16) * 257),
}


@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_other_kinds_of_picture(server, kind):
    response = upload(server, ("p", OTHER_KINDS[kind]), query="?draw=1")
    drawn = decoded(response.content)
    assert drawn.shape == (48, 64, 3)
    assert np.abs(drawn.astype(int) - 128).max() <= 3


def is_pink(img):
    return (img[..., 1] < 70) & (img[..., 0] > 110) & (img[..., 2] > 150)


def test_draw_answers_the_picture_with_boxes(server):
    detections = result_of(server, BERRIES)["detections"]
    response = upload(server, ("b.jpg", BERRIES), query="?draw=1")
    assert response.headers["Content-Type"] == "image/jpeg"
    before = decoded(BERRIES)
    drawn = decoded(response.content)
    assert drawn.shape == before.shape
    # The upper left corner has no box: there it is the picture itself.
    difference = np.abs(drawn[:90, :90].astype(int) - before[:90, :90])
    assert difference.max() < 40
    assert not is_pink(before).any()
    pink = is_pink(drawn)
    assert detections
    for found in detections:
        check_drawn(pink, found["box"])


def check_drawn(pink, box):
    """Along the left and the right side of the box, and not in its middle."""
    x, y, width, height = box
    left = pink[y : y + height, max(x - 2, 0) : x + 3]
    right = pink[y : y + height, x + width - 3 : x + width + 2]
    assert left.any(axis=1).mean() > 0.9
    assert right.any(axis=1).mean() > 0.9
    assert not pink[y + height // 2, x + width // 2]


# At least 800 pixels must be left on the longer side.
@pytest.mark.parametrize(
    ("longer_side", "reduction"),
    [(1599, 1), (1600, 2), (3199, 2), (3200, 4), (6399, 4), (6400, 8), (20_000, 8)],
)
def test_how_many_times_smaller_a_jpeg_is_read(module, longer_side, reduction):
    for size in ((longer_side, 100), (100, longer_side)):
        start_of_jpeg = b"\xff\xd8" + frame(0xC0, *size)
        assert module.choose_reduction(start_of_jpeg) == reduction


def test_the_size_of_a_jpeg_that_is_read_at_an_eighth(server):
    result = result_of(server, jpeg(plain(6500, 100)))
    assert (result["width"], result["height"]) == (6500, 100)


def test_exam_counts_every_byte(server):
    response = requests.post(
        f"{server.url}/exam",
        files={"img_file": ("a.jpg", bytes(1_234_567))},
        timeout=60,
    )
    files = {"img_file": {"filename": "a.jpg", "bytes": 1_234_567}}
    assert response.json() == {"args": {}, "form": {}, "files": files}


def test_draw_of_a_large_picture_has_a_sensible_size(server):
    for data in (png(plain(4000, 3000)), jpeg(plain(4000, 3000))):
        response = upload(server, ("large", data), query="?draw=1")
        assert 800 <= decoded(response.content).shape[1] <= 1600


@pytest.mark.parametrize(("encode", "scale"), [(png, 2), (jpeg, 4)])
def test_boxes_in_a_smaller_drawing(server, encode, scale):
    """A PNG is not read smaller. But it is drawn with 1600 pixels, half of these. A
    JPEG is read, and drawn, with a quarter of them."""
    large = encode(cv2.resize(decoded(BERRIES), (3200, 2400)))
    response = upload(server, ("large", large), query="?draw=1")
    pink = is_pink(decoded(response.content))
    assert pink.shape == (2400 // scale, 3200 // scale)
    detections = result_of(server, large)["detections"]
    assert detections
    for found in detections:
        check_drawn(pink, np.array(found["box"]) // scale)


def test_draw_0_is_json(server):
    response = upload(server, ("p", BERRIES), query="?draw=0")
    assert response.json()["results"] == [result_of(server, BERRIES)]


def test_16_clients_each_get_their_own_answer(server):
    """Different pictures at once: exactly what each gets alone."""
    berries = decoded(BERRIES)
    pictures = [png(np.roll(berries, 17 * n, axis=1)[: 480 - 9 * n]) for n in range(15)]
    pictures.append(CODES)
    alone = [result_of(server, data) for data in pictures]
    assert len({str(result) for result in alone}) == 16
    with ThreadPoolExecutor(16) as clients:
        together = clients.map(lambda data: result_of(server, data), pictures * 2)
        assert list(together) == alone * 2


@pytest.mark.parametrize(
    "date",
    [
        # Werkzeug raises an exception for this one.
        "Mon, 01 Jan 2024 00:00:00 +99999999999999",
        "Tue, 01 Jan 2999 00:00:00 GMT",
    ],
)
def test_the_sample_is_sent_whatever_date_the_browser_names(server, date):
    headers = {"If-Modified-Since": date}
    response = requests.get(f"{server.url}/sample.jpg", headers=headers, timeout=60)
    assert response.status_code == 200
    assert response.content == BERRIES


# --- Without a server


def test_a_jpeg_that_is_read_smaller_is_large_enough_for_each_model(module):
    assert module.ENOUGH_SIDE >= max(module.QR_SIDE, module.NET_SIDE)


def test_a_box_beyond_an_edge_is_cut(module):
    img = plain(40, 30)
    cut = module.detection(img, "x", 1, (-5, -5, 100, 20))
    assert cut["box"] == [0, 0, 40, 15]
    assert module.detection(img, "x", 1, (9, 9, 99, 99))["box"] == [9, 9, 31, 21]
    outside = module.detection(img, "x", 1, (50, 50, 9, 9))
    assert outside["box"] == [40, 30, 0, 0]
    check_result(module.answer_in_pixels_of_upload(b"", img, 1, [outside]))


@pytest.mark.parametrize("score", [0, 1])
def test_a_score_may_be_0_or_1(score, module):
    found = module.detection(plain(40, 30), "x", score, (5, 5, 10, 20))
    assert found["score"] == score


@pytest.mark.parametrize("score", [-0.1, 1.01, float("nan")])
def test_a_score_outside_0_to_1_is_a_mistake(score, module):
    """JSON has no NaN: the page could not read the answer."""
    with pytest.raises(ValueError, match=f"score: {score} is not from 0 to 1"):
        module.detection(plain(40, 30), "x", score, (5, 5, 10, 20))


def test_numbers_of_numpy_become_json(module):
    """jsonify() takes no np.float32."""
    box = np.array([5, 5, 10, 20], np.float32)
    found = module.detection(plain(40, 30), "x", np.float32(0.5), box)
    img = plain(40, 30)
    answer = module.answer_in_pixels_of_upload(png(img), img, 1, [found])
    with module.app.app_context():
        json = module.jsonify(answer).json
    assert json["detections"] == [{"label": "x", "score": 0.5, "box": [5, 5, 10, 20]}]


def test_a_box_of_small_numbers_of_numpy(module):
    """In np.uint8 200 + 100 is 44."""
    box = np.array([200, 10, 100, 50], np.uint8)
    found = module.detection(plain(640, 480), "x", 1, box)
    assert found["box"] == [200, 10, 100, 50]


def test_a_model_may_keep_its_detections(module):
    """It may return them again: the answer must not change them."""
    quarter = plain(1000, 750)
    found = module.detection(quarter, "x", 1, [100, 100, 50, 50])
    data = jpeg(plain(4000, 3000))
    for _ in range(2):
        answer = module.answer_in_pixels_of_upload(data, quarter, 4, [found, found])
        boxes = [result["box"] for result in answer["detections"]]
        assert boxes == [[400, 400, 200, 200]] * 2
    assert found["box"] == [100, 100, 50, 50]


@pytest.mark.parametrize("wants_picture", [False, True])
def test_a_model_may_use_yield(module, monkeypatch, wants_picture):
    def find_one(img):
        yield module.detection(img, "x", 1, [100, 100, 200, 100])

    monkeypatch.setitem(module.MODELS, "one", find_one)
    monkeypatch.setitem(module.MODELS, "a list of one", lambda img: list(find_one(img)))
    expected = module.look_at_picture(BERRIES, "a list of one", wants_picture)
    assert module.look_at_picture(BERRIES, "one", wants_picture) == expected


def test_a_label_that_is_a_number_becomes_a_text(module):
    """draw_detections() cuts the label like a text, and jsonify() takes no np.int64."""
    found = module.detection(plain(40, 30), np.int64(7), 1, (5, 5, 10, 20))
    assert found["label"] == "7"
    assert module.draw_detections(plain(40, 30), [found]).startswith(b"\xff\xd8")


def test_a_box_that_is_very_thin_is_drawn(module):
    """cv2.rectangle() draws nothing if a box is less than one pixel wide."""
    img = plain(400, 300)
    found = module.detection(img, "x", 1, (200, 150, 0.2, 0.2))
    drawn = decoded(module.draw_detections(img, [found]))
    blue, green, red = drawn[150, 200].astype(int)
    assert blue > green + 50
    assert red > green + 50


def test_half_a_drawn_picture_is_no_answer(module, monkeypatch):
    """With too little memory imencode() of OpenCV 5.0 gives False, and the beginning of
    the JPEG or nothing."""
    for rest in (np.frombuffer(b"\xff\xd8\xff", np.uint8), ()):
        monkeypatch.setattr(cv2, "imencode", lambda *_, rest=rest: (False, rest))
        with pytest.raises(module.BadPicture, match=TOO_MUCH_MEMORY):
            module.draw_detections(plain(40, 30), [])


def test_a_header_with_another_size_is_a_bad_picture(module):
    """A JPEG decoded at a quarter must be a quarter of what its header says."""
    data = jpeg(plain(4000, 3000))
    quarter = plain(1000, 750)
    assert module.size_before_decoding(data, quarter, 4) == (4000, 3000)
    with pytest.raises(module.BadPicture, match=WRONG_SIZE):
        module.size_before_decoding(data, plain(1000, 751), 4)


@pytest.mark.parametrize(
    "greedy",
    [
        lambda img: np.empty(1 << 60, np.uint8),
        # cv2.error, not MemoryError. More than a process can address, so that no system
        # tries to hand it out.
        lambda img: cv2.resize(img, (1 << 24, 1 << 24)),
    ],
)
def test_a_model_that_needs_too_much_memory(module, monkeypatch, greedy):
    monkeypatch.setitem(module.MODELS, "greedy", greedy)
    answer = module.answer_of_worker(CODES, "greedy", False)
    assert answer == ("bad picture", TOO_MUCH_MEMORY)


def test_too_little_memory_for_a_qr_code(module):
    """The picture is refused. The code is not just left out."""

    class Detector:
        def decodeBytes(self, img, corners):
            raise cv2.error("Failed to allocate: Insufficient memory")

    with pytest.raises(cv2.error):
        module.read_qrcode(Detector(), plain(9, 9), np.zeros((4, 2)))


def test_qr_codes_are_not_looked_for_in_an_enlarged_picture(module, monkeypatch):
    sizes = []
    resized = module.resized

    def noted(img, longer_side):
        sizes.append(longer_side)
        return resized(img, longer_side)

    monkeypatch.setattr(module, "resized", noted)
    for side in (300, 5000):
        assert module.find_qrcodes(plain(side, side)) == []
    assert sizes == [300, module.QR_SIDE]


def test_a_smaller_picture_has_whole_pixels(module):
    """640 x 353 becomes 384 x 211.8, and so 384 x 212."""
    small, scale = module.resized(plain(640, 353), 384)
    assert small.shape[:2] == (212, 384)
    assert scale == pytest.approx(0.6)


@pytest.mark.parametrize("text", ["Insufficient memory", "std::bad_alloc"])
def test_errors_of_opencv_that_mean_too_little_memory(module, text):
    assert module.is_out_of_memory(cv2.error(f"Failed to allocate: {text}"))
    assert not module.is_out_of_memory(ValueError(text))


@pytest.mark.parametrize("kind", [0xC0, 0xC1, 0xC2])
def test_the_size_in_the_header_of_a_jpeg(module, kind):
    """After another segment. Baseline, extended, progressive."""
    data = b"\xff\xd8" + jpeg_segment(0xE1, b"Exif") + frame(kind, 5000, 4000)
    assert module.jpeg_size(data) == (5000, 4000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\x89PNG",
        b"RIFF\0\0\0\0AVI ",
        b"GIF89a",
        b"BM",
        b"BM\0\0\0\0\0\0WEBP",
        # OpenCV would take these two for AVIF.
        b"RIFFftypWEBP",
        b"\xff\xd8\xff\xe0ftyp",
    ],
)
def test_what_does_not_start_like_a_picture(module, data):
    with pytest.raises(module.BadPicture, match=NO_FORMAT):
        module.check_format(data)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        # The whole picture: 1001 x 751 pixels times 4 are more than the upload has.
        ([0, 0, 1001, 751], [0, 0, 4001, 3001]),
        # Less than a pixel, in two corners.
        ([0, 0, 0.1, 0.1], [0, 0, 1, 1]),
        ([1000.9, 750.9, 0.1, 0.1], [4000, 3000, 1, 1]),
    ],
)
def test_boxes_stay_inside_the_upload_and_have_a_pixel(module, box, expected):
    data = jpeg(plain(4001, 3001))
    quarter = plain(1001, 751)
    found = module.detection(quarter, "", 1, box)
    answer = module.answer_in_pixels_of_upload(data, quarter, 4, [found])
    assert (answer["width"], answer["height"]) == (4001, 3001)
    assert answer["detections"][0]["box"] == expected


def test_what_the_network_answers_becomes_boxes(module, monkeypatch):
    cells = np.zeros((1, 5, 96, 96), np.float32)
    # From each cell's middle to the left, top, right and bottom side, in pixels.
    cells[0, 1:] = np.reshape([40, 30, 44, 50], (4, 1, 1))
    cells[0, 0, 30, 20] = 0.481
    # Below the threshold.
    cells[0, 0, 30, 60] = 0.479
    # One berry: the boxes, 84 pixels wide, share 60 of 108.
    cells[0, 0, 70, 20] = 0.8
    cells[0, 0, 70, 26] = 0.9
    # Two berries: the boxes share 52 of 116.
    cells[0, 0, 70, 60] = 0.7
    cells[0, 0, 70, 68] = 0.6
    # One berry: the box of the second cell is only a quarter as large, but the first
    # cell is its neighbour, and has a higher score.
    cells[0, 0, 5, 80] = 0.95
    cells[0, 0, 5, 81] = 0.5
    cells[0, 1:, 5, 81] = [20, 15, 22, 25]
    net = SimpleNamespace(setInput=lambda blob: None, forward=lambda: cells)
    monkeypatch.setattr(module, "NET", net)
    found = module.find_strawberries(plain(384, 384))
    assert [berry["score"] for berry in found] == [0.95, 0.9, 0.7, 0.6, 0.481]
    # The middle of row 30, column 20 is (82, 122).
    assert found[4]["label"] == "strawberry"
    assert found[4]["box"] == [82 - 40, 122 - 30, 40 + 44, 30 + 50]


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((640, 480), 288, 384),
        ((640, 360), 224, 384),  # 384 x 216, and 8 grey rows
        ((360, 640), 384, 224),
        ((300, 300), 384, 384),
        ((5000, 1), 32, 384),
    ],
)
def test_the_network_sees_whole_steps_of_32_pixels(
    module, monkeypatch, size, rows, columns
):
    """There is no more grey than needed; the rest is the picture."""
    blobs = []
    cells = np.zeros((1, 5, rows // 4, columns // 4), np.float32)
    net = SimpleNamespace(setInput=blobs.append, forward=lambda: cells)
    monkeypatch.setattr(module, "NET", net)
    white = np.full((size[1], size[0], 3), 255, np.uint8)
    assert module.find_strawberries(white) == []
    assert blobs[0].shape == (1, 3, rows, columns)
    scale = 384 / max(size)
    height = max(round(size[1] * scale), 1)
    width = max(round(size[0] * scale), 1)
    expected = np.full(blobs[0].shape, 114 / 255, np.float32)
    expected[:, :, :height, :width] = 1
    assert np.allclose(blobs[0], expected)


@pytest.fixture
def draw_boxes(module, monkeypatch):
    """A function that draws boxes into a grey picture. It returns the labels' places,
    and the thickness of the boxes' lines."""
    places = []
    lines = set()
    draw = cv2.rectangle

    def rectangle(img, box, colour, thickness):
        # Labels are filled; boxes are lines.
        if thickness == cv2.FILLED:
            places.append(box)
        else:
            lines.add(thickness)
        return draw(img, box, colour, thickness)

    monkeypatch.setattr(cv2, "rectangle", rectangle)

    def draw_them(width, height, boxes, label="strawberry"):
        places.clear()
        lines.clear()
        img = plain(width, height)
        found = [module.detection(img, label, 0.5, box) for box in boxes]
        module.draw_detections(img, found)
        return list(places), set(lines)

    return draw_them


EDGES = [(0, 0, 30, 30), (610, 0, 30, 30), (0, 450, 30, 30), (610, 450, 30, 30)]
CROWD = [(x, y, 35, 35) for x in range(20, 620, 25) for y in (200, 205, 215)]


@pytest.mark.parametrize("boxes", [EDGES, CROWD], ids=["edges", "crowd"])
def test_labels_lie_in_the_picture_and_do_not_cover_each_other(draw_boxes, boxes):
    places, _ = draw_boxes(640, 480, boxes)
    assert len(places) == len(boxes)
    check_places(places, 640, 480)


def check_places(places, width, height):
    is_taken = np.zeros((height, width), bool)
    for x, y, place_width, place_height in places:
        place = is_taken[y : y + place_height, x : x + place_width]
        assert place.shape == (place_height, place_width), "outside the picture"
        assert not place.any()
        place[:] = True


def test_labels_are_drawn_after_all_the_boxes(module, monkeypatch):
    """So no box covers a label."""
    is_label = []

    def rectangle(img, box, colour, thickness):
        is_label.append(thickness == cv2.FILLED)

    monkeypatch.setattr(cv2, "rectangle", rectangle)
    img = plain(640, 480)
    boxes = [(100, 100, 300, 200), (150, 90, 300, 200)]
    found = [module.detection(img, "x", 1, box) for box in boxes]
    module.draw_detections(img, found)
    assert is_label == [False, False, True, True]


def test_a_label_may_touch_the_lower_edge(module):
    is_taken = np.zeros((20, 9), bool)
    is_taken[:10] = True
    assert module.free_row(is_taken, 0, 0, 9, 10) == 10
    assert module.free_row(is_taken, 0, 0, 9, 11) is None


def test_labels_without_a_free_place_are_left_out(draw_boxes):
    boxes = [(100, 380, 50, 50)] * 20
    places, _ = draw_boxes(640, 480, boxes)
    assert 3 < len(places) < 20
    check_places(places, 640, 480)


def test_a_label_that_is_wider_than_the_picture_starts_at_its_edge(draw_boxes):
    ((x, y, _, _),), _ = draw_boxes(20, 90, [(5, 40, 10, 10)])
    assert x == 0 and y > 0


def test_a_larger_picture_gets_thicker_lines_and_larger_letters(draw_boxes):
    (small,), small_lines = draw_boxes(400, 300, [(50, 100, 300, 100)])
    (large,), large_lines = draw_boxes(1600, 1200, [(50, 100, 300, 100)])
    assert max(small_lines) < min(large_lines)
    assert small[3] < large[3]


def test_a_long_label_is_cut(draw_boxes):
    box = (50, 100, 1400, 100)
    (short,), _ = draw_boxes(1600, 1200, [box], label="A" * 30)
    (long,), _ = draw_boxes(1600, 1200, [box], label="A" * 2000)
    assert long == short
    (shorter,), _ = draw_boxes(1600, 1200, [box], label="A" * 29)
    assert shorter != short


# --- What it refuses

ALLOWED = "is not one of strawberry, qrcode"
FILES = "files, allowed are 1 to 10, or only 1 with draw=1"
DRAW = "is not one of 0, 1"
GOOD = ("a.png", CODES)


@pytest.mark.parametrize(
    ("model_type", "text"),
    [
        ("", f"model_type: '' {ALLOWED}"),
        ("QRCODE", f"model_type: 'QRCODE' {ALLOWED}"),
        ("b" * 999, f"model_type: '{'b' * 40}' {ALLOWED}"),
        ("a\r\nb", f"model_type: 'a\\r\\nb' {ALLOWED}"),
    ],
)
def test_wrong_model(server, model_type, text):
    check_refused(upload(server, GOOD, model_type=model_type), 400, text)


@pytest.mark.parametrize(
    ("files", "query", "text"),
    [
        ([], "", f"img_file: 0 {FILES}"),
        ([GOOD] * 11, "", f"img_file: 11 {FILES}"),
        ([], "?draw=1", f"img_file: 0 {FILES}"),
        ([GOOD] * 2, "?draw=1", f"img_file: 2 {FILES}"),
        # What a browser sends for a file input that is empty.
        ([("", b"")], "", f"img_file: 0 {FILES}"),
        ([("e", b"")], "", f"img_file: 'e' {NO_FORMAT}"),
        # One bad file refuses the request.
        ([GOOD, ("b\u2028", b"x")], "", f"img_file: 'b\\u2028' {NO_FORMAT}"),
        ([("c" * 200, b"x")], "", f"img_file: '{'c' * 99}' {NO_FORMAT}"),
        ([GOOD], "?draw=", f"draw: '' {DRAW}"),
        ([GOOD], "?draw=" + "1" * 999, f"draw: '{'1' * 40}' {DRAW}"),
    ],
)
def test_wrong_files_or_draw(server, files, query, text):
    check_refused(upload(server, *files, query=query), 400, text)


def test_each_value_has_its_place(server):
    """model_type is a field, draw stands in the URL."""
    url = f"{server.url}/inference?model_type=qrcode"
    response = requests.post(url, files={"img_file": GOOD}, timeout=60)
    check_refused(response, 400, f"model_type: '' {ALLOWED}")
    response = upload(server, GOOD, model_type="qrcode", draw="1")
    assert response.headers["Content-Type"] == "application/json"


@pytest.mark.parametrize("body", [{}, {"data": b"{}"}])
def test_no_content_type(server, body):
    response = requests.post(f"{server.url}/inference", timeout=60, **body)
    check_refused(response, 400, f"model_type: '' {ALLOWED}")


def test_a_file_without_a_name_counts_if_it_holds_something(server):
    response = upload(server, ("", CODES), GOOD, ("", b""), model_type="qrcode")
    results = response.json()["results"]
    assert [result["filename"] for result in results] == ["", "a.png"]
    assert [len(result["detections"]) for result in results] == [2, 2]


@pytest.mark.parametrize("host", ["a..b", f"{'x' * 64}.example"])
@pytest.mark.parametrize("path", ["/inference", "/sample.jpg"])
def test_a_header_host_that_is_no_name_of_a_host(server, path, host):
    url = server.url + path
    response = requests.get(url, headers={"Host": host}, timeout=60)
    check_refused(response, 400, f"Host: {host[:40]!r} is not the name of a host")


def test_an_error_keeps_its_headers(server):
    response = requests.get(f"{server.url}/inference", timeout=60)
    assert set(response.headers["Allow"].split(", ")) == {"POST", "PUT", "OPTIONS"}
    check_refused(response, 405, "The method is not allowed for the requested URL.")


def test_a_request_at_its_limits_is_answered(server):
    """Ten files; twenty parts; text fields of 100 kB."""
    response = upload(server, *[("p", png(plain(9, 9)))] * 10)
    assert len(response.json()["results"]) == 10
    fields = {f"field {number}": "x" for number in range(19)}
    fields["field 0"] = "x" * 99_999
    response = upload(
        server, ("p", CODES), model_type="qrcode", **{"more": "x" * 99_999}
    )
    assert response.status_code == 200
    response = requests.post(
        f"{server.url}/exam", data=fields, files={"file": GOOD}, timeout=60
    )
    assert response.json()["form"] == fields


def test_of_two_values_of_one_name_exam_shows_the_first(server):
    response = requests.post(
        f"{server.url}/exam?a=1&a=2",
        data=[("b", "1"), ("b", "2")],
        files=[("c", ("1", b"x")), ("c", ("2", b""))],
        timeout=60,
    )
    assert response.json() == {
        "args": {"a": "1"},
        "form": {"b": "1"},
        "files": {"c": {"filename": "1", "bytes": 1}},
    }


@pytest.mark.parametrize("path", ["/inference", "/exam"])
@pytest.mark.parametrize(
    "request_parts",
    [
        {"files": {"img_file": ("big.jpg", bytes(16_000_000))}},
        {"files": [("img_file", GOOD)] * 21},
        {"files": {"img_file": GOOD}, "data": {"model_type": "q" * 100_001}},
    ],
    ids=["16 MB", "21 parts", "100 kB of text"],
)
def test_a_request_above_a_limit_is_refused(server, path, request_parts):
    response = requests.post(server.url + path, timeout=60, **request_parts)
    check_refused(response, 413, TOO_LARGE)


@pytest.mark.parametrize("path", ["/inference", "/exam"])
def test_an_upload_of_unknown_length_that_is_too_large_is_refused(server, path):
    head = b"--x\r\nContent-Disposition: form-data; name=f; filename=f\r\n\r\n"
    pieces = iter([head] + 18 * [bytes(1_000_000)])
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    url = server.url + path
    response = requests.post(url, data=pieces, headers=headers, timeout=60)
    check_refused(response, 413, TOO_LARGE)


@pytest.mark.parametrize("path", ["/inference", "/exam"])
@pytest.mark.parametrize(
    ("content_type", "file_name", "end"),
    [
        ("multipart/form-data; boundary=cut", b"caf\xe9.png", b"\r\n--cut--\r\n"),
        ("multipart/form-data; boundary=cut", b"a.png", b""),
        ("multipart/form-data", b"a.png", b"\r\n--cut--\r\n"),
    ],
    ids=["a name in Latin-1", "no end", "no boundary"],
)
def test_a_form_that_breaks_the_rules(server, path, content_type, file_name, end):
    """The client is not told that model_type is missing: it is there."""
    head = b"--cut\r\nContent-Disposition: form-data; name="
    body = head + b"model_type\r\n\r\nqrcode\r\n"
    body += head + b'img_file; filename="' + file_name + b'"\r\n\r\n' + CODES + end
    headers = {"Content-Type": content_type}
    url = server.url + path
    response = requests.post(url, data=body, headers=headers, timeout=60)
    check_refused(response, 400, CANNOT_BE_READ)


@pytest.mark.parametrize(
    "kind", ["application/json", "image/png", "multipart/mixed", "x/" + "y" * 99]
)
def test_a_body_that_is_no_form(server, kind):
    """The client is not told that model_type is missing: perhaps it is there."""
    response = requests.post(
        f"{server.url}/inference",
        data=b'{"model_type":"qrcode"}',
        headers={"Content-Type": f"{kind}; boundary=x"},
        timeout=60,
    )
    allowed = "multipart/form-data, application/x-www-form-urlencoded"
    error = f"Content-Type: '{kind[:40]}' is not one of {allowed}"
    check_refused(response, 415, error)


def test_names_come_back_as_data(server):
    """A file name with HTML and a newline is text in JSON, and no line in the log."""
    name = "<img src=x onerror=alert(1)>\nforged 한.png"
    # Written by hand: in this form a newline reaches the server.
    encoded = urllib.parse.quote(name)
    body = b"--cut\r\nContent-Disposition: form-data; name=img_file; "
    body += f"filename*=UTF-8''{encoded}\r\n\r\n".encode() + CODES
    body += b"\r\n--cut\r\nContent-Disposition: form-data; name=model_type"
    body += b"\r\n\r\nqrcode\r\n--cut--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=cut"}
    for path in ("/inference", "/exam"):
        url = server.url + path
        response = requests.post(url, data=body, headers=headers, timeout=60)
        assert response.headers["Content-Type"] == "application/json"
        assert "한.png" in response.text
        answer = response.json()
        if path == "/inference":
            assert answer["results"][0]["filename"] == name
        else:
            assert answer["files"]["img_file"]["filename"] == name
    # In an error message, too.
    body = body.replace(CODES, b"no picture")
    url = f"{server.url}/inference"
    response = requests.post(url, data=body, headers=headers, timeout=60)
    check_refused(response, 400, f"img_file: {name!r} {NO_FORMAT}")
    assert "forged" not in server.log


def test_a_path_is_one_line_in_the_log(server):
    """HTML and a newline in a path: an error in JSON, and no second line."""
    response = requests.get(server.url + TWO_LINES, timeout=60)
    assert response.headers["Content-Type"] == "application/json"
    assert "<img" not in response.text
    check_no_second_line(server)
