"""Train the strawberry network of lesson 8 and write it as an ONNX file.

Train  python models/train_strawberry.py DATA --minutes 200
Score  python models/train_strawberry.py DATA --score

Ctrl-C stops it; the same command, or one with more minutes, goes on from the last
checkpoint, a file beside the network that ends in .pt: delete it to start afresh.
README.md beside this file says what DATA holds and how good the network is.
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
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

HERE = Path(__file__).parent
SIZE = 416  # input side of the network; its answer is SIZE / 4 wide and high
# Side of the pictures it trains on. Zooming in makes things look larger in training
# than they are later; smaller pictures make up for it (FixRes, Touvron 2019).
PAINTED = 320
THRESHOLD = 0.4  # on dev: precision 0.78, recall 0.78 (README.md has the table)
BATCH, ROUND = 24, 500  # pictures in a step, steps between two checkpoints
UNKNOWN, RIPE, UNRIPE = 0, 1, 2  # unknown: half ripe or half hidden, no lesson at all
CLASSES = {"part": UNKNOWN, "ripe": RIPE, "unripe": UNRIPE}
cv2.setNumThreads(1)  # pictures are made by several processes; threads would fight


class Picture(NamedTuple):
    source: str
    image: np.ndarray  # (height, width, 3) uint8, BGR
    boxes: np.ndarray  # (n, 5) float32: class, x, y, width, height in pixels


def load(folder, labels=None):
    """Read the pictures of a folder that have labels, in its labels.json or elsewhere.
    Exits with the file's name where one is missing or wrong or a box lies outside."""
    pictures, path = [], labels or folder / "labels.json"
    try:
        for name, label in json.loads(path.read_text()).items():
            path = folder / name
            image = cv2.imread(str(path))
            if image is None:
                raise ValueError("missing or not a readable picture")
            boxes = [(CLASSES[box["cls"]], *box["box"]) for box in label["boxes"]]
            boxes = np.array(boxes, np.float32).reshape(-1, 5)
            low, side, edge = boxes[:, 1:3], boxes[:, 3:], np.array(image.shape[1::-1])
            # Labels are rounded: one pixel over the edge is no mistake.
            if not ((side > 0) & (low >= -1) & (low + side <= edge + 1)).all():
                raise ValueError(f"a box lies outside its {edge} pixels")
            pictures.append(Picture(label["source"], image, boxes))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        sys.exit(f"{path}: unusable: {type(error).__name__}: {error}")
    return pictures


# 1. Making pictures: rng is numpy's generator, so that a seed gives the same again.
def colour(rng, hue=(0, 180), saturation=(0, 255), value=(30, 255)):
    """A random BGR colour, mostly pale; hue as OpenCV counts it, -9 is 171."""
    s = saturation[0] + (saturation[1] - saturation[0]) * rng.random() ** 2
    pixel = np.uint8([[[rng.integers(*hue) % 180, s, rng.uniform(*value)]]])
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2BGR)[0, 0].astype(np.float32)


def redden(rng, image):
    """Turn the strongest hue of a picture red, or by any angle: a lime or a flowered
    dress becomes a hard negative."""
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    strongest = np.bincount(hsv[..., 0].ravel(), hsv[..., 1].ravel(), 180).argmax()
    to_red = 180 - strongest + rng.integers(-12, 7)
    turn = to_red if rng.random() < 0.7 else rng.integers(180)
    hsv[..., 0] = (hsv[..., 0] + turn) % 180
    hsv[..., 1] = np.minimum(hsv[..., 1] * rng.uniform(0.8, 1.6), 255)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)


def star(rng, image, root, long, hue):
    """Draw the leaves of a berry, or a flower's petals, in place."""
    tone, thin = colour(rng, hue, (100, 255), (60, 255)), rng.uniform(0.3, 1) * long
    for way in rng.uniform(0, 360) + np.linspace(0, 360, rng.integers(4, 10)):
        x, y = root + 0.9 * long * np.array([np.cos(way / 57.3), np.sin(way / 57.3)])
        shade = (*(tone * rng.uniform(0.8, 1)).tolist(), 255)
        cv2.ellipse(image, ((x, y), (2 * long, thin), way), shade, -1, cv2.LINE_AA)


def draw(rng, berry):
    """Draw a shaded red thing, BGRA 96 x 96: a berry (pointed, with seeds) or a ball,
    smooth as a tomato or knobbly as a raspberry: red and round is not enough."""
    ys, xs = np.mgrid[-1:1:96j, -1:1:96j].astype(np.float32)
    lit = np.hypot(xs - rng.uniform(-0.6, 0.6), ys - rng.uniform(-0.6, 0.6))
    light = np.clip(1.15 - 0.5 * lit, 0.1, 1.3)
    if not berry and rng.random() < 0.25:
        knobs = rng.uniform(9, 20)
        light *= 0.75 + 0.4 * np.sin(knobs * xs) * np.sin(knobs * ys)
    patch = colour(rng, (-9, 9), (150, 255), (90, 255)) * light[..., None]
    if berry:
        shape = np.hypot(xs / np.clip(0.6 - 0.5 * ys, 0.05, 1), ys)
        seed = colour(rng, (15, 32), (60, 200), (120, 255)).tolist()
        down, across = rng.integers(9, 15, 2).tolist()
        for row in range(8, 96, down):
            for column in range(8 + row % 2 * 6, 96, across):
                cv2.ellipse(patch, (column, row), (1, 2), 0, 0, 360, seed, -1)
    else:
        shape = np.hypot(xs, ys * rng.uniform(0.8, 1.3))
        patch[lit < rng.uniform(0, 0.2)] = 245
    mask = cv2.GaussianBlur((shape < 0.92) * np.float32(255), (0, 0), 1)
    patch = np.dstack([patch, mask]).clip(0, 255).astype(np.uint8)
    if berry or rng.random() < 0.5:
        star(rng, patch, (48, 14 if berry else 48), rng.uniform(8, 16), (30, 75))
    return patch


def furniture(rng):
    """Draw a plate, a bowl or something like a hand, BGRA 256 x 256."""
    patch = np.zeros((256, 256, 4), np.uint8)
    if rng.random() < 0.65:
        tone = colour(rng, saturation=(0, rng.choice([30, 255])), value=(150, 255))
        for radius, shade in ((110, 1), (rng.integers(50, 105), rng.uniform(0.6, 1))):
            shaded = (*(tone * shade).tolist(), 255)
            cv2.circle(patch, (128, 128), int(radius), shaded, -1, cv2.LINE_AA)
    else:
        skin = (*colour(rng, (4, 14), (40, 150), (70, 250)).tolist(), 255)
        cv2.circle(patch, (128, 160), 70, skin, -1, cv2.LINE_AA)
        for x in range(50, 220, 40):
            cv2.line(patch, (128, 160), (x, int(rng.integers(10, 70))), skin, 32)
    return patch


def cut_out(image, box):
    """Cut a berry out of its box with GrabCut: BGRA with the longer side at most 192,
    or None where the outline found is not a plausible berry."""
    x, y, w, h = box
    pad = 0.15 * max(w, h) + 2  # GrabCut learns the background from this margin
    x0, y0 = max(round(x - pad), 0), max(round(y - pad), 0)
    patch = image[y0 : round(y + h + pad), x0 : round(x + w + pad)]
    scale = min(192 / max(patch.shape[:2]), 1)
    patch = cv2.resize(patch, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    rect = [round(v * scale) for v in (x - x0, y - y0, w, h)]
    mask = np.zeros(patch.shape[:2], np.uint8)
    cv2.grabCut(patch, mask, rect, None, None, 3, cv2.GC_INIT_WITH_RECT)
    mask = cv2.medianBlur((mask & 1) * np.uint8(255), 9)
    blue, green, red, _ = cv2.mean(patch, mask)
    _, _, wide, high = cv2.boundingRect(mask)
    full = cv2.countNonZero(mask) / (rect[2] * rect[3])
    whole = min(wide / rect[2], high / rect[3]) > 0.8 and 0.5 < full < 0.92
    mask = cv2.GaussianBlur(mask, (0, 0), 2 * max(mask.shape) / 192)
    return np.dstack([patch, mask]) if whole and red > 1.35 * max(blue, green) else None


def cut_balls(image):
    """Cut round fruit out of a picture of a shop shelf: a list of BGRA squares."""
    grey = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), 5)
    how, sizes = cv2.HOUGH_GRADIENT_ALT, {"minRadius": 18, "maxRadius": 130}
    circles = cv2.HoughCircles(grey, how, 1.5, 25, param1=200, param2=0.75, **sizes)
    balls = []
    for x, y, radius, *_ in circles[0][:3].tolist() if circles is not None else []:
        side = int(2.4 * radius)
        mask = np.zeros((side, side), np.uint8)
        cv2.circle(mask, (side // 2, side // 2), int(0.97 * radius), 255, -1)
        mask = cv2.GaussianBlur(mask, (0, 0), 1)
        balls.append(np.dstack([cv2.getRectSubPix(image, (side, side), (x, y)), mask]))
    return balls


def halve(rng, patch):
    """Make a cut-out berry look cut open: pale core, red rim, streaks in between."""
    depth = cv2.distanceTransform(np.uint8(patch[..., 3] > 127), cv2.DIST_L2, 3)
    ys, xs = np.mgrid[-1 : 1 : len(patch) * 1j, -1 : 1 : patch.shape[1] * 1j]
    streaks = 0.12 * np.sin(np.arctan2(ys, xs) * rng.integers(14, 34))
    depth = depth[..., None] / (depth.max() + 1)
    mix = np.clip(depth * rng.uniform(1.2, 2.2) + streaks[..., None], 0, 1)
    rim = colour(rng, (-5, 5), (130, 230), (150, 240))
    flesh = rim * (1 - mix) + colour(rng, (0, 14), (10, 90), (200, 255)) * mix
    flesh = np.dstack([flesh, patch[..., 3]]).astype(np.uint8)
    return np.where(depth < rng.uniform(0.05, 0.2), patch, flesh)


def lay(rng, canvas, patch, side, centre):
    """Scale a BGRA patch to about `side` pixels, turn it at random and blend it, with
    its shadow, into a float canvas around a centre. Gives its outline as a mask."""
    scale = side / max(patch.shape[:2]) * rng.uniform(0.85, 1.18, 2)
    how = cv2.INTER_AREA if scale.max() < 1 else cv2.INTER_LINEAR
    size = np.maximum(patch.shape[1::-1] * scale, 3).astype(int).tolist()
    patch = cv2.resize(patch, size, interpolation=how)[:, :: rng.choice([1, -1])]
    dark = np.zeros_like(patch)
    dark[..., 3] = cv2.GaussianBlur(patch[..., 3], (0, 0), 0.5 + 0.06 * side)
    dark[..., 3] = dark[..., 3] * rng.uniform(0.1, 0.6)
    angle, shift = rng.uniform(0, 360), rng.normal(0, 0.08, 2) * side
    for thing, place in ((dark, centre + shift), (patch, centre)):
        matrix = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), angle, 1)
        matrix[:, 2] += place - np.array(size) / 2
        layer = cv2.warpAffine(thing, matrix, canvas.shape[1::-1])
        x, y, w, h = cv2.boundingRect(layer[..., 3])
        part = layer[y : y + h, x : x + w]
        under = canvas[y : y + h, x : x + w]
        under += part[..., 3:] / np.float32(255) * (part[..., :3] - under)
    return layer[..., 3] > 127


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
    image, boxes = picture.image, picture.boxes.copy()
    high, wide = image.shape[:2]
    fit = min(wide / width, high / height) * rng.choice([1, rng.uniform(0.2, 1)])
    w, h = max(round(width * fit), 8), max(round(height * fit), 8)
    x, y = rng.integers(wide - w + 1), rng.integers(high - h + 1)
    if len(boxes):
        _, bx, by, bw, bh = boxes[rng.integers(len(boxes))]
        x = int(np.clip(bx + bw / 2 - w * rng.uniform(0.1, 0.9), 0, wide - w))
        y = int(np.clip(by + bh / 2 - h * rng.uniform(0.1, 0.9), 0, high - h))
    image = cv2.resize(
        image[y : y + h, x : x + w], (width, height), interpolation=cv2.INTER_AREA
    )
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
        self.berries = [p for p in pictures if len(p.boxes)]
        self.negatives = [p for p in pictures if not len(p.boxes)]
        # Other cameras than the two fields' are rare and worth more looks.
        weight = np.array([1.0 + 2 * (p.source == "extra") for p in self.berries])
        self.weight = weight / weight.sum()
        self.mined = np.full(len(self.negatives), 1 / len(self.negatives))
        cv2.setRNGSeed(seed)  # GrabCut starts from random clusters
        self.balls = [ball for p in self.negatives for ball in cut_balls(p.image)]
        self.cuts, weight = [], []
        for p in self.berries:
            for kind, *box in p.boxes:
                cut = kind == RIPE and min(box[2:]) >= 36 and cut_out(p.image, box)
                if isinstance(cut, np.ndarray):
                    self.cuts.append(cut)
                    weight.append(1.0 + 4 * (p.source == "extra"))
        self.cut_weight = np.array(weight) / sum(weight)

    def __len__(self):
        return 1 << 40

    def __getitem__(self, step):
        rng = np.random.default_rng([self.seed, step])
        images, boxes = zip(*(self.sample(rng) for _ in range(BATCH)), strict=True)
        goals, present = zip(*map(target, boxes), strict=True)
        return np.stack(images), np.stack(goals), np.stack(present)

    def sample(self, rng):
        """A finished picture (PAINTED, PAINTED, 3) and its boxes: a photograph with
        berries, one without, or a composition; with grey bars if it is not square."""
        short = round(PAINTED * rng.choice([9 / 16, 2 / 3, 3 / 4, 1]))
        size = rng.permutation([PAINTED, short]).tolist()
        kind, boxes = rng.random(), np.zeros((0, 5))
        if kind < 0.38:
            number = rng.choice(len(self.berries), p=self.weight)
            part, boxes = crop(rng, self.berries[number], *size)
        elif kind < 0.62:
            part = self.negative(rng, *size)
        else:
            part, boxes = self.compose(rng, *size)
        image = np.full((PAINTED, PAINTED, 3), 114, np.uint8)
        image[: size[1], : size[0]] = camera(rng, part)
        return image, boxes

    def negative(self, rng, width, height):
        """A photograph without berries; half are recoloured, some get printed flowers."""
        number = rng.choice(len(self.negatives), p=self.mined)
        image = crop(rng, self.negatives[number], width, height)[0]
        image = redden(rng, image) if rng.random() < 0.5 else image
        for _ in range(rng.integers(3, 40) if rng.random() < 0.12 else 0):
            root, long = rng.uniform(0, (width, height)), rng.uniform(0.01, 0.05)
            star(rng, image, root, 1 + long * width, rng.choice([(30, 75), (-20, 180)]))
        return image

    def background(self, rng, width, height):
        """A photograph without berries, or two colours as on a table, a wall, a cloth;
        float32."""
        if rng.random() < 0.35:
            image = self.negative(rng, width, height)
            return cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 3)).astype("f4")
        rows, columns = rng.choice([(3, 3), (60, 3), (3, 60), (40, 40)])
        mix = cv2.resize(rng.random((rows, columns)), (width, height))[..., None]
        one, other, shade = colour(rng), colour(rng), rng.uniform(0.5, 1)
        two = other if rng.random() < 0.4 else one * shade
        grain = rng.normal(size=(height, width, 1)) * rng.uniform(0, 8)
        return np.clip(one * mix + two * (1 - mix) + grain, 0, 255).astype("f4")

    def berry(self, rng):
        """A berry to lay down, BGRA: cut out, cut open or, rarely, drawn."""
        if rng.random() < 0.07 or not self.cuts:
            return draw(rng, True)
        patch = self.cuts[rng.choice(len(self.cuts), p=self.cut_weight)].copy()
        kind = rng.random()
        if kind < 0.1:
            return halve(rng, patch)
        if kind < 0.35:  # most cut-outs end below the leaves: grow some new ones
            points = np.argwhere(patch[..., 3] > 127)[:, ::-1]
            middle = points.mean(0)
            tip = points[((points - middle) ** 2).sum(1).argmax()]
            long = max(patch.shape) * rng.uniform(0.08, 0.16)
            star(rng, patch, middle - 0.75 * (tip - middle), long, (30, 75))
        return patch

    def impostor(self, rng):
        """Something red that is no strawberry, BGRA: fruit skin or cloth in the
        outline of a ball or a berry, or a drawn ball."""
        kind, ball = rng.random(), draw(rng, False)
        if kind < 0.2 or not self.balls:
            return ball
        if kind < 0.7:
            ball = self.balls[rng.integers(len(self.balls))].copy()
        else:
            ball[..., :3] = self.negative(rng, 96, 96)
        if rng.random() < 0.7:
            ball[..., :3] = redden(rng, ball[..., :3])
        if rng.random() < 0.25:
            outline = self.cuts[rng.integers(len(self.cuts))] if self.cuts else ball
            ball[..., 3] = cv2.resize(outline[..., 3], ball.shape[1::-1])
        return ball

    def compose(self, rng, width, height):
        """Berries and impostors on a background: a few, one, a pile, tiny, none."""
        canvas, whole = self.background(rng, width, height), np.array([width, height])
        middle, spread = rng.uniform(0.3, 0.7, 2), rng.uniform(0.1, 0.3)
        if rng.random() < 0.5:
            side = rng.uniform(0.7, 1.6) * whole.max()
            lay(rng, canvas, furniture(rng), side, rng.uniform(0.3, 0.7, 2) * whole)
        # How many berries, and how large in parts of the picture's longer side.
        kinds = [(1, 6, 0.1, 0.45), (1, 2, 0.5, 1.2), (8, 40, 0.12, 0.35)]
        kinds += [(1, 10, 0.04, 0.12), (0, 1, 0.04, 0.5)]
        least, most, low, high = kinds[rng.choice(5, p=[0.3, 0.12, 0.18, 0.1, 0.3])]
        count, side = rng.integers(least, most), rng.uniform(low, high)
        fakes = rng.integers(1, 6) if rng.random() < 0.4 else 0
        fakes = fakes if count else rng.integers(1, 16)
        light = rng.uniform(0.75, 1.2, 3) * rng.uniform(0.7, 1.15)
        owner, areas = np.zeros((height, width), np.int16), []
        for real in rng.permutation([True] * count + [False] * fakes):
            patch = self.berry(rng) if real else self.impostor(rng)
            patch[..., :3] = np.clip(patch[..., :3] * light, 0, 255)
            size = max(side * rng.uniform(0.75, 1.25) * whole.max(), 6)
            centre = rng.normal(middle, spread) * whole
            mask = lay(rng, canvas, patch, size, centre)
            areas.append(mask.sum())
            owner[mask] = len(areas) if real else 0
        boxes = []
        for number in np.unique(owner[owner > 0]):
            seen = np.uint8(owner == number)
            kind = RIPE if seen.sum() > 0.3 * areas[number - 1] else UNKNOWN
            boxes.append((kind, *cv2.boundingRect(seen)))
        boxes = np.array(boxes, np.float32).reshape(-1, 5)
        return np.clip(canvas, 0, 255).astype(np.uint8), clip(boxes, width, height)


# 2. The network, and what it should answer.
def target(boxes):
    """What the network should answer to boxes (n, 5): (7, g, g) float32 with g = PAINTED
    / 4: heat, weight of the heat, left, top, right, bottom, weight of the box; and
    whether a ripe berry is there (1, 0; -1 where nobody knows)."""
    goal = np.zeros((7, PAINTED // 4, PAINTED // 4), np.float32)
    goal[1], cells = 1, np.arange(PAINTED // 4) * 4 + 2.0
    for kind, x, y, w, h in boxes[boxes[:, 0] != RIPE]:
        rows, columns = (
            slice(int(a) // 4, int(b) // 4 + 1) for a, b in ((y, y + h), (x, x + w))
        )
        # Where ripe begins is a matter of taste, so unripe counts a little only.
        goal[1, rows, columns] = 0 if kind == UNKNOWN else 0.3
    for _, x, y, w, h in boxes[boxes[:, 0] == RIPE]:
        # The centre of a berry's cell scores 1, and around it less and less.
        column, row = (min(int(v) // 4, len(cells) - 1) for v in (x + w / 2, y + h / 2))
        across = np.exp(-(((cells - cells[column]) / (2.2 + 0.14 * w)) ** 2))
        down = np.exp(-(((cells - cells[row]) / (2.2 + 0.14 * h)) ** 2))
        heat = down[:, None] * across
        near = (heat > 0.3) & (heat > goal[0])
        goal[0] = np.maximum(goal[0], heat)
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
    score, peak = torch.sigmoid(heat[:, 0]).clamp(1e-4, 1 - 1e-4), want > 0.999
    yes = (1 - score) ** 2 * score.log()
    no = (1 - want) ** 4 * score**2 * (1 - score).log()
    focal = -(torch.where(peak, yes, no) * goal[:, 1]).sum((1, 2))
    # The root keeps a pile of forty from drowning the one berry of another picture.
    focal = (focal / peak.sum((1, 2)).clamp(min=1).sqrt()).mean()
    shared, hull, drawn, wanted = (
        (a[:, 0] + a[:, 2]) * (a[:, 1] + a[:, 3])
        for a in (torch.minimum(box, true), torch.maximum(box, true), box, true)
    )
    union = drawn + wanted - shared
    miss = (2 - shared / union - union / hull) * near
    seen = F.binary_cross_entropy_with_logits(
        presence.flatten(), present.clamp(min=0), (present >= 0).float()
    )
    return focal + miss.sum() / near.sum().clamp(min=1) + 0.3 * seen


# 3. The score, with pictures as lesson 8 sees them.
def letterbox(image):
    """Fit a BGR picture into SIZE x SIZE, top left, the rest grey."""
    scale = SIZE / max(image.shape[:2])
    width, height = (max(round(side * scale), 1) for side in image.shape[1::-1])
    square = np.full((SIZE, SIZE, 3), 114, np.uint8)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    square[:height, :width] = small
    return square, scale


def detect(net, image, threshold):
    """Boxes (n, 4) float32 (x, y, w, h in picture pixels) and scores (n,), best first."""
    square, scale = letterbox(image)
    net.setInput(cv2.dnn.blobFromImage(square, 1 / 255, swapRB=True))
    score, *sides = net.forward()[0]
    peaks = (score == cv2.dilate(score, np.ones((3, 3)))) & (score >= threshold)
    (y, x), scores = np.nonzero(peaks), score[peaks]
    left, top, right, bottom = (side[peaks] for side in sides)
    boxes = np.stack([x * 4 + 2 - left, y * 4 + 2 - top, left + right, top + bottom], 1)
    best = np.array(cv2.dnn.NMSBoxes(boxes, scores, threshold, 0.5), int)
    low, high = boxes[best, :2], boxes[best, :2] + boxes[best, 2:]
    low, high = (np.clip(v / scale, 0, image.shape[1::-1]).round() for v in (low, high))
    return np.hstack([low, high - low]), scores[best]


def judge(net, picture):
    """(source, ripe berries, certain, [(score, right), ...]): greedy match by score at
    IoU 0.5; not certain where berries are unripe or half ripe only."""
    kinds, true = picture.boxes[:, 0].copy(), picture.boxes[:, 1:]
    ripe, hits = int((kinds == RIPE).sum()), []
    for box, score in zip(*detect(net, picture.image, 0.05), strict=True):
        low = np.maximum(box[:2], true[:, :2])
        high = np.minimum(box[:2] + box[2:], true[:, :2] + true[:, 2:])
        shared = (high - low).clip(0).prod(1)
        iou = shared / (box[2:].prod() + true[:, 2:].prod(1) - shared)
        free = np.where(kinds == RIPE, iou, 0)
        right = free.max(initial=0) >= 0.5
        if right:
            kinds[free.argmax()] = UNRIPE  # found: a second box on it is wrong
        elif (iou[kinds == UNKNOWN] >= 0.5).any():
            continue  # neither right nor wrong
        hits.append((score, right))
    return picture.source, ripe, ripe > 0 or not len(kinds), hits


def figures(rows, threshold=THRESHOLD):
    """One line of text: what judge() found, counted at a threshold."""
    hits = [right for row in rows for score, right in row[3] if score >= threshold]
    right, wanted = sum(hits), sum(row[1] for row in rows)
    fires = [sum(score >= threshold for score, _ in row[3]) for row in rows]
    pairs = [(n, row[1]) for n, row in zip(fires, rows, strict=True) if row[2]]
    image = np.mean([(n > 0) == (ripe > 0) for n, ripe in pairs]) if pairs else 1
    found, false = [n > 0 for n, r in pairs if r], [n for n, r in pairs if not r]
    return (
        f"P {right / max(len(hits), 1):.3f} R {right / max(wanted, 1):.3f} "
        f"F1 {2 * right / max(len(hits) + wanted, 1):.3f} image {image:.3f} "
        f"found {sum(found)}/{len(found)} false {sum(false)} on {len(false)}"
    )


def show_score(out, dev, held):
    """Print how good, large and fast an ONNX file is."""
    net = cv2.dnn.readNetFromONNX(str(out))
    rows = [judge(net, p) for p in dev]
    for threshold in sorted({0.2, 0.3, 0.35, 0.45, 0.5, 0.6, THRESHOLD}):
        print(f"dev at {threshold:.2f}: {figures(rows, threshold)}")
    for source in sorted({p.source for p in dev}):
        print(f"{source}: {figures([row for row in rows if row[0] == source])}")
    if held:
        print("held extra:", figures([judge(net, p) for p in held]))
    # Compositions of berries and backgrounds never trained on.
    painter, rng, rows = Painter(dev + held, 0), np.random.default_rng(0), []
    for _ in range(300):
        image, boxes = painter.compose(rng, SIZE, SIZE)
        rows.append(judge(net, Picture("composed", camera(rng, image), boxes)))
    print("composed:", figures(rows))
    times = []
    for number in range(50):
        start = time.perf_counter()
        detect(net, dev[number % len(dev)].image, THRESHOLD)
        times.append(1000 * (time.perf_counter() - start))
    print(f"median {np.median(times):.1f} ms on one core, {out.stat().st_size} bytes")


# 4. Training.
def export(net, out, pictures):
    """Write the ONNX file, whole or not at all, once cv2.dnn agrees with torch."""
    answer, draft = Answer(net).eval(), out.with_suffix(".draft.onnx")
    names = {"input_names": ["image"], "output_names": ["answer"]}
    # The older exporter writes a graph that cv2.dnn reads; it warns about its age.
    warnings.simplefilter("ignore", DeprecationWarning)
    example = torch.zeros(1, 3, SIZE, SIZE)
    torch.onnx.export(answer, (example,), str(draft), dynamo=False, **names)
    reader = cv2.dnn.readNetFromONNX(str(draft))
    for picture in pictures[:8]:
        square, _ = letterbox(picture.image)
        blob = cv2.dnn.blobFromImage(square, 1 / 255, swapRB=True)
        reader.setInput(blob)
        with torch.no_grad():
            expected = answer(torch.from_numpy(blob)).numpy()
        # Distances reach 256 px, scores 1: compare each in its own measure.
        gap = np.abs(reader.forward() - expected) / np.maximum(expected, 1)
        if gap.max() > 1e-4:
            sys.exit(f"{draft}: cv2.dnn and torch differ by {gap.max():.1e}")
    os.replace(draft, out)


def to_input(images, device):
    """(n, S, S, 3) BGR uint8 -> (n, 3, S, S) RGB 0..1, channels last in memory."""
    images = torch.as_tensor(images, device=device).flip(3).permute(0, 3, 1, 2)
    return images.float().div(255).contiguous(memory_format=torch.channels_last)


def mine(net, painter, device):
    """Show the network its negatives: those it falls for come back oftener."""
    worst, look = [], Answer(net)
    for picture in painter.negatives:
        with torch.no_grad():
            answer = look(to_input(letterbox(picture.image)[0][None], device))
        clothes = 1 + 2 * (picture.source == "neg-clothing")
        worst.append(clothes * (0.02 + float(answer[0, 0].max())))
    painter.mined = np.array(worst) / sum(worst)


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
    painter, checkpoint = Painter(pictures, args.seed), args.out.with_suffix(".pt")
    print(len(painter.cuts), "berries cut out", flush=True)
    step, spent, done = 0, 0.0, 0.0
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=False)
        for name, part in (("net", net), ("smooth", smooth), ("optimizer", optimizer)):
            part.load_state_dict(state[name])
        step, spent, painter.mined = state["step"], state["spent"], state["mined"]
        print(f"going on from {checkpoint} at step {step}", flush=True)
    while done < 1:
        net.train()
        losses, start, steps = [], time.time() - spent, range(step, step + ROUND)
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
            if step % 50 == 0:
                now = f"step {step}: loss {np.mean(losses[-50:]):.3f}"
                print(now, end="\r", flush=True)
        mine(smooth.module.eval(), painter, device)
        plain = Net()
        plain.load_state_dict(smooth.module.state_dict())
        export(plain, args.out, dev)
        reader, spent = cv2.dnn.readNetFromONNX(str(args.out)), time.time() - start
        state = {"net": net, "smooth": smooth, "optimizer": optimizer}
        state = {name: part.state_dict() for name, part in state.items()}
        state |= {"mined": painter.mined, "step": step, "spent": spent}
        torch.save(state, checkpoint.with_suffix(".draft"))
        os.replace(checkpoint.with_suffix(".draft"), checkpoint)
        print(
            f"step {step}: loss {np.mean(losses or 0):.3f},",
            f"{step * BATCH / spent:.0f} pictures/s,",
            f"{max(spent / 60 * (1 / done - 1), 0):.0f} min left;",
            f"dev {figures([judge(reader, p) for p in dev])}",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder with train/, dev/, extra/")
    parser.add_argument("--minutes", type=float, default=200)
    parser.add_argument("--steps", type=int, help="instead of --minutes: repeatable")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="for AVX512-BF16 and AMX")
    parser.add_argument("--score", action="store_true", help="only score --out")
    parser.add_argument("--out", type=Path, default=HERE / "strawberry.onnx")
    args = parser.parse_args()
    if args.score and not args.out.is_file():
        parser.error(f"{args.out}: no such file, nothing to score")
    extra, dev = args.data / "extra", load(args.data / "dev")
    extra = load(extra, HERE / "extra_labels.json") if extra.is_dir() else []
    held = [p for p in extra if p.source == "held"]  # these never train
    if not args.score:
        pictures = load(args.data / "train")
        for name, some in (("train", pictures), ("dev", dev)):
            if len({len(p.boxes) > 0 for p in some}) < 2:
                sys.exit(f"{args.data / name}: needs pictures with and without berries")
        pictures += [p for p in extra if p.source != "held"]
        try:
            train(args, pictures, dev)
        except KeyboardInterrupt:
            sys.exit("stopped; the same command goes on from the last checkpoint")
    show_score(args.out, dev, held)


if __name__ == "__main__":
    main()
