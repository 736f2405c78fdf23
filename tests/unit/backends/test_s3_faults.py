"""S3 through a proxy that spoils requests: each call gets there after a retry, or is one clear error."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from datapin.backends.s3 import retry as s3_retry
from datapin.backends.s3.backend import S3Backend
from datapin.backends.s3.settings import S3Settings, s3_settings
from datapin.base.errors import DatapinError, ObjectMissing, RemoteUnreachable, StorageFailed
from servers.fault_proxy import Fault, FaultProxy
from servers.s3_server import S3Server

DATA = os.urandom(700_000)
PASSING = {
    "busy": Fault("answer", times=1, status=503, code="SlowDown"),
    "broken": Fault("answer", times=1, status=500, code="InternalError"),
    "without a word": Fault("answer", times=1, status=502, code=""),
    "too many": Fault("answer", times=1, status=429, code="TooManyRequests"),
    "reset before": Fault("reset_before", times=1),
    "reset after": Fault("reset_after", times=1),
}
CALLS: dict[str, Callable[[Spoiled], object]] = {
    "put": lambda backend: backend.put_if_absent("new", DATA),
    "put of a file": lambda backend: backend.put_if_absent("file", backend.source),
    "get": lambda backend: backend.get("key") == DATA,
    "get_tagged": lambda backend: backend.get_tagged("key")[0] == DATA,
    "iter_chunks": lambda backend: b"".join(backend.iter_chunks("key")) == DATA,
    "get_ranges": lambda backend: backend.get_ranges("key", [(5, 10), (0, 3)]) == [DATA[5:15], DATA[:3]],
    "iter_objects": lambda backend: [found.key for found in backend.iter_objects("")] == ["key"],
    "head": lambda backend: backend.head("key") is not None,
    "delete": lambda backend: (
        backend.delete("key") is None  # type: ignore[func-returns-value]  # it is asked whether it does
        and backend.head("key") is None
    ),
    "replace": lambda backend: backend.replace("key", b"new", backend.tag),
    "abilities": lambda backend: backend.abilities("key", DATA).replace,
}


class Spoiled(S3Backend):
    """A backend before which the proxy stands; the object "key" is there, and the server's ways are known."""

    tag: str
    source: Path


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_retry, "_FIRST_PAUSE_S", 0.01)


@pytest.fixture
def s3_server(request: pytest.FixtureRequest, way: str) -> S3Server:
    """The server of this way, for the proxy before it too."""
    server: S3Server = request.getfixturevalue(f"{way.rpartition(' ')[2]}_server")
    return server


@pytest.fixture(params=["obstore to moto", "obstore to radosgw", "botocore to moto"])
def way(request: pytest.FixtureRequest) -> str:
    """Both libraries, and both servers: what a library makes of a broken connection is the same at each."""
    way: str = request.param
    return way


@pytest.fixture
def bucket(s3_server: S3Server) -> str:
    return s3_server.new_bucket()


@pytest.fixture
def backend(way: str, s3_server: S3Server, fault_proxy: FaultProxy, bucket: str, tmp_path: Path) -> Spoiled:
    folder = "team" if way.startswith("obstore") else "with blank"
    made = Spoiled(settings_of(s3_server, bucket, fault_proxy.url, folder))
    made.put_if_absent("key", DATA)
    made.abilities("key", DATA)
    made.tag = made.get_tagged("key")[1]
    made.source = tmp_path / "file"
    made.source.write_bytes(os.urandom(5 << 20))
    return made


def settings_of(server: S3Server, bucket: str, endpoint: str, folder: str = "team") -> S3Settings:
    keys = {"access_key_id": server.access_key, "secret_access_key": server.secret_key}
    return s3_settings(f"s3://{bucket}/{folder}", {"endpointurl": endpoint, **keys})


def backend_at(server: S3Server, bucket: str, endpoint: str, **more: int) -> S3Backend:
    return S3Backend(settings_of(server, bucket, endpoint), **more)


@pytest.mark.parametrize("way", ["obstore to moto", "botocore to moto"])
@pytest.mark.parametrize("call", CALLS)
def test_a_call_gets_over_every_fault_that_passes(backend: Spoiled, fault_proxy: FaultProxy, call: str) -> None:
    for name, fault in PASSING.items():
        fault_proxy.spoil()
        for key in ("key", "new", "file"):
            backend.delete(key)
        backend.put_if_absent("key", DATA)
        backend.tag = backend.get_tagged("key")[1]
        fault_proxy.spoil(replace(fault))
        assert CALLS[call](backend), name
        assert fault_proxy.used == fault.times, name


@pytest.mark.parametrize("way", ["obstore to moto", "botocore to moto"])
@pytest.mark.parametrize("call", ["put of a file", "get", "replace"])
@pytest.mark.usefixtures("impatient")
def test_a_call_gets_over_a_request_that_nobody_answers(backend: Spoiled, fault_proxy: FaultProxy, call: str) -> None:
    fault_proxy.spoil(Fault("drop", times=1))
    assert CALLS[call](backend)
    assert fault_proxy.used == 1


@pytest.mark.parametrize("call", ["put", "get", "get_ranges", "iter_objects", "replace"])
@pytest.mark.parametrize("way", ["obstore to moto", "botocore to moto"])
def test_after_five_attempts_it_is_one_error(backend: Spoiled, fault_proxy: FaultProxy, call: str) -> None:
    fault_proxy.spoil(Fault("answer", status=503, code="SlowDown"))
    with pytest.raises(
        RemoteUnreachable, match=r"busy and stayed so for five attempts \(SlowDown\)|HTTP 503"
    ) as caught:
        CALLS[call](backend)
    assert s3_retry.ATTEMPTS <= fault_proxy.used <= 2 * s3_retry.ATTEMPTS
    assert_fit_for_people(caught.value)


def assert_fit_for_people(error: DatapinError) -> None:
    for text in (error.message, error.hint):
        assert text
        assert not set("\n<>{}") & set(text)
        assert "Signature=" not in text
        assert "ACCESSKEY" not in text
        assert "testsecret" not in text
    assert error.exit_code == 30


@pytest.mark.parametrize("way", ["obstore to moto", "botocore to moto"])
@pytest.mark.parametrize(
    ("call", "after_bytes"),
    [("get", 0), ("get", 300_000), ("iter_chunks", 1), ("iter_chunks", 699_999), ("get_ranges", 0),
     ("get_ranges", 1), ("iter_objects", 0), ("iter_objects", 100)],
)  # fmt: skip
def test_an_answer_that_is_cut_off_goes_on_where_it_broke(
    backend: Spoiled, fault_proxy: FaultProxy, call: str, after_bytes: int
) -> None:
    ranges = [(0, 700_000), (3, 500_000)]
    fault_proxy.spoil(Fault("truncate", r"^GET ", times=2, after_bytes=after_bytes))
    if call == "get_ranges":
        assert backend.get_ranges("key", ranges) == [DATA[offset : offset + length] for offset, length in ranges]
    else:
        assert CALLS[call](backend)
    assert fault_proxy.used == 2 or (after_bytes == 699_999 and fault_proxy.used == 1)


def test_a_body_that_breaks_again_and_again_is_not_read_from_the_start_each_time(
    backend: Spoiled, fault_proxy: FaultProxy
) -> None:
    block = os.urandom(1 << 20)
    backend.put_if_absent("large", block * 8)
    fault_proxy.spoil(Fault("truncate", r"^GET .*/large", times=7, after_bytes=1_300_000))
    assert b"".join(backend.iter_chunks("large")) == block * 8
    assert fault_proxy.used >= 6
    asked = [request.bytes_range for request in fault_proxy.requests]
    assert asked[0] == ""
    assert len(set(asked[1:])) == len(asked) - 1


@pytest.mark.usefixtures("impatient")
def test_a_body_that_stalls_goes_on_after_the_silence(backend: Spoiled, fault_proxy: FaultProxy) -> None:
    fault_proxy.spoil(Fault("stall", r"^GET .*/key", times=1, after_bytes=300_000))
    start_s = time.monotonic()
    assert backend.get("key") == DATA
    assert fault_proxy.used == 1
    assert 0.4 < time.monotonic() - start_s < 55, "60 s is what nobody asked for"


def test_of_many_ranges_the_good_ones_are_not_asked_for_again_and_again(
    backend: Spoiled, fault_proxy: FaultProxy
) -> None:
    asked = [(number * 1000, 900) for number in range(300)]
    faults = [Fault("answer", r"^GET ", passes=number * 40 + 7, times=1, status=503) for number in range(6)]
    fault_proxy.spoil(*faults)
    assert backend.get_ranges("key", asked) == [DATA[offset : offset + length] for offset, length in asked]
    assert fault_proxy.used >= 3
    assert len(fault_proxy.requests) < 2.5 * len(asked)


def test_a_put_whose_every_answer_is_lost_is_settled_by_what_lies_there(
    backend: Spoiled, fault_proxy: FaultProxy
) -> None:
    fault_proxy.spoil(Fault("reset_after", r"^PUT "))
    assert backend.put_if_absent("new", DATA) is True
    assert backend.put_if_absent("file", backend.source) is True
    assert fault_proxy.used >= 2
    fault_proxy.spoil()
    assert backend.get("new") == DATA
    assert backend.get("file") == backend.source.read_bytes()
    assert backend.put_if_absent("new", DATA) is False


def test_a_put_that_lost_its_answer_to_another_ones_object_is_false(
    backend: Spoiled, fault_proxy: FaultProxy, bucket: str, s3_server: S3Server
) -> None:
    folder = backend.url.rpartition("/")[2]
    held = Fault("hold", r"^PUT ", times=1)
    fault_proxy.spoil(Fault("reset_before", r"^PUT ", times=1), held)
    with ThreadPoolExecutor(1) as thread:
        ours = thread.submit(backend.put_if_absent, "new", DATA)
        while fault_proxy.used < 2 and not ours.done():
            time.sleep(0.01)
        s3_server.client.put_object(Bucket=bucket, Key=f"{folder}/new", Body=b"theirs")
        held.release.set()
        assert ours.result() is False
    assert fault_proxy.used == 2
    assert backend.get("new") == b"theirs"


def test_a_replacement_whose_every_answer_is_lost_is_settled_by_what_lies_there(
    backend: Spoiled, fault_proxy: FaultProxy
) -> None:
    fault_proxy.spoil(Fault("reset_after", r"^PUT "))
    assert backend.replace("key", b"ours", backend.tag) is True
    assert fault_proxy.used >= 2
    fault_proxy.spoil()
    assert backend.replace("key", b"ours", backend.tag) is False
    assert backend.get("key") == b"ours"


def test_a_write_that_never_arrived_is_unknown_and_leaves_everything(backend: Spoiled, fault_proxy: FaultProxy) -> None:
    fault_proxy.spoil(Fault("reset_before", r"^PUT "))
    with pytest.raises(RemoteUnreachable, match="broke off again and again"):
        backend.put_if_absent("new", DATA)
    with pytest.raises(RemoteUnreachable, match="broke off again and again"):
        backend.replace("key", b"ours", backend.tag)
    assert backend.head("new") is None
    assert backend.get("key") == DATA


def test_an_upload_that_is_spoiled_or_cut_is_sent_again(
    backend: Spoiled, fault_proxy: FaultProxy, s3_server: S3Server
) -> None:
    faults = [Fault("cut_upload", r"^PUT ", times=1)]
    if s3_server.checks_keys:  # only this server compares the body with its signature
        faults.append(Fault("corrupt_upload", r"^PUT ", times=1))
    fault_proxy.spoil(*faults)
    assert backend.put_if_absent("file", backend.source) is True
    assert fault_proxy.used == len(faults)
    assert backend.get("file") == backend.source.read_bytes()


@pytest.mark.parametrize("way", ["botocore to moto", "botocore to radosgw"])
def test_of_a_file_in_parts_only_the_spoiled_part_is_sent_again(
    s3_server: S3Server, fault_proxy: FaultProxy, bucket: str, tmp_path: Path
) -> None:
    backend = backend_at(s3_server, bucket, fault_proxy.url, most_bytes_in_one_put=5 << 20)
    (tmp_path / "large").write_bytes(os.urandom(11 << 20))
    fault_proxy.spoil(
        Fault("answer", r"^PUT .*partNumber=2", times=2), Fault("reset_after", r"^POST .*uploads", times=1)
    )
    assert backend.put_if_absent("large", tmp_path / "large") is True
    assert fault_proxy.used == 3
    sent = [request.line for request in fault_proxy.requests if "partNumber=1" in request.line]
    assert len(sent) == 1
    assert backend.get("large") == (tmp_path / "large").read_bytes()


@pytest.mark.parametrize("way", ["botocore to moto", "botocore to radosgw"])
def test_a_file_in_parts_that_fails_leaves_no_parts(
    s3_server: S3Server, fault_proxy: FaultProxy, bucket: str, tmp_path: Path
) -> None:
    backend = backend_at(s3_server, bucket, fault_proxy.url, most_bytes_in_one_put=5 << 20)
    (tmp_path / "large").write_bytes(os.urandom(11 << 20))
    fault_proxy.spoil(Fault("answer", r"^PUT .*partNumber=2", status=403, code="AccessDenied"))
    with pytest.raises(RemoteUnreachable, match="AccessDenied"):
        backend.put_if_absent("large", tmp_path / "large")
    assert "Uploads" not in s3_server.client.list_multipart_uploads(Bucket=bucket)
    assert s3_server.keys(bucket) == {}


def test_a_file_in_parts_never_lands_on_another_ones_object(moto_server: S3Server, tmp_path: Path) -> None:
    bucket = moto_server.new_bucket()
    (tmp_path / "large").write_bytes(os.urandom(11 << 20))
    with FaultProxy(moto_server.endpoint) as proxy, ThreadPoolExecutor(1) as thread:
        backend = backend_at(moto_server, bucket, proxy.url, most_bytes_in_one_put=5 << 20)
        held = Fault("hold", r"^POST .*uploadId=")
        proxy.spoil(held)
        ours = thread.submit(backend.put_if_absent, "large", tmp_path / "large")
        while not proxy.used and not ours.done():
            time.sleep(0.01)
        moto_server.client.put_object(Bucket=bucket, Key="team/large", Body=b"theirs")
        held.release.set()
        assert ours.result() is False
        assert proxy.used
    assert backend_at(moto_server, bucket, moto_server.endpoint).get("large") == b"theirs"
    assert "Uploads" not in moto_server.client.list_multipart_uploads(Bucket=bucket)


def test_an_object_that_changes_while_it_is_read_is_never_mixed(
    backend: Spoiled, fault_proxy: FaultProxy, s3_server: S3Server, bucket: str
) -> None:
    folder, other = backend.url.rpartition("/")[2], os.urandom(len(DATA))
    fault_proxy.spoil(Fault("truncate", r"^GET .*/key", times=1, after_bytes=500_000))
    chunks = backend.iter_chunks("key")
    first = next(chunks)
    s3_server.client.put_object(Bucket=bucket, Key=f"{folder}/key", Body=other)
    with pytest.raises(RemoteUnreachable, match="changed while it was read"):
        list(chunks)
    assert DATA.startswith(first)
    assert backend.get("key") == other


@pytest.mark.parametrize(
    ("status", "code", "said", "advice"),
    [
        (404, "NoSuchBucket", "there is no bucket", "make the bucket"),
        (403, "AccessDenied", "denies access to bucket", "s3:PutObject"),
        (403, "InvalidAccessKeyId", "does not know the access key", "access_key_id"),
        (403, "SignatureDoesNotMatch", "the secret key does not belong", "secret_access_key"),
        (400, "ExpiredToken", "the session has expired", "log in again"),
        (403, "RequestTimeTooSkewed", "clock is wrong", "set the clock"),
        (403, "QuotaExceeded", "the quota", "more space"),
        (400, "AuthorizationHeaderMalformed", "another region", "region REGION"),
        (418, "Teapot", "answered HTTP 418 (Teapot)", "endpointurl"),
        (404, "", "answered HTTP 404 (no error code)", "endpointurl"),
    ],
)
@pytest.mark.parametrize("way", ["obstore to moto", "botocore to moto"])
def test_what_does_not_pass_is_said_in_words_at_once(
    backend: Spoiled, fault_proxy: FaultProxy, status: int, code: str, said: str, advice: str
) -> None:
    for call in ("put", "put of a file", "get", "iter_chunks", "get_ranges", "iter_objects", "head", "replace"):
        if call == "head" and code in ("", "NoSuchBucket"):
            continue  # the bucket was seen: that is a missing object
        fault_proxy.spoil(Fault("answer", status=status, code=code))
        with pytest.raises(RemoteUnreachable) as caught:
            CALLS[call](backend)
        assert said in caught.value.message, call
        assert advice in caught.value.hint
        assert_fit_for_people(caught.value)
        assert fault_proxy.used <= 4


@pytest.mark.parametrize("way", ["botocore to moto", "botocore to radosgw"])
def test_a_missing_bucket_is_never_a_missing_object(s3_server: S3Server) -> None:
    backend = backend_at(s3_server, "no-such-bucket-here", s3_server.endpoint)
    for call in (
        lambda: backend.head("a"),
        lambda: backend.get("a"),
        lambda: backend.get_ranges("a", [(0, 1)]),
        lambda: backend.delete("a"),
        lambda: list(backend.iter_objects("")),
        lambda: backend.put_if_absent("a", b"x"),
        lambda: backend.replace("a", b"x", "tag"),
        lambda: backend.abilities("a", b"x"),
    ):
        with pytest.raises(RemoteUnreachable, match=r"there is no bucket no-such-bucket-here .*NoSuchBucket") as caught:
            call()
        assert_fit_for_people(caught.value)


@pytest.mark.parametrize("folder", ["team", "with blank"])
def test_wrong_keys_are_told_apart(radosgw_server: S3Server, folder: str) -> None:
    bucket = radosgw_server.new_bucket()
    unknown = replace(radosgw_server, access_key="NOBODY")
    forged = replace(radosgw_server, secret_key="wrong")
    for server, code in ((unknown, "InvalidAccessKeyId"), (forged, "SignatureDoesNotMatch")):
        backend = S3Backend(settings_of(server, bucket, server.endpoint, folder))
        for call in (
            lambda b=backend: b.head("a"),
            lambda b=backend: b.get("a"),
            lambda b=backend: list(b.iter_objects("")),
            lambda b=backend: b.put_if_absent("a", b"x"),
        ):
            with pytest.raises(RemoteUnreachable, match=code) as caught:
                call()
            assert_fit_for_people(caught.value)
            assert "NOBODY" not in str(caught.value)


@pytest.mark.parametrize("folder", ["team", "with blank"])
@pytest.mark.parametrize(
    ("endpoint", "said"),
    [
        ("http://127.0.0.1:{free}", "connection refused"),
        ("http://no-such-host.invalid", r"\(DNS\)"),
        ("https://127.0.0.1:{plain}", "does not speak TLS"),
    ],
)
def test_a_server_that_is_not_there_is_one_error(
    moto_server: S3Server, closed_port: int, folder: str, endpoint: str, said: str
) -> None:
    address = endpoint.format(free=closed_port, plain=moto_server.endpoint.rpartition(":")[2])
    backend = S3Backend(settings_of(moto_server, "bucket", address, folder))
    with pytest.raises(RemoteUnreachable, match=said) as caught:
        backend.get("a")
    assert address in caught.value.message
    assert_fit_for_people(caught.value)


def test_no_keys_anywhere_is_one_error(moto_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for folder in ("team", "with blank"):
        backend = S3Backend(s3_settings(f"s3://bucket/{folder}", {"endpointurl": moto_server.endpoint}))
        calls: tuple[Callable[[], object], ...] = (
            partial(backend.get, "a"),
            partial(backend.put_if_absent, "a", b"x" * (5 << 20)),
        )
        for call in calls:
            with pytest.raises(RemoteUnreachable, match="no valid credentials were found") as caught:
                call()
            assert "access_key_id" in caught.value.hint


def test_a_source_that_cannot_be_read_is_not_the_servers_fault(moto_server: S3Server, tmp_path: Path) -> None:
    direct = backend_at(moto_server, moto_server.new_bucket(), moto_server.endpoint)
    with pytest.raises(StorageFailed, match="cannot read"):
        direct.put_if_absent("a", tmp_path / "none")
    with pytest.raises(ObjectMissing):
        direct.get("a")
