"""A real web server below one folder, as `python -m http.server` is one; it can be less or more able than that."""

from __future__ import annotations

import http.server
import io
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class WebServer:
    """Where it answers, what it does, and what it was asked."""

    lists: bool = True
    gives_ranges: bool = False
    authorization: str = ""  # the header to send, if any
    cut_next: int = 0  # so many answers lose their second half
    refuse_next: int = 0  # so many answers are "503 busy"
    port: int = 0
    asked: list[str] = field(default_factory=list)

    def url(self, path: str = "") -> str:
        """Of `path`, as DVC writes it."""
        return f"http://127.0.0.1:{self.port}/{path}"


@contextmanager
def web_server(folder: Path, *, lists: bool = True, gives_ranges: bool = False) -> Iterator[WebServer]:
    """The server, for as long as the block runs."""
    state = WebServer(lists=lists, gives_ranges=gives_ranges)

    class Handler(_Handler):
        server_state = state

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=os.fspath(folder))

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()


class _Handler(http.server.SimpleHTTPRequestHandler):
    server_state: WebServer

    def do_GET(self) -> None:
        state = self.server_state
        state.asked.append(f"GET {self.path} {self.headers.get('Range', '')}".strip())
        if self._is_refused():
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        path = Path(self.translate_path(self.path))
        if path.is_file() and state.gives_ranges and asked:
            data = path.read_bytes()
            part = data[int(asked[1]) : int(asked[2]) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(data)}")
            self._send(part)
        elif path.is_file() and state.cut_next:
            state.cut_next -= 1
            data = path.read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        else:
            super().do_GET()

    def do_HEAD(self) -> None:
        self.server_state.asked.append(f"HEAD {self.path}")
        if not self._is_refused():
            super().do_HEAD()

    def list_directory(self, path: str | os.PathLike[str]) -> io.BytesIO | None:
        if self.server_state.lists:
            return super().list_directory(path)
        self.send_error(403)
        return None

    def log_message(self, *arguments: object) -> None:
        pass

    def _is_refused(self) -> bool:
        state = self.server_state
        if state.refuse_next:
            state.refuse_next -= 1
            self.send_error(503)
            return True
        if state.authorization and self.headers.get("Authorization") != state.authorization:
            self.send_error(401)
            return True
        return False

    def _send(self, data: bytes) -> None:
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
