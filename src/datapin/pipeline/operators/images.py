"""Images: bytes to upright Pillow images in a plain mode, and back to PNG with one spelling."""

from __future__ import annotations

import hashlib
import io
import struct
import zlib

import numpy as np
import PIL
from PIL import Image, ImageOps, features

from datapin.pipeline.fingerprint import zlib_version
from datapin.pipeline.operators.operator import AssetBroken, UInt8

MOST_PIXELS = 178_956_970  # Pillow's own limit for a decompression bomb
PLAIN_MODES = ("L", "LA", "RGB", "RGBA")
DECODED_MEDIA_TYPES = frozenset(
    f"image/{kind}" for kind in ("png", "jpeg", "gif", "bmp", "tiff", "webp", "x-portable-graymap", "x-portable-pixmap")
)
ENCODER = "pillow-png-1"

# What Pillow's decoders raise on damaged files, as its own fuzzers and issue tracker show them.
_DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def environment() -> dict[str, str]:
    """What may change the bytes of an encoded image, or the pixels of a decoded one."""
    return {
        "encoder": ENCODER,
        "pillow": PIL.__version__,
        "zlib": f"{zlib_version()}, {features.version_codec('zlib')}",
    }


def decode(data: bytes) -> Image.Image:
    """The image, all of its pixels decoded, as stored. Raises AssetBroken for anything that is not a whole image."""
    try:
        image = Image.open(io.BytesIO(data))
        if image.width * image.height > MOST_PIXELS:
            raise AssetBroken(f"{image.width} x {image.height} pixels, at most {MOST_PIXELS} are decoded")
        image.load()
    except _DECODE_ERRORS as error:
        raise AssetBroken(_reason(error, data)) from None
    return image


def decode_plain(data: bytes) -> Image.Image:
    """The image upright (EXIF orientation applied), in mode L, LA, RGB or RGBA. Raises AssetBroken."""
    image = decode(data)
    try:
        if image.format in ("JPEG", "MPO", "TIFF", "WEBP") or "exif" in image.info:
            image = ImageOps.exif_transpose(image)
        return image if image.mode in PLAIN_MODES and "transparency" not in image.info else _plain(image)
    except _DECODE_ERRORS as error:
        raise AssetBroken(_reason(error, data)) from None


def in_mode(image: Image.Image, mode: str | None) -> Image.Image:
    """The plain image in `mode`; transparent parts lie on black."""
    if mode is None or image.mode == mode:
        return image
    if image.mode in ("LA", "RGBA") and mode in ("L", "RGB"):
        ground = Image.new("RGBA", image.size, (0, 0, 0, 255))
        return Image.alpha_composite(ground, image.convert("RGBA")).convert(mode)
    return image.convert(mode)


def encode_png(image: Image.Image) -> bytes:
    """The image as PNG: zlib level 1, no chunk of metadata."""
    image.info = {}
    sink = io.BytesIO()
    image.save(sink, "PNG", compress_level=1)
    return sink.getvalue()


def pixels_hash(image: Image.Image) -> bytes:
    """SHA-256 (32 bytes) over shape, dtype and raw samples: equal where the pixels are, whatever the encoder."""
    channels = len(image.getbands())
    shape = f"{image.height},{image.width},{channels}|u1|"
    return hashlib.sha256(shape.encode() + image.tobytes()).digest()


def samples(image: Image.Image) -> UInt8:
    """The plain image as `uint8 [height, width, channels]`."""
    array = np.asarray(image, dtype=np.uint8)
    return array if array.ndim == 3 else array[:, :, None]


def _plain(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        # Pillow's own conversion clips at 255 and makes nearly every 16-bit image white.
        return Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise AssetBroken(f"mode {image.mode!r} has no fixed range of brightness, expected 8 or 16 bits per channel")
    if "transparency" in image.info or image.mode in ("PA", "La", "RGBa"):
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _reason(error: BaseException, data: bytes) -> str:
    if not data:
        return "empty file, expected an image"
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "cannot identify image file" in text:
        return "not an image that Pillow knows"
    return f"broken image: {text}"
