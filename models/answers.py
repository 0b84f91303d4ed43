"""What goes into the network, and what its answer means.

The picture is divided into cells of 4 x 4 pixels. For each cell the answer holds five
numbers: a score that a ripe berry's centre is there, and the distances in pixels from
the cell's centre to the left, top, right and bottom edge of the berry's box.
"""

import cv2
import numpy as np
from photographs import RIPE, UNKNOWN

SIZE = 384  # longer side of what lesson 8 shows the network, in pixels
MULTIPLE = 32  # both sides of what the network looks at are multiples of this
CELL = 4  # pixels of a cell's side
GREY = 114  # fills the picture up to multiples of MULTIPLE
THRESHOLD = 0.48  # a lower score is no berry


def to_blob(image):
    """Scale a BGR picture to a longer side of SIZE. Below and on the right add grey up
    to the next multiples of MULTIPLE. Gives (1, 3, height, width) float32 RGB from 0 to
    1, and the scale."""
    height, width = image.shape[:2]
    scale = SIZE / max(height, width)
    # At least one pixel: a picture may be very narrow.
    new_width = max(round(width * scale), 1)
    new_height = max(round(height * scale), 1)
    small = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA)
    # For 216 rows: -216 % 32 is 8, and 216 + 8 is 224.
    margins = [(0, -new_height % MULTIPLE), (0, -new_width % MULTIPLE), (0, 0)]
    padded = np.pad(small, margins, constant_values=GREY)
    return cv2.dnn.blobFromImage(padded, 1 / 255, swapRB=True), scale


def target_of(boxes, height, width):
    """What the network should answer for boxes (n, 5: kind, x, y, w, h in pixels) in a
    picture of this height and width, and how much each number counts.

    Gives (7, rows, columns) float32, seven numbers for each cell:
      0    the heat: 1 in the cell with a ripe berry's centre, less around it. The
           score should be 1 where the heat is 1, and 0 elsewhere; but a high score
           costs little where the heat is high (loss_of() in network.py)
      1    how much the heat counts
      2-5  the distances to the berry's left, top, right and bottom edge, in pixels
      6    how much the distances count"""
    # The centres of the cells, in pixels.
    xs = np.arange(width // CELL) * CELL + CELL / 2
    ys = np.arange(height // CELL) * CELL + CELL / 2
    target = np.zeros((7, len(ys), len(xs)), np.float32)
    heat = target[0]
    heat_weight = target[1]
    distances = target[2:6]
    distances_weight = target[6]
    heat_weight[:] = 1
    is_ripe = boxes[:, 0] == RIPE
    for kind, x, y, w, h in boxes[~is_ripe]:
        rows = slice(int(y) // CELL, int(y + h) // CELL + 1)
        columns = slice(int(x) // CELL, int(x + w) // CELL + 1)
        # In an UNKNOWN box the heat does not count; in an UNRIPE one only a little:
        # where ripe begins is a matter of taste. Where such boxes overlap, the last one
        # decides. (A box that ends exactly between two cells has the next cell, too.)
        heat_weight[rows, columns] = 0 if kind == UNKNOWN else 0.3
    for _, x, y, w, h in boxes[is_ripe]:
        column = int(x + w / 2) // CELL
        row = int(y + h / 2) // CELL
        # A hill. Its top is 1, in the cell of the berry's centre. 2.2 + 0.14 w pixels
        # to the left or right of the top it is down to 1 / e, which is 0.37; up and
        # down the same with h. The 2.2 widens the hills of tiny berries.
        across = np.exp(-(((xs - xs[column]) / (2.2 + 0.14 * w)) ** 2))
        down = np.exp(-(((ys - ys[row]) / (2.2 + 0.14 * h)) ** 2))
        hill = down[:, None] * across
        # The cells that learn this berry's box: near its centre, and higher on its hill
        # than on that of any berry before.
        near = (hill > 0.3) & (hill > heat)
        heat[:] = np.maximum(heat, hill)
        # In these cells the heat counts in full, even inside the box of another berry
        # that is not ripe.
        heat_weight[near] = 1
        # Divided so that a berry with four times as many cells counts twice as much,
        # not four times.
        distances_weight[near] = hill[near] / np.sqrt(hill.sum())
        # From each cell's centre to the box's right and bottom edge. The rest of the
        # width and the height are the distances to the left and top edge.
        right, bottom = np.meshgrid(x + w - xs, y + h - ys)
        distances_of_all = np.stack([w - right, h - bottom, right, bottom])
        distances[:, near] = distances_of_all[:, near]
    return target


def detect(net, image, threshold):
    """Boxes (n, 4) float64 (x, y, w, h in picture pixels), scores (n,), best first.

    The same as find_strawberries() of 08_inference.py, whose comments explain each
    step, but for all cells at once, and with whole pixels."""
    blob, scale = to_blob(image)
    net.setInput(blob)
    answer = net.forward()[0]
    score = answer[0]
    # dilate: the highest score in the 3 x 3 cells around.
    peaks = (score == cv2.dilate(score, np.ones((3, 3)))) & (score >= threshold)
    rows, columns = np.nonzero(peaks)
    scores = score[peaks]
    to_left, to_top, to_right, to_bottom = answer[1:, peaks]
    left = columns * CELL + CELL / 2 - to_left
    top = rows * CELL + CELL / 2 - to_top
    boxes = np.stack([left, top, to_left + to_right, to_top + to_bottom], 1)
    # Of two boxes with an IoU above 0.5 the weaker one is dropped. int: without boxes
    # NMSBoxes gives (), and np.array(()) holds floats.
    best = np.array(cv2.dnn.NMSBoxes(boxes, scores, threshold, 0.5), int)
    edge = (image.shape[1], image.shape[0])
    low = np.clip(boxes[best, :2] / scale, 0, edge).round()
    high = np.clip((boxes[best, :2] + boxes[best, 2:]) / scale, 0, edge).round()
    return np.hstack([low, high - low]), scores[best]
