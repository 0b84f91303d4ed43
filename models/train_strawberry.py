"""Train the strawberry network of lesson 8 and write it as an ONNX file.

Train  python models/train_strawberry.py DATA --minutes 96
Score  python models/train_strawberry.py DATA --score
Stop with Ctrl-C at any time: the same command goes on from the last checkpoint.

DATA holds train/ and dev/, each with pictures and a labels.json, and may hold
extra/, close-ups without boxes. README.md beside this file says what is in them.
"""
# /// script
# dependencies = ["torch>=2.6,<3", "onnx>=1.17,<2", "numpy>=2,<3",
#                 "opencv-python>=5.0,<6"]
# ///

import argparse
import json
import os
import sys
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

SIZE = 416  # input side of the network; its answer is SIZE / 4 wide and high
# Side of the pictures it trains on. Cropping and zooming makes things look larger in
# training than they are later; smaller pictures make up for it (FixRes, Touvron 2019).
PAINTED = 320
# Chosen on dev, where it buys precision 0.75 at recall 0.71 (README.md has the table).
THRESHOLD = 0.45
NMS_IOU = 0.5  # of two boxes that overlap more than this the weaker goes
BATCH = 24
ROUND = 750  # steps between two checkpoints, each with a look at dev
# Unknown is half ripe or unlabelled: left out of the loss.
UNKNOWN, RIPE, UNRIPE = 0, 1, 2
CLASSES = {"part": UNKNOWN, "ripe": RIPE, "unripe": UNRIPE}
# These pictures of extra/ never train the network: --score checks with them.
HELD = {4, 10, 20, 41, 43, 71, 74, 77, 79, 87, 96, 126, 131, 137, 173, 192, 195, 202}
HELD |= {205, 206, 208, 209}
# Boxes drawn by hand on extra/: picture number, then x0 y0 x1 y1 of every berry in
# 64ths of the picture, two digits each; "?" marks a place with who knows what.
EXTRA = """
0 34165633 07272844 28304750 12434162; 1 00082857 27086456; 2 08105557; 3 04006464; 4
00142748 39096457; 5 00281054 09192352 21073640 35045541 46316464; 7 17116464; 9
06123151 32135148 52186446 ?00200850; 10 16284460; 11 28124344 42185649; 16 02003143
34186464 ?10305060; 19 18033224 37075928 00192140 09402660 33406060; 20 05005143; 23
19076463; 24 17006448; 25 16004314 06144240 10394864; 34 09025864; 36 00025762; 38
14195646; 41 03003550 30146455; 42 00162255 22105849; 43 00011229 10002927 32054829
54136437 42245645 03321445 13382758; 46 12166052 01423564 ?00003016; 48 01266442; 50
03145150; 51 05163162 45186463 ?30084862 ?00000662; 55 01061849 17004654 45006345; 57
02006361; 66 00034546 ?28466462; 67 15075260; 69 05005420 14186455 04534664; 71
00153863 25036243; 74 08116464; 77 00001652 19015152 50076452; 79 10006319 06305660;
80 00031026 10003023 31004823 51026421 01302462 26285463 53266455; 87 08193956
38275250 36055120; 88 08024855 45026215; 94 00116462; 96 30025714 20115427 06223939
02383959 27526064; 97 10046242; 102 00005641; 103 13156462; 106 29284759 15343061
46375659 49306455 ?23223336 ?00021014 ?16023313 ?41025717 ?56046420; 108 00086262; 112
24116456 ?00022535 ?43606464; 114 11003032 32005234 00182162 23384364 50226352; 119
00112452 24124851 ?47146441; 120 16176047 00432864 ?00311542; 121 00162039 ?50506163;
122 02262144 25235151 17455260 ?17113224 ?24004114; 123 01223555 38326354 26115129
11003915 ?10506064; 126 31014521 14162742 27303950 27523763 37525063 ?20243241
?47085924 ?02201334; 127 10142643 26075443; 130 14213737 17373949 41165829 ?36055217;
131 22245150; 137 12323957 16003606; 143 08152350 24073944; 144 34195242 ?24405252;
148 07304458 43276452 33055924 00012217 00163418 ?25264334 ?20003608 ?10576464; 149
29255254 11345959 00291457 34085128 16003310 ?13102931 ?33014712 ?51166450 ?00011326
?00576464; 151 27296160 00023226 00252952 ?44006107; 154 09165448 ?00004014 ?00142030;
158 08106445 ?00180933; 161 03003363 35006262; 163 00064743 ?00446464 ?20006405
?48106426; 171 22185259 10004523; 173 06135643; 176 12116454; 179 00154746 ?00402164;
181 33145638 01121627 14023314 17143533 03272038 19303545; 182 18044955 04343163
?29014506; 183 08096353; 187 00036464; 188 00015664; 190 10015630 02376464; 191
00044660; 192 16135162; 195 03292751 48536464 21013412; 198 20085962 ?41045419
?58466462; 202 24196257; 203 05136464; 204 17074056 ?15342755 ?40344862; 205 45246448;
206 10115061; 208 09145460; 209 30004420 12162541 25283748 24513564 35504864 ?18233041
?45065822 ?00221234; 210 00096464; 212 09065852; 213 18184463 02311759 00071732
15032927 43016419 40186044 28014317 41435563 ?55386464 ?00481264; 217 00156464; 219
47326460 ?26384057; 220 44106036 44356363 15333052 00181441 26014225 ?13132533; 224
07023260 31005650 55006430 ?26406464; 228 11065656 ?20566464; 230 14024454 37336464
"""
cv2.setNumThreads(1)  # pictures are made by several processes; threads would fight


def read_picture(path):
    picture = cv2.imread(str(path))
    if picture is None:
        sys.exit(f"{path}: missing or not a readable picture")
    return picture


def load(folder):
    """Read labels.json of a folder and its pictures.

    Gives a list of dicts: source, image (h, w, 3 uint8 BGR) and boxes (n, 5 float32:
    class, x, y, w, h in pixels). Exits with the file's name when labels are missing,
    a picture is unreadable or a box lies outside its picture.
    """
    try:
        labels = json.loads((folder / "labels.json").read_text())
        labels = [
            (folder / name, v["source"], v["boxes"]) for name, v in labels.items()
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.exit(f"{folder / 'labels.json'}: no usable labels: {error!r}")
    pictures = []
    for path, source, found in labels:
        image, boxes = read_picture(path), []
        high, wide = image.shape[:2]
        for label in found:
            try:
                kind, (x, y, w, h) = CLASSES[label["cls"]], map(float, label["box"])
            except (KeyError, TypeError, ValueError):
                sys.exit(f"{path}: not a class and a box: {label}")
            # Labels are rounded: one pixel over the edge is no mistake.
            inside = min(x, y) >= -1 and x + w <= wide + 1 and y + h <= high + 1
            if min(w, h) <= 0 or not inside:
                sys.exit(f"{path}: {label} lies outside its {wide} x {high} pixels")
            boxes.append((kind, x, y, w, h))
        boxes = np.array(boxes, np.float32).reshape(-1, 5)
        pictures.append({"source": source, "image": image, "boxes": boxes})
    ripe = [(p["boxes"][:, 0] == RIPE).any() for p in pictures]
    if not any(ripe) or all(len(p["boxes"]) for p in pictures):
        sys.exit(f"{folder / 'labels.json'}: needs pictures with and without berries")
    return pictures


def load_extra(folder, held):
    """The pictures of extra/ with boxes in EXTRA, as load() gives them."""
    pictures = []
    for entry in EXTRA.split(";") if folder.is_dir() else []:
        number, *words = entry.split()
        if (int(number) in HELD) == held:
            image, boxes = read_picture(folder / f"extra_{int(number):04d}.jpg"), []
            for word in words:
                box = np.array([int(word[-8:][i : i + 2]) for i in (0, 2, 4, 6)])
                box[2:] -= box[:2]
                kind = UNKNOWN if word[0] == "?" else RIPE
                boxes.append([kind, *(box * image.shape[0] / 64)])
            boxes = np.array(boxes, np.float32)
            pictures.append({"source": "extra", "image": image, "boxes": boxes})
    return pictures


def cut_out(image, box):
    """Cut a berry out of its box with GrabCut. Gives BGRA pixels, at most 224 on the
    longest side, or None where the outline found is not a plausible berry."""
    x, y, w, h = box
    pad = 0.15 * max(w, h) + 2  # GrabCut learns the background from this margin
    x0, y0 = max(round(x - pad), 0), max(round(y - pad), 0)
    patch = image[y0 : round(y + h + pad), x0 : round(x + w + pad)]
    scale = min(224 / max(patch.shape[:2]), 1)
    patch = cv2.resize(patch, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    small = 96 / max(patch.shape[:2])
    thumb = cv2.resize(patch, None, fx=small, fy=small, interpolation=cv2.INTER_AREA)
    rect = [round(v * scale * small) for v in (x - x0, y - y0, w, h)]
    mask = np.zeros(thumb.shape[:2], np.uint8)
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(thumb, mask, rect, *models, 4, cv2.GC_INIT_WITH_RECT)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(mask & 1)
    if len(stats) < 2:
        return None
    best = 1 + stats[1:, cv2.CC_STAT_AREA].argmax()
    mask = cv2.GaussianBlur((parts == best) * np.uint8(255), (0, 0), 1.5)
    blue, green, red, _ = cv2.mean(thumb, mask)
    _, _, width, height, area = stats[best]
    whole = width > 0.8 * rect[2] and height > 0.8 * rect[3]
    if not (0.5 < area / rect[2] / rect[3] < 0.92 and whole):
        return None
    if red < 1.35 * max(green, blue):
        return None
    return np.dstack([patch, cv2.resize(mask, patch.shape[1::-1])])


def noise(rng, height, width, rows, columns):
    """Soft random blobs (few rows and columns) or streaks, (h, w, 1) around 0."""
    values = rng.normal(size=(rows, columns)).astype(np.float32)
    values = cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC)
    return values[..., None]


def colour(rng, hue=(0, 180), saturation=(0, 255), value=(30, 255)):
    """A random BGR colour; hue as OpenCV counts it, 0..179, below 0 for more red."""
    # The square prefers pale colours: that is what tables and plates have.
    s = saturation[0] + (saturation[1] - saturation[0]) * rng.random() ** 2
    pixel = np.uint8([[[rng.integers(*hue) % 180, s, rng.uniform(*value)]]])
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)


def redden(rng, image):
    """Turn the strongest hue of a picture into red, or all hues by any angle: a lime
    or a flowered dress becomes a hard negative."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    hues = np.bincount(hsv[..., 0].ravel(), hsv[..., 1].ravel(), 180)
    shift = 180.0 - hues.argmax() + rng.integers(-6, 6)
    shift = shift if rng.random() < 0.65 else rng.integers(180)
    hsv[..., 0] = (hsv[..., 0] + shift) % 180
    hsv[..., 1] = np.minimum(hsv[..., 1] * rng.uniform(1, 1.6), 255)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def turn(rng, patch, side):
    """Scale a BGRA patch to about `side` pixels, mirror it and turn it at random."""
    scale, stretch = side / max(patch.shape[:2]), rng.uniform(0.85, 1.18)
    width = max(round(patch.shape[1] * scale * stretch), 3)
    height = max(round(patch.shape[0] * scale / stretch), 3)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    patch = cv2.resize(patch, (width, height), interpolation=how)[
        :, :: rng.choice([1, -1])
    ]
    long = int(np.hypot(width, height)) + 3
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(0, 360), 1)
    matrix[:, 2] += long / 2 - np.array([width, height]) / 2
    return cv2.warpAffine(np.ascontiguousarray(patch), matrix, (long, long))


def lay(canvas, patch, x, y):
    """Blend a BGRA patch into a float canvas in place, top left at (x, y). Gives its
    opaque pixels and their place, or None where it lies outside."""
    x0, x1 = max(x, 0), min(x + patch.shape[1], canvas.shape[1])
    y0, y1 = max(y, 0), min(y + patch.shape[0], canvas.shape[0])
    if x0 >= x1 or y0 >= y1:
        return None
    place = np.s_[y0:y1, x0:x1]
    patch = patch[y0 - y : y1 - y, x0 - x : x1 - x]
    alpha = patch[..., 3:] / np.float32(255)
    canvas[place] += alpha * (patch[..., :3] - canvas[place])
    return alpha[..., 0] > 0.5, place


def shadow(rng, patch, size):
    """The blurred dark shape that a patch throws, BGRA."""
    dark = np.zeros_like(patch)
    blur = cv2.GaussianBlur(
        patch[..., 3], (0, 0), max(size * rng.uniform(0.03, 0.1), 1)
    )
    dark[..., 3] = blur * rng.uniform(0.1, 0.6)
    return dark


def halve(rng, patch):
    """Make a cut-out berry look cut open: pale core, red rim, streaks in between."""
    high, wide = patch.shape[:2]
    depth = cv2.distanceTransform(np.uint8(patch[..., 3] > 127), cv2.DIST_L2, 3)[
        ..., None
    ]
    depth /= depth.max() + 1
    ys, xs = np.mgrid[-1 : 1 : high * 1j, -1 : 1 : wide * 1j]
    streaks = 0.12 * np.sin(np.arctan2(ys, xs) * rng.integers(14, 34))[..., None]
    core = colour(rng, (0, 14), (10, 90), (200, 255))
    rim = colour(rng, (-5, 5), (130, 230), (150, 240))
    mix = np.clip(depth * rng.uniform(1.2, 2.2) + streaks, 0, 1)
    flesh = rim * (1 - mix) + core * mix + 8 * noise(rng, high, wide, 20, 20)
    skin = np.clip(depth / rng.uniform(0.05, 0.2), 0, 1)
    mixed = np.clip(patch[..., :3] * (1 - skin) + flesh * skin, 0, 255)
    return np.dstack([mixed, patch[..., 3]]).astype(np.uint8)


def leaves(rng, patch, root):
    """Draw the little leaves of a berry or a tomato onto a BGRA patch, in place."""
    green = colour(rng, (30, 75), (100, 255), (60, 200)).tolist()
    long = max(patch.shape) * rng.uniform(0.08, 0.16)
    thin = long * rng.uniform(0.15, 0.5)
    count, first = rng.integers(3, 9), rng.uniform(0, 360)
    for way in first + 360 / count * np.arange(count):
        turned = np.deg2rad(way)
        x, y = root + 0.9 * long * np.array([np.cos(turned), np.sin(turned)])
        leaf = ((x, y), (2 * long, 2 * thin), way)
        shade = rng.uniform(0.8, 1.1)
        tone = [min(channel * shade, 255) for channel in green]
        cv2.ellipse(patch, leaf, [*tone, 255], -1, cv2.LINE_AA)


def draw(rng, berry):
    """Draw a shaded red thing, BGRA 96 x 96: a berry (pointed, seeds, leaves) or a
    ball, smooth as a tomato or a cherry, knobbly as a raspberry, with or without
    a stalk: red and round alone must not be enough."""
    ys, xs = np.mgrid[-1:1:96j, -1:1:96j].astype(np.float32)
    shape = np.hypot(xs / np.clip(1 - 0.5 * ys - 0.4, 0.05, 1), ys) if berry else None
    shape = np.hypot(xs, ys * rng.uniform(0.8, 1.3)) if shape is None else shape
    lit = rng.uniform(-0.6, 0.6, 2)
    light = 1.15 - 0.5 * np.hypot(xs - lit[0], ys - lit[1])
    if not berry and rng.random() < 0.25:
        step = rng.uniform(7, 14)
        light *= 0.75 + 0.3 * np.sin(xs * step) * np.sin(ys * step)
    patch = (
        colour(rng, (-8, 9), (150, 255), (90, 255))
        * np.clip(light, 0.1, 1.3)[..., None]
    )
    if berry:
        seed = colour(rng, (15, 32), (60, 200), (120, 255)).tolist()
        for row in range(8, 96, int(rng.integers(9, 15))):
            for column in range(8 + row % 2 * 6, 96, int(rng.integers(9, 15))):
                cv2.ellipse(patch, (column, row), (1, 2), 0, 0, 360, seed, -1)
    else:
        patch[np.hypot(xs - lit[0], ys - lit[1]) < rng.uniform(0, 0.2)] = 245
    mask = cv2.GaussianBlur((shape < 0.92) * np.float32(255), (0, 0), 1)
    patch = np.dstack([np.clip(patch, 0, 255), mask]).astype(np.uint8)
    if berry or rng.random() < 0.5:
        leaves(rng, patch, (48, 14) if berry else (48, 48))
    return patch


def furniture(rng, width, height):
    """A plate, a bowl or something like a hand, BGRA of the whole picture."""
    mask = np.zeros((height, width), np.uint8)
    centre = (rng.uniform(0.35, 0.65, 2) * (width, height)).astype(int).tolist()
    across = rng.uniform(0.3, 0.65) * max(width, height)
    axes = [int(across), int(across * rng.uniform(0.5, 1))]
    plate = rng.random() < 0.65
    if plate:
        tone = colour(rng, (0, 180), (0, 30), (170, 255))
        tone = colour(rng) if rng.random() < 0.3 else tone
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1)
    else:
        tone = colour(rng, (4, 14), (40, 150), (70, 250))
        cv2.ellipse(mask, centre, [axes[0] // 2, axes[1] // 2], 0, 0, 360, 255, -1)
        first = rng.uniform(0, 6.3)
        for way in first + 0.42 * np.arange(rng.integers(3, 6)):
            tip = centre + across * 1.3 * np.array([np.cos(way), np.sin(way)])
            wide = max(int(across * 0.35), 4)
            cv2.line(mask, centre, tip.astype(int).tolist(), 255, wide)
    picture = tone * (1 + 0.08 * noise(rng, height, width, 4, 4))
    if plate:  # the flat middle of a plate, the deep one of a bowl
        inner = np.zeros((height, width), np.float32)
        axes = (np.array(axes) * rng.uniform(0.6, 0.9)).astype(int).tolist()
        cv2.ellipse(inner, centre, axes, 0, 0, 360, 1, -1)
        inner = cv2.GaussianBlur(inner, (0, 0), rng.uniform(1, 6))
        picture *= 1 - rng.uniform(0, 0.4) * inner[..., None]
    mask = cv2.GaussianBlur(mask, (0, 0), 1.2)
    return np.dstack([np.clip(picture, 0, 255), mask]).astype(np.uint8)


def camera(rng, image):
    """What phones do to pictures: light, white balance, blur, noise, JPEG."""
    gain = rng.uniform(0.85, 1.15, 3) * rng.uniform(0.65, 1.35)
    ramp = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.7, 1.4) * gain
    table = np.clip(255 * ramp + rng.uniform(-15, 15), 0, 255).astype(np.uint8)
    image = cv2.LUT(np.ascontiguousarray(image), table[None])
    if rng.random() < 0.4:
        hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.float32)
        hsv[..., 0] = (hsv[..., 0] + rng.integers(-7, 8)) % 180
        hsv[..., 1] = np.minimum(hsv[..., 1] * rng.uniform(0.6, 1.5), 255)
        image = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
    if rng.random() < 0.2:
        grain = rng.normal(size=image.shape) * rng.uniform(2, 14)
        image = np.clip(image + grain, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 95))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], 1)
    return image


def clip(boxes, width, height):
    """Cut boxes at the picture's edge; what is mostly outside becomes unknown."""
    low = np.maximum(boxes[:, 1:3], 0)
    side = np.minimum(boxes[:, 1:3] + boxes[:, 3:], [width, height]) - low
    left = side.clip(0).prod(1) / boxes[:, 3:].prod(1)
    kind = np.where((left < 0.4) | (side.min(1) < 4), UNKNOWN, boxes[:, 0])
    return np.column_stack([kind, low, side])[side.min(1) > 0]


def crop(rng, picture, width, height):
    """A random part of a photograph, often zoomed on a berry, and its boxes."""
    image, boxes = picture["image"], picture["boxes"].copy()
    high, wide = image.shape[:2]
    zoom = 1 if rng.random() < 0.4 else rng.uniform(0.25, 1)
    fit = min(wide / width, high / height) * zoom
    w, h = max(round(width * fit), 8), max(round(height * fit), 8)
    x, y = rng.integers(wide - w + 1), rng.integers(high - h + 1)
    if len(boxes):
        _, bx, by, bw, bh = boxes[rng.integers(len(boxes))]
        x = int(np.clip(bx + bw / 2 - w * rng.uniform(0.1, 0.9), 0, wide - w))
        y = int(np.clip(by + bh / 2 - h * rng.uniform(0.1, 0.9), 0, high - h))
    image = image[y : y + h, x : x + w]
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    boxes[:, 1:] = (boxes[:, 1:] - [x, y, 0, 0]) * ([width / w, height / h] * 2)
    if rng.random() < 0.5:
        image, boxes[:, 1] = image[:, ::-1], width - boxes[:, 1] - boxes[:, 3]
    if rng.random() < 0.2:
        image, boxes[:, 2] = image[::-1], height - boxes[:, 2] - boxes[:, 4]
    return np.ascontiguousarray(image), clip(boxes, width, height)


class Painter(torch.utils.data.Dataset):
    """Makes training pictures. Item n is batch n, the same whenever it is asked for."""

    def __init__(self, pictures, seed):
        self.seed = seed
        self.berries = [p for p in pictures if len(p["boxes"])]
        self.negatives = [p for p in pictures if not len(p["boxes"])]
        # Other cameras than the two fields' are rare and worth more looks.
        weight = np.array([1 + 2 * (p["source"] == "extra") for p in self.berries])
        self.weight = weight / weight.sum()
        self.mined = np.full(len(self.negatives), 1 / len(self.negatives))
        cv2.setRNGSeed(seed)  # GrabCut starts from random clusters
        self.cuts = {"extra": [], "train": []}
        for p in self.berries:
            for kind, *box in p["boxes"]:
                cut = kind == RIPE and min(box[2:]) >= 36 and cut_out(p["image"], box)
                if isinstance(cut, np.ndarray):
                    self.cuts["extra" if p["source"] == "extra" else "train"].append(
                        cut
                    )

    def __len__(self):
        return 1 << 40

    def __getitem__(self, step):
        rng = np.random.default_rng([self.seed, step])
        images, boxes = zip(*(self.sample(rng) for _ in range(BATCH)), strict=True)
        goals, present = zip(*(target(b) for b in boxes), strict=True)
        return np.stack(images), np.stack(goals), np.stack(present)

    def sample(self, rng):
        """One finished picture (PAINTED, PAINTED, 3) and its boxes (n, 5)."""
        image, boxes = np.full((PAINTED, PAINTED, 3), 114, np.uint8), []
        places = [(0, 0, PAINTED, PAINTED)]
        if rng.random() < 0.12:  # four in one: small things in odd company
            x, y = rng.integers(PAINTED // 3, 2 * PAINTED // 3, 2).tolist()
            places = [(0, 0, x, y), (x, 0, PAINTED - x, y)]
            places += [(0, y, x, PAINTED - y), (x, y, PAINTED - x, PAINTED - y)]
        elif rng.random() < 0.7:  # a picture that is not square leaves grey bars
            short = round(
                PAINTED * rng.choice([9 / 16, 2 / 3, 3 / 4, rng.uniform(0.4, 1)])
            )
            places = [(0, 0, *rng.permutation([PAINTED, short]).tolist())]
        for x, y, w, h in places:
            part, found = self.scene(rng, w, h)
            image[y : y + h, x : x + w] = camera(rng, part)
            boxes.append(found + [0, x, y, 0, 0])
        return image, np.concatenate(boxes)

    def scene(self, rng, width, height):
        """A photograph with berries, one without, or a composition."""
        kind = rng.random()
        if kind < 0.38:
            number = rng.choice(len(self.berries), p=self.weight)
            return crop(rng, self.berries[number], width, height)
        if kind < 0.62:
            image = self.negative(rng, width, height)
            return redden(rng, image) if rng.random() < 0.45 else image, np.zeros(
                (0, 5)
            )
        return self.compose(rng, width, height)

    def negative(self, rng, width, height):
        number = rng.choice(len(self.negatives), p=self.mined)
        return crop(rng, self.negatives[number], width, height)[0]

    def background(self, rng, width, height):
        """A table, a cloth, a wall or a photograph without berries, float32."""
        kind = rng.random()
        if kind < 0.35:
            image = self.negative(rng, width, height)
            if rng.random() < 0.3:
                image = cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 5))
            return image.astype(np.float32)
        one, two = colour(rng), colour(rng)
        if kind < 0.55:  # wood: long streaks of two browns
            one = colour(rng, (5, 20), (30, 200))
            two = one * rng.uniform(0.5, 0.9)
            streaks = rng.permutation([rng.integers(20, 90), 3])
            mix = noise(rng, height, width, *streaks)
        elif kind < 0.7:  # cloth: checks or stripes
            step = rng.uniform(3, 25)
            mix = rng.integers(2) * np.sin(np.arange(height)[:, None] / step)
            mix = (np.sin(np.arange(width) / step) + mix)[..., None]
        else:  # plain, in uneven light
            two = one * rng.uniform(0.6, 1)
            mix = noise(rng, height, width, 3, 3)
        mix = np.clip(mix / 2 + 0.5, 0, 1)
        grain = rng.normal(size=(height, width, 1)) * rng.uniform(0, 8)
        return np.clip(one * mix + two * (1 - mix) + grain, 0, 255).astype(np.float32)

    def berry(self, rng):
        """A berry to lay down, BGRA: cut out, cut open or, rarely, drawn."""
        cuts = self.cuts["extra" if rng.random() < 0.6 else "train"]
        if rng.random() < 0.07 or not cuts:
            return draw(rng, True)
        patch = cuts[rng.integers(len(cuts))]
        kind = rng.random()
        if kind < 0.1:
            return halve(rng, patch)
        if kind < 0.35:  # most cut-outs end below the leaves: grow some new ones
            patch = patch.copy()
            points = np.argwhere(patch[..., 3] > 127)[:, ::-1]
            middle = points.mean(0)
            tip = points[((points - middle) ** 2).sum(1).argmax()]
            leaves(rng, patch, middle - 0.75 * (tip - middle))
        return patch

    def impostor(self, rng):
        """Something red that is no strawberry, BGRA: fruit skin or cloth in the
        outline of a ball, a patch or a berry, or a drawn ball."""
        if rng.random() < 0.4:
            return draw(rng, False)
        patch = self.negative(rng, 96, 96)
        patch = redden(rng, patch) if rng.random() < 0.6 else patch
        mask = draw(rng, False)[..., 3]
        cuts = self.cuts["train"] + self.cuts["extra"]
        if rng.random() < 0.5 and cuts:
            mask = cv2.resize(cuts[rng.integers(len(cuts))][..., 3], (96, 96))
        elif rng.random() < 0.3:
            mask[:] = 255
        return np.dstack([patch, mask])

    def compose(self, rng, width, height):
        """Berries and impostors on a background: a few, one, a pile, tiny, none."""
        canvas = self.background(rng, width, height)
        if rng.random() < 0.5:
            thing = furniture(rng, width, height)
            lay(canvas, shadow(rng, thing, 80), *rng.integers(-8, 9, 2).tolist())
            lay(canvas, thing, 0, 0)
        # How many berries, and how large in parts of the picture's longer side.
        kinds = [(1, 6, 0.1, 0.45), (1, 2, 0.5, 1.2), (8, 40, 0.12, 0.35)]
        kinds += [(1, 10, 0.04, 0.12), (0, 1, 0.04, 0.5)]
        least, most, low, high = kinds[rng.choice(5, p=[0.3, 0.12, 0.18, 0.1, 0.3])]
        count, side = rng.integers(least, most), rng.uniform(low, high)
        fakes = rng.integers(1, 4) if rng.random() < 0.35 else 0
        fakes = fakes if count else rng.integers(1, 16)
        middle, spread = rng.uniform(0.3, 0.7, 2), rng.uniform(0.1, 0.3)
        light = rng.uniform(0.75, 1.2, 3) * rng.uniform(0.7, 1.15)
        owner, areas = np.zeros((height, width), np.int16), [1]
        for real in rng.permutation([True] * count + [False] * fakes):
            size = max(side * rng.uniform(0.75, 1.25) * max(width, height), 6)
            patch = turn(rng, self.berry(rng) if real else self.impostor(rng), size)
            patch[..., :3] = np.clip(patch[..., :3] * light, 0, 255)
            x, y = rng.normal(middle, spread) * (width, height) - patch.shape[0] / 2
            dx, dy = rng.uniform(-0.12, 0.12, 2) * size
            lay(canvas, shadow(rng, patch, size), round(x + dx), round(y + dy))
            laid = lay(canvas, patch, round(x), round(y))
            if laid:
                owner[laid[1]][laid[0]] = len(areas) if real else 0
                areas.append((patch[..., 3] > 127).sum())
        boxes = []
        for number in range(1, len(areas)):
            seen = np.uint8(owner == number)
            visible = cv2.countNonZero(seen) / max(areas[number], 1)
            if visible > 0.05:
                kind = RIPE if visible > 0.3 else UNKNOWN
                boxes.append((kind, *cv2.boundingRect(seen)))
        boxes = np.array(boxes, np.float32).reshape(-1, 5)
        return np.clip(canvas, 0, 255).astype(np.uint8), clip(boxes, width, height)


def target(boxes):
    """What the network should answer to boxes (n, 5): (7, g, g) float32 with g = PAINTED
    / 4: heat, weight of the heat, left, top, right, bottom, weight of the box; and
    whether a ripe berry is there (1, 0; -1 where nobody knows)."""
    goal = np.zeros((7, PAINTED // 4, PAINTED // 4), np.float32)
    goal[1], best = 1, np.zeros_like(goal[0])
    cells = np.arange(PAINTED // 4) * 4 + 2.0
    for kind, x, y, w, h in boxes[boxes[:, 0] != RIPE]:
        area = goal[
            1, int(y) // 4 : int(y + h) // 4 + 1, int(x) // 4 : int(x + w) // 4 + 1
        ]
        # Where ripe begins is a matter of taste, so unripe counts a little only.
        np.minimum(area, 0 if kind == UNKNOWN else 0.3, out=area)
    for _, x, y, w, h in boxes[boxes[:, 0] == RIPE]:
        column, row = (min(int(v) // 4, len(cells) - 1) for v in (x + w / 2, y + h / 2))
        across = np.exp(-(((cells - cells[column]) / (2.2 + 0.14 * w)) ** 2))
        down = np.exp(-(((cells - cells[row]) / (2.2 + 0.14 * h)) ** 2))
        heat = down[:, None] * across
        goal[0] = np.maximum(goal[0], heat)
        near = (heat > 0.3) & (heat > best)
        best[near] = heat[near]
        goal[1][near] = 1
        goal[6][near] = heat[near] / np.sqrt(heat.sum())  # no size drowns another
        to_right, to_bottom = np.meshgrid(x + w - cells, y + h - cells)
        sides = np.stack([w - to_right, h - to_bottom, to_right, to_bottom])
        goal[2:6, near] = sides[:, near]
    ripe = (boxes[:, 0] == RIPE).any()
    return goal, np.float32(1 if ripe else -1 if len(boxes) else 0)


def conv(inputs, outputs, kernel=3, stride=1, groups=1):
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, 1, groups, False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU())


class Block(nn.Module):
    """Depthwise 3 x 3, then pointwise (MobileNet), added to the input (ResNet)."""

    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        depthwise = conv(inputs, inputs, 3, stride, inputs)
        self.body = nn.Sequential(depthwise, conv(inputs, outputs, 1))
        self.short = inputs == outputs

    def forward(self, x):
        return x + self.body(x) if self.short else self.body(x)


def stage(inputs, outputs, count):
    blocks = [Block(outputs, outputs) for _ in range(count)]
    return nn.Sequential(Block(inputs, outputs, 2), *blocks)


class Net(nn.Module):
    """image (n, 3, S, S) RGB 0..1 -> heat (n, 1, S/4, S/4) and presence (n, 1, 1, 1),
    both before the sigmoid, and box distances (n, 4, S/4, S/4) in input pixels.

    Four scales, summed from coarse to fine (feature pyramid, Lin 2017); one heat map
    of berry centres (CenterNet, Zhou 2019)."""

    def __init__(self):
        super().__init__()
        self.down4 = nn.Sequential(conv(3, 16, 3, 2), conv(16, 32, 3, 2))
        self.down8, self.down16 = stage(32, 64, 3), stage(64, 112, 4)
        self.down32 = stage(112, 144, 2)
        self.sides = nn.ModuleList(conv(c, 48, 1) for c in (32, 64, 112, 144))
        self.mixes = nn.ModuleList(Block(48, 48) for _ in range(3))
        self.head = Block(48, 48)
        self.heat, self.box = nn.Conv2d(48, 1, 1), nn.Conv2d(48, 4, 1)
        self.presence = nn.Conv2d(288, 1, 1)
        nn.init.constant_(self.heat.bias, -4.0)  # at first nothing is a berry

    def forward(self, image):
        x4 = self.down4((image - 0.45) * 4)
        x8 = self.down8(x4)
        x16 = self.down16(x8)
        x32 = self.down32(x16)
        pooled = [F.adaptive_avg_pool2d(x32, 1), F.adaptive_max_pool2d(x32, 1)]
        presence = self.presence(torch.cat(pooled, 1)).float()
        y = self.sides[3](x32)
        for number, x in ((2, x16), (1, x8), (0, x4)):
            y = F.interpolate(y, scale_factor=2.0, mode="nearest")
            y = self.mixes[number](self.sides[number](x) + y)
        y = self.head(y)
        box = 8 * torch.exp(self.box(y).float().clamp(-4, 4))
        return self.heat(y).float(), box, presence


class Answer(nn.Module):
    """The network as lesson 8 sees it: one output (n, 5, S/4, S/4)."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image):
        heat, box, presence = self.net(image)
        return torch.cat([torch.sigmoid(heat) * torch.sigmoid(presence), box], 1)


def loss_of(outputs, goal, present):
    """Focal loss on the heat, GIoU on the boxes, cross entropy on presence."""
    heat, box, presence = outputs
    want, true, near = goal[:, 0], goal[:, 2:6], goal[:, 6]
    score = torch.sigmoid(heat[:, 0]).clamp(1e-4, 1 - 1e-4)
    peak = want > 0.999
    yes = (1 - score) ** 2 * score.log()
    no = (1 - want) ** 4 * score**2 * (1 - score).log()
    focal = -(torch.where(peak, yes, no) * goal[:, 1]).sum((1, 2))
    # The root keeps a pile of forty from drowning the one berry of another picture.
    focal = (focal / peak.sum((1, 2)).clamp(min=1).sqrt()).mean()

    def area(sides):
        return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])

    shared, hull = area(torch.minimum(box, true)), area(torch.maximum(box, true))
    union = area(box) + area(true) - shared
    miss = 1 - shared / union + (hull - union) / hull
    miss = (miss * near).sum() / near.sum().clamp(min=1)
    known = (present >= 0).float()
    seen = F.binary_cross_entropy_with_logits(
        presence.flatten(), present.clamp(min=0), known
    )
    return focal + miss + 0.3 * seen


def letterbox(image):
    """Fit a BGR picture into SIZE x SIZE, top left, the rest grey, as lesson 8 does."""
    scale = SIZE / max(image.shape[:2])
    height, width = (max(round(side * scale), 1) for side in image.shape[:2])
    square = np.full((SIZE, SIZE, 3), 114, np.uint8)
    square[:height, :width] = cv2.resize(
        image, (width, height), interpolation=cv2.INTER_AREA
    )
    return square, scale


def detect(net, image, threshold):
    """Boxes (x, y, w, h in picture pixels) and scores, best first, as lesson 8 does."""
    square, scale = letterbox(image)
    net.setInput(cv2.dnn.blobFromImage(square, 1 / 255, swapRB=True))
    score, *sides = net.forward()[0]
    peaks = (score == cv2.dilate(score, np.ones((3, 3)))) & (score >= threshold)
    boxes, scores = [], score[peaks].tolist()
    for row, column in np.argwhere(peaks):
        left, top, right, bottom = (side[row, column] for side in sides)
        x, y = (column + 0.5) * 4, (row + 0.5) * 4
        corners = np.array([x - left, y - top, x + right, y + bottom]) / scale
        x0, y0, x1, y1 = np.clip(corners, 0, image.shape[1::-1] * 2).round().tolist()
        boxes.append([int(x0), int(y0), int(x1 - x0), int(y1 - y0)])
    keep = cv2.dnn.NMSBoxes(boxes, scores, threshold, NMS_IOU) if boxes else []
    return [boxes[i] for i in keep], [scores[i] for i in keep]


def iou(a, b):
    """Shared area of two boxes (x, y, w, h) in parts of their common area."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (a[2] * a[3] + b[2] * b[3] - shared)


def judge(net, picture):
    """(source, ripe berries, certain, [(score, right), ...]) of one picture: greedy
    match by score at IoU 0.5; certain is False where only unripe or half ripe
    berries are, so that nobody can say what the right answer is."""
    missing = [box[1:] for box in picture["boxes"] if box[0] == RIPE]
    unknown = [box[1:] for box in picture["boxes"] if box[0] == UNKNOWN]
    ripe, hits = len(missing), []
    for box, score in zip(*detect(net, picture["image"], 0.05), strict=True):
        overlaps = [iou(box, other) for other in missing]
        right = max(overlaps, default=0) >= 0.5
        if right:
            del missing[int(np.argmax(overlaps))]
        elif any(iou(box, other) >= 0.5 for other in unknown):
            continue  # neither right nor wrong
        hits.append((score, right))
    return picture["source"], ripe, ripe > 0 or not len(picture["boxes"]), hits


def figures(rows, threshold):
    """One line of text: what judge() found, counted at a threshold."""
    hits = [right for row in rows for score, right in row[3] if score >= threshold]
    right, wanted = sum(hits), sum(row[1] for row in rows)
    fires = [sum(score >= threshold for score, _ in row[3]) for row in rows]
    pairs = [(n, row[1]) for n, row in zip(fires, rows, strict=True) if row[2]]
    image = np.mean([(n > 0) == (ripe > 0) for n, ripe in pairs]) if pairs else 1
    found = [n > 0 for n, ripe in pairs if ripe]
    false = sum(n for n, ripe in pairs if not ripe)
    return (
        f"P {right / max(len(hits), 1):.3f} R {right / max(wanted, 1):.3f} "
        f"F1 {2 * right / max(len(hits) + wanted, 1):.3f} image {image:.3f} "
        f"found {sum(found)}/{len(found)} "
        f"false {false} on {len(pairs) - len(found)}"
    )


def show_score(out, dev, held):
    """Print how good, large and fast an ONNX file is."""
    if not out.is_file():
        sys.exit(f"{out}: no such file, nothing to score")
    net = cv2.dnn.readNetFromONNX(str(out))
    rows = [judge(net, p) for p in dev]
    for threshold in sorted({0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, THRESHOLD}):
        print(f"dev at {threshold:.2f}: {figures(rows, threshold)}")
    for source in sorted({row[0] for row in rows}):
        some = [row for row in rows if row[0] == source]
        print(f"{source}: {figures(some, THRESHOLD)}")
    # Other cameras, and compositions of berries and backgrounds never trained on.
    print("held extra:", figures([judge(net, p) for p in held], THRESHOLD))
    painter, rng, rows = Painter(dev + held, 0), np.random.default_rng(0), []
    for _ in range(300):
        image, boxes = painter.compose(rng, SIZE, SIZE)
        picture = {"source": "composed", "image": camera(rng, image), "boxes": boxes}
        rows.append(judge(net, picture))
    print("composed:", figures(rows, THRESHOLD))
    times = []
    for number in range(50):
        start = time.perf_counter()
        detect(net, dev[number % len(dev)]["image"], THRESHOLD)
        times.append(1000 * (time.perf_counter() - start))
    print(f"median {np.median(times):.1f} ms on one core, {out.stat().st_size} bytes")


def export(net, out, pictures):
    """Write the ONNX file, whole or not at all, once cv2.dnn agrees with torch."""
    answer, draft = Answer(net).eval(), out.with_suffix(".draft.onnx")
    example = torch.zeros(1, 3, SIZE, SIZE)
    names = {"input_names": ["image"], "output_names": ["answer"]}
    # The older exporter writes a graph that cv2.dnn reads; it warns about its age.
    warnings.simplefilter("ignore", DeprecationWarning)
    torch.onnx.export(answer, (example,), str(draft), dynamo=False, **names)
    reader, worst = cv2.dnn.readNetFromONNX(str(draft)), 0.0
    for picture in pictures[:8]:
        square, _ = letterbox(picture["image"])
        blob = cv2.dnn.blobFromImage(square, 1 / 255, swapRB=True)
        reader.setInput(blob)
        with torch.no_grad():
            expected = answer(torch.from_numpy(blob)).numpy()
        # Distances reach 256 px, scores 1: compare each in its own measure.
        gap = np.abs(reader.forward() - expected) / np.maximum(expected, 1)
        worst = max(worst, gap.max())
    if worst > 1e-4:
        sys.exit(f"{draft}: cv2.dnn and torch differ by {worst:.1e}")
    os.replace(draft, out)


def to_input(images, device):
    """(n, S, S, 3) BGR uint8 -> (n, 3, S, S) RGB 0..1, channels last in memory."""
    images = torch.as_tensor(images, device=device).flip(3).permute(0, 3, 1, 2)
    return images.float().div(255).contiguous(memory_format=torch.channels_last)


def mine(net, painter, device):
    """Show the network its negatives: those it falls for will come back oftener."""
    net.eval()
    worst = []
    for start in range(0, len(painter.negatives), BATCH):
        some = painter.negatives[start : start + BATCH]
        images = np.stack([letterbox(p["image"])[0] for p in some])
        with torch.no_grad():
            heat, _, presence = net(to_input(images, device))
        score = torch.sigmoid(heat) * torch.sigmoid(presence)
        worst.append(score.amax((1, 2, 3)).cpu().numpy())
    worst = np.concatenate(worst)
    weight = 0.02 + worst.astype(float)
    weight *= [1 + 2 * (p["source"] == "neg-clothing") for p in painter.negatives]
    painter.mined = weight / weight.sum()
    return int((worst > THRESHOLD).sum())


def train(args, pictures, dev):
    """Train until the time is up; write args.out after every round."""
    torch.manual_seed(args.seed)
    # One core is left for making pictures: sharing them all is slower.
    torch.set_num_threads(max(os.cpu_count() - 1, 1))
    device = "cuda" if torch.cuda.is_available() else "cpu"
    net = Net().to(device, memory_format=torch.channels_last)
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    smooth = torch.optim.swa_utils.AveragedModel(
        net, multi_avg_fn=average, use_buffers=True
    )
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    painter = Painter(pictures, args.seed)
    print({k: len(v) for k, v in painter.cuts.items()}, "berries cut out", flush=True)
    step, spent, done = 0, 0.0, 0.0
    checkpoint = args.out.with_suffix(".pt")
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=False)
        net.load_state_dict(state["net"])
        smooth.load_state_dict(state["smooth"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent, painter.mined = state["step"], state["spent"], state["mined"]
        print(f"going on from {checkpoint} at step {step}", flush=True)
    while done < 1:
        net.train()
        losses, start = [], time.time() - spent
        steps = range(step, step + ROUND)
        for images, goal, present in torch.utils.data.DataLoader(
            painter, None, sampler=steps, num_workers=2, prefetch_factor=8
        ):
            spent = time.time() - start
            done = step / args.steps if args.steps else spent / (60 * args.minutes)
            if done >= 1:
                break
            # Warm up, then a half cosine down to nothing at the end.
            rate = 3e-3 * min((step + 1) / 300, 1) * (1 + np.cos(np.pi * done)) / 2
            optimizer.param_groups[0]["lr"] = rate
            with torch.autocast(device, torch.bfloat16, args.bf16 or device == "cuda"):
                outputs = net(to_input(images, device))
            loss = loss_of(outputs, goal.to(device), present.to(device))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 5)
            optimizer.step()
            smooth.update_parameters(net)
            losses.append(float(loss.detach()))
            step += 1
        fooled = mine(smooth.module, painter, device)
        plain = Net()
        plain.load_state_dict(smooth.module.state_dict())
        export(plain, args.out, dev)
        rows = [judge(cv2.dnn.readNetFromONNX(str(args.out)), p) for p in dev]
        spent = time.time() - start
        state = {"net": net.state_dict(), "smooth": smooth.state_dict()}
        state |= {"optimizer": optimizer.state_dict(), "mined": painter.mined}
        draft = checkpoint.with_suffix(".draft")
        torch.save(state | {"step": step, "spent": spent}, draft)
        os.replace(draft, checkpoint)
        print(
            f"step {step}: loss {np.mean(losses or 0):.3f},",
            f"{step * BATCH / spent:.0f} pictures/s, fooled by {fooled} negatives,",
            f"{max(spent / 60 * (1 / done - 1), 0):.0f} min left;",
            f"dev {figures(rows, THRESHOLD)}",
            flush=True,
        )
    checkpoint.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with train/, dev/, extra/")
    parser.add_argument("--minutes", type=float, default=96)
    parser.add_argument("--steps", type=int, help="instead of --minutes: repeatable")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="for AVX512-BF16 and AMX")
    parser.add_argument("--score", action="store_true", help="only score --out")
    here = Path(__file__).with_name("strawberry.onnx")
    parser.add_argument("--out", type=Path, default=here)
    args = parser.parse_args()
    dev = load(args.data / "dev")
    held = load_extra(args.data / "extra", True)
    if not args.score:
        pictures = load(args.data / "train") + load_extra(args.data / "extra", False)
        try:
            train(args, pictures, dev)
        except KeyboardInterrupt:
            sys.exit("stopped; the same command goes on from the last checkpoint")
    show_score(args.out, dev, held)


if __name__ == "__main__":
    main()
