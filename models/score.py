"""Score a network file on pictures with known boxes."""

import time
from typing import NamedTuple

import cv2
import numpy as np
from answers import THRESHOLD, detect
from photographs import RIPE, UNKNOWN, Picture


def overlaps(box, others):
    """Intersection over union of a box with each of the others (n, 4)."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    shared = (high - low).clip(0).prod(1)
    return shared / (box[2:].prod() + others[:, 2:].prod(1) - shared)


class Judged(NamedTuple):
    picture: Picture
    ripe: int  # how many ripe berries it has
    counted: list[tuple[float, bool]]  # of each box that counts: score, is it right?


def judge(picture, boxes, scores):
    """Compare boxes (n, 4), best first, and their scores with a picture's berries.

    The best box takes its berry first, at an IoU of 0.5 or more. A box on a half ripe
    or half hidden berry is left out; one on an unripe berry is wrong."""
    kinds = picture.boxes[:, 0]
    is_free = kinds == RIPE  # ripe, and no box has taken it yet
    ripe = int(is_free.sum())
    counted = []
    for box, score in zip(boxes, scores, strict=True):
        iou = overlaps(box, picture.boxes[:, 1:])
        iou_of_free = np.where(is_free, iou, 0)
        is_right = iou_of_free.max(initial=0) >= 0.5
        if is_right:
            # Taken: another box on it is wrong, unless on an UNKNOWN berry, too.
            is_free[iou_of_free.argmax()] = False
        elif (iou[kinds == UNKNOWN] >= 0.5).any():
            continue  # neither right nor wrong
        counted.append((score, is_right))
    return Judged(picture, ripe, counted)


def judge_all(net, pictures):
    """What judge() says of what a network finds in each picture.

    It takes boxes with scores from 0.05 on, and figures() leaves out those below its
    threshold. So one run is enough for all thresholds: a weak box is judged after the
    better ones, and takes nothing away from them."""
    return [judge(p, *detect(net, p.image, 0.05)) for p in pictures]


def figures(rows, threshold=THRESHOLD):
    """One line of text: what judge() found, counted at a threshold.

    Only the boxes that judge() has not left out count. P, R, F1: precision, recall and
    F1, 2 P R / (P + R); left out where no picture has a ripe berry. found: how many of
    the pictures with ripe berries got a box. false: how many of the pictures without
    any berry got one. image: the part of these two groups for which "is a ripe berry in
    it?" is answered rightly, if a box means yes; "-" if both groups are empty.
    (Pictures whose berries are all unripe, half ripe or half hidden are in neither
    group.)"""
    verdicts = []  # of each box: is it right?
    with_ripe = []  # of each picture with ripe berries: did it get a box?
    without_any = []  # of each picture without any berry: did it get a box?
    for row in rows:
        of_row = [is_right for score, is_right in row.counted if score >= threshold]
        verdicts += of_row
        if row.ripe:
            with_ripe.append(len(of_row) > 0)
        elif not len(row.picture.boxes):
            without_any.append(len(of_row) > 0)
    right = sum(verdicts)
    drawn = len(verdicts)
    wanted = sum(row.ripe for row in rows)
    # Of each picture of the two groups: is the question answered rightly?
    answers = with_ripe + [not got_box for got_box in without_any]
    accuracy = f"{sum(answers) / len(answers):.3f}" if answers else "-"
    line = ""
    if wanted:
        line += f"P {right / max(drawn, 1):.3f} R {right / wanted:.3f} "
        line += f"F1 {2 * right / (drawn + wanted):.3f} "
    line += f"image {accuracy} found {sum(with_ripe)}/{len(with_ripe)} "
    line += f"false {sum(without_any)}/{len(without_any)}"
    return line


def show_score(path, data):
    """Print how good, large and fast a network file is."""
    net = cv2.dnn.readNetFromONNX(str(path))
    rows = judge_all(net, data.dev)
    for threshold in (0.2, 0.3, 0.4, 0.45, THRESHOLD, 0.55, 0.6):
        print(f"dev at {threshold:.2f}: {figures(rows, threshold)}")
    # One line for each source; that of the held-out close-ups is "held".
    rows += judge_all(net, data.held_close_ups)
    for source in sorted({row.picture.source for row in rows}):
        of_source = [row for row in rows if row.picture.source == source]
        print(f"{source}: {figures(of_source)}")
    lookalikes = judge_all(net, data.held_lookalikes)
    print("held look-alikes:", figures(lookalikes))
    for group in sorted({row.picture.group for row in lookalikes}):
        of_group = [row for row in lookalikes if row.picture.group == group]
        print(f"  {group}: {figures(of_group)}")
    cv2.setNumThreads(1)
    milliseconds = []
    for picture in data.dev[:50]:
        start = time.perf_counter()
        detect(net, picture.image, THRESHOLD)
        milliseconds.append(1000 * (time.perf_counter() - start))
    median = np.median(milliseconds)
    print(f"{path}: median {median:.1f} ms on one core, {path.stat().st_size} bytes")
