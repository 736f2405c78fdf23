"""The proxy does what its faults say: a test that relies on it would else pass for nothing."""

from __future__ import annotations

import gc
import http.client
import threading
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from servers.fault_proxy import Fault, FaultProxy, Kind

BODY = bytes(range(256)) * 1000


class _Server(BaseHTTPRequestHandler):
    """Gives BODY, and keeps what it is given."""

    protocol_version = "HTTP/1.1"
    kept: dict[str, bytes]

    def do_GET(self) -> None:
        self._answer(BODY)

    def do_PUT(self) -> None:
        size = int(self.headers["Content-Length"])
        data = self.rfile.read(size)
        if len(data) == size:
            self.kept[self.path] = data
            self._answer(b"")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def kept() -> dict[str, bytes]:
    return {}


@pytest.fixture
def proxy(kept: dict[str, bytes]) -> Iterator[FaultProxy]:
    handler = type("Server", (_Server,), {"kept": kept})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with FaultProxy(f"http://127.0.0.1:{server.server_port}") as proxy:
        yield proxy
    server.shutdown()
    thread.join()
    server.server_close()


def ask(
    proxy: FaultProxy,
    method: str = "GET",
    path: str = "/x%20y?a=b",
    body: bytes | None = None,
    *,
    patience_s: float = 60,
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc, timeout=patience_s)
    try:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_what_no_fault_hits_goes_through_untouched(proxy: FaultProxy, kept: dict[str, bytes]) -> None:
    proxy.spoil(Fault("reset_before", to="never"))
    assert ask(proxy) == (200, BODY)
    assert ask(proxy, "PUT", "/p", BODY) == (200, b"")
    assert kept == {"/p": BODY}
    assert [(request.line, request.status) for request in proxy.requests] == [("GET /x y?a=b", 200), ("PUT /p", 200)]
    assert proxy.used == 0


def test_a_fault_passes_some_spoils_some_and_is_over(proxy: FaultProxy) -> None:
    proxy.spoil(Fault("answer", to="^GET /x y", passes=1, times=2))
    assert [ask(proxy)[0] for _ in range(4)] == [200, 503, 503, 200]
    assert proxy.used == 2
    proxy.spoil()
    assert (proxy.used, proxy.requests) == (0, [])


def test_a_refusal_is_what_an_s3_server_says(proxy: FaultProxy, kept: dict[str, bytes]) -> None:
    proxy.spoil(Fault("answer", status=403, code="AccessDenied"))
    status, body = ask(proxy, "PUT", "/p", BODY)
    assert status == 403
    assert b"<Code>AccessDenied</Code>" in body
    assert not kept


@pytest.mark.parametrize(("kind", "arrives"), [("reset_before", False), ("reset_after", True), ("cut_upload", False)])
def test_a_reset_comes_before_or_after_the_server_has_it(
    proxy: FaultProxy, kept: dict[str, bytes], kind: Kind, arrives: bool
) -> None:
    proxy.spoil(Fault(kind))
    with pytest.raises(ConnectionError):
        ask(proxy, "PUT", "/p", BODY)
    assert bool(kept) == arrives


def test_a_truncated_body_ends_early(proxy: FaultProxy) -> None:
    proxy.spoil(Fault("truncate", after_bytes=100))
    with pytest.raises(http.client.IncompleteRead) as broken:
        ask(proxy)
    assert broken.value.partial == BODY[:100]


@pytest.mark.parametrize("kind", ["drop", "stall"])
def test_silence_lasts_until_the_client_gives_up(proxy: FaultProxy, kind: Kind) -> None:
    proxy.spoil(Fault(kind))
    with pytest.raises(TimeoutError):
        ask(proxy, patience_s=0.5)
    while not proxy.requests:  # on a busy machine the client may have gone before it was heard
        time.sleep(0.01)
    assert proxy.used == 1


def test_one_bit_differs_in_a_corrupted_answer_or_upload(proxy: FaultProxy, kept: dict[str, bytes]) -> None:
    proxy.spoil(Fault("corrupt", to="^GET"), Fault("corrupt_upload", to="^PUT"))
    _, got = ask(proxy)
    ask(proxy, "PUT", "/p", BODY)
    for damaged in (got, kept["/p"]):
        wrong = [(ours ^ theirs).bit_count() for ours, theirs in zip(BODY, damaged, strict=True) if ours != theirs]
        assert wrong == [1]


def test_a_fault_of_a_body_counts_only_where_there_is_one(proxy: FaultProxy) -> None:
    proxy.spoil(Fault("corrupt_upload"))
    assert ask(proxy) == (200, BODY)
    proxy.spoil(Fault("truncate", after_bytes=len(BODY)))
    assert ask(proxy) == (200, BODY)
    assert proxy.used == 0


def test_a_request_that_is_held_reaches_the_server_when_it_is_let_go(proxy: FaultProxy, kept: dict[str, bytes]) -> None:
    held = Fault("hold")
    proxy.spoil(held)
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(ask, proxy, "PUT", "/p", BODY)
        while not proxy.used:
            time.sleep(0.01)
        assert not kept
        held.release.set()
        assert asked.result() == (200, b"")
    assert kept == {"/p": BODY}


def test_a_proxy_that_ends_leaves_no_connection_open(proxy: FaultProxy) -> None:
    gc.collect()  # what other tests left is not the proxy's
    proxy.spoil(Fault("drop"))  # so that the other one has both its connections open when it ends
    with ThreadPoolExecutor(1) as thread:
        with FaultProxy(proxy.url) as other:
            asked = thread.submit(ask, other)
            while not proxy.used:
                time.sleep(0.01)
        assert isinstance(asked.exception(), ConnectionError)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        del other
        gc.collect()
    assert not [one for one in said if one.category is ResourceWarning]


def test_a_slow_answer_is_whole(proxy: FaultProxy) -> None:
    proxy.spoil(Fault("throttle", bytes_per_s=10 << 20), Fault("delay", to="^PUT", seconds=0.01))
    assert ask(proxy) == (200, BODY)
