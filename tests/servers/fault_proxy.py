"""A proxy between a client and an S3 server that spoils chosen requests, and remembers all of them.

    with FaultProxy(server.endpoint) as proxy:
        proxy.spoil(Fault("answer", r"^PUT .*/packs/", times=2, status=503, code="SlowDown"))
        …use proxy.url as the endpoint…
        assert proxy.used == 2

It speaks plain HTTP/1.1 without pipelining, which is what S3 clients do on this machine, and runs in a thread.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote, urlsplit

Kind = Literal[
    "answer",  # the server never sees the request: `status` and the S3 error `code` are the answer
    "reset_before",  # the connection breaks before the server sees the request
    "reset_after",  # the server does what was asked, the connection breaks instead of the answer
    "truncate",  # the answer's body ends after `after_bytes`, then the connection is closed
    "corrupt",  # one bit of the answer's body is another, in its middle
    "cut_upload",  # the server gets the first half of the request's body, then both connections break
    "corrupt_upload",  # one bit of the request's body is another
    "stall",  # the server does what was asked, the answer's body stops after `after_bytes` and nothing ends
    "drop",  # the server never sees the request, and nobody ever answers
    "delay",  # the answer comes `seconds` late
    "hold",  # the server sees the request when `release` is set
    "throttle",  # the answer comes at `bytes_per_s`
]
_BLOCK_BYTES = 1 << 16
_ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}, by the proxy</Message></Error>'
)
_ALWAYS = 1 << 60


@dataclass
class Fault:
    """What happens to requests whose "METHOD /path?query" (unquoted) matches the regular expression `to`.

    The first `passes` of them go through untouched, then `times` are spoiled. A fault of a body passes over requests
    that have none.
    """

    kind: Kind
    to: str = ""
    times: int = _ALWAYS
    passes: int = 0
    status: int = 503
    code: str = "SlowDown"
    after_bytes: int = 0
    seconds: float = 0.1
    bytes_per_s: int = 1 << 20
    release: threading.Event = field(default_factory=threading.Event)


@dataclass
class Request:
    """A request as it came in; `bytes_range` as the client wrote it; `status` of the answer, None if it got none."""

    method: str
    target: str
    bytes_range: str = ""
    fault: str = ""
    status: int | None = None

    @property
    def line(self) -> str:
        return f"{self.method} {self.target}"


@dataclass
class _Head:
    """The first line and the headers of a request or an answer."""

    raw: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def words(self) -> list[str]:
        return self.raw.split(b"\r\n", 1)[0].decode("latin1").split(" ")


class _Broken(Exception):
    """The connection to the client ends here."""


class FaultProxy:
    """Listens on a port of its own, while its block runs."""

    def __init__(self, endpoint: str) -> None:
        upstream = urlsplit(endpoint)
        self._upstream = (upstream.hostname or "127.0.0.1", upstream.port or 80)
        self._faults: list[Fault] = []
        self._requests: list[Request] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._listen()), daemon=True)
        self._listening = threading.Event()
        self._end: Callable[[], object] = lambda: None
        self._connections: list[asyncio.StreamWriter] = []
        self._port = 0

    @property
    def url(self) -> str:
        """The endpoint that clients use."""
        return f"http://127.0.0.1:{self._port}"

    def spoil(self, *faults: Fault) -> None:
        """From now on these faults and no others; what was remembered is forgotten."""
        with self._lock:
            self._faults = list(faults)
            self._requests = []

    @property
    def requests(self) -> list[Request]:
        """Every request since the last `spoil`, in the order they came."""
        with self._lock:
            return list(self._requests)

    @property
    def used(self) -> int:
        """How many requests a fault has hit since the last `spoil`."""
        return sum(bool(request.fault) for request in self.requests)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._end()
        self._thread.join()

    async def _listen(self) -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        self._end = lambda: loop.call_soon_threadsafe(ended.set)
        try:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=1 << 20)
            self._port = server.sockets[0].getsockname()[1]
        finally:
            self._listening.set()
        await ended.wait()
        server.close()
        while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        # A connection that the loop left behind would be closed by whichever later test collects the garbage.
        for writer in self._connections:
            if not writer.transport.is_closing():
                writer.transport.abort()
        for writer in self._connections:
            with suppress(OSError):
                await writer.wait_closed()

    def _remember(self, head: _Head) -> tuple[Request, Fault | None]:
        """Note the request, and take the fault that hits it."""
        method, target = head.words[:2]
        request = Request(method, unquote(target), head.headers.get("range", ""))
        with self._lock:
            self._requests.append(request)
            for fault in self._faults:
                has_body = head.headers.get("content-length", "0") != "0"
                if fault.kind in ("cut_upload", "corrupt_upload") and not has_body:
                    continue
                if fault.times > 0 and re.search(fault.to, request.line):
                    if fault.passes > 0:
                        fault.passes -= 1
                        break
                    fault.times -= 1
                    request.fault = fault.kind
                    return request, fault
        return request, None

    async def _serve(self, client: asyncio.StreamReader, answers: asyncio.StreamWriter) -> None:
        self._connections.append(answers)
        upstream = _Upstream(self._upstream, self._connections)
        try:
            while True:
                head = await _read_head(client)
                request, fault = self._remember(head)
                await _Exchange(client, answers, upstream, request, fault).run(head)
        except (_Broken, asyncio.IncompleteReadError, ConnectionError):
            pass
        except asyncio.CancelledError:
            answers.transport.abort()
        finally:
            upstream.close()
            answers.close()


class _Upstream:
    """The connection to the server: opened when the first request goes through, then kept."""

    def __init__(self, address: tuple[str, int], connections: list[asyncio.StreamWriter]) -> None:
        self._address = address
        self._connections = connections
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def streams(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(*self._address, limit=1 << 20)
            self._connections.append(self._streams[1])
        return self._streams

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def abort(self) -> None:
        if self._streams is not None:
            _reset(self._streams[1])
            self._streams = None


class _Exchange:
    """One request and its answer."""

    def __init__(
        self,
        client: asyncio.StreamReader,
        answers: asyncio.StreamWriter,
        upstream: _Upstream,
        request: Request,
        fault: Fault | None,
    ) -> None:
        self._client = client
        self._answers = answers
        self._upstream = upstream
        self._request = request
        self._fault = fault or Fault("delay", seconds=0)

    async def run(self, head: _Head) -> None:
        kind = self._fault.kind
        if kind == "delay":
            await asyncio.sleep(self._fault.seconds)
        while kind == "hold" and not self._fault.release.is_set():
            await asyncio.sleep(0.005)
        if kind == "drop":
            await self._client.read()  # until the client gives up
            raise _Broken
        if kind == "reset_before":
            _reset(self._answers)
            raise _Broken
        if kind == "answer":
            await self._refuse(head)
            return
        reader, writer = await self._upstream.streams()
        writer.write(head.raw)
        answer = await self._send_body(head, reader, writer)
        self._request.status = int(answer.words[1])
        if kind == "reset_after":
            _reset(self._answers)
            raise _Broken
        self._answers.write(answer.raw)
        has_body = head.words[0] != "HEAD" and self._request.status not in (204, 304)
        if has_body:
            await self._send_answer(answer, reader)
        await self._answers.drain()
        if answer.headers.get("connection", "").lower() == "close":
            raise _Broken

    async def _refuse(self, head: _Head) -> None:
        """Answer in the server's place. The body is read first: a client that still writes would see a reset."""
        if head.headers.get("expect", "").lower() != "100-continue":
            async for _ in _body(self._client, head):
                pass
        body = b"" if head.words[0] == "HEAD" else _ERROR.format(code=self._fault.code).encode()
        self._request.status = self._fault.status
        self._answers.write(
            b"HTTP/1.1 %d Spoiled\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
            % (self._fault.status, len(body), body)
        )
        await self._answers.drain()
        # A client that was told to wait with its body may have sent it all the same: unread, it would be a reset.
        self._answers.write_eof()
        while await self._client.read(_BLOCK_BYTES):
            pass
        raise _Broken

    async def _send_body(self, head: _Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Head:
        """Pass the request's body on; the head of the answer."""
        if head.headers.get("expect", "").lower() == "100-continue":
            early = await _read_head(reader)
            if early.words[1] != "100":
                return early
            self._answers.write(early.raw)
        size = int(head.headers.get("content-length", 0))
        cut = size // 2 if self._fault.kind == "cut_upload" else None
        flip = size // 2 if self._fault.kind == "corrupt_upload" and size else None
        sent = 0
        async for block in _body(self._client, head):
            if cut is not None and sent + len(block) > cut:
                writer.write(block[: cut - sent])
                with suppress(ConnectionError):
                    await writer.drain()
                self._upstream.abort()
                _reset(self._answers)
                raise _Broken
            writer.write(_flipped(block, flip, sent))
            sent += len(block)
            await writer.drain()
        answer = await _read_head(reader)
        while answer.words[1] == "100":
            answer = await _read_head(reader)
        return answer

    async def _send_answer(self, answer: _Head, reader: asyncio.StreamReader) -> None:
        """Pass the answer's body on, spoiled as the fault says."""
        kind, limit = self._fault.kind, self._fault.after_bytes
        size = int(answer.headers.get("content-length", 2))
        flip = size // 2 if kind == "corrupt" else None
        if "content-length" in answer.headers:
            # Said before the first byte goes out: a client that has the whole body may ask for `used` at once.
            self._pass_over_if_short(size)
        sent = 0
        async for block in _body(reader, answer, until_closed=True):
            if kind in ("truncate", "stall") and sent + len(block) > limit:
                self._answers.write(block[: limit - sent])
                await self._answers.drain()
                if kind == "stall":
                    await self._client.read()
                raise _Broken
            if kind == "throttle":
                await asyncio.sleep(len(block) / self._fault.bytes_per_s)
            self._answers.write(_flipped(block, flip, sent))
            sent += len(block)
            await self._answers.drain()
        self._pass_over_if_short(sent)

    def _pass_over_if_short(self, size: int) -> None:
        """Forget the fault if a body of `size` bytes is too short for it."""
        kind = self._fault.kind
        if (kind in ("truncate", "stall") and size <= self._fault.after_bytes) or (kind == "corrupt" and not size):
            self._request.fault = ""


async def _read_head(stream: asyncio.StreamReader) -> _Head:
    raw = await stream.readuntil(b"\r\n\r\n")
    lines = raw.decode("latin1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return _Head(raw, {name.strip().lower(): value.strip() for name, _, value in pairs})


async def _body(stream: asyncio.StreamReader, head: _Head, *, until_closed: bool = False) -> AsyncIterator[bytes]:
    """The body as it is on the wire, chunk lines included; `until_closed` if nothing tells its length."""
    if "chunked" in head.headers.get("transfer-encoding", ""):
        size = -1
        while size:
            line = await stream.readline()
            size = int(line.split(b";")[0], 16)
            yield line + await stream.readexactly(size + 2)
        return
    if "content-length" not in head.headers and until_closed:
        while block := await stream.read(_BLOCK_BYTES):
            yield block
        raise _Broken
    missing = int(head.headers.get("content-length", 0))
    while missing:
        block = await stream.read(min(missing, _BLOCK_BYTES))
        if not block:
            raise ConnectionResetError
        missing -= len(block)
        yield block


def _flipped(block: bytes, place: int | None, start: int) -> bytes:
    """`block`, which begins at byte `start` of the body, with one bit changed if it holds the byte at `place`."""
    if place is None or not start <= place < start + len(block):
        return block
    at = place - start
    return block[:at] + bytes([block[at] ^ 1]) + block[at + 1 :]


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a lost one ends: with RST, not FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
