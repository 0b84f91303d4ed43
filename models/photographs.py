"""Read the photographs in DATA: what to train on, what to keep for the score.

photographs.md beside this file says where they come from and how DATA is laid out.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

# The kinds of berries. UNKNOWN: half ripe or half hidden ("part" in the labels). The
# network learns nothing from those.
UNKNOWN, RIPE, UNRIPE = 0, 1, 2
KINDS = {"part": UNKNOWN, "ripe": RIPE, "unripe": UNRIPE}
EXTRA_LABELS = Path(__file__).parent / "extra_labels.json"
# Groups of look-alikes that are held out: not used for training.
HELD_GROUPS = {
    # Two blocks of the orchard.
    "apple-orchard block 9",
    "apple-orchard block 10",
    # Eight groups of Fruits-360: how our file names begin, then the folder there.
    "f360 Nectarine",
    "f360c Apple Braeburn 1",
    "f360o apple_braeburn_1",
    "f360c Apple Red 2",
    "f360c Cherry 5",
    "f360c Cherry Wax Red 1",
    "f360c Tomato 9",
    "f360c Tomato Heart 1",
    # All dishes of one site, nononsense.cooking. (The class of most is "kitchen".)
    "nononsense",
}
# The pictures of greenhouse rows in train/ whose boxes fit. Another DATA than that of
# photographs.md may hold more of them: tilted copies, with a new box around each tilted
# old one. The sides of these boxes are too long, on average by a quarter.
TIGHT = {
    f"greenhouse_{number}.jpg"
    for number in (
        "0002 0004 0034 0046 0052 0054 0064 0065 0067 0073 0085 0088 "
        "0094 0096 0098 0099 0105 0109 0114 0131 0137 0154 0158 0166"
    ).split()
}


class Picture(NamedTuple):
    name: str  # of its file
    source: str  # where it comes from, such as "picker"; "held": a held-out close-up
    subject: str  # what is in it: the class of a look-alike, otherwise the source
    group: str  # look-alikes of one group are all used for training, or none
    image: np.ndarray  # (height, width, 3) uint8, BGR
    boxes: np.ndarray  # (n, 5) float32: kind, x, y, width, height in pixels


class Data(NamedTuple):
    train: list[Picture]
    dev: list[Picture]  # not used for training; settings are chosen with it
    held_close_ups: list[Picture]  # held out; the threshold is not chosen with them
    held_lookalikes: list[Picture]  # held out in the same way


def read_boxes(label, image):
    """The boxes of a label; ValueError where one is empty or reaches more than a
    pixel over the edge."""
    rows = [(KINDS[box["cls"]], *box["box"]) for box in label["boxes"]]
    boxes = np.array(rows, np.float32).reshape(-1, 5)
    low = boxes[:, 1:3]
    size = boxes[:, 3:]
    high = low + size
    height, width = image.shape[:2]
    # Labels are rounded: one pixel over the edge is no mistake.
    is_inside = (low >= -1) & (high <= [width + 1, height + 1])
    # Ask whether all are right: "if (size <= 0).any()" would let a NaN pass, since
    # every comparison with a NaN is False.
    if not (is_inside & (size > 0)).all():
        raise ValueError(f"a box is empty or reaches out of {width} x {height} pixels")
    return boxes


def load(folder, labels=None):
    """Read the pictures of a folder that a file of labels names: its labels.json, or
    another file.

    Exits where a file is missing or wrong, and names it: the labels, or the picture
    that was being read."""
    pictures = []
    labels = labels or folder / "labels.json"
    path = labels  # what is being read
    try:
        for name, label in json.loads(labels.read_text(encoding="utf-8")).items():
            path = folder / name
            image = cv2.imread(str(path))
            if image is None:
                raise ValueError("missing or not a readable picture")
            source = label["source"]
            subject = label.get("class", source)
            group = label.get("group", source)
            boxes = read_boxes(label, image)
            pictures.append(Picture(name, source, subject, group, image, boxes))
    # A missing file, the errors raised above, and what labels of another form raise.
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f"{path}: unusable: {type(error).__name__}: {error}")
    return pictures


def read_data(folder):
    """All photographs in DATA; exits unless train and dev have pictures with berries
    and pictures without."""
    train = [
        picture for picture in load(folder / "train") if not has_loose_boxes(picture)
    ]
    dev = load(folder / "dev")
    for name, pictures in (("train", train), ("dev", dev)):
        have_berries = [len(picture.boxes) > 0 for picture in pictures]
        if all(have_berries) or not any(have_berries):
            sys.exit(f"{folder / name}: needs pictures with and without berries")
    close_ups = load(folder / "extra", EXTRA_LABELS)
    lookalikes = load(folder / "lookalikes")
    train += [picture for picture in close_ups + lookalikes if not is_held(picture)]
    held_close_ups = [picture for picture in close_ups if is_held(picture)]
    held_lookalikes = [picture for picture in lookalikes if is_held(picture)]
    return Data(train, dev, held_close_ups, held_lookalikes)


def has_loose_boxes(picture):
    """Whether a picture of train/ is a tilted copy, whose boxes are too large."""
    return picture.source == "greenhouse" and picture.name not in TIGHT


def is_held(picture):
    """Whether it is held out: some close-ups, and whole groups of look-alikes."""
    return picture.source == "held" or picture.group in HELD_GROUPS


def turn_hue(image, angle):
    """Turn all colours of a BGR image by an angle, in OpenCV's steps of two degrees:
    180 is once around."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    # int: with the angle added, 8 bits would overflow.
    hsv[..., 0] = (hsv[..., 0].astype(int) + angle) % 180
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
