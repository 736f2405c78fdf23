"""Images as they come: turned by their metadata, with 16 bits, transparent by one colour, too large, or noisy."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from datapin.pipeline.operators.images.applied import Operators
from datapin.pipeline.operators.images.augment_image import AugmentImage
from datapin.pipeline.operators.images.decoding import FORMATS, Bound, load
from datapin.pipeline.operators.images.files import decode_plain, in_mode, read_image, samples
from datapin.pipeline.operators.images.prepare import CheckImage, NormaliseImage
from datapin.pipeline.operators.operator import AssetBroken
from image_files import grey_waves, icon, png_file, saved, tiff_file, transparent, turned

ASSET = "5" * 64
PHOTO = grey_waves(20, 12).convert("RGB")


@pytest.mark.parametrize("orientation", range(1, 10))
def test_an_image_stands_as_pillow_would_turn_it_wherever_that_is_written(orientation: int) -> None:
    for name, data in turned(PHOTO, orientation).items():
        wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
        read = read_image(data)
        assert read.image.tobytes() == wanted.convert("RGB").tobytes(), name
        assert read.image.size == wanted.size, name
        assert read.is_turned == (2 <= orientation <= 8), name
        derived = NormaliseImage(None, "stretch", "RGB").derive(data, ASSET, 0)
        assert derived.is_moved == read.is_turned, name
        assert derived.data is not None
        assert decode_plain(derived.data).tobytes() == wanted.convert("RGB").tobytes(), name


def test_an_orientation_that_cannot_be_read_is_told_and_the_image_taken_as_it_is() -> None:
    data = saved(PHOTO, "WEBP", exif=b"Exif\0\0no TIFF at all")
    read = read_image(data)
    assert (read.image.size, read.is_turned) == (PHOTO.size, False)
    assert read.note is not None
    assert "orientation cannot be read" in read.note


GREY_16 = np.linspace(0, 65_535, 16).astype(np.uint16).reshape(4, 4)
HALF = b"P5\n2 1\n1000\n" + np.array([1000, 500], ">u2").tobytes()


@pytest.mark.parametrize(
    ("data", "mode", "first", "on_black"),
    [
        pytest.param(png_file((2, 1), 1, 0, [b"\x40"], transparent(1)), "RGBA", (0, 0, 0, 255), (0, 0, 0), id="1-bit"),
        pytest.param(
            png_file((2, 1), 2, 0, [b"\xa0"], transparent(2)), "RGBA", (170,) * 3 + (0,), (0, 0, 0), id="2-bit"
        ),
        pytest.param(
            png_file((2, 1), 4, 0, [b"\xa0"], transparent(10)), "RGBA", (170,) * 3 + (0,), (0,) * 3, id="4-bit"
        ),
        pytest.param(
            png_file((1, 1), 8, 0, [b"\x9c"], transparent(156)), "RGBA", (156,) * 3 + (0,), (0,) * 3, id="8-bit"
        ),
        pytest.param(
            png_file((1, 1), 16, 0, [b"\x9c\x40"], transparent(40_000)),
            "RGBA",
            (156,) * 3 + (0,),
            (0,) * 3,
            id="16-bit",
        ),
        pytest.param(
            png_file((1, 1), 16, 0, [b"\x9c\x41"], transparent(40_000)),
            "RGBA",
            (156,) * 3 + (255,),
            (156,) * 3,
            id="near",
        ),
        pytest.param(
            png_file((1, 1), 16, 2, [b"\x9c\x40\1\2\xff\xff"], transparent(40_000, 258, 65_535)),
            "RGBA",
            (156, 1, 255, 0),
            (0, 0, 0),
            id="16-bit RGB",
        ),
        pytest.param(
            png_file((1, 1), 8, 3, [b"\1"], (b"PLTE", b"\1\2\3\4\5\6"), (b"tRNS", b"\xff\x80")),
            "RGBA",
            (4, 5, 6, 128),
            (2, 3, 3),
            id="palette",
        ),
        pytest.param(
            bytes([0, 1, 1, 0, 0, 1, 0, 32, 0, 0, 0, 0, 2, 0, 2, 0, 8, 0x20, 0, 0, 255, 0, 0, 0, 0, 0]),
            "RGBA",
            (255, 0, 0, 0),
            (0, 0, 0),
            id="palette of a TGA",
        ),
        pytest.param(b"P5\n4 4\n65535\n" + GREY_16.astype(">u2").tobytes(), "L", 0, (0, 0, 0), id="16-bit PGM"),
        pytest.param(HALF, "L", 255, (255,) * 3, id="PGM to 1000"),
        pytest.param(b"P2\n2 1\n65535\n65535 0\n", "L", 255, (255,) * 3, id="PGM as text"),
        pytest.param(
            saved(Image.new("CMYK", (1, 1), (0, 255, 0, 0)), "TIFF"), "RGB", (255, 0, 255), (255, 0, 255), id="CMYK"
        ),
        pytest.param(saved(Image.new("LAB", (1, 1), (255, 128, 128)), "TIFF"), "RGB", None, None, id="LAB"),
        pytest.param(
            saved(Image.new("YCbCr", (1, 1), (255, 128, 128)), "TIFF"), "RGB", (255,) * 3, (255,) * 3, id="YCbCr"
        ),
    ],
)
def test_odd_pixels_come_out_as_they_are_seen(data: bytes, mode: str, first: object, on_black: object) -> None:
    image = decode_plain(data)
    assert image.mode == mode
    if first is not None:
        assert image.getpixel((0, 0)) == first
        assert in_mode(image, "RGB").getpixel((0, 0)) == on_black


def test_of_several_frames_pages_or_sizes_the_one_that_pillow_opens_is_read() -> None:
    red, blue = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    for kind, more in (("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("MPO", {"quality": 100})):
        image = decode_plain(saved(red, kind, save_all=True, append_images=[blue], **more))
        red_level, _, blue_level = in_mode(image, "RGB").getpixel((0, 0))  # type: ignore[misc]
        assert (red_level > 200, blue_level < 60) == (True, True), kind
    icon = decode_plain(saved(red.resize((64, 64)), "ICO", sizes=[(16, 16), (64, 64), (32, 32)]))
    assert icon.size == (64, 64)


def test_sixteen_bits_are_cut_to_their_upper_eight_wherever_they_come_from() -> None:
    wanted = (GREY_16 >> 8).astype(np.uint8)
    for data in (
        saved(Image.fromarray(GREY_16), "PNG"),
        saved(Image.fromarray(GREY_16), "TIFF"),
        saved(Image.fromarray(GREY_16), "TIFF", compression="tiff_lzw"),
        saved(Image.fromarray(GREY_16), "JPEG2000"),
        b"P5\n4 4\n65535\n" + GREY_16.astype(">u2").tobytes(),
    ):
        assert (samples(decode_plain(data))[:, :, 0] == wanted).all()


def test_grey_of_a_tiff_keeps_its_range() -> None:
    for bits, photometric, pixels, wanted in (
        (8, 0, b"\xff\x00", [0, 255]),
        (12, 1, b"\xff\xf8\x00", [255, 128]),
        (16, 1, b"\xff\xff\x00\x80", [255, 128]),
        (16, 0, b"\xff\xff\x00\x80", [0, 127]),
    ):
        grey = decode_plain(tiff_file((2, 1), bits, photometric, pixels))
        assert samples(grey).ravel().tolist() == wanted, (bits, photometric)


@pytest.mark.parametrize("kind", ["I", "F"])
def test_pixels_without_a_known_white_are_refused(kind: str) -> None:
    with pytest.raises(AssetBroken, match="no fixed range"):
        decode_plain(saved(Image.new(kind, (4, 4)), "TIFF"))


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nfoo\n%%EOF\n"
WMF = b"\xd7\xcd\xc6\x9a" + bytes(40)
EMF = b"\1\0\0\0" + bytes(36) + b" EMF" + bytes(60)


def test_no_file_starts_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tmp_path / "started"
    for name in ("gs", "gswin32c", "gswin64c"):
        (tmp_path / name).write_text(f'#!/bin/sh\ntouch {trace}\n[ "$1" = --version ] && echo 10.0\nexit 0\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    # The last one is IPTC, whose content Pillow would open as any format, also as EPS.
    for data, said in (
        (EPS, "EPS is not decoded"),
        (WMF, "metafiles"),
        (EMF, "metafiles"),
        (b"\x1c\x03\x14" + EPS, "not an"),
    ):
        for operator in (CheckImage(), NormaliseImage((8, 8), "stretch", "RGB")):
            with pytest.raises(AssetBroken, match=said):
                operator.derive(data, ASSET, 0)
    assert not trace.exists()
    assert not {"EPS", "WMF", "IPTC", "FITS", "BUFR", "GRIB", "HDF5", "MPEG"} & set(FORMATS)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"%PDF-1.7\n", "PDF is not decoded"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC is not decoded"),
        (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG is not decoded"),
        (b"\xff\x0a" + bytes(20), "JPEG XL is not decoded"),
        (b"", "empty file"),
        (b"<html>404 not found</html>", "not an image"),
        (b"version https://git-lfs.github.com/spec/v1\n", "not an image"),
    ],
)
def test_what_is_no_image_here_says_what_it_is(data: bytes, said: str) -> None:
    with pytest.raises(AssetBroken, match=said):
        decode_plain(data)


def test_every_format_of_the_list_is_still_decoded() -> None:
    kinds = (
        "PNG",
        "JPEG",
        "GIF",
        "BMP",
        "PPM",
        "TIFF",
        "WEBP",
        "AVIF",
        "JPEG2000",
        "DIB",
        "ICO",
        "PCX",
        "SGI",
        "DDS",
        "TGA",
    )
    for kind in kinds:
        data = saved(PHOTO, kind, **({"sizes": [(20, 12)]} if kind == "ICO" else {}))
        assert load(data).image.size == (20, 12), kind
    for kind in ("XBM", "MSP"):
        assert load(saved(Image.new("1", (16, 8)), kind)).image.size == (16, 8), kind


BIG = 13_000


@pytest.fixture(scope="module")
def flat() -> bytes:
    return png_file((BIG, BIG), 8, 0, [b"\0" * BIG] * BIG)


def test_more_pixels_than_the_limit_are_refused_from_the_header_alone(flat: bytes) -> None:
    assert len(flat) < 200_000
    for data, size in ((flat, "13000 x 13000"), (icon(400, 300), "400 x 300")):
        bound = Bound(100_000, (32, 32), "prepare.max_pixels")
        with pytest.raises(AssetBroken, match=rf"{size} pixels, at most 100000 are decoded \(prepare\.max_pixels\)"):
            load(data, bound)
    assert load(icon(40, 30), Bound(100_000)).image.size == (40, 30)


def test_a_large_photo_is_decoded_at_a_fraction_where_that_is_enough() -> None:
    photo = grey_waves(800, 640).convert("RGB")
    plain, progressive = saved(photo, "JPEG", quality=95), saved(photo, "JPEG", progressive=True)
    whole = NormaliseImage((40, 32), "stretch", "RGB").derive(plain, ASSET, 0)
    reduced = NormaliseImage((40, 32), "stretch", "RGB", 100_000).derive(plain, ASSET, 0)
    assert load(plain, Bound(100_000, (40, 32))).image.size == (200, 160)
    assert whole.data is not None
    assert reduced.data is not None
    off = np.abs(samples(decode_plain(whole.data)).astype(int) - samples(decode_plain(reduced.data)))
    assert off.mean() < 4
    for data, operator in (
        (plain, NormaliseImage((700, 32), "stretch", "RGB", 100_000)),  # a fraction would be less than is wanted
        (plain, NormaliseImage(None, "stretch", "RGB", 100_000)),
        (progressive, NormaliseImage((40, 32), "stretch", "RGB", 100_000)),  # would be kept whole in memory
        (plain, CheckImage(100_000)),
    ):
        with pytest.raises(AssetBroken, match="800 x 640 pixels, at most 100000 are decoded"):
            operator.derive(data, ASSET, 0)


def test_grey_is_resized_before_it_is_coloured_with_the_same_result() -> None:
    data = saved(grey_waves(61, 47), "PNG")
    for fit in ("stretch", "crop", "pad"):
        coloured = NormaliseImage((20, 10), fit, "RGB").derive(
            saved(grey_waves(61, 47).convert("RGB"), "PNG"), ASSET, 0
        )
        assert NormaliseImage((20, 10), fit, "RGB").derive(data, ASSET, 0).pixels == coloured.pixels


MEASURE = """
import re, sys
from datapin.pipeline.operators.images.prepare import NormaliseImage
print(NormaliseImage((32, 32), "stretch", "RGB", 178_956_970).derive(sys.stdin.buffer.read(), "5" * 64, 0).is_moved)
# Of this program: the resource usage of a process begins with what its parent had when it was started.
print(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


def test_a_small_file_of_many_pixels_is_resized_within_512_megabytes(flat: bytes) -> None:
    ran = subprocess.run([sys.executable, "-P", "-c", MEASURE], input=flat, capture_output=True, check=True)
    moved, kilobytes = ran.stdout.split()
    assert moved == b"True"
    assert int(kilobytes) < 512_000


def damaged_fax() -> bytes:
    data = bytearray(saved(grey_waves(64, 64).convert("1"), "TIFF", compression="group4"))
    data[len(data) // 2] ^= 0x55
    return bytes(data)


def test_what_libraries_say_is_kept_with_the_picture_and_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    told = CheckImage().derive(damaged_fax(), ASSET, 0)
    assert told.note is not None
    assert "Fax4Decode" in told.note
    torn = saved(PHOTO, "TIFF", compression="tiff_lzw")
    with pytest.raises(AssetBroken, match=r"broken image: .*\(.+\)"):
        CheckImage().derive(torn[:40] + bytes(60) + torn[100:], ASSET, 0)
    assert capfd.readouterr() == ("", "")
    os.write(2, b"still there\n")
    assert capfd.readouterr().err == "still there\n"


def test_other_threads_decode_without_touching_what_belongs_to_the_process(capfd: pytest.CaptureFixture[str]) -> None:
    notes: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: notes.append(CheckImage().derive(damaged_fax(), ASSET, 0).note))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert notes == [None] * 4
    assert "Fax4Decode" in capfd.readouterr().err


def test_a_copy_knows_whether_its_pixels_were_moved() -> None:
    upright, lying = saved(PHOTO, "PNG"), turned(PHOTO, 6)["PNG exif"]
    bright = AugmentImage(operators=Operators.model_validate({"brightness": {}}))
    turn = AugmentImage(operators=Operators.model_validate({"rotate": {}}))
    never = AugmentImage(operators=Operators.model_validate({"rotate": {"probability": 0.0}}))
    told = [one.derive(upright, ASSET, 1).is_moved for one in (bright, turn, never)]
    assert told == [False, True, False]
    assert [one.moves_places for one in (bright, turn, never)] == told
    assert bright.derive(lying, ASSET, 1).is_moved
