"""How an asset lies in a pack: as it is, or as a zstd frame where that saves at least a tenth.

The choice depends on the bytes alone, so the same asset is stored the same way whoever adds it.
"""

from __future__ import annotations

import hashlib
import threading

import zstandard

from datapin.pack.format import CODEC_RAW, CODEC_ZSTD

_LEVEL = 3
_SAMPLE_BYTES = 2048
# What a zstd frame may claim: assets above `large_asset` (4 MiB) lie in files of their own, unpacked.
MOST_UNPACKED_BYTES = 1 << 30
_HELD_UNSEEN_BYTES = 16 << 20  # a frame that claims more is hashed on the way before it is held in memory
_CHUNK_BYTES = 1 << 20
_SMALLEST_BYTES = 64  # a frame costs about 13 bytes: below this nothing can save a tenth for long

# Compressed media, which zstd cannot shrink: they are kept raw without trying.
_MAGICS = (
    b"\xff\xd8\xff",  # JPEG
    b"\x89PNG\r\n\x1a\n",
    b"GIF8",
    b"PK\x03\x04",  # zip, npz, docx
    b"\x1f\x8b",  # gzip
    b"\x28\xb5\x2f\xfd",  # zstd
    b"BZh",
    b"\xfd7zXZ\x00",
    b"7z\xbc\xaf\x27\x1c",
    b"OggS",
    b"fLaC",
    b"ID3",  # MP3
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"PAR1",  # Parquet
    b"\x04\x22\x4d\x18",  # LZ4
    b"\x00\x00\x00\x0cjP  ",  # JPEG 2000
    b"\xff\x0a",  # JPEG XL
    b"\x00\x00\x00\x0cJXL ",
)


class _Contexts(threading.local):
    """zstd's contexts, one set per thread: they must not be shared, and making one costs more than a small asset."""

    def __init__(self) -> None:
        self.for_samples = zstandard.ZstdCompressor(level=1, write_checksum=False)
        self.for_frames = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=False, write_content_size=True)
        self.for_reading = zstandard.ZstdDecompressor()


_contexts = _Contexts()


class CodecError(ValueError):
    """Stored bytes that do not decode to what their record says."""


def encode(data: bytes) -> tuple[int, bytes]:
    """`data` as (codec, stored bytes): a zstd frame if that saves at least 10 %, else `data` itself."""
    size = len(data)
    if not _SMALLEST_BYTES <= size <= MOST_UNPACKED_BYTES or data.startswith(_MAGICS) or _is_boxed_media(data):
        return CODEC_RAW, data
    if size > _SAMPLE_BYTES:
        # Half from the start and half from the middle: many formats begin with a header unlike the rest.
        half, middle = _SAMPLE_BYTES // 2, size // 2
        sample = data[:half] + data[middle : middle + half]
        if not _saves_a_tenth(len(_contexts.for_samples.compress(sample)), len(sample)):
            return CODEC_RAW, data
    frame = _contexts.for_frames.compress(data)
    return (CODEC_ZSTD, frame) if _saves_a_tenth(len(frame), size) else (CODEC_RAW, data)


def decode(codec: int, stored: bytes, raw_length: int, raw_id: bytes) -> bytes:
    """The bytes of the asset `raw_id`, for the caller to hash.

    Raises CodecError for an unknown codec, a bad frame or another length than `raw_length`; a small frame that claims
    a large asset is looked through first, and takes no memory if it is another asset.
    """
    if codec == CODEC_RAW:
        data = stored
    elif codec == CODEC_ZSTD:
        data = _decompress(stored, raw_length, raw_id)
    else:
        raise CodecError(f"codec {codec} is unknown, expected 0 (raw) or 1 (zstd)")
    if len(data) != raw_length:
        raise CodecError(f"{len(data)} bytes, expected {raw_length}")
    return data


def _decompress(stored: bytes, raw_length: int, raw_id: bytes) -> bytes:
    try:
        # The frame's own word is compared first: it must not make us allocate more than the record promises.
        if zstandard.frame_content_size(stored) != raw_length:
            raise CodecError(f"the zstd frame is not one of {raw_length} bytes")
        if raw_length > MOST_UNPACKED_BYTES:
            raise CodecError(f"it claims {raw_length} bytes, at most {MOST_UNPACKED_BYTES} are unpacked")
        if raw_length > _HELD_UNSEEN_BYTES and _hash_of_frame(stored, raw_length) != raw_id:
            raise CodecError(f"it claims {raw_length} bytes, which are another asset's")
        return _contexts.for_reading.decompress(stored, max_output_size=raw_length)
    except zstandard.ZstdError as error:
        raise CodecError(f"bad zstd frame: {error}") from None


def _hash_of_frame(stored: bytes, raw_length: int) -> bytes:
    digest, left = hashlib.sha256(), raw_length
    with zstandard.ZstdDecompressor().stream_reader(stored) as reader:
        while left >= 0 and (chunk := reader.read(_CHUNK_BYTES)):
            digest.update(chunk)
            left -= len(chunk)
    return digest.digest()


def _saves_a_tenth(stored: int, raw: int) -> bool:
    return stored * 10 <= raw * 9


def _is_boxed_media(data: bytes) -> bool:
    # RIFF holds WebP (compressed) but also WAV (not), and the ISO container names itself after four bytes of size.
    return (data[:4] == b"RIFF" and data[8:12] == b"WEBP") or data[4:8] == b"ftyp"
