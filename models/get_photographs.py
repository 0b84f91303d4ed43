"""Make DATA from thirteen public repositories.

Run  python models/get_photographs.py CLONES DATA

photographs.md says how to clone them into CLONES, and what DATA holds.
photographs.json names the file behind each photograph.
"""
# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2.3,<3", "opencv-python>=5.0,<6"]
# ///

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
from photographs import turn_hue

SOURCES = Path(__file__).with_name("photographs.json")
# What the numbers in a source's label files mean. (The list that comes with picker says
# that 0 is unripe, but these berries are ripe.)
NAMES = {"picker": {"0": "ripe"}, "greenhouse": {"0": "ripe", "1": "unripe"}}
# The labels of the look-alikes. hue: turn the colours by so much, as turn_hue() counts.
LOOKALIKE_LABELS = Path(__file__).with_name("lookalike_labels.json")
# Folder and beginning of a file name -> how many pixels the longer side has at most.
# All others but those in FRAMED keep their size.
LONGEST = {
    "train/neg-clothing": 448,
    "train/neg-grocery": 448,
    "train/neg-leaves": 448,
    "lookalikes/apple": 416,
    "lookalikes/nononsense": 440,
    "lookalikes/pdr": 440,
    "lookalikes/tomato": 400,
}
# The frames of Fruits-360 get a white margin: side of the finished square in pixels.
FRAMED = {
    "lookalikes/f360": 200,
    "lookalikes/f360c": 200,
    "lookalikes/f360o": 416,
    "lookalikes/f360r": 200,
}


def read_label(path, names, image):
    """The boxes of a YOLO label file, for labels.json: x, y, width, height in pixels.

    A YOLO file has a line for each box: class, centre and size, as fractions of the
    picture's width and height."""
    height, width = image.shape[:2]
    boxes = []
    for line in path.read_text(encoding="utf-8").splitlines():
        number, x, y, w, h = line.split()
        left = (float(x) - float(w) / 2) * width
        top = (float(y) - float(h) / 2) * height
        box = [left, top, float(w) * width, float(h) * height]
        rounded = [round(length, 1) for length in box]
        boxes.append({"cls": names[number], "box": rounded})
    return boxes


def scaled(image, longest):
    factor = longest / max(image.shape[:2])
    if factor >= 1:
        return image
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)


def framed(image, side):
    """A white square of this side; the image in its middle, at most half as long."""
    image = scaled(image, side / 2)
    height, width = image.shape[:2]
    top = (side - height) // 2
    left = (side - width) // 2
    square = np.full((side, side, 3), 255, np.uint8)
    square[top : top + height, left : left + width] = image
    return square


def check_commit(clone, commit):
    """Exit unless a clone is there, and at this commit."""
    command = ["git", "-C", str(clone), "rev-parse", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.stdout.strip() != commit:
        problem = f"{clone}: no clone at commit {commit[:7]}; see photographs.md"
        sys.exit(f"{problem}\n{result.stderr}")


def copy_photographs(clones, data):
    """Read every photograph, write it, and the boxes of train and dev. Exits where a
    clone is not at its commit, or a photograph is missing or cannot be written."""
    lookalikes = json.loads(LOOKALIKE_LABELS.read_text(encoding="utf-8"))
    sources = json.loads(SOURCES.read_text(encoding="utf-8"))
    for repository, entry in sources.items():
        check_commit(clones / repository.split("/")[1], entry["commit"])
    # Those of train and dev are written, those of extra and lookalikes only counted.
    labels = {"train": {}, "dev": {}, "extra": {}, "lookalikes": {}}
    for folder in labels:
        (data / folder).mkdir(parents=True, exist_ok=True)
    for repository, entry in sources.items():
        clone = clones / repository.split("/")[1]
        for name, path in entry["files"].items():
            image = cv2.imread(str(clone / path))
            if image is None:
                sys.exit(f"{clone / path}: missing or not a readable picture")
            # name is, for example, dev/picker_058.jpg, and beginning dev/picker.
            folder, file = name.split("/")
            beginning = name.split("_")[0]
            source = file.split("_")[0]
            boxes = []
            if source in NAMES:
                label = clone / path.replace("/images/", "/labels/")
                boxes = read_label(label.with_suffix(".txt"), NAMES[source], image)
            if beginning in LONGEST:
                image = scaled(image, LONGEST[beginning])
            if beginning in FRAMED:
                image = framed(image, FRAMED[beginning])
            if "hue" in lookalikes.get(file, {}):
                image = turn_hue(image, lookalikes[file]["hue"])
            labels[folder][file] = {"source": source, "boxes": boxes}
            if not cv2.imwrite(str(data / name), image):
                sys.exit(f"{data / name}: cannot be written")
    for folder in ("train", "dev"):
        path = data / folder / "labels.json"
        path.write_text(json.dumps(labels[folder]), encoding="utf-8")
    # The labels of extra are in extra_labels.json, where the training looks for them.
    shutil.copyfile(LOOKALIKE_LABELS, data / "lookalikes" / "labels.json")
    for folder, pictures in labels.items():
        print(data / folder, len(pictures), "pictures")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clones", type=Path, help="folder with the clones")
    parser.add_argument("data", type=Path, help="folder to make")
    arguments = parser.parse_args()
    copy_photographs(arguments.clones, arguments.data)
