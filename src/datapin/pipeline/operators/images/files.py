"""Images: bytes to upright Pillow images in a plain mode, and back to PNG with one spelling."""

from __future__ import annotations

import hashlib
import io
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, features

from datapin.pipeline.operators.images.decoding import DECODE_ERRORS, UNBOUND, Bound, load, reason, upright
from datapin.pipeline.operators.operator import AssetBroken, UInt8

PLAIN_MODES = ("L", "LA", "RGB", "RGBA")
DECODED_MEDIA_TYPES = frozenset(
    f"image/{kind}"
    for kind in (
        *("png", "jpeg", "gif", "bmp", "tiff", "webp", "avif", "jp2", "qoi", "vnd.microsoft.icon", "vnd.ms-dds"),
        *("x-portable-graymap", "x-portable-pixmap", "x-portable-bitmap", "x-portable-anymap", "x-xbitmap"),
        *("x-xpixmap", "x-pcx", "x-tga", "x-sgi", "x-sun-raster", "vnd.adobe.photoshop"),
    )
)
ENCODER = "pillow-png-1"
DECODER = "2"  # raised when an image decodes to other pixels than before: what was remembered is then made anew

_GREY_16 = 16  # bits
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # tags of a TIFF, and a value of the second


@dataclass(frozen=True, slots=True)
class ImageRead:
    """A plain image, whether it was turned to be upright, and what was odd about its file."""

    image: Image.Image
    is_turned: bool
    note: str | None


def environment() -> dict[str, str]:
    """What may change the bytes of an encoded image, or the pixels of a decoded one."""
    return {
        "decoder": DECODER,
        "encoder": ENCODER,
        "pillow": PIL.__version__,
        "zlib": f"{zlib.ZLIB_RUNTIME_VERSION}, {features.version_codec('zlib')}",
    }


def decode(data: bytes) -> Image.Image:
    """The image, all of its pixels decoded, as stored. Raises AssetBroken for anything that is not a whole image."""
    return load(data).image


def decode_plain(data: bytes) -> Image.Image:
    """The image upright (orientation applied), in mode L, LA, RGB or RGBA. Raises AssetBroken."""
    return read_image(data).image


def read_image(data: bytes, bound: Bound = UNBOUND) -> ImageRead:
    """The same, with what was seen on the way. Raises AssetBroken, also if it has more pixels than `bound` allows."""
    loaded = load(data, bound)
    try:
        image = upright(loaded, _in_eight_bits(loaded.image, data))
        if image.mode not in PLAIN_MODES or "transparency" in image.info:
            image = _plain(image)
    except DECODE_ERRORS as error:
        raise AssetBroken(reason(error, data)) from None
    return ImageRead(image, loaded.is_turned, loaded.note)


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


def _in_eight_bits(image: Image.Image, data: bytes) -> Image.Image:
    """The image as its decoder gave it, 16-bit grey brought to 8 bits, and its transparent colour to the same bits."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return _from_sixteen(image, np.asarray(image).astype(np.uint16))
    colour = image.info.get("transparency")
    if image.format == "PNG" and image.mode in ("L", "RGB") and isinstance(colour, (int, tuple)):
        bits = data[24]  # per sample in the file; Pillow widens or cuts the samples, but not this colour
        colours = [colour] if isinstance(colour, int) else colour
        mended = [
            one >> 8 if bits == _GREY_16 else (one & (1 << bits) - 1) * 255 // ((1 << bits) - 1) for one in colours
        ]
        image.info["transparency"] = mended[0] if isinstance(colour, int) else tuple(mended)
    return image


def _from_sixteen(image: Image.Image, values: npt.NDArray[np.uint16]) -> Image.Image:
    # Pillow's own conversion clips at 255 and makes nearly every 16-bit image white.
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(_BITS_PER_SAMPLE, _GREY_16)
    bits = min(max(bits[0] if isinstance(bits, tuple) else bits, 8), _GREY_16)
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = np.uint16((1 << bits) - 1) - values
    grey = Image.fromarray((values >> (bits - 8)).astype(np.uint8))
    colour = image.info.get("transparency")
    if not isinstance(colour, int):
        return grey
    alpha = Image.fromarray(np.where(values == colour, np.uint8(0), np.uint8(255)))
    return Image.merge("LA", (grey, alpha)).convert("RGBA")


def _plain(image: Image.Image) -> Image.Image:
    if image.mode in ("I", "F"):
        raise AssetBroken(f"mode {image.mode!r} has no fixed range of brightness, expected 8 or 16 bits per channel")
    if image.mode == "La":
        return image.convert("LA")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
