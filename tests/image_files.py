"""Image files that cameras, scanners and old programs write, and that Pillow does not: built chunk by chunk."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/"{}</rdf:RDF></x:xmpmeta>'
)


def saved(image: Image.Image, kind: str, **save: Any) -> bytes:
    """The image as a file that Pillow writes."""
    sink = io.BytesIO()
    image.save(sink, kind, **save)
    return sink.getvalue()


def png_file(
    size: tuple[int, int],
    depth: int,
    colour: int,
    rows: Sequence[bytes],
    *chunks: tuple[bytes, bytes],
    tail: bytes = b"",
) -> bytes:
    """A PNG of these packed rows; `colour` as in its header: 0 grey, 2 RGB, 3 palette, 4 grey and alpha."""
    head = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    packer = zlib.compressobj(9)
    pixels = [packer.compress(b"\0" + row) for row in rows]  # row by row: a test's image may be larger than memory
    parts = [(b"IHDR", head), *chunks, (b"IDAT", b"".join([*pixels, packer.flush()])), (b"IEND", b"")]
    whole = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(whole) + tail


def transparent(*values: int) -> tuple[bytes, bytes]:
    """The chunk that names the transparent colour, 16 bits a sample."""
    return b"tRNS", struct.pack(f">{len(values)}H", *values)


def turned(image: Image.Image, orientation: int) -> dict[str, bytes]:
    """The image with its orientation written in every way that readers know."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = b"Exif\0\0" + exif.tobytes().removeprefix(b"Exif\0\0")
    element = XMP.format(f"><tiff:Orientation>{orientation}</tiff:Orientation></rdf:Description>")
    attribute = XMP.format(f' tiff:Orientation="{orientation}"/>')
    hexed = f"\nexif\n{len(raw):8}\n{raw.hex()}\n"

    def png_with(**texts: str) -> bytes:
        info = PngImagePlugin.PngInfo()
        for name, text in texts.items():
            if name == "xmp":
                info.add_itxt("XML:com.adobe.xmp", text)
            else:
                info.add_text("Raw profile type exif", text, zip=True)
        return saved(image, "PNG", pnginfo=info)

    files = {f"{kind} exif": saved(image, kind, exif=exif) for kind in ("PNG", "JPEG", "TIFF", "WEBP", "AVIF")}
    files |= {f"{kind} xmp": saved(image, kind, xmp=element.encode()) for kind in ("JPEG", "WEBP", "AVIF")}
    files |= {"PNG xmp": png_with(xmp=element), "PNG xmp attribute": png_with(xmp=attribute)}
    files |= {
        "PNG raw profile": png_with(raw=hexed),
        "JPEG xmp attribute": saved(image, "JPEG", xmp=attribute.encode()),
    }
    return files


def tiff_file(size: tuple[int, int], bits: int, photometric: int, pixels: bytes) -> bytes:
    """A grey TIFF of these packed rows; `photometric` 0 means that 0 is white."""
    short, long = 3, 4
    tags = [(256, long, size[0]), (257, long, size[1]), (258, short, bits), (259, short, 1), (262, short, photometric)]
    tags += [(273, long, 8), (277, short, 1), (278, long, size[1]), (279, long, len(pixels))]
    entries = [struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags]
    return (
        struct.pack("<4sI", b"II*\0", 8 + len(pixels))
        + pixels
        + struct.pack("<H", len(tags))
        + b"".join(entries)
        + bytes(4)
    )


def icon(width: int, height: int) -> bytes:
    """An icon whose directory says 16 x 16 and whose picture is larger."""
    inner = png_file((width, height), 8, 0, [b"\0" * width] * height)
    return struct.pack("<HHHBBBBHHII", 0, 1, 1, 16, 16, 0, 0, 1, 32, len(inner), 22) + inner


def grey_waves(width: int, height: int) -> Image.Image:
    """Something to see in every part, so that turns and crops show."""
    rows, columns = np.mgrid[0:height, 0:width]
    return Image.fromarray(((rows * 7 + columns * 3) % 256).astype(np.uint8))
