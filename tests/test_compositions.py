"""models/compositions.py: the pictures that the training makes.

The tests need what train_strawberry.py names in its first lines, and skip where that is
not installed.
"""

import importlib

import cv2
import numpy as np
import photographs
import pytest
from pictures import DRAWN_BOX, drawn_berry, photograph

# torchvision warns that its JPEG will move to another package.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def compositions(torch):
    return importlib.import_module("compositions")


def test_a_part_of_a_photograph_keeps_its_boxes(compositions):
    """Zoomed, mirrored, on its side or not, each box is around its red rectangle."""
    image = np.zeros((300, 400, 3), np.uint8)
    image[120:180, 160:240] = (0, 0, 255)
    # It is wider than high, and its upper left quarter is green, too: so one sees how
    # the part lies.
    image[120:150, 160:200] = (0, 255, 255)
    boxes = np.array([[photographs.RIPE, 160, 120, 80, 60]], np.float32)
    picture = photograph(image, boxes)
    positions = set()
    widths = set()
    for seed in range(100):
        rng = np.random.default_rng(seed)
        part, (box,) = compositions.crop(rng, picture, 192, 128)
        assert part.shape == (128, 192, 3)
        # Where it is mostly red. A side may be off by a pixel: the part was scaled.
        expected = cv2.boundingRect(np.uint8(part[..., 2] > 127))
        assert box[1:] == pytest.approx(expected, abs=1.5)
        x, y, w, h = expected
        widths.add(w)
        if box[0] == photographs.RIPE and 0 < x < x + w < 192 and 0 < y < y + h < 128:
            green = part[y : y + h, x : x + w, 1] > 127
            is_left = green[:, : w // 2].sum() > green[:, w // 2 :].sum()
            is_upper = green[: h // 2].sum() > green[h // 2 :].sum()
            positions.add((w > h, is_left, is_upper))
    assert len(positions) == 8
    # 400 pixels became 192, so 80 became 38 or, zoomed in, more.
    assert min(widths) < 40
    assert max(widths) > 80


def test_a_part_of_a_photograph_without_berries(compositions):
    """It may come from any place."""
    image = np.tile(np.arange(100, dtype=np.uint8)[:, None, None], (1, 300, 3))
    picture = photograph(image, np.zeros((0, 5)))
    brightness = []
    for seed in range(40):
        part, boxes = compositions.crop(np.random.default_rng(seed), picture, 96, 96)
        assert part.shape == (96, 96, 3)
        assert boxes.shape == (0, 5)
        brightness.append(part.mean())
    assert min(brightness) < 40
    assert max(brightness) > 60
    # A photograph may be as small as it likes.
    row = photograph(image[:1], np.zeros((0, 5)))
    part, _ = compositions.crop(np.random.default_rng(0), row, 96, 64)
    assert part.shape == (64, 96, 3)


def test_a_berry_that_leaves_the_picture(compositions):
    """Its box is cut. UNKNOWN: too little of it is left. Then it is left out."""
    rows = [(photographs.RIPE, x, 40, 20, 20) for x in (-10, -13, -17, -20)]
    clipped = compositions.clip_boxes(np.array(rows, float), 100, 100)
    assert clipped.tolist() == [
        [photographs.RIPE, 0, 40, 10, 20],
        [photographs.UNKNOWN, 0, 40, 7, 20],
        [photographs.UNKNOWN, 0, 40, 3, 20],
    ]
    # All of it is there, but it is too narrow.
    narrow = np.array([[photographs.RIPE, 40, 40, 3, 20]], float)
    assert compositions.clip_boxes(narrow, 100, 100)[0, 0] == photographs.UNKNOWN


def test_a_berry_that_fills_its_photograph_is_not_cut_out(compositions):
    """GrabCut would raise an exception: it finds no background."""
    image = np.full((60, 60, 3), (30, 30, 200), np.uint8)
    assert compositions.cut_out(image, [0, 0, 60, 60]) is None
    assert compositions.cut_out(image, [-1, -1, 62, 62]) is None


def test_a_box_without_a_berry_is_not_cut_out(compositions):
    """GrabCut finds no foreground."""
    grey = np.full((100, 100, 3), 128, np.uint8)
    assert compositions.cut_out(grey, [30, 30, 40, 40]) is None


def test_a_berry_is_cut_out(compositions):
    red, _ = drawn_berry()
    patch = compositions.cut_out(red, DRAWN_BOX["box"])
    # Nearly the area of the ellipse.
    assert (patch[..., 3] > 127).sum() == pytest.approx(np.pi * 25 * 30, rel=0.05)


def test_what_has_no_outline_of_a_berry_is_not_cut_out(compositions):
    """A box that is too large or too long; a thin line through its box; a rectangle
    that fills all of it."""
    red, green = drawn_berry()
    x, y, w, h = DRAWN_BOX["box"]
    assert compositions.cut_out(red, [x, y, 60, 90]) is None
    # The berry has 0.76 of its height.
    assert compositions.cut_out(red, [x, y, w, 80]) is None
    # It fills 0.36 of the box.
    ends = [(x + 8, y + 8), (x + w - 9, y + h - 9)]
    line = cv2.line(green.copy(), *ends, (30, 30, 200), 16)
    assert compositions.cut_out(line, DRAWN_BOX["box"]) is None
    square = cv2.rectangle(green, (x, y), (x + w - 1, y + h - 1), (30, 30, 200), -1)
    assert compositions.cut_out(square, DRAWN_BOX["box"]) is None


def disc_on(colour, radius):
    """A red disc in the middle of 200 x 200 pixels of a colour."""
    image = np.full((200, 200, 3), colour, np.uint8)
    return cv2.circle(image, (100, 100), radius, (30, 30, 200), -1)


def test_a_fruit_is_cut_from_white(compositions):
    # As in a photograph, fruit and white mix at the outline.
    photo = cv2.GaussianBlur(disc_on((250, 250, 250), 40), (0, 0), 1)
    patch = compositions.cut_from_white(photo)
    assert patch.shape == pytest.approx((79, 79, 4), abs=2)
    assert (patch[..., 3] > 127).sum() == pytest.approx(np.pi * 40**2, rel=0.07)
    # One pixel less all around: no white is left inside.
    assert patch[patch[..., 3] == 255][:, 0].max() < 60
    # One corner is not white; the fruit is too small.
    image = disc_on((250, 250, 250), 40)
    image[0, 0] = (60, 140, 60)
    assert compositions.cut_from_white(image) is None
    assert compositions.cut_from_white(disc_on((250, 250, 250), 14)) is None
    # It touches all four edges, so each corner has a white of its own.
    patch = compositions.cut_from_white(disc_on((250, 250, 250), 100))
    assert (patch[[0, 0, -1, -1], [0, -1, 0, -1], 3] == 0).all()


def test_a_cut_berry_is_pale_inside_and_has_its_skin(compositions):
    red, _ = drawn_berry()
    patch = compositions.cut_out(red, DRAWN_BOX["box"])
    for seed in range(10):
        halved = compositions.halve(np.random.default_rng(seed), patch)
        assert (halved[..., 3] == patch[..., 3]).all()
        outline = cv2.Canny(np.uint8(patch[..., 3] > 127) * 255, 1, 2) > 0
        assert (halved[outline] == patch[outline]).mean() > 0.9
        height, width = patch.shape[:2]
        # Blue is 30 in the skin, and at least 120 in the middle.
        assert halved[height // 2, width // 2, 0] > 120


@pytest.mark.parametrize("seed", range(8))
def test_a_shadow_is_soft(compositions, seed):
    """A white disc on white: only its shadow is seen, and it has no edge."""
    # It touches all four edges of its patch, as fruit does that is cut from white.
    disc = np.full((64, 64, 4), 255, np.uint8)
    disc[..., 3] = cv2.circle(np.zeros((64, 64), np.uint8), (32, 32), 31, 255, -1)
    canvas = np.full((200, 200, 3), 255, np.float32)
    rng = np.random.default_rng(seed)
    mask = compositions.lay(rng, canvas, disc, side=80, centre=np.array([100, 100]))
    assert mask.sum() == pytest.approx(np.pi * 40**2, rel=0.4)
    outside = cv2.erode(np.uint8(~mask), np.ones((5, 5))) > 0
    grey = np.where(outside, canvas[..., 0], np.nan)
    assert np.nanmin(grey) < 250
    for axis in (0, 1):
        assert np.nanmax(np.abs(np.diff(grey, axis=axis))) < 15


@pytest.fixture
def painter(compositions):
    """It has one berry, and no fruit on white."""
    red, green = drawn_berry()
    boxes = np.array([[photographs.RIPE, *DRAWN_BOX["box"]]], np.float32)
    pictures = [
        photograph(red, boxes),
        photograph(green, boxes[:0]),
    ]
    return compositions.Painter(pictures, seed=1)


def test_a_berry_of_which_little_is_left_is_not_ripe(painter):
    """In composed pictures, too: a box with a side under 4 pixels is UNKNOWN."""
    ripe = 0
    too_narrow = 0
    for seed in range(200):
        _, boxes = painter.compose(np.random.default_rng(seed), 64, 48)
        for kind, x, y, w, h in boxes:
            assert x >= 0 and y >= 0 and x + w <= 64 and y + h <= 48
            if min(w, h) < 4:
                assert kind == photographs.UNKNOWN
                too_narrow += 1
            ripe += kind == photographs.RIPE
    assert ripe > 200
    assert too_narrow > 5


GREY = (128, 128, 128)
RED = (30, 30, 220)
BLUE = (220, 30, 30)


@pytest.fixture
def lay_discs(compositions, painter, monkeypatch):
    """Lets compose() lay red discs as berries and blue ones as other fruit, on grey, in
    this layout."""

    def disc(rng, is_berry):
        patch = np.zeros((64, 64, 4), np.uint8)
        return cv2.circle(patch, (32, 32), 30, (*(RED if is_berry else BLUE), 255), -1)

    def background(rng, width, height):
        return np.full((height, width, 3), GREY, np.float32)

    monkeypatch.setattr(painter, "patch", disc)
    monkeypatch.setattr(painter, "background", background)
    return lambda *layout: monkeypatch.setattr(compositions, "LAYOUTS", [layout])


def test_only_berries_get_boxes_in_composed_pictures(painter, lay_discs):
    lay_discs(1, 1, 1, 0.3, 0.4)
    others = 0
    for seed in range(40):
        picture, boxes = painter.compose(np.random.default_rng(seed), 128, 128)
        blue, green, red = cv2.split(picture.astype(int))
        is_red = np.uint8((red > green + 40) & (red > blue + 40))
        others += (blue > red + 40).any()
        x, y, w, h = cv2.boundingRect(is_red)
        if len(boxes):
            assert boxes[0, 1:] == pytest.approx([x, y, w, h], abs=3)
        else:
            # Hidden by other fruit, or beside the picture.
            assert w < 6 or h < 6
    assert others > 20


def test_pictures_of_other_fruit_only_have_no_boxes(painter, lay_discs):
    lay_discs(1, 0, 0, 0.1, 0.5)
    for seed in range(20):
        picture, boxes = painter.compose(np.random.default_rng(seed), 128, 128)
        assert boxes.shape == (0, 5)
        assert picture.std() > 1


def test_a_hidden_berry_is_not_ripe(painter, lay_discs):
    """Of two berries in one place one is nearly hidden by the other."""
    lay_discs(1, 2, 2, 0.5, 0.5)
    kinds = []
    for seed in range(60):
        _, boxes = painter.compose(np.random.default_rng(seed), 128, 128)
        kinds += boxes[:, 0].tolist()
    assert kinds.count(photographs.RIPE) > 50
    assert kinds.count(photographs.UNKNOWN) > 5


# --- Which pictures are made, and how often.


def test_how_often_each_kind_is_made(compositions, painter, monkeypatch):
    """42 % photographs with berries, 28 % without, 30 % composed. 15 % of the berries
    that are pasted look cut open."""
    made = []
    monkeypatch.setattr(
        compositions, "crop", lambda *_: (made.append("with"), np.zeros((0, 5)))
    )
    monkeypatch.setattr(painter, "negative", lambda *_: made.append("without"))
    monkeypatch.setattr(painter, "compose", lambda *_: made.append("composed"))
    rng = np.random.default_rng(0)
    for _ in range(2000):
        painter.sample(rng, 64, 48)
    shares = [made.count(kind) / 2000 for kind in ("with", "without", "composed")]
    assert shares == pytest.approx([0.42, 0.28, 0.3], abs=0.04)
    halved = []
    monkeypatch.setattr(compositions, "halve", lambda *_: halved.append("cut open"))
    for _ in range(2000):
        painter.patch(rng, is_berry=True)
    assert len(halved) / 2000 == pytest.approx(0.15, abs=0.03)


def test_some_subjects_are_shown_more_often_and_some_less(compositions):
    pictures = [
        photographs.Picture("test.jpg", "a", subject, "c", None, None)
        for subject in ("kitchen", "strawberry", "not named")
    ]
    kitchen, strawberry, other = compositions.shares(pictures)
    assert kitchen + strawberry + other == pytest.approx(1)
    assert kitchen == pytest.approx(3 * other)
    assert strawberry == pytest.approx(0.4 * other)


def test_what_becomes_a_berry_and_what_another_fruit(compositions):
    """A half-ripe berry is not cut out, nor one under 36 pixels. Of Fruits-360 a
    strawberry is a berry; what has no boxes is another fruit."""
    red, green = drawn_berry()
    white = disc_on((250, 250, 250), 40)

    def picture(subject, image, *rows):
        boxes = np.array(rows, np.float32).reshape(-1, 5)
        return photographs.Picture("test.jpg", "test", subject, "test", image, boxes)

    box = DRAWN_BOX["box"]
    small = cv2.resize(red, None, fx=0.6, fy=0.6)
    small_box = [0.6 * number for number in box]
    pictures = [
        picture("test", red, (photographs.RIPE, *box)),
        picture("test", red, (photographs.UNKNOWN, *box)),
        picture("test", red, (photographs.UNRIPE, *box)),
        picture("test", small, (photographs.RIPE, *small_box)),
        # GrabCut would cut this one out, too, but with a margin: 109 x 109 pixels.
        picture("strawberry", white, (photographs.RIPE, 60, 60, 81, 81)),
        picture("apple", disc_on((250, 250, 250), 30)),
        picture("test", green),
    ]
    painter = compositions.Painter(pictures, seed=1)
    assert len(painter.berries) == 2
    assert painter.berries[1].shape == pytest.approx((79, 79, 4), abs=2)
    (fruit,) = painter.fruits
    assert fruit.shape == pytest.approx((59, 59, 4), abs=2)
    # Beside the berries lies this fruit, or a berry-shaped part of a photograph.
    shapes = set()
    rng = np.random.default_rng(0)
    for _ in range(50):
        shapes.add(painter.patch(rng, is_berry=False).shape)
    outlines = {berry.shape for berry in painter.berries}
    assert shapes == outlines | {fruit.shape}


def test_a_batch_is_the_same_whenever_it_is_asked_for(torch, compositions, painter):
    images, targets = painter[0]
    again, targets_again = painter[0]
    assert torch.equal(images, again)
    assert torch.equal(targets, targets_again)
    assert not torch.equal(images[0], images[1])
    photos = painter.positives + painter.negatives
    other_seed = compositions.Painter(photos, seed=2)
    assert not torch.equal(other_seed[0][0], images)
    assert not torch.equal(painter[1][0], images)


def test_how_often_hues_are_turned_and_what_lies_behind(
    compositions, painter, monkeypatch
):
    """A quarter of the photographs without berries get other colours. Half of the
    backgrounds are such photographs."""
    turned = []
    monkeypatch.setattr(compositions, "turn_hue", lambda *_: turned.append("turned"))
    rng = np.random.default_rng(0)
    for _ in range(1000):
        painter.negative(rng, 64, 48)
    assert len(turned) / 1000 == pytest.approx(0.25, abs=0.04)
    photo = np.zeros((48, 64, 3), np.uint8)
    monkeypatch.setattr(painter, "negative", lambda *_: photo)
    backgrounds = [painter.background(rng, 64, 48) for _ in range(1000)]
    assert all(background.shape == photo.shape for background in backgrounds)
    are_photos = [not background.any() for background in backgrounds]
    assert np.mean(are_photos) == pytest.approx(0.5, abs=0.05)


def test_what_the_network_is_shown_is_red_green_blue(
    torch, compositions, painter, monkeypatch
):
    """And grey where the picture ends. The sizes go up to that of lesson 8."""
    sizes = []

    def sample(rng, width, height):
        sizes.append((width, height))
        picture = np.full((height, width, 3), (10, 20, 200), np.uint8)
        return picture, np.array([[photographs.RIPE, 20.0, 20.0, 40.0, 40.0]])

    monkeypatch.setattr(painter, "sample", sample)
    monkeypatch.setattr(compositions, "CAMERA", torch.nn.Identity())
    for step in range(20):
        images, targets = painter[step]
        width, height = sizes[-1]
        padded_height, padded_width = images.shape[2:]
        assert padded_height % 32 == padded_width % 32 == 0
        assert images.shape[:2] == (16, 3)
        assert targets.shape == (16, 7, padded_height // 4, padded_width // 4)
        assert images[0, :, 0, 0].tolist() == [200, 20, 10]
        assert images[0, :, height - 1, width - 1].tolist() == [200, 20, 10]
        assert (images[..., height:, :] == 114).all()
        assert (images[..., width:] == 114).all()
        assert (targets[:, 0].amax((1, 2)) == 1).all()
    assert {max(size) for size in sizes} == {192, 288, 384}
    # Some of them do not end at a multiple of 32.
    assert any(width % 32 or height % 32 for width, height in sizes)
