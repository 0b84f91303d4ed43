"""Pictures for the tests: plain ones, and PNG and JPEG files put together by hand."""

import base64
import functools
import struct
import zlib

import cv2
import numpy as np
import photographs


def plain(width, height, value=128):
    """A picture of one grey, (height, width, 3) uint8."""
    return np.full((height, width, 3), value, np.uint8)


def photograph(image, boxes):
    """What the training knows of a photograph. It comes from nowhere in particular."""
    return photographs.Picture("test.jpg", "test", "test", "test", image, boxes)


def jpeg(img, *options):
    """The bytes of a JPEG file; options are those of cv2.imencode."""
    return cv2.imencode(".jpg", img, options)[1].tobytes()


def png(img):
    """The bytes of a PNG file."""
    return cv2.imencode(".png", img)[1].tobytes()


def webp(img):
    """The bytes of a WebP file."""
    return cv2.imencode(".webp", img, (cv2.IMWRITE_WEBP_QUALITY, 80))[1].tobytes()


def transparent_webp(width, height):
    """A WebP with four channels of large soft spots: a small file, much memory."""
    spots = np.random.default_rng(0).integers(0, 256, (40, 50, 4), np.uint8)
    img = cv2.resize(spots, (width, height))
    return cv2.imencode(".webp", img, (cv2.IMWRITE_WEBP_QUALITY, 10))[1].tobytes()


def decoded(data):
    """The picture in a file, (height, width, 3) uint8, blue first."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


DRAWN_BOX = {"cls": "ripe", "box": [35, 30, 51, 61]}


def drawn_berry():
    """A red ellipse of 50 x 60 pixels on green, and the green alone."""
    green = np.full((120, 120, 3), (60, 140, 60), np.uint8)
    red = cv2.ellipse(green.copy(), (60, 60), (25, 30), 0, 0, 360, (30, 30, 200), -1)
    return red, green


def qr(content, scale=6):
    """A QR code in grey, (side, side) uint8; content: a text, or bytes as they are."""
    code = cv2.QRCodeEncoder.create().encode(content)
    code = np.pad(code, 4, constant_values=255)
    return cv2.resize(code, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)


def qr_box(code, scale, left=0, top=0):
    """The box of a picture of qr(), laid at (left, top), without its white margin: 4
    modules of qr(), 2 of OpenCV's encoder."""
    margin = (4 + 2) * scale
    side = len(code) - 2 * margin
    return [left + margin, top + margin, side, side]


def unreadable_qr():
    """A QR code that says that it holds 15 letters: one more than there is room for.

    The XOR of three codes with the same mask is a code: error correction is linear.
    Their lengths, 8, 4 and 3, become 8 ^ 4 ^ 3: 15."""
    return qr("cccccccc") ^ qr("aaaa") ^ qr("aaa")


# --- PNG by hand.

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_chunk(name, body, length=None):
    """One chunk of a PNG file. A length, if given, may lie."""
    stated = len(body) if length is None else length
    checksum = zlib.crc32(name + body)
    return struct.pack(">I", stated) + name + body + struct.pack(">I", checksum)


GREY, RGB = 0, 2  # colour types


def png_head(width, height, colour_type=RGB):
    """The beginning of a PNG file that says how large its picture is."""
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return PNG_SIGNATURE + png_chunk(b"IHDR", header)


PNG_END = png_chunk(b"IEND", b"")


def incomplete_animation(width, height):
    """An animated PNG of two grey pictures. Both have 50 bytes of their pixels."""
    parts = [
        png_head(width, height, GREY),
        png_chunk(b"acTL", struct.pack(">II", 2, 0)),
    ]
    pixels = zlib.compress(bytes(50))
    # The second picture's pixels begin with the number of their chunk.
    for number, kind, start in ((0, b"IDAT", b""), (1, b"fdAT", b"\0\0\0\2")):
        # The number of this chunk, the picture's size and place, how long it is shown.
        control = struct.pack(">5I2H2B", number, width, height, 0, 0, 1, 9, 0, 0)
        parts += [png_chunk(b"fcTL", control), png_chunk(kind, start + pixels)]
    return b"".join([*parts, PNG_END])


# --- JPEG by hand: FF D8, then segments, then FF D9.

QUANTIZATION = 0xDB
START_OF_SCAN = 0xDA
APPLICATION = 0xE1  # such as EXIF


def jpeg_segment(kind, body):
    """One segment of a JPEG file: FF, its kind, its length, what it holds."""
    return b"\xff" + bytes([kind]) + struct.pack(">H", len(body) + 2) + body


def frame(kind, width, height):
    """A JPEG's frame header: the size, and three colours of full resolution."""
    colours = bytes([0, 0x11, 0, 1, 0x11, 0, 2, 0x11, 0])
    size = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return jpeg_segment(kind, b"\x08" + size + b"\x03" + colours)


def scans(count, parameters, data):
    """`count` passes over the picture, one colour each, then the end of the file.

    parameters: the last three bytes of a scan's head, which choose what it holds:
    (0, 63, 0) all of it at once, (1, 0, 0) the pixels themselves (lossless)."""
    parts = []
    for number in range(count):
        colour = number % 3
        # How many colours, which one, and the number of its table.
        head = bytes([1, colour, 0, *parameters])
        parts.append(jpeg_segment(START_OF_SCAN, head) + data)
    return b"".join(parts) + b"\xff\xd9"


# The data of one block of 8 x 8 pixels. When it ends, the decoder goes on with zeros.
NOISE = base64.b64decode("9gkjI/lAdNg06YytJXg+FUaFhUvDXVCgSio9dagVEEUy/jOM3rwI")


def arithmetic_jpeg(count):
    """A JPEG with arithmetic coding (SOF9): for each of its scans, 49 bytes, the
    decoder computes 25 megapixels."""
    ones = jpeg_segment(QUANTIZATION, b"\0" + b"\1" * 64)
    head = b"\xff\xd8" + ones + frame(0xC9, 5000, 5000)
    return head + scans(count, (0, 63, 0), NOISE)


def jpeg_with_empty_segments(count):
    """A small JPEG. The decoder keeps each segment in a piece of memory of its own."""
    data = jpeg(plain(64, 64))
    return data[:2] + jpeg_segment(APPLICATION, b"") * count + data[2:]


def with_orientation(data, orientation):
    """A JPEG with an EXIF block that says how the camera was held."""
    tag, short = 0x0112, 3
    tiff = b"MM\0*\0\0\0\x08"
    tiff += struct.pack(">HHHIHHI", 1, tag, short, 1, orientation, 0, 0)
    return data[:2] + jpeg_segment(APPLICATION, b"Exif\0\0" + tiff) + data[2:]


@functools.cache
def largest_picture():
    """25 megapixels, progressive, full colour: what costs the most. Zeros at its end
    make a file of nearly 16 MB of it."""
    noise = np.random.default_rng(0).integers(0, 256, (625, 625, 3), np.uint8)
    data = jpeg(
        cv2.resize(noise, (5000, 5000), interpolation=cv2.INTER_LINEAR),
        cv2.IMWRITE_JPEG_PROGRESSIVE,
        1,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    )
    return data + bytes(15_900_000 - len(data))
