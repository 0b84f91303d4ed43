"""What goes into the network, and what its answer means.

For every fourth pixel of every fourth row the answer holds five numbers: a score that
a berry's centre is there, and the distances from there to the left, top, right and
bottom edge of the berry's box.
"""

import cv2
import numpy as np
from photographs import RIPE, UNKNOWN

SIZE = 416  # longer side of what the network looks at, in pixels
STEP = 32  # both sides are multiples of it; the answer's sides are a quarter of them
GREY = 114  # fills the rest
THRESHOLD = 0.45  # a lower score is no berry


def letterbox(image):
    """Scale a BGR picture to a longer side of SIZE. Below and on the right add grey up
    to the next multiples of STEP. Gives (height, width, 3) uint8, and the scale."""
    scale = SIZE / max(image.shape[:2])
    width, height = (max(round(side * scale), 1) for side in image.shape[1::-1])
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    rows = -height % STEP
    columns = -width % STEP
    padded = cv2.copyMakeBorder(
        small, 0, rows, 0, columns, cv2.BORDER_CONSTANT, value=(GREY, GREY, GREY)
    )
    return padded, scale


def to_blob(padded):
    """(height, width, 3) uint8 BGR -> (1, 3, height, width) float32 RGB, 0 to 1."""
    return cv2.dnn.blobFromImage(padded, 1 / 255, swapRB=True)


def target(boxes, size):
    """What the network should answer to boxes (n, 5) in a picture of size x size:
    (7, size / 4, size / 4) float32, namely the heat, the weight of the heat, the
    distances left, top, right, bottom, and their weight; and whether a ripe berry is
    there (1, 0; -1 where nobody knows)."""
    cells = np.arange(size // 4) * 4 + 2.0
    goal = np.zeros((7, len(cells), len(cells)), np.float32)
    goal[1] = 1
    for kind, x, y, w, h in boxes[boxes[:, 0] != RIPE]:
        rows = slice(int(y) // 4, int(y + h) // 4 + 1)
        columns = slice(int(x) // 4, int(x + w) // 4 + 1)
        # Where ripe begins is a matter of taste, so unripe counts a little only.
        goal[1, rows, columns] = 0 if kind == UNKNOWN else 0.3
    for _, x, y, w, h in boxes[boxes[:, 0] == RIPE]:
        column = min(int(x + w / 2) // 4, len(cells) - 1)
        row = min(int(y + h / 2) // 4, len(cells) - 1)
        # The centre of a berry's cell scores 1, and around it less and less.
        across = np.exp(-(((cells - cells[column]) / (2.2 + 0.14 * w)) ** 2))
        down = np.exp(-(((cells - cells[row]) / (2.2 + 0.14 * h)) ** 2))
        heat = down[:, None] * across
        near = (heat > 0.3) & (heat > goal[0])
        goal[0] = np.maximum(goal[0], heat)
        goal[1][near] = 1
        # A large berry has many cells; the root keeps it from drowning a small one.
        goal[6][near] = heat[near] / np.sqrt(heat.sum())
        right, bottom = np.meshgrid(x + w - cells, y + h - cells)
        sides = np.stack([w - right, h - bottom, right, bottom])
        goal[2:6, near] = sides[:, near]
    if (boxes[:, 0] == RIPE).any():
        return goal, 1.0
    return goal, -1.0 if len(boxes) else 0.0


def detect(net, image, threshold):
    """Boxes (n, 4) float32 (x, y, w, h in picture pixels), scores (n,), best first."""
    padded, scale = letterbox(image)
    net.setInput(to_blob(padded))
    score, *sides = net.forward()[0]
    peaks = (score == cv2.dilate(score, np.ones((3, 3)))) & (score >= threshold)
    y, x = np.nonzero(peaks)
    scores = score[peaks]
    left, top, right, bottom = (side[peaks] for side in sides)
    boxes = np.stack([x * 4 + 2 - left, y * 4 + 2 - top, left + right, top + bottom], 1)
    best = np.array(cv2.dnn.NMSBoxes(boxes, scores, threshold, 0.5), int)
    edge = image.shape[1::-1]
    low = np.clip(boxes[best, :2] / scale, 0, edge).round()
    high = np.clip((boxes[best, :2] + boxes[best, 2:]) / scale, 0, edge).round()
    return np.hstack([low, high - low]), scores[best]
