"""models/train_strawberry.py: what it does before and after the training itself.

The training needs torch, which is large; the parts tested here do not. Where torch is
not installed, empty classes stand in for the ones that the script derives from.
"""

import json
import sys
from importlib.util import find_spec
from types import ModuleType

import cv2
import numpy as np
import pytest
from collection import PICTURES, ROOT, imported

NETWORK = str(ROOT / "models" / "strawberry.onnx")


@pytest.fixture(scope="module")
def training():
    with pytest.MonkeyPatch.context() as patch:
        if find_spec("torch") is None:
            names = ["torch", "torch.nn", "torch.nn.functional", "torch.utils.data"]
            torch, nn, functional, data = map(ModuleType, names)
            nn.Module, data.Dataset, nn.functional = object, object, functional
            torch.nn, torch.utils = nn, ModuleType("torch.utils")
            torch.utils.data = data
            for module in (torch, nn, functional, data):
                patch.setitem(sys.modules, module.__name__, module)
        yield imported("models/train_strawberry")


@pytest.fixture
def folder(tmp_path):
    """One picture of 40 x 30 pixels with a berry, one without."""
    for name in ("berry.png", "none.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((30, 40, 3), np.uint8))
    berry = {"cls": "ripe", "box": [4, 6, 36, 25]}  # one pixel over the edge: rounded
    labels = {"berry.png": [berry], "none.png": []}
    write(tmp_path, labels)
    return tmp_path


def write(folder, labels):
    labels = {name: {"source": "test", "boxes": b} for name, b in labels.items()}
    (folder / "labels.json").write_text(json.dumps(labels))


def test_pictures_and_boxes_are_read(training, folder):
    berry, none = training.load(folder)
    assert berry.image.shape == (30, 40, 3)
    assert berry.boxes.tolist() == [[training.RIPE, 4, 6, 36, 25]]
    assert none.boxes.shape == (0, 5)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([{"cls": "ripe", "box": [4, 6, 38, 20]}], "lies outside its [40 30] pixels"),
        ([{"cls": "ripe", "box": [-2, 6, 20, 20]}], "lies outside"),
        ([{"cls": "ripe", "box": [4, 6, 0, 20]}], "lies outside"),
        ([{"cls": "ripe", "box": [4, float("nan"), 9, 20]}], "lies outside"),
        ([{"cls": "ripe", "box": [4, 6, 9]}], "ValueError"),
        ([{"cls": "mango", "box": [4, 6, 9, 9]}], "KeyError: 'mango'"),
        ([{"box": [4, 6, 9, 9]}], "KeyError: 'cls'"),
    ],
)
def test_a_wrong_box_is_named(training, folder, boxes, message):
    write(folder, {"none.png": [], "berry.png": boxes})
    with pytest.raises(SystemExit) as stop:
        training.load(folder)
    assert str(stop.value).startswith(f"{folder / 'berry.png'}: unusable: ")
    assert message in str(stop.value)


PICTURE = "none.png", r"none\.png: .*not a readable picture"
LABELS = "labels.json", r"(labels\.json|berry\.png): unusable: "


@pytest.mark.parametrize(
    ("name", "message", "content"),
    [(*PICTURE, content) for content in (None, b"", b"no picture")]
    + [(*LABELS, text) for text in (None, b"", b"{", b"[]", b'{"berry.png": 1}')],
)
def test_a_missing_or_broken_file_is_named(training, folder, name, message, content):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    with pytest.raises(SystemExit, match=message):
        training.load(folder)


def test_the_hand_drawn_boxes_lie_inside_their_pictures():
    labels = json.loads((ROOT / "models" / "extra_labels.json").read_text())
    sources = [label["source"] for label in labels.values()]
    assert (sources.count("extra"), sources.count("held")) == (74, 22)
    for label in labels.values():
        for box in label["boxes"]:
            x, y, w, h = box["box"]
            assert box["cls"] in ("ripe", "part")
            assert min(x, y) >= 0 < min(w, h) and max(x + w, y + h) <= 641


def test_the_score_looks_at_pictures_as_lesson_8_does(training):
    photo = cv2.imread(str(PICTURES / "strawberries.jpg"))
    net = cv2.dnn.readNetFromONNX(NETWORK)
    boxes, scores = training.detect(net, photo, training.THRESHOLD)
    lesson = imported("08_inference")
    served = lesson.find_strawberries(photo)
    assert lesson.THRESHOLD == training.THRESHOLD
    assert [one["box"] for one in served] == boxes.tolist()
    assert [one["score"] for one in served] == pytest.approx(scores, abs=0.001)


def test_the_network_is_asked_for_what_the_lesson_reads(training):
    """The wanted distances of a berry's cells lead back to its box."""
    goal, ripe = training.target(np.array([[training.RIPE, 100.0, 60.0, 40.0, 80.0]]))
    row, column = np.unravel_index(goal[0].argmax(), goal[0].shape)
    assert (row, column, goal[0].max(), ripe) == (25, 30, 1, 1)
    left, top, right, bottom = goal[2:6, row, column]
    x, y = column * 4 + 2, row * 4 + 2
    assert (x - left, y - top, x + right, y + bottom) == (100, 60, 140, 140)
    goal, ripe = training.target(np.array([[training.UNKNOWN, 100.0, 60, 40, 80]]))
    assert goal[0].max() == 0 and goal[1, 25, 30] == 0 and ripe == -1
    assert training.target(np.zeros((0, 5)))[1] == 0


def test_a_berry_counts_once(training, monkeypatch):
    """A second box on a berry is wrong, one on a half-ripe berry neither."""
    boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [50, 50, 10, 10], [80, 0, 9, 9]])
    found = boxes.astype(np.float32), np.array([0.9, 0.8, 0.7, 0.6])
    monkeypatch.setattr(training, "detect", lambda *_: found)
    true = [[training.RIPE, 0, 0, 10, 10], [training.UNKNOWN, 50, 50, 10, 10]]
    picture = training.Picture("test", None, np.array(true, np.float32))
    row = training.judge(None, picture)
    assert row == ("test", 1, True, [(0.9, True), (0.8, False), (0.6, False)])
    assert training.figures([row], 0.5).startswith("P 0.333 R 1.000 F1 0.500 ")
    # Nothing that can be judged, as in a source of unripe berries only: none is wrong.
    assert (
        training.figures([])
        == "P 0.000 R 0.000 F1 0.000 image 1.000 found 0/0 false 0 on 0"
    )
