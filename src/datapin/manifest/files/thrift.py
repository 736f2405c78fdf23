"""Thrift's compact encoding, as Parquet footers use it, decoded into numbers, bytes, lists and dicts by field number.

Parquet has no checksum over its footer, and pyarrow's accessors for column chunks end the whole process on some broken
ones (26.0.1: ten of 2,364 single flipped bits), so what this room asks of a footer it reads itself.
"""

from __future__ import annotations

import struct
from typing import Any

Fields = dict[int, Any]

_MOST_DEPTH = 24
_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = range(1, 13)


class BrokenThrift(ValueError):
    """Bytes that are not what Thrift writes."""


def decode_struct(data: bytes) -> Fields:
    """The fields of the struct that starts at the first byte. Raises BrokenThrift."""
    try:
        return _Decoder(data).struct(0)
    except (IndexError, struct.error):
        raise BrokenThrift("the footer ends in the middle of a value") from None


class _Decoder:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def struct(self, depth: int) -> Fields:
        if depth > _MOST_DEPTH:
            raise BrokenThrift("the footer is nested too deeply")
        fields: Fields = {}
        number = 0
        data = self._data
        while True:
            head = data[self._place]
            self._place += 1
            if head == 0:
                return fields
            kind, step = head & 15, head >> 4
            number = number + step if step else self._integer()
            if kind in (_TRUE, _FALSE):
                fields[number] = kind == _TRUE
            else:
                fields[number] = self._value(kind, depth)

    def _value(self, kind: int, depth: int) -> Any:
        if kind in (_I16, _I32, _I64):
            return self._integer()
        if kind == _BINARY:
            return self._binary()
        if kind == _STRUCT:
            return self.struct(depth + 1)
        if kind in (_LIST, _SET):
            return self._list(depth + 1)
        if kind == _BYTE:
            self._place += 1
            return self._data[self._place - 1]
        if kind == _DOUBLE:
            self._place += 8
            return struct.unpack("<d", self._data[self._place - 8 : self._place])[0]
        raise BrokenThrift(f"the footer holds a value of unknown type {kind}")

    def _list(self, depth: int) -> list[Any]:
        if depth > _MOST_DEPTH:
            raise BrokenThrift("the footer is nested too deeply")
        head = self._data[self._place]
        self._place += 1
        kind, count = head & 15, head >> 4
        if count == 15:
            count = self._varint()
        if count > len(self._data) - self._place:
            raise BrokenThrift(f"the footer claims a list of {count} values")
        if kind in (_TRUE, _FALSE):
            self._place += count
            return [value == _TRUE for value in self._data[self._place - count : self._place]]
        return [self._value(kind, depth) for _ in range(count)]

    def _binary(self) -> bytes:
        length = self._varint()
        end = self._place + length
        if end > len(self._data):
            raise BrokenThrift(f"the footer claims a text of {length} bytes")
        value = self._data[self._place : end]
        self._place = end
        return value

    def _varint(self) -> int:
        result = shift = 0
        while True:
            byte = self._data[self._place]
            self._place += 1
            result |= (byte & 127) << shift
            if byte < 128:
                return result
            shift += 7
            if shift > 63:
                raise BrokenThrift("the footer holds a number of more than 64 bits")

    def _integer(self) -> int:
        number = self._varint()
        return (number >> 1) ^ -(number & 1)
