"""Draws the pictures that scripts/08_inference.sh sends: strawberries and QR codes.

Run    python scripts/pictures/draw.py [FOLDER]

Writes qrcode.png (two codes) and strawberries.jpg (three berries on a plate) into
FOLDER or, without it, into the folder of this file. They are the same on every run: the
pictures in the repository are what it wrote.
"""
# /// script
# dependencies = ["numpy>=2.3,<3", "opencv-python>=5.0,<6"]
# ///

import sys
from pathlib import Path

import cv2
import numpy as np


def berry(size, tilt, rng):
    """One strawberry lit from the upper left.

    size: length from leaves to tip in pixels; tilt: degrees, counter-clockwise.
    Returns colour (n, n, 3) in 0..255, blue first, and opacity (n, n) in 0..1.
    """
    n = int(size * 1.7)
    v, u = (np.mgrid[0:n, 0:n] - n / 2) / size
    turn = np.deg2rad(tilt)
    u, v = u * np.cos(turn) - v * np.sin(turn), u * np.sin(turn) + v * np.cos(turn)
    v = v + 0.5  # 0 at the leaves, 1 at the tip

    # The body turns around its axis: half its width at each height, then the depth
    # and from that the direction in which the surface looks.
    inside = np.clip(v, 1e-6, 1 - 1e-6)
    half = 0.42 * np.sin(np.pi * inside**0.62) ** 0.62 * (1 - 0.12 * inside) + 1e-6
    half *= 1 + 0.04 * np.sin(7 * u + 5 * v + rng.uniform(0, 6))
    body = (np.abs(u) < half) & (v > 0) & (v < 1)
    angle = np.arcsin(np.clip(u / half, -1, 1))
    depth = half * np.cos(angle)

    # Seeds: rows around the body, every second one shifted by half a step.
    rows = 11
    columns = 9
    row = inside * rows
    column = angle / np.pi * columns + 0.5 * (np.floor(row) % 2)
    across = column - np.floor(column) - 0.5
    along = row - np.floor(row) - 0.5
    seed_distance = np.hypot(across * 1.25, along * 0.85)
    depth -= 0.012 * np.exp(-((seed_distance / 0.24) ** 2))
    seed = np.clip((0.17 - seed_distance) / 0.05, 0, 1) * (v > 0.07) * (v < 0.96)

    slope_v, slope_u = np.gradient(depth, 1 / size)
    normal = np.dstack([-slope_u, -slope_v, np.ones_like(depth)])
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    light = np.array([-0.45, -0.6, 0.66])
    bright = np.clip(normal @ light, 0, 1)
    shine = np.clip(normal @ ((light + [0, 0, 1]) / 1.82), 0, 1) ** 40

    red = np.array([30, 22, 200.0])
    pale = np.array([95, 110, 225.0])
    colour = red + (pale - red) * np.clip(0.16 - v, 0, 0.16)[..., None] * 4
    colour += seed[..., None] * (np.array([70, 165, 215]) - colour) * 0.8
    colour = colour * (0.34 + 0.75 * bright)[..., None] + 150 * shine[..., None]

    # Leaves: a star of pointed ones around the top.
    leaves = np.zeros((n, n))
    below = v - 0.03
    for direction in np.linspace(-0.15, np.pi + 0.15, 7) + rng.uniform(-0.1, 0.1, 7):
        reach = rng.uniform(0.24, 0.36)
        width = rng.uniform(0.055, 0.075)
        out = u * np.cos(direction) + below * np.sin(direction) * 0.75
        side = -u * np.sin(direction) + below * np.cos(direction)
        along_leaf = np.clip(out / reach, 0, 1)
        leaf = np.abs(side) < width * np.sin(np.pi * along_leaf**0.7)
        shade = 0.62 + 0.3 * along_leaf + 0.5 * np.abs(side) / width
        leaves = np.where(leaf, shade, leaves)
    stalk = (np.abs(u - 0.02) < 0.022) & (v < 0.02) & (v > -0.14)
    leaves = np.where(stalk, 0.8, leaves)
    green = leaves > 0
    colour = np.where(green[..., None], leaves[..., None] * [52, 150, 92], colour)
    return np.clip(colour, 0, 255), (body | green).astype(float)


def put(scene, x, y, size, tilt, rng):
    """Lay a berry with its shadow on the scene (changed in place), middle at x, y."""
    colour, opacity = berry(size, tilt, rng)
    n = len(opacity)
    left = int(x - n / 2)
    top = int(y - n / 2)
    around = scene[top : top + n, left : left + n]
    moved = np.roll(opacity, (size // 14, size // 12), (0, 1))
    shadow = cv2.GaussianBlur(moved, (0, 0), size / 16)[..., None]
    around *= 1 - 0.45 * shadow
    soft = cv2.GaussianBlur(opacity, (0, 0), 1.2)[..., None]
    around += soft * (colour - around)


def table(height, width, rng):
    """A wooden table: stretched noise in brown, (height, width, 3)."""
    noise = rng.normal(0, 1, (height // 4, width // 40 + 1))
    grain = cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    fine = cv2.blur(rng.normal(0, 1, (height, width)), (61, 1))
    return np.array([92, 132, 172.0]) + (grain * 7 + fine * 22)[..., None]


def plate(scene, x, y, radius):
    """A white plate with a rim and a shadow, drawn into the scene."""
    height, width = scene.shape[:2]
    rows, columns = np.mgrid[0:height, 0:width]
    away = np.hypot(columns - x, (rows - y) * 1.12) / radius
    shadow = np.hypot(columns - x - 18, (rows - y - 22) * 1.12) / radius
    scene *= 1 - 0.4 * np.clip((1.06 - shadow) / 0.1, 0, 1)[..., None]
    light = 228 - 10 * (columns - x + rows - y) / radius
    light = light - 16 * np.exp(-(((away - 0.72) / 0.025) ** 2))
    edge = np.clip((1 - away) * radius / 2, 0, 1)[..., None]
    scene += edge * (light[..., None] * [0.97, 0.99, 1.0] - scene)


def finish(scene, rng):
    """Halve the size and add a camera's noise: (h, w, 3) uint8, blue first."""
    small = cv2.resize(scene, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    small = small + rng.normal(0, 2.5, small.shape)
    return np.clip(small, 0, 255).astype(np.uint8)


def strawberries():
    """Three berries on a plate: 640 x 480."""
    rng = np.random.default_rng(3)
    scene = table(960, 1280, rng)
    plate(scene, 640, 480, 430)
    put(scene, 450, 420, 300, 25, rng)
    put(scene, 800, 380, 270, -40, rng)
    put(scene, 670, 640, 310, 5, rng)
    return finish(scene, rng)


def qrcode():
    """Two codes side by side, the second with Korean text: 480 x 240, gray."""
    codes = []
    for text in ("Hello Flask", "안녕하세요"):
        code = cv2.QRCodeEncoder.create().encode(text)
        large = cv2.resize(code, None, fx=8, fy=8, interpolation=cv2.INTER_NEAREST)
        edge = (240 - len(large)) // 2
        codes.append(np.pad(large, edge, constant_values=255))
    return np.hstack(codes)


def main(folder):
    """Write the pictures into folder (a Path)."""
    # Not imwrite(): it does not say so if it cannot write.
    _, codes = cv2.imencode(".png", qrcode())
    codes.tofile(folder / "qrcode.png")
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92]
    _, berries = cv2.imencode(".jpg", strawberries(), quality)
    berries.tofile(folder / "strawberries.jpg")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
