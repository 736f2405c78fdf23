"""Reading from S3 to the end: broken bodies go on where they broke, and nothing is shorter than it should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from datapin.backends.backend import StoredObject
from datapin.backends.s3 import failures as failures
from datapin.backends.s3.boto import BotoWire
from datapin.backends.s3.failures import S3Failure
from datapin.backends.s3.retry import ATTEMPTS, again, pause
from datapin.backends.s3.wire import Reading
from datapin.backends.s3.wires import S3Wires

_RANGES_AT_ONCE = 64
_PARTS_OF_A_FAILED_BATCH = 4


def open_object(wires: S3Wires, key: str) -> Reading:
    """The object, whose chunks are all of its bytes and raise S3Failure only if trying again did not help."""
    reading = again(lambda: wires.reading().read(key, 0))
    return Reading(reading.size_bytes, reading.tag, _steady(wires, key, reading))


def read_object(wires: S3Wires, key: str) -> tuple[bytes, str]:
    """All of the object, and its tag. Raises S3Failure."""
    for attempt in range(ATTEMPTS):
        reading = open_object(wires, key)
        try:
            return b"".join(reading.chunks), reading.tag
        except S3Failure as failure:
            if failure.code != failures.CHANGED or attempt + 1 == ATTEMPTS:
                raise
    raise AssertionError("the last attempt answers or raises")


def read_ranges(wires: S3Wires, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    """The bytes at each (offset, length), shorter where the object ends first. Raises S3Failure."""
    wanted = [(offset, length) for offset, length in ranges if length]  # S3 knows no empty range
    if ranges and not wanted and find_object(wires, key) is None:
        raise S3Failure(failures.MISSING)
    found: list[bytes] = []
    for start in range(0, len(wanted), _RANGES_AT_ONCE):
        found += _read_batch(wires, key, wanted[start : start + _RANGES_AT_ONCE], 0)
    in_order = iter(found)
    return [next(in_order) if length else b"" for _, length in ranges]


def find_object(wires: S3Wires, key: str) -> tuple[StoredObject, str] | None:
    """The object without its bytes, and its tag; None if there is none. Raises S3Failure."""
    try:
        found = again(lambda: wires.reading().head(key))
    except S3Failure as failure:
        if failure.status == 404 and wires.has_bucket:
            return None
        told = _explained(wires, key, failure)
        if told.code == failures.PAST_THE_END or (told is failure and failure.status == 404):
            return again(lambda: wires.reading().head(key))  # it has come into being meanwhile
        if told.code != failures.MISSING:
            raise told from None
        wires.has_bucket = True
        return None
    wires.has_bucket = True
    return found


def remove_object(wires: S3Wires, key: str) -> None:
    """Delete the object if there is one. Raises S3Failure."""
    try:
        again(lambda: wires.reading().delete(key))
    except S3Failure as failure:
        if failure.code != failures.MISSING:
            raise


def iter_listing(wires: S3Wires, folder: str) -> Iterator[StoredObject]:
    """Every object below `folder`, sorted; a listing that broke goes on after the last one. Raises S3Failure."""
    after, attempt = "", 0
    wire, asked = wires.reading(), wires.region
    while True:
        try:
            for page in wire.pages(folder, after):
                for found in page:
                    after, attempt = found.key, 0
                    yield found
            return
        except S3Failure as failure:
            if attempt + 1 < ATTEMPTS and wires.finds_a_way(failure, asked):
                wire, asked, attempt = wires.reading(), wires.region, attempt + 1
                continue
            if failure.code == failures.ODD_KEY and not isinstance(wire, BotoWire):
                # A stranger's key that obstore refuses to name, for example one with "//".
                wire = wires.boto()
                continue
            if not failure.may_pass or attempt + 1 == ATTEMPTS:
                raise
            pause(attempt)
            attempt += 1


def _steady(wires: S3Wires, key: str, reading: Reading) -> Iterator[bytes]:
    chunks, received, attempt = reading.chunks, 0, 0
    while True:
        failure = S3Failure(failures.BROKEN)
        try:
            for chunk in chunks:
                received, attempt = received + len(chunk), 0
                yield chunk
        except S3Failure as broken:
            failure = broken
        if received == reading.size_bytes:
            return
        if not failure.may_pass or attempt + 1 == ATTEMPTS:
            raise failure
        pause(attempt)
        attempt += 1
        rest = again(lambda: _read_from(wires, key, received))  # noqa: B023  # called before the next turn
        if (rest.size_bytes, rest.tag) != (reading.size_bytes, reading.tag):
            raise S3Failure(failures.CHANGED)
        chunks = rest.chunks


def _read_from(wires: S3Wires, key: str, offset: int) -> Reading:
    try:
        return wires.reading().read(key, offset)
    except S3Failure as failure:
        if failure.code != failures.WHOLE_ANSWER:
            raise
    whole = wires.reading().read(key, 0)  # this server ignores ranges
    return Reading(whole.size_bytes, whole.tag, _after(whole.chunks, offset))


def _after(chunks: Iterator[bytes], offset: int) -> Iterator[bytes]:
    for chunk in chunks:
        if rest := chunk[offset:]:
            yield rest
        offset = max(0, offset - len(chunk))


def _explained(wires: S3Wires, key: str, failure: S3Failure) -> S3Failure:
    """The same failure with the server's code, for which an answer to HEAD has no place."""
    if failure.code or not failure.status:
        return failure
    try:
        again(lambda: wires.reading().read_ranges(key, [(0, 1)]))
    except S3Failure as told:
        return told
    return failure


def _read_batch(wires: S3Wires, key: str, ranges: Sequence[tuple[int, int]], attempt: int) -> list[bytes]:
    try:
        return _read_at_once(wires, key, ranges)
    except S3Failure as failure:
        if failure.code == failures.PAST_THE_END:
            return _read_what_there_is(wires, key, ranges)
        if not failure.may_pass or attempt + 1 == ATTEMPTS:
            raise
    pause(attempt)
    # In parts, because one failure spoils a whole batch: at one in a hundred, 64 together hardly ever arrive.
    size = -(-len(ranges) // _PARTS_OF_A_FAILED_BATCH)
    parts = (ranges[start : start + size] for start in range(0, len(ranges), size))
    return [data for part in parts for data in _read_batch(wires, key, part, attempt + 1)]


def _read_at_once(wires: S3Wires, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    try:
        return wires.reading().read_ranges(key, ranges)
    except S3Failure as failure:
        if failure.code != failures.WHOLE_ANSWER:
            raise
    # This server sends ranges without saying so, or ignores them: obstore takes neither.
    return wires.boto().read_ranges(key, ranges)


def _read_what_there_is(wires: S3Wires, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
    size_bytes = again(lambda: wires.reading().head(key))[0].size_bytes
    inside = [(offset, length) for offset, length in ranges if offset < size_bytes]
    if len(inside) == len(ranges):
        raise S3Failure(failures.CHANGED)
    found = iter(_read_batch(wires, key, inside, 0) if inside else [])
    return [next(found) if offset < size_bytes else b"" for offset, _ in ranges]
