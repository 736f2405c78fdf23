"""Bytes to Pillow images, within bounds: which formats are decoded, how many pixels, and which way is up.

The formats are a list of our own. Pillow by itself also decodes EPS, for which it starts Ghostscript, and metafiles,
for which it asks the system: the result would depend on the machine, and a file from elsewhere would choose a program.
"""

from __future__ import annotations

import io
import logging
import os
import re
import struct
import sys
import tempfile
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageFile, JpegImagePlugin

from datapin.pipeline.operators.operator import AssetBroken, TooManyPixels

MOST_PIXELS = 178_956_970  # beyond this Pillow refuses what may be a decompression bomb
USUAL_PIXELS = 89_478_485  # beyond this Pillow warns of one
# All of these are decoded by code inside Pillow and its wheels. In this order they are tried: TGA has no magic number.
FORMATS = (
    *("PNG", "JPEG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "AVIF", "JPEG2000", "DIB", "ICO", "CUR", "PCX", "DCX"),
    *("PSD", "QOI", "SGI", "SUN", "DDS", "XBM", "XPM", "MSP", "TGA"),
)

# What Pillow's decoders raise on damaged files, as its own fuzzers and issue tracker show them.
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
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

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LIES_ON_ITS_SIDE = 5  # from this orientation on, width and height are exchanged
_REDUCTIONS = (2, 4, 8)  # that a JPEG can be decoded to
_JPEG = b"\xff\xd8\xff"
_ICO = b"\0\0\1\0"
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MAGIC = re.compile(
    rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|BM.{4}\0\0\0\0|II[*+]\0|MM\0[*+]|RIFF.{4}WEBP|.{4}ftypavi[fs]|\0\0\0\x0cjP  "
    rb"|\xff\x4f\xff\x51|P[1-6]\s+[0-9#]|P[fF]\n|\0\0[\1\2]\0|8BPS|qoif|\x01\xda[\0\1][\1\2]|\x59\xa6\x6a\x95|DDS "
    rb"|/\* XPM \*/",
    re.DOTALL,
)
_NOT_DECODED = (
    (rb"%!PS|\xc5\xd0\xd3\xc6", "EPS is not decoded: another program would have to be started"),
    (rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", "Windows metafiles are not decoded: the system would have to draw them"),
    (rb"%PDF-", "PDF is not decoded"),
    (rb".{4}ftyp(hei|hev|mif1|msf1)", "HEIC is not decoded here"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL is not decoded here"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg", "SVG is not decoded: it has no pixels"),
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image with its pixels as stored; `orientation` still has to be applied, `is_turned` says whether any was."""

    image: Image.Image
    orientation: int
    is_turned: bool
    note: str | None  # what was odd, though it decoded


@dataclass(frozen=True, slots=True)
class Bound:
    """How many pixels are decoded. `size` (width, height) is wanted in the end, `setting` names what sets the limit."""

    most_pixels: int = MOST_PIXELS
    size: tuple[int, int] | None = None
    setting: str = ""


UNBOUND = Bound()


def load(data: bytes, bound: Bound = UNBOUND) -> Loaded:
    """The image, all of its pixels decoded. Raises AssetBroken for anything that is not a whole image.

    A JPEG with more pixels than allowed is decoded at a half, a quarter or an eighth, if that is not less than wanted.
    """
    error: BaseException | None = None
    loaded = None
    with library_noise(on_stderr=data[:4] in _TIFF) as said:
        try:
            loaded = _load(data, bound)
        except AssetBroken:
            raise
        except DECODE_ERRORS as caught:
            error = caught
    noise = in_one_line(said)
    if loaded is None:
        assert error is not None
        raise AssetBroken(reason(error, data, noise))
    note = "; ".join(text for text in (loaded.note, noise) if text)
    return Loaded(loaded.image, loaded.orientation, loaded.is_turned, note or None)


def begins_as_image(data: bytes) -> bool:
    """Whether the first bytes are those of a format that is decoded."""
    return _MAGIC.match(data[:32]) is not None


def reason(error: BaseException, data: bytes, noise: str | None = None) -> str:
    """Why an asset is no whole image, in one line."""
    if not data:
        return "empty file, expected an image"
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if isinstance(error, Image.DecompressionBombError):
        return f"too many pixels: {text}"
    if "cannot identify image file" not in text:
        return f"broken image: {text}" + (f" ({noise})" if noise else "")
    if begins_as_image(data):
        return "broken image: its header cannot be read"
    known = next((said for magic, said in _NOT_DECODED if re.match(magic, data[:1024], re.DOTALL)), None)
    return known or "not an image that Pillow knows"


def upright(loaded: Loaded, image: Image.Image) -> Image.Image:
    """`image`, turned as `loaded` says."""
    turn = _TURNS.get(loaded.orientation)
    return image if turn is None else image.transpose(turn)


def _load(data: bytes, bound: Bound) -> Loaded:
    image = _opened(data, bound)
    first, note = _orientation(image) if image.format in ("TIFF", "JPEG", "MPO") else (1, None)
    if not _is_reduced(image, bound, first):
        _check_pixels(image.size, bound)
    image.load()
    if image.format == "TIFF":  # its own loader turns it, wherever it found the orientation
        return Loaded(image, 1, first in _TURNS, note)
    orientation, note = _orientation(image)
    if image.format == "PNG" and data.rfind(_PNG_END) < 0:
        note = note or "the end of the file is missing, though all pixels are there"
    return Loaded(image, orientation, orientation in _TURNS, note)


def _opened(data: bytes, bound: Bound) -> ImageFile.ImageFile:
    source = io.BytesIO(data)
    if data.startswith(_ICO):  # is decoded while it is opened
        for size in _sizes_in_ico(data):
            _check_pixels(size, bound)
    if bound.size is not None and data.startswith(_JPEG):
        # Not by Image.open: it refuses by the number of pixels in the file, not by that of the pixels to decode.
        return JpegImagePlugin.jpeg_factory(source, "")
    return Image.open(source, formats=FORMATS)


def _check_pixels(size: tuple[int, int], bound: Bound) -> None:
    width, height = size
    if width * height > bound.most_pixels:
        setting = f" ({bound.setting})" if bound.setting else ""
        raise TooManyPixels(f"{width} x {height} pixels, at most {bound.most_pixels} are decoded{setting}")


def _is_reduced(image: ImageFile.ImageFile, bound: Bound, orientation: int) -> bool:
    """Ask the decoder for fewer pixels if there are too many; False if it is not asked, or cannot give enough."""
    if image.width * image.height <= bound.most_pixels:
        return False
    # The decoder keeps all of a progressive file's coefficients, whatever it is to give.
    if bound.size is None or image.format not in ("JPEG", "MPO") or "progressive" in image.info:
        return False
    wanted = bound.size[::-1] if orientation in _TURNS and orientation >= _LIES_ON_ITS_SIDE else bound.size
    for reduction in _REDUCTIONS:
        width, height = (side // reduction for side in image.size)
        if width < wanted[0] or height < wanted[1]:
            return False
        if (width + 1) * (height + 1) <= bound.most_pixels:
            image.draft(image.mode, (width, height))
            return image.width <= width + 1 and image.height <= height + 1
    return False


def _sizes_in_ico(data: bytes) -> list[tuple[int, int]]:
    """The sizes that the pictures in an icon really have: those in its directory may be smaller."""
    found = []
    for number in range(int.from_bytes(data[4:6], "little")):
        start = int.from_bytes(data[18 + 16 * number : 22 + 16 * number], "little")
        head = data[start : start + 24]
        if head.startswith(_PNG):
            found.append((int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")))
        else:
            width, height = (int.from_bytes(head[at : at + 4], "little", signed=True) for at in (4, 8))
            found.append((abs(width), abs(height) // 2))
    return found


def _orientation(image: Image.Image) -> tuple[int, str | None]:
    """The orientation wherever Pillow finds it, in EXIF or XMP; and a note if it cannot be read."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except DECODE_ERRORS as error:
        text = str(error).strip() or type(error).__name__
        return 1, f"its orientation cannot be read, taken as it is: {text.splitlines()[0]}"
    return next((turn for turn in _TURNS if turn == found), 1), None


# What image libraries say while they decode: caught and handed back, not on stderr where no picture is named.
#
# Warnings and file descriptor 2 belong to the whole process, so only its main thread listens: there stages decode.


_MOST_LINES = 3
_MOST_LETTERS = 200
_MOST_BYTES = 1 << 16
_NAME_FOR_LIBTIFF = "tempfile.tif: "  # Pillow calls each TIFF so


@contextmanager
def library_noise(*, on_stderr: bool) -> Iterator[list[str]]:
    """Collects what Pillow warns of; with `on_stderr` also what C libraries print. The list is filled at the end."""
    said: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield said
        return
    collector = _Collector(said)
    logger = logging.getLogger("PIL")
    propagates = logger.propagate
    with warnings.catch_warnings(record=True) as warned, _printed(said) if on_stderr else nullcontext():
        warnings.simplefilter("always")
        logger.addHandler(collector)
        logger.propagate = False
        try:
            yield said
        finally:
            logger.propagate = propagates
            logger.removeHandler(collector)
            # Ours is the limit of pixels, and it is told with the name of its setting.
            bombs = Image.DecompressionBombWarning
            said += [str(one.message) for one in warned if not issubclass(one.category, bombs)]


def in_one_line(said: Iterable[str]) -> str | None:
    """The first few different things that were said, None if nothing was."""
    lines = [" ".join(text.split()).removeprefix(_NAME_FOR_LIBTIFF) for text in said]
    distinct = list(dict.fromkeys(line.rstrip(".") for line in lines if line))
    if not distinct:
        return None
    more = f" (and {len(distinct) - _MOST_LINES} more)" if len(distinct) > _MOST_LINES else ""
    return "; ".join(distinct[:_MOST_LINES])[:_MOST_LETTERS] + more


class _Collector(logging.Handler):
    def __init__(self, said: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


@contextmanager
def _printed(said: list[str]) -> Iterator[None]:
    """What this process prints to file descriptor 2, by lines."""
    try:
        ours = os.dup(2)
    except OSError:  # there is no stderr: nothing can be printed there either
        yield
        return
    with tempfile.TemporaryFile() as sink:
        with suppress(AttributeError, OSError, ValueError):
            sys.stderr.flush()
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(ours, 2)
            os.close(ours)
            sink.seek(0)
            said += sink.read(_MOST_BYTES).decode("utf-8", "replace").splitlines()
