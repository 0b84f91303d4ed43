"""Score a network file, with pictures and boxes as lesson 8 sees them."""

import time

import cv2
import numpy as np
from answers import THRESHOLD, detect
from photographs import RIPE, UNKNOWN


def overlaps(box, others):
    """Intersection over union of a box with each of the others (n, 4)."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[:2] + box[2:], others[:, :2] + others[:, 2:])
    shared = (high - low).clip(0).prod(1)
    return shared / (box[2:].prod() + others[:, 2:].prod(1) - shared)


def judge(picture, boxes, scores):
    """Compare boxes (n, 4), best first, and their scores with a picture's berries.

    Gives (picture, ripe berries, certain, [(score, right), ...]). The best box takes
    its berry first, at an IoU of 0.5 or more. A box on a half ripe or half hidden berry
    is left out; one on an unripe berry is wrong. certain: a ripe berry is in the
    picture, or no berry at all."""
    kinds = picture.boxes[:, 0]
    is_free = kinds == RIPE  # and no box has taken it yet
    ripe = int(is_free.sum())
    certain = ripe > 0 or not len(kinds)
    hits = []
    for box, score in zip(boxes, scores, strict=True):
        iou = overlaps(box, picture.boxes[:, 1:])
        iou_of_free = np.where(is_free, iou, 0)
        right = iou_of_free.max(initial=0) >= 0.5
        if right:
            # Found: a second box on it is wrong.
            is_free[iou_of_free.argmax()] = False
        elif (iou[kinds == UNKNOWN] >= 0.5).any():
            continue  # neither right nor wrong
        hits.append((score, right))
    return picture, ripe, certain, hits


def judge_all(net, pictures):
    """What judge() says of what a network finds in each picture.

    Boxes from 0.05 on: below every threshold at which figures() counts. Weak boxes take
    nothing away from better ones, so one run is enough for all thresholds."""
    return [judge(p, *detect(net, p.image, 0.05)) for p in pictures]


def figures(rows, threshold=THRESHOLD):
    """One line of text: what judge() found, counted at a threshold.

    P, R, F1: precision, recall and F1 of the boxes. image: part of the pictures that
    are answered rightly. found: how many of the pictures with ripe berries got a box.
    false: how many of those without any berry got one."""
    right = boxes = wanted = 0
    found, false = [], []
    for _, ripe, certain, hits in rows:
        kept = [is_right for score, is_right in hits if score >= threshold]
        right += sum(kept)
        boxes += len(kept)
        wanted += ripe
        if certain and ripe:
            found.append(len(kept) > 0)
        elif certain:
            false.append(len(kept) > 0)
    wrong_pictures = len(found) - sum(found) + sum(false)
    image = 1 - wrong_pictures / max(len(found) + len(false), 1)
    return (
        f"P {right / max(boxes, 1):.3f} R {right / max(wanted, 1):.3f} "
        f"F1 {2 * right / max(boxes + wanted, 1):.3f} image {image:.3f} "
        f"found {sum(found)}/{len(found)} false {sum(false)}/{len(false)}"
    )


def show_score(path, data):
    """Print how good, large and fast a network file is."""
    net = cv2.dnn.readNetFromONNX(str(path))
    rows = judge_all(net, data.dev)
    for threshold in (0.2, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6):
        print(f"dev at {threshold:.2f}: {figures(rows, threshold)}")
    rows += judge_all(net, data.held_close_ups)
    for source in sorted({row[0].source for row in rows}):
        print(f"{source}: {figures([row for row in rows if row[0].source == source])}")
    held = judge_all(net, data.held_lookalikes)
    print("held look-alikes:", figures(held))
    for group in sorted({row[0].group for row in held}):
        print(f"  {group}: {figures([row for row in held if row[0].group == group])}")
    cv2.setNumThreads(1)
    milliseconds = []
    for number in range(50):
        start = time.perf_counter()
        detect(net, data.dev[number % len(data.dev)].image, THRESHOLD)
        milliseconds.append(1000 * (time.perf_counter() - start))
    median = np.median(milliseconds)
    print(f"median {median:.1f} ms on one core, {path.stat().st_size} bytes")
