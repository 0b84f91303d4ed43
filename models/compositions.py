"""Make the pictures to train on: photographs cropped, berries pasted on backgrounds.

All random numbers come from the seed and the number of the step: with the same
photographs and the same seed a step always shows the same pictures.
"""

import sys

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from answers import GREY, MULTIPLE, target_of
from photographs import RIPE, UNKNOWN, turn_hue
from torchvision.transforms import v2

BATCH = 16
# The longer side of a picture in pixels: each batch draws one of these. Lesson 8 looks
# at 384, where a berry may fill the picture. Smaller pictures are faster, and show the
# same berries smaller.
LONGER_SIDES = (192, 288, 384)
# Picture.subject -> how often such a photograph is shown, compared with one that is not
# named here. (Photographs with berries and those without are chosen apart.)
WEIGHTS = {
    "extra": 1.5,  # the close-ups
    "greenhouse": 7,  # only 24 pictures, but the most crowded ones
    "strawberry": 0.4,  # frames of Fruits-360
    # One photograph, of a cake. halve() makes the other cut berries.
    "strawberry-cut": 5,
    "kitchen": 3,
    "meat": 3,
    "tomato": 3,
    "apple-orchard": 3,
    "neg-leaves": 1.5,
    "neg-clothing": 4,  # red shoes look most like berries
    "neg-grocery": 0.9,
}
# What phones do to pictures: light, colour, blur, JPEG.
CAMERA = torch.nn.Sequential(
    v2.RandomApply(
        [v2.ColorJitter(brightness=0.4, contrast=0.3, saturation=0.4, hue=0.03)], 0.8
    ),
    v2.RandomApply([v2.GaussianBlur(5, (0.4, 1.6))], 0.25),
    v2.RandomApply([v2.JPEG((25, 95))], 0.4),
)
# One OpenCV thread in each process that imports this file, such as those that make
# pictures: more would fight for cores.
cv2.setNumThreads(1)


# 1. Berries and other fruit, cut out: patches (height, width, 4) uint8. The channels
# are blue, green, red and alpha: from 0, transparent, to 255, opaque.


def cut_out(image, box):
    """Cut a berry out of its box with GrabCut. None where that fails: the outline is
    not that of a whole berry."""
    x, y, w, h = box
    # GrabCut learns the background from this margin.
    margin = 0.15 * max(w, h) + 2
    left = max(round(x - margin), 0)
    top = max(round(y - margin), 0)
    patch = image[top : round(y + h + margin), left : round(x + w + margin)]
    # GrabCut is slow on large pictures.
    scale = min(160 / max(patch.shape[:2]), 1)
    patch = cv2.resize(patch, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    # The berry's box in the scaled patch.
    box_x = round(scale * (x - left))
    box_y = round(scale * (y - top))
    box_w = scale * w
    box_h = scale * h
    rect = [box_x, box_y, round(box_w), round(box_h)]
    height, width = patch.shape[:2]
    # The box fills the photograph: GrabCut has no background to learn from.
    if box_x <= 0 and box_y <= 0 and rect[2] >= width and rect[3] >= height:
        return None
    mask = np.zeros((height, width), np.uint8)
    cv2.grabCut(patch, mask, rect, None, None, 3, cv2.GC_INIT_WITH_RECT)
    # GC_PR_FGD: probably the foreground, the berry. medianBlur smooths the outline.
    mask = cv2.medianBlur(np.uint8(mask == cv2.GC_PR_FGD) * 255, 9)
    _, _, wide, high = cv2.boundingRect(mask)
    # A berry fills about as much of its box as an ellipse does, 0.79. If nearly all of
    # it is filled, GrabCut has found no outline.
    filled = cv2.countNonZero(mask) / (box_w * box_h)
    is_whole = min(wide / box_w, high / box_h) > 0.8 and 0.5 < filled < 0.92
    if not is_whole:
        return None
    # A soft outline: a blur with a standard deviation of 1 pixel. (0, 0): OpenCV
    # chooses the size of its kernel.
    return np.dstack([patch, cv2.GaussianBlur(mask, (0, 0), 1)])


def cut_from_white(image):
    """Cut a fruit out of its white background; None where that is not white, or the
    shorter side of the fruit has 30 pixels or less."""
    height, width = image.shape[:2]
    corners = image[[0, 0, -1, -1], [0, -1, 0, -1]]
    if corners.min() < 235:
        return None
    # floodFill wants a mask with one more pixel on each side. It goes on to neighbours
    # that are within 18 of the corner's colour, and writes 1 into the mask. The image
    # stays as it is.
    mask = np.zeros((height + 2, width + 2), np.uint8)
    flags = cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE
    for corner in ((0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)):
        cv2.floodFill(image, mask, corner, 0, (18,) * 3, (18,) * 3, flags)
    # erode: one pixel less all around, where the fruit and the white have mixed.
    fruit = cv2.erode((1 - mask[1:-1, 1:-1]) * 255, np.ones((3, 3)))
    x, y, w, h = cv2.boundingRect(fruit)
    if min(w, h) <= 30:
        return None
    patch = np.dstack([image, cv2.GaussianBlur(fruit, (0, 0), 0.7)])
    return patch[y : y + h, x : x + w]


def halve(rng, patch):
    """Make a berry look cut open: its skin, a red rim, a pale core, streaks."""
    height, width = patch.shape[:2]
    # 0 at the outline, nearly 1 in the middle.
    depth = cv2.distanceTransform(np.uint8(patch[..., 3] > 127), cv2.DIST_L2, 3)
    depth = depth[..., None] / (depth.max() + 1)
    # A step such as 80j means: 80 numbers, here from -1 to 1.
    ys, xs = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    streaks = 0.12 * np.sin(np.arctan2(ys, xs) * rng.integers(14, 34))
    paleness = np.clip(depth * rng.uniform(1.2, 2.2) + streaks[..., None], 0, 1)
    # Blue, green, red: a dark to a bright red, and a pale core.
    rim = rng.uniform((30, 30, 150), (80, 70, 240))
    core = rng.uniform((150, 160, 215), (225, 235, 255))
    flesh = rim + (core - rim) * paleness
    flesh = np.dstack([flesh, patch[..., 3]]).astype(np.uint8)
    return np.where(depth < rng.uniform(0.05, 0.2), patch, flesh)


def lay(rng, canvas, patch, side, centre):
    """Scale a patch to about `side` pixels, turn it, and blend it into the canvas
    (height, width, 3) float32, with its shadow. centre: x, y in pixels.

    Gives where it lies on the canvas: a mask (height, width) of bool."""
    # Two factors: width and height are stretched a little differently.
    scale = side / max(patch.shape[:2]) * rng.uniform(0.85, 1.18, 2)
    # shape[1::-1] is (width, height).
    size = np.maximum(patch.shape[1::-1] * scale, 3).astype(int)
    patch = cv2.resize(patch, size.tolist(), interpolation=cv2.INTER_AREA)
    # Turn it around its own middle, and move that middle to its place.
    canvas_size = canvas.shape[1::-1]
    matrix = cv2.getRotationMatrix2D((size / 2).tolist(), rng.uniform(0, 360), 1)
    matrix[:, 2] += centre - size / 2
    turned = cv2.warpAffine(patch, matrix, canvas_size)
    # The shadow has the same outline, moved a little, and softer.
    matrix[:, 2] += rng.normal(0, 0.08, 2) * side
    shadow = cv2.warpAffine(patch[..., 3], matrix, canvas_size)
    shadow = cv2.GaussianBlur(shadow, (0, 0), 0.5 + 0.06 * side)
    # float32, as the canvas is.
    canvas *= 1 - shadow[..., None] * np.float32(rng.uniform(0.1, 0.6) / 255)
    canvas += turned[..., 3:] / np.float32(255) * (turned[..., :3] - canvas)
    return turned[..., 3] > 127


# 2. Parts of photographs.


def clip_boxes(boxes, width, height):
    """Cut boxes at the picture's edge. With less than 0.4 of its area inside, or a side
    under 4 pixels, a berry becomes UNKNOWN; with nothing inside it is left out."""
    low = np.maximum(boxes[:, 1:3], 0)
    # Width and height of what is inside: (n, 2).
    size = np.minimum(boxes[:, 1:3] + boxes[:, 3:], [width, height]) - low
    visible = size.prod(1) / boxes[:, 3:].prod(1)
    kind = np.where((visible < 0.4) | (size.min(1) < 4), UNKNOWN, boxes[:, 0])
    return np.column_stack([kind, low, size])[size.min(1) > 0]


def crop(rng, picture, width, height):
    """A random part of a photograph, and its boxes. Half of the parts are zoomed in,
    half are mirrored, a fifth are upside down, a quarter lie on their side: berries
    point in any direction."""
    photo = picture.image
    boxes = picture.boxes.copy()
    if rng.random() < 0.25:
        # Rows become columns: x and y change places, and so do width and height.
        photo = photo.transpose(1, 0, 2)
        boxes = boxes[:, [0, 2, 1, 4, 3]]
    photo_height, photo_width = photo.shape[:2]
    # 1 is the largest part that fits, 0.2 a part with a fifth of its width.
    zoom = rng.uniform(0.2, 1) if rng.random() < 0.5 else 1
    # The part's side, divided by that of the picture that it becomes.
    shrink = min(photo_width / width, photo_height / height) * zoom
    w = max(round(width * shrink), 1)
    h = max(round(height * shrink), 1)
    if len(boxes):
        # A place around one of the berries.
        _, box_x, box_y, box_w, box_h = rng.choice(boxes)
        x = box_x + box_w / 2 - w * rng.uniform(0.1, 0.9)
        y = box_y + box_h / 2 - h * rng.uniform(0.1, 0.9)
        x = int(np.clip(x, 0, photo_width - w))
        y = int(np.clip(y, 0, photo_height - h))
    else:
        # Any place.
        x = rng.integers(photo_width - w + 1)
        y = rng.integers(photo_height - h + 1)
    image = photo[y : y + h, x : x + w]
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    scale = [width / w, height / h]
    boxes[:, 1:3] = (boxes[:, 1:3] - [x, y]) * scale
    boxes[:, 3:] *= scale
    if rng.random() < 0.5:
        image = image[:, ::-1]
        boxes[:, 1] = width - boxes[:, 1] - boxes[:, 3]
    if rng.random() < 0.2:
        image = image[::-1]
        boxes[:, 2] = height - boxes[:, 2] - boxes[:, 4]
    return image, clip_boxes(boxes, width, height)


# 3. Pictures to train on.


def shares(pictures):
    """How often each picture is chosen: numbers that add up to 1."""
    weights = np.array([WEIGHTS.get(picture.subject, 1) for picture in pictures])
    return weights / weights.sum()


# Composed pictures. Each row: its probability; the least and the most berries; the
# smallest and the largest mean size of berries and other fruit, as a fraction of the
# picture's longer side.
LAYOUTS = [
    (0.35, 1, 5, 0.1, 0.45),  # a few
    (0.15, 1, 1, 0.5, 1.2),  # one from near
    (0.15, 8, 29, 0.12, 0.35),  # a pile
    (0.1, 1, 9, 0.04, 0.12),  # tiny
    (0.25, 0, 0, 0.04, 0.5),  # none, only other fruit
]


class Painter(torch.utils.data.Dataset):
    """Makes training pictures. Item number `step` is the batch of that step, the same
    whenever it is asked for. Items after the last step are for the pruning."""

    def __init__(self, pictures, seed):
        self.seed = seed
        # Photographs with berries, and photographs without.
        self.positives = [picture for picture in pictures if len(picture.boxes)]
        self.negatives = [picture for picture in pictures if not len(picture.boxes)]
        self.positive_shares = shares(self.positives)
        self.negative_shares = shares(self.negatives)
        cv2.setRNGSeed(seed)  # GrabCut starts from random clusters
        # Patches of berries.
        berries = []
        for picture in self.positives:
            if picture.subject == "strawberry":
                # From Fruits-360: one berry.
                berries.append(cut_from_white(picture.image))
            else:
                for kind, *box in picture.boxes:
                    if kind == RIPE and min(box[2:]) >= 36:
                        berries.append(cut_out(picture.image, box))
        self.berries = [berry for berry in berries if berry is not None]
        if not self.berries:
            sys.exit("no berry was cut out: DATA needs ripe ones of 36 pixels")
        # Patches of what lies on a white background: the fruit of Fruits-360, and any
        # other picture with four white corners.
        fruits = [cut_from_white(picture.image) for picture in self.negatives]
        self.fruits = [fruit for fruit in fruits if fruit is not None]

    def __getitem__(self, step):
        """images (BATCH, 3, H, W) uint8 RGB, and targets (BATCH, 7, H/4, W/4).

        H and W are multiples of MULTIPLE; what a picture does not fill is grey."""
        rng = np.random.default_rng([self.seed, step])
        torch.manual_seed(rng.integers(2**31))  # CAMERA draws from torch
        long = rng.choice(LONGER_SIDES)
        short = round(long * rng.choice([9 / 16, 2 / 3, 3 / 4, 1]))
        width, height = rng.permutation([long, short]).tolist()
        # On the left, on the right, above, below.
        margins = (0, -width % MULTIPLE, 0, -height % MULTIPLE)
        images = []
        targets = []
        for _ in range(BATCH):
            picture, boxes = self.sample(rng, width, height)
            rgb = np.ascontiguousarray(picture[..., ::-1].transpose(2, 0, 1))
            image = F.pad(CAMERA(torch.from_numpy(rgb)), margins, value=GREY)
            target = target_of(boxes, *image.shape[1:])
            images.append(image)
            targets.append(torch.from_numpy(target))
        return torch.stack(images), torch.stack(targets)

    def sample(self, rng, width, height):
        """A picture, (height, width, 3) uint8 BGR, and its boxes (n, 5).

        42 % are photographs with berries, 28 % without, 30 % are composed."""
        choice = rng.random()
        if choice < 0.42:
            number = rng.choice(len(self.positives), p=self.positive_shares)
            return crop(rng, self.positives[number], width, height)
        if choice < 0.7:
            return self.negative(rng, width, height), np.zeros((0, 5))
        return self.compose(rng, width, height)

    def negative(self, rng, width, height):
        """A photograph without berries, now and then in other colours."""
        number = rng.choice(len(self.negatives), p=self.negative_shares)
        image, _ = crop(rng, self.negatives[number], width, height)
        if rng.random() < 0.25:
            # A lime or a blue shirt may become red.
            return turn_hue(image, rng.integers(180))
        return image

    def background(self, rng, width, height):
        """A photograph without berries, or soft colours like those of a table top:
        (height, width, 3) float32."""
        if rng.random() < 0.5:
            return self.negative(rng, width, height).astype(np.float32)
        # Plain, soft spots, stripes, or grain.
        rows, columns = rng.choice([(1, 1), (3, 3), (60, 3), (40, 40)])
        colour = rng.uniform(30, 255) + rng.normal(0, 30, 3)
        spread = rng.uniform(0, 40)
        # (rows, columns, 3)
        pattern = colour + rng.normal(0, spread, (rows, columns, 1))
        pattern = cv2.resize(pattern.astype(np.float32), (width, height))
        return np.clip(pattern, 0, 255)

    def berry(self, rng):
        return self.berries[rng.integers(len(self.berries))]

    def patch(self, rng, is_berry):
        """Something to lay down: a berry, whole or cut open; another fruit; or a part
        of a photograph in the outline of a berry."""
        if is_berry:
            berry = self.berry(rng)
            if rng.random() < 0.15:
                return halve(rng, berry)
            return berry
        if rng.random() < 0.6 and self.fruits:
            return self.fruits[rng.integers(len(self.fruits))]
        outline = self.berry(rng)[..., 3]
        height, width = outline.shape
        return np.dstack([self.negative(rng, width, height), outline])

    def compose(self, rng, width, height):
        """Berries and other fruit on a background, and the boxes of what is visible of
        the berries."""
        canvas = self.background(rng, width, height)
        middle = rng.uniform(0.3, 0.7, 2)
        spread = rng.uniform(0.1, 0.3)
        layout = rng.choice(len(LAYOUTS), p=[chance for chance, *_ in LAYOUTS])
        _, least, most, smallest, largest = LAYOUTS[layout]
        count = rng.integers(least, most, endpoint=True)
        # The mean size of the things in this picture, as a fraction of its longer side.
        size = rng.uniform(smallest, largest)
        # How many other things there are: 0 to 4 beside berries, 1 to 11 without.
        others = rng.integers(0, 5) if count else rng.integers(1, 12)
        # The same light for all patches: how bright blue, green and red are.
        light = rng.uniform(0.75, 1.2, 3)
        # Which berry each pixel shows: a later patch hides an earlier one. Patches have
        # the numbers 1, 2, ...; 0 means no berry.
        owner = np.zeros((height, width), np.int16)
        # How many pixels of patch 1, 2, ... lie on the canvas, hidden or not.
        areas = []
        # In any order: berries hide other things, and are hidden by them.
        for is_berry in rng.permutation([True] * count + [False] * others):
            patch = self.patch(rng, is_berry)
            patch = np.clip(patch * [*light, 1], 0, 255).astype(np.uint8)
            side = max(size * rng.uniform(0.75, 1.25) * max(width, height), 6)
            centre = rng.normal(middle, spread) * [width, height]
            mask = lay(rng, canvas, patch, side, centre)
            areas.append(mask.sum())
            owner[mask] = len(areas) if is_berry else 0
        boxes = []
        for number in np.unique(owner[owner > 0]):
            visible = np.uint8(owner == number)
            x, y, w, h = cv2.boundingRect(visible)
            # RIPE, if more than 30 % of what lies on the canvas is visible, and no side
            # is under 4 pixels. (clip_boxes() asks for 40 % of the whole berry.)
            is_seen = visible.sum() > 0.3 * areas[number - 1] and min(w, h) >= 4
            boxes.append((RIPE if is_seen else UNKNOWN, x, y, w, h))
        boxes = np.array(boxes, float).reshape(-1, 5)
        return np.clip(canvas, 0, 255).astype(np.uint8), boxes
