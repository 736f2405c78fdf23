"""What the bytes of a recording say of themselves, before and beside the library that decodes them.

libsndfile takes what is there of a file that was cut off and says nothing: whether it is whole is asked here.
"""

from __future__ import annotations

import struct

from datapin.pipeline.operators.operator import AssetBroken

AUDIO_MEDIA_TYPES = frozenset({"audio/wav", "audio/flac", "audio/ogg", "audio/mpeg"})
_OTHERS = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF file"),
    (b"PK\3\4", "a ZIP file"),
    (b"\x1f\x8b", "gzip"),
    (b"FORM", "AIFF"),
    (b"RF64", "RF64"),
    (b"RIFX", "big-endian RIFF"),
)
_EXPECTED = "expected WAV, FLAC, Ogg or MP3"
_TAG_SEARCH = 4096


def check_container(data: bytes) -> str | None:
    """Whether the file is of a format that is read, and whole; what is odd about it.

    Sources: RIFF/WAVE (IBM and Microsoft 1991), FLAC (RFC 9639), Ogg (RFC 3533), the Xing/Info header of MP3 encoders.
    Raises AssetBroken.
    """
    if not data:
        raise AssetBroken("an empty file")
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        _check_wave(data)
        return None
    if data[:4] == b"OggS":
        return _check_ogg(data)
    if data[:4] == b"fLaC":
        return None  # its header counts the samples, see `reading`
    if data[:3] == b"ID3" or (len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0 and data[1] != 0xFF):
        return _check_mp3(data)
    named = next((what for start, what in _OTHERS if data.startswith(start)), f"begins with {data[:4].hex(' ')}")
    raise AssetBroken(f"{named}, {_EXPECTED}")


def _check_wave(data: bytes) -> None:
    place = 12
    while place + 8 <= len(data):
        (size,) = struct.unpack_from("<I", data, place + 4)
        if data[place : place + 4] == b"data":
            here = len(data) - place - 8
            if size > here:
                raise AssetBroken(f"cut off: the header says {size} bytes of samples, the file has {here}")
            return
        place += 8 + size + size % 2
    raise AssetBroken("a WAV file without samples (no data chunk)")


def _check_ogg(data: bytes) -> str | None:
    last = data.rfind(b"OggS")
    header = data[last : last + 27]
    if len(header) == 27:
        sizes = data[last + 27 : last + 27 + header[26]]
        if len(sizes) == header[26] and last + 27 + len(sizes) + sum(sizes) <= len(data):
            return None if header[5] & 4 else "no page ends the stream: it may be cut off"
    raise AssetBroken("cut off: the last Ogg page is not whole")


def _check_mp3(data: bytes) -> str | None:
    """Only where the encoder wrote its header is it known how many bytes there were."""
    start = 0
    if data[:3] == b"ID3" and len(data) >= 10:
        start = 10 + ((data[6] & 127) << 21 | (data[7] & 127) << 14 | (data[8] & 127) << 7 | data[9] & 127)
    places = [at for at in (data.find(tag, start, start + _TAG_SEARCH) for tag in (b"Xing", b"Info")) if at >= 0]
    if places and len(data) >= min(places) + 16:
        (flags,) = struct.unpack_from(">I", data, min(places) + 4)
        if flags & 2:
            (size,) = struct.unpack_from(">I", data, min(places) + (12 if flags & 1 else 8))
            if size > len(data) - start:
                raise AssetBroken(f"cut off: the header says {size} bytes, the file has {len(data) - start}")
    return None
