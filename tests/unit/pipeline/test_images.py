"""Images in and out: whole or broken, upright, in a plain mode, as PNG with one spelling."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from datapin.pipeline.operators.images.files import decode, decode_plain, encode_png, in_mode, pixels_hash, samples
from datapin.pipeline.operators.operator import AssetBroken
from workspaces import picture, png


def saved(image: Image.Image, kind: str, **save: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **save)
    return sink.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "empty file"),
        (b"no image at all", "not an image"),
        (picture(1, 40)[:-30], "broken image"),
        (picture(1, 40)[:200], "broken image"),
        (picture(1)[:20], "broken image"),
        (saved(Image.new("RGB", (64, 64), 9), "JPEG")[:300], "broken image"),
        (saved(Image.new("P", (64, 64)), "GIF")[:-40], "broken image"),
    ],
)
def test_a_file_that_is_not_a_whole_image_says_why(data: bytes, said: str) -> None:
    with pytest.raises(AssetBroken) as caught:
        decode(data)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_the_pixels_is_seen() -> None:
    data = bytearray(picture(3, 40))
    data[len(data) // 2] ^= 1
    with pytest.raises(AssetBroken):
        decode(bytes(data))


def test_a_decompression_bomb_is_not_unpacked() -> None:
    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    with pytest.raises(AssetBroken, match="pixels"):
        decode(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def test_sixteen_bits_keep_their_upper_eight() -> None:
    wide = Image.fromarray(np.array([[0, 255, 256, 65_535]], dtype=np.uint16))
    assert samples(decode_plain(saved(wide, "PNG")))[:, :, 0].tolist() == [[0, 0, 1, 255]]


def test_floating_point_images_are_refused() -> None:
    with pytest.raises(AssetBroken, match="mode 'F'"):
        decode_plain(saved(Image.new("F", (4, 4), 0.5), "TIFF"))


@pytest.mark.parametrize(("mode", "plain"), [("1", "L"), ("P", "RGB"), ("CMYK", "RGB"), ("LA", "LA"), ("RGBA", "RGBA")])
def test_odd_modes_become_plain_ones(mode: str, plain: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    assert decode_plain(saved(Image.new(mode, (4, 4)), kind)).mode == plain


def test_transparency_lies_on_black() -> None:
    image = Image.new("RGBA", (1, 1), (200, 100, 50, 0))
    assert in_mode(image, "RGB").getpixel((0, 0)) == (0, 0, 0)
    assert in_mode(Image.new("RGBA", (1, 1), (200, 100, 50, 255)), "RGB").getpixel((0, 0)) == (200, 100, 50)


def test_a_photo_lying_on_its_side_is_turned_upright() -> None:
    image = Image.new("RGB", (8, 4))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = saved(image, "JPEG", exif=exif)
    assert decode(data).size == (8, 4)
    assert decode_plain(data).size == (4, 8)


def test_encoding_drops_whatever_is_not_pixels() -> None:
    note = PngImagePlugin.PngInfo()
    note.add_text("Author", "me")
    image = Image.new("L", (4, 4), 7)
    decorated = decode_plain(saved(image, "PNG", pnginfo=note, dpi=(72, 72), icc_profile=b"x" * 50))
    assert encode_png(decorated) == encode_png(Image.new("L", (4, 4), 7))
    assert b"tEXt" not in encode_png(decorated)


def test_the_hash_of_pixels_depends_on_pixels_and_shape_alone() -> None:
    flat = np.arange(12, dtype=np.uint8)
    wide, tall = (Image.fromarray(flat.reshape(shape)) for shape in ((3, 4), (4, 3)))
    assert pixels_hash(wide) != pixels_hash(tall)
    loaded = decode_plain(png(flat.reshape(3, 4), compress_level=9))
    assert pixels_hash(loaded) == pixels_hash(wide)
