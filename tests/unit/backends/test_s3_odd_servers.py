"""What is special about some S3 servers, and about what others keep in our bucket."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import MappingProxyType

import pytest

from datapin.backends.s3.backend import S3Backend
from datapin.backends.s3.settings import s3_settings
from datapin.base.errors import ObjectMissing, RemoteUnreachable
from servers.odd_s3 import never_conditional, odd_server, only_in
from servers.s3_server import S3Server

PART_BYTES = 5 << 20
NO_MORE: Mapping[str, str] = MappingProxyType({})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing of this machine's AWS set-up is seen."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    (tmp_path / ".aws").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def backend_at(
    server: S3Server,
    bucket: str | None = None,
    folder: str = "team",
    most_bytes_in_one_put: int = 5 << 30,
    more: Mapping[str, str] = NO_MORE,
    **settings: str,
) -> S3Backend:
    keys = {"access_key_id": server.access_key, "secret_access_key": server.secret_key}
    url = f"s3://{bucket or server.new_bucket()}/{folder}"
    given = {"endpointurl": server.endpoint, **keys, **more, **settings}
    return S3Backend(
        s3_settings(url, {name: value for name, value in given.items() if value}),
        most_bytes_in_one_put=most_bytes_in_one_put,
    )


def test_a_bucket_in_another_region_is_found(moto_server: S3Server) -> None:
    bucket = moto_server.new_bucket()
    with odd_server(moto_server, refuses=only_in("eu-south-2"), region="eu-south-2") as server:
        for call in (
            lambda backend: backend.put_if_absent("a", b"x"),
            lambda backend: backend.get("a"),
            lambda backend: list(backend.iter_objects("")),
            lambda backend: backend.head("a"),
            lambda backend: b"".join(backend.iter_chunks("a")),
            lambda backend: backend.abilities("a", b"x").replace,
            lambda backend: backend.replace("a", b"x", backend.get_tagged("a")[1]),
        ):
            backend = backend_at(server, bucket)
            assert call(backend)
            with ThreadPoolExecutor(4) as threads:
                assert list(threads.map(backend.get, "aaaa")) == [b"x"] * 4
        backend_at(server, bucket, region="us-west-1").delete("a")
        assert backend_at(server, bucket).head("a") is None


def test_a_bucket_that_is_nowhere_else_is_one_error(moto_server: S3Server) -> None:
    with odd_server(moto_server, refuses=only_in("eu-south-2"), region="") as server:
        backend = backend_at(server, moto_server.new_bucket())
        with pytest.raises(RemoteUnreachable, match="lies in another region") as caught:
            backend.get("a")
        assert "region REGION" in caught.value.hint


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for this machine that signs itself, and its key, in one file."""
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=lab -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*words.split(), "-keyout", file, "-out", f"{file}.crt"], check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + Path(f"{file}.crt").read_bytes())
    return file


@pytest.mark.parametrize("folder", ["team", "with blank"])
def test_a_certificate_that_nobody_vouches_for_is_refused(
    moto_server: S3Server, certificate: Path, folder: str
) -> None:
    with odd_server(moto_server, certificate=certificate) as server:
        backend = backend_at(server, moto_server.new_bucket(), folder)
        for call in (lambda: backend.get("a"), lambda: backend.put_if_absent("a", b"x")):
            with pytest.raises(RemoteUnreachable, match=r"certificate of https://.* is not trusted") as caught:
                call()
            assert "ssl_verify FILE" in caught.value.hint


@pytest.mark.parametrize("folder", ["team", "with blank"])
@pytest.mark.parametrize("how", ["named", "unchecked"])
def test_a_certificate_of_ones_own_can_be_named_or_left_unchecked(
    moto_server: S3Server, certificate: Path, folder: str, how: str
) -> None:
    with odd_server(moto_server, certificate=certificate) as server:
        verify = f"{certificate}.crt" if how == "named" else "false"
        bucket = moto_server.new_bucket()
        for call in (
            lambda backend: backend.put_if_absent("a", b"x"),
            lambda backend: backend.get("a") == b"x",
            lambda backend: [found.key for found in backend.iter_objects("")] == ["a"],
            lambda backend: backend.put_if_absent("large", b"x" * (5 << 20)),
        ):
            assert call(backend_at(server, bucket, folder, ssl_verify=verify))


def test_a_key_of_the_users_own_goes_with_every_request(moto_server: S3Server) -> None:
    bucket = moto_server.new_bucket()
    encoded = base64.b64encode(b"k" * 32).decode()

    def without_it(request: BaseHTTPRequestHandler) -> tuple[int, str, dict[str, str]] | None:
        is_about_an_object = request.path.startswith(f"/{bucket}/team/")
        given = request.headers.get("x-amz-server-side-encryption-customer-key")
        return (400, "InvalidRequest", {}) if is_about_an_object and given != encoded else None

    with odd_server(moto_server, refuses=without_it) as server:
        backend = backend_at(server, bucket, sse_customer_key=encoded)
        assert backend.put_if_absent("a", b"0123456789") is True
        assert backend.get_ranges("a", [(1, 2)]) == [b"12"]
        data, tag = backend.get_tagged("a")
        assert data == b"0123456789"
        assert backend.replace("a", b"new", tag) is True
        assert b"".join(backend.iter_chunks("a")) == b"new"
        assert backend.head("a") is not None
        with pytest.raises(RemoteUnreachable, match="InvalidRequest"):
            backend_at(server, bucket).get("a")


def test_a_server_that_refuses_conditions_is_looked_at_before_each_put(moto_server: S3Server) -> None:
    with odd_server(moto_server, refuses=never_conditional) as server:
        backend = backend_at(server, moto_server.new_bucket())
        assert backend.put_if_absent("a", b"first") is True
        assert backend.put_if_absent("a", b"second") is False
        data, tag = backend.get_tagged("a")
        assert data == b"first"
        assert backend.replace("a", b"third", tag) is True
        assert backend.replace("a", b"fourth", tag) is False
        assert backend.get("a") == b"third"
        can = backend.abilities("a", b"third")
        assert (can.exclusive_put, can.replace) == (False, False)
        assert can.reason == f"{server.endpoint} does not heed If-None-Match and If-Match"
        assert backend.put_if_absent("b", b"first") is True
        assert backend.replace("a", b"fifth", backend.get_tagged("a")[1]) is True


def test_a_server_that_ignores_ranges_is_read_all_the_same(moto_server: S3Server) -> None:
    with odd_server(moto_server, without=("range",)) as server:
        backend = backend_at(server, moto_server.new_bucket())
        data = os.urandom(50_000)
        backend.put_if_absent("a", data)
        asked = [(0, 10), (49_990, 100), (60_000, 5), (3, 0), (50_000, 1), (1, 49_999)]
        assert backend.get_ranges("a", asked) == [data[offset : offset + length] for offset, length in asked]
        with pytest.raises(ObjectMissing):
            backend.get_ranges("none", [(5, 5)])


def test_what_others_keep_in_the_bucket_is_passed_over(s3_server: S3Server) -> None:
    bucket = s3_server.new_bucket()
    backend = backend_at(s3_server, bucket)
    backend.put_if_absent("packs/a", b"ours")
    backend.put_if_absent("packs/z", b"ours")
    for key in (
        "team/",
        "team/packs/",
        "team/packs/b//c",
        "team/packs/b c",
        "team/packs/.x",
        "team/ü",
        "teams/x",
        "other",
    ):
        s3_server.client.put_object(Bucket=bucket, Key=key, Body=b"theirs")
    assert [found.key for found in backend.iter_objects("packs/")] == ["packs/a", "packs/z"]
    assert [found.key for found in backend.iter_objects("")] == ["packs/a", "packs/z"]


@pytest.mark.parametrize("folder", ["", "a/b/c", "with blank/ü+%20&x=1", "double//slash"])
def test_any_folder_of_the_url_is_taken_as_it_is(s3_server: S3Server, folder: str) -> None:
    bucket = s3_server.new_bucket()
    backend = backend_at(s3_server, bucket, folder)
    backend.put_if_absent("dir/key", b"x")
    assert s3_server.keys(bucket) == {f"{folder}/dir/key".lstrip("/"): 1}
    assert [found.key for found in backend.iter_objects("")] == ["dir/key"]


@pytest.mark.parametrize("size", [10, 6 << 20])
def test_every_put_carries_the_access_and_encryption_of_the_settings(
    moto_server: S3Server, tmp_path: Path, size: int
) -> None:
    bucket = moto_server.new_bucket()
    settings = {"acl": "public-read", "sse": "aws:kms", "sse_kms_key_id": "lab-key"}
    backend = backend_at(moto_server, bucket, most_bytes_in_one_put=PART_BYTES, more=settings)
    (tmp_path / "file").write_bytes(b"x" * size)
    backend.put_if_absent("bytes", b"x" * size)
    backend.put_if_absent("file", tmp_path / "file")
    backend.put_if_absent("replaced", b"first")
    assert backend.replace("replaced", b"x" * size, backend.get_tagged("replaced")[1]) is True
    backend.abilities("bytes", b"x" * size)
    for key in ("bytes", "file", "replaced"):
        seen = moto_server.client.head_object(Bucket=bucket, Key=f"team/{key}")
        assert (seen["ServerSideEncryption"], seen["SSEKMSKeyId"]) == ("aws:kms", "lab-key")
        grants = moto_server.client.get_object_acl(Bucket=bucket, Key=f"team/{key}")["Grants"]
        assert any(grant["Grantee"].get("URI", "").endswith("/AllUsers") for grant in grants)
        assert backend.get(key) == b"x" * size


def test_a_file_over_the_limit_for_one_put_goes_in_parts(s3_server: S3Server, tmp_path: Path) -> None:
    bucket = s3_server.new_bucket()
    backend = backend_at(s3_server, bucket, most_bytes_in_one_put=PART_BYTES)
    data = os.urandom(2 * PART_BYTES + 1234)
    (tmp_path / "large").write_bytes(data)
    assert backend.put_if_absent("large", tmp_path / "large") is True
    assert backend.put_if_absent("large", b"other") is False
    assert backend.put_if_absent("from/memory", data) is True
    assert backend.get("large") == backend.get("from/memory") == data
    assert s3_server.client.head_object(Bucket=bucket, Key="team/large")["ETag"].endswith('-3"')
    _, tag = backend.get_tagged("large")
    assert backend.replace("large", b"small", tag) is True
    assert "Uploads" not in s3_server.client.list_multipart_uploads(Bucket=bucket)


def test_keys_that_a_program_prints_are_used(radosgw_server: S3Server, home: Path) -> None:
    printed = {"Version": 1, "AccessKeyId": radosgw_server.access_key, "SecretAccessKey": radosgw_server.secret_key}
    (home / "print-keys").write_text(f"#!/bin/sh\necho '{json.dumps(printed)}'\n")
    (home / "print-keys").chmod(0o755)
    (home / ".aws" / "config").write_text(f"[profile lab]\ncredential_process = {home / 'print-keys'}\n")
    backend = backend_at(radosgw_server, access_key_id="", secret_access_key="", profile="lab")
    assert backend.put_if_absent("small", b"x") is True
    assert backend.put_if_absent("large", b"x" * (5 << 20)) is True
    assert [found.key for found in backend.iter_objects("")] == ["large", "small"]


@pytest.mark.parametrize("how", ["environment", "file", "file by settings"])
def test_keys_in_awss_own_places_are_used(
    radosgw_server: S3Server, home: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    lines = f"aws_access_key_id={radosgw_server.access_key}\naws_secret_access_key={radosgw_server.secret_key}\n"
    settings = {}
    if how == "environment":
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", radosgw_server.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", radosgw_server.secret_key)
    elif how == "file":
        (home / ".aws" / "credentials").write_text(f"[default]\n{lines}")
    else:
        (home / "elsewhere").write_text(f"[lab]\n{lines}")
        settings = {"credentialpath": str(home / "elsewhere"), "profile": "lab"}
    backend = backend_at(radosgw_server, access_key_id="", secret_access_key="", more=settings)
    assert backend.put_if_absent("small", b"x") is True
    assert backend.put_if_absent("large", b"x" * (5 << 20)) is True


def test_a_token_in_the_environment_does_not_spoil_keys_of_the_settings(
    radosgw_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "of-another-account")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    backend = backend_at(radosgw_server)
    assert backend.put_if_absent("small", b"x") is True
    assert backend.put_if_absent("large", b"x" * (5 << 20)) is True


def test_a_public_bucket_needs_no_keys(radosgw_server: S3Server) -> None:
    bucket = radosgw_server.new_bucket()
    backend_at(radosgw_server, bucket).put_if_absent("a", b"x")
    stranger = backend_at(radosgw_server, bucket, access_key_id="", secret_access_key="", allow_anonymous_login="true")
    with pytest.raises(RemoteUnreachable, match="AccessDenied"):
        stranger.get("a")
    policy = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"],
              "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]}  # fmt: skip
    text = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
    radosgw_server.client.put_bucket_policy(Bucket=bucket, Policy=text)
    assert stranger.get("a") == b"x"
    assert [found.key for found in stranger.iter_objects("")] == ["a"]
    with pytest.raises(RemoteUnreachable, match="AccessDenied"):
        stranger.put_if_absent("b", b"x")


IN_A_FRESH_PROCESS = """
import resource, sys
from pathlib import Path
from datapin.backends.s3.backend import S3Backend
from datapin.backends.s3.settings import s3_settings
url, endpoint, key, secret, source, target = sys.argv[1:]
backend = S3Backend(s3_settings(url, {"endpointurl": endpoint, "access_key_id": key, "secret_access_key": secret}))
backend.put_if_absent("small", b"x")
list(backend.iter_objects("")), backend.get("small"), backend.get_ranges("small", [(0, 1)])
print(",".join(sorted(name for name in ("boto3", "botocore", "s3transfer") if name in sys.modules)))
backend.put_if_absent("medium", b"x" * (5 << 20))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
backend.put_if_absent("large", Path(source))
with open(target, "wb") as file:
    for chunk in backend.iter_chunks("large"):
        file.write(chunk)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_static_keys_need_no_botocore_and_a_large_file_little_memory(s3_server: S3Server, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(os.urandom(1 << 20) * 80)
    words = [f"s3://{s3_server.new_bucket()}/a", s3_server.endpoint, s3_server.access_key, s3_server.secret_key]
    said = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, *words, str(source), str(target)],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    assert said[0] == ""
    assert int(said[1]) < 24
    assert target.read_bytes() == source.read_bytes()
