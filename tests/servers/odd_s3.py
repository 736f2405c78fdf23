"""S3 servers that do less than others, or lie in another region: what moto does, with some of each request left out."""

from __future__ import annotations

import http.client
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from servers.s3_server import S3Server

_ERROR = '<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'
Refusal = Callable[[BaseHTTPRequestHandler], tuple[int, str, dict[str, str]] | None]


@contextmanager
def odd_server(
    server: S3Server,
    *,
    without: tuple[str, ...] = (),
    refuses: Refusal = lambda request: None,
    region: str = "us-east-1",
    certificate: Path | None = None,
) -> Iterator[S3Server]:
    """`server` without the request headers `without`, and with the answers (status, code, headers) of `refuses`.

    The server behind must not check signatures; `region` is where its buckets say they are. It speaks TLS if there is
    a file with a `certificate` and its key.
    """
    upstream = urlsplit(server.endpoint)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words: object) -> None:
            """Say nothing."""

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            if refusal := refuses(self):
                status, code, headers = refusal
                self.send(status, headers, _ERROR.format(code=code).encode())
                return
            kept = {name: value for name, value in self.headers.items() if name.lower() not in (*without, "expect")}
            connection = http.client.HTTPConnection(upstream.hostname or "", upstream.port, timeout=60)
            connection.request(self.command, self.path, body, kept)
            got = connection.getresponse()
            self.send(got.status, {**dict(got.getheaders()), "x-amz-bucket-region": region}, got.read())
            connection.close()

        def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                    self.send_header(name, value)
            length = len(body)
            if self.command == "HEAD":
                length = int({name.lower(): value for name, value in headers.items()}.get("content-length", 0))
            self.send_header("Content-Length", str(length))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

    for method in ("GET", "PUT", "HEAD", "DELETE", "POST"):
        setattr(Handler, f"do_{method}", Handler.answer)

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        listening.socket = context.wrap_socket(listening.socket, server_side=True)
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    scheme = "http" if certificate is None else "https"
    try:
        yield replace(server, name="odd", endpoint=f"{scheme}://127.0.0.1:{listening.server_port}")
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def only_in(region: str) -> Refusal:
    """What Amazon answers if a request is signed for another region than the bucket's."""

    def refuse(request: BaseHTTPRequestHandler) -> tuple[int, str, dict[str, str]] | None:
        signed = re.search(r"Credential=[^/]+/\d+/([^/]+)/", request.headers.get("authorization", ""))
        if signed is None or signed[1] == region:
            return None
        return 400, "AuthorizationHeaderMalformed", {"x-amz-bucket-region": region}

    return refuse


def never_conditional(request: BaseHTTPRequestHandler) -> tuple[int, str, dict[str, str]] | None:
    """What servers answer that know the headers and refuse them."""
    if request.command == "PUT" and ("if-match" in request.headers or "if-none-match" in request.headers):
        return 501, "NotImplemented", {}
    return None
