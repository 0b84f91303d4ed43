"""Pictures for the tests, made here: plain ones, and PNGs put together by hand."""

import struct
import zlib

import cv2
import numpy as np

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def plain(width, height, value=128):
    """A picture of one grey, (height, width, 3) uint8."""
    return np.full((height, width, 3), value, np.uint8)


def jpeg(img, *options):
    """The bytes of a JPEG file; options are those of cv2.imencode."""
    return cv2.imencode(".jpg", img, options)[1].tobytes()


def png(img):
    """The bytes of a PNG file."""
    return cv2.imencode(".png", img)[1].tobytes()


def png_chunk(name, body, length=None):
    """One chunk of a PNG file. A length, if given, may lie."""
    stated = len(body) if length is None else length
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", stated) + name + body + struct.pack(">I", checksum)


def png_head(width, height):
    """The beginning of a PNG file that says how large its picture is."""
    bit_depth, colour_type = 8, 2  # RGB
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    return PNG_SIGNATURE + png_chunk(b"IHDR", header)


PNG_END = png_chunk(b"IEND", b"")
