"""models/get_photographs.py: photographs and boxes taken out of a small repository."""

import json
import re
import shutil
import subprocess

import cv2
import get_photographs
import numpy as np
import pytest

# Skip the whole file.
if not shutil.which("git"):
    pytest.skip("no git: apt install git", allow_module_level=True)

# Our name -> the path in the clone. What a name begins with decides what is done with
# the photograph: its boxes are read, it is scaled, or it gets a white margin.
FILES = {
    "train/greenhouse_1.png": "rows/images/1.png",
    "dev/neg-leaves_1.png": "plain.png",
    "train/neg-leaves_1.png": "plain.png",
    "lookalikes/f360_1.png": "plain.png",
    "lookalikes/f360_2.png": "plain.png",
}
LOOKALIKES = {
    "f360_1.png": {"source": "f360", "boxes": []},
    "f360_2.png": {"source": "f360", "boxes": [], "hue": 60},
}
# Class, centre and size: two berries of 80 x 24 and 8 x 12 pixels.
YOLO = "0 0.5 0.5 0.1 0.1\n1 0.25 0.75 0.01 0.05\n"


@pytest.fixture
def clones(tmp_path, monkeypatch):
    """A folder with one clone: a greenhouse row of 800 x 240 pixels, and a red picture
    of the same size."""
    clone = tmp_path / "clones" / "repository"
    (clone / "rows" / "images").mkdir(parents=True)
    (clone / "rows" / "labels").mkdir()
    row = np.zeros((240, 800, 3), np.uint8)
    red = np.full((240, 800, 3), (0, 0, 255), np.uint8)
    cv2.imwrite(str(clone / "rows" / "images" / "1.png"), row)
    cv2.imwrite(str(clone / "plain.png"), red)
    (clone / "rows" / "labels" / "1.txt").write_text(YOLO)
    git(clone, "init", "--quiet")
    add_commit(clone)
    commit = git(clone, "rev-parse", "HEAD").strip()
    sources = tmp_path / "photographs.json"
    entry = {"commit": commit, "files": FILES}
    sources.write_text(json.dumps({"owner/repository": entry}))
    labels = tmp_path / "lookalike_labels.json"
    labels.write_text(json.dumps(LOOKALIKES))
    monkeypatch.setattr(get_photographs, "SOURCES", sources)
    monkeypatch.setattr(get_photographs, "LOOKALIKE_LABELS", labels)
    return clone.parent


def git(folder, *arguments):
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout


def add_commit(folder):
    """An empty commit: get_photographs.py reads the files, not what git knows."""
    name = ("-c", "user.name=test", "-c", "user.email=test", "-c", "commit.gpgsign=no")
    git(folder, *name, "commit", "--quiet", "--allow-empty", "--message", "test")


def exits(path, message):
    """The program must end, and say what is wrong with this path."""
    return pytest.raises(SystemExit, match=re.escape(f"{path}: {message}"))


def labels_of(folder):
    return json.loads((folder / "labels.json").read_text())


def test_photographs_and_boxes_are_written(clones, tmp_path, capsys):
    data = tmp_path / "data"
    get_photographs.copy_photographs(clones, data)
    # Left, top, width and height, from centres and sizes.
    berries = [
        {"cls": "ripe", "box": [360, 108, 80, 24]},
        {"cls": "unripe", "box": [196, 174, 8, 12]},
    ]
    assert labels_of(data / "train") == {
        "greenhouse_1.png": {"source": "greenhouse", "boxes": berries},
        "neg-leaves_1.png": {"source": "neg-leaves", "boxes": []},
    }
    assert labels_of(data / "dev") == {
        "neg-leaves_1.png": {"source": "neg-leaves", "boxes": []}
    }
    assert labels_of(data / "lookalikes") == LOOKALIKES
    assert f"{data / 'train'} 2 pictures\n" in capsys.readouterr().out


def test_photographs_are_scaled_and_framed(clones, tmp_path):
    data = tmp_path / "data"
    get_photographs.copy_photographs(clones, data)

    def size(name):
        height, width = cv2.imread(str(data / name)).shape[:2]
        return width, height

    assert size("train/greenhouse_1.png") == (800, 240)
    # LONGEST has train/neg-leaves, and not dev/neg-leaves.
    assert size("train/neg-leaves_1.png") == (448, 134)
    assert size("dev/neg-leaves_1.png") == (800, 240)
    # A red strip of 100 x 30 in the middle of a white square.
    framed = cv2.imread(str(data / "lookalikes" / "f360_1.png"))
    expected = np.full((200, 200, 3), 255, np.uint8)
    expected[85:115, 50:150] = (0, 0, 255)
    assert (framed == expected).all()
    # A third of the way around the circle of hues, red has become green.
    turned = cv2.imread(str(data / "lookalikes" / "f360_2.png"))
    assert turned[100, 100].tolist() == [0, 255, 0]


def test_a_clone_at_another_commit_is_named(clones, tmp_path):
    clone = clones / "repository"
    add_commit(clone)
    with exits(clone, "no clone at commit "):
        get_photographs.copy_photographs(clones, tmp_path / "data")


def test_a_missing_clone_is_named(clones, tmp_path):
    missing = tmp_path / "elsewhere" / "repository"
    with exits(missing, "no clone at commit "):
        get_photographs.copy_photographs(missing.parent, tmp_path / "data")


def test_a_missing_photograph_is_named(clones, tmp_path):
    plain = clones / "repository" / "plain.png"
    plain.unlink()
    with exits(plain, "missing or not a readable picture"):
        get_photographs.copy_photographs(clones, tmp_path / "data")


def test_a_small_photograph_keeps_its_size():
    small = np.zeros((30, 100, 3), np.uint8)
    assert get_photographs.scaled(small, 416) is small


def test_a_photograph_that_cannot_be_written_is_named(clones, tmp_path):
    # A folder stands where the file should go.
    taken = tmp_path / "data" / "train" / "greenhouse_1.png"
    taken.mkdir(parents=True)
    with exits(taken, "cannot be written"):
        get_photographs.copy_photographs(clones, tmp_path / "data")
