"""DVC's settings of an S3 remote mean to us what they mean to DVC, and to AWS's own tools what is left open."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session
from dvc.fs import get_cloud_fs
from dvc_objects.fs.errors import ConfigError

from datapin.backends.s3.aws_files import read_aws_keys, read_aws_profile
from datapin.backends.s3.settings import s3_settings
from datapin.base.errors import BadSettings

URL = "s3://bucket/team/data"
KEYS = {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "very-secret", "session_token": "very-temporary"}
CUSTOMER_KEY = base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()


@pytest.fixture(autouse=True)
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home: nothing of this machine's AWS set-up is seen."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "REQUESTS_CA", "DATAPIN_REMOTE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".aws").mkdir()
    return tmp_path / ".aws"


def of_dvc(url: str, settings: Mapping[str, str | bool]) -> tuple[dict[str, Any], str]:
    """What DVC would hand to s3fs, and the bucket and folder."""
    kind, config, path = get_cloud_fs({}, url=url, **settings)
    return kind(**config).fs_args, path


@pytest.mark.parametrize(
    "settings",
    [
        {},
        KEYS,
        {"access_key_id": "AKIAEXAMPLE", "secret_access_key": "very-secret"},
        {"endpointurl": "http://127.0.0.1:9000", "region": "eu-central-1"},
        {"profile": "lab"},
        {"use_ssl": "false"},
        {"use_ssl": "True", "allow_anonymous_login": "true"},
        {"ssl_verify": "false"},
        {"ssl_verify": "TRUE"},
        {"sse": "aws:kms", "sse_kms_key_id": "key-1"},
        {"sse": "AES256", "acl": "bucket-owner-full-control"},
        {"sse_customer_key": CUSTOMER_KEY},
        {"sse_customer_key": CUSTOMER_KEY, "sse_customer_algorithm": "AES128"},
        {"grant_read": "id=1", "grant_read_acp": "id=2", "grant_write_acp": "id=3", "grant_full_control": "id=4"},
        {"read_timeout": "7", "connect_timeout": "3"},
        {"read_timeout": 7, "use_ssl": False, "allow_anonymous_login": True, "ssl_verify": False},
        {"listobjects": "true", "cache_regions": True, "verify": "true", "jobs": "4"},
    ],
    ids=lambda settings: ",".join(settings) or "nothing",
)
def test_settings_mean_what_they_mean_to_dvc(settings: dict[str, str]) -> None:
    typed = {name: value.lower() == "true" if name == "cache_regions" else value for name, value in settings.items()
             if isinstance(value, str)} | {n: v for n, v in settings.items() if not isinstance(v, str)}  # fmt: skip
    theirs, path = of_dvc(URL, typed)
    ours = s3_settings(URL, settings)
    client, config = theirs.get("client_kwargs", {}), theirs.get("config_kwargs", {})
    assert f"{ours.bucket}/{ours.prefix}".rstrip("/") == path
    assert (ours.access_key_id or None) == theirs.get("key")
    assert (ours.secret_access_key or None) == theirs.get("secret")
    assert (ours.session_token or None) == theirs.get("token")
    assert (ours.profile or None) == theirs.get("profile")
    assert ours.use_ssl == theirs["use_ssl"]
    assert ours.is_anonymous == theirs.get("anon", False)
    assert (ours.region or None) == client.get("region_name")
    assert (ours.endpoint or None) == client.get("endpoint_url")
    assert ours.ssl_verify == client.get("verify", True)
    assert ours.silence_s == config.get("read_timeout", 60)
    assert ours.connect_timeout_s == config.get("connect_timeout", 20 if ours.silence_s > 20 else ours.silence_s)
    assert dict(ours.put_arguments) == theirs.get("s3_additional_kwargs", {})


@pytest.mark.parametrize(
    "url", ["s3://bucket", "s3://bucket/", "s3://b.with.dots/a/b/", "s3://bucket/a b/ü", "S3://bucket/a"]
)
def test_urls_mean_what_they_mean_to_dvc(url: str) -> None:
    _, path = of_dvc(url.replace("S3", "s3"), {})
    ours = s3_settings(url, {})
    assert f"{ours.bucket}/{ours.prefix}".rstrip("/") == path.rstrip("/")
    assert ours.url == f"s3://{path.rstrip('/')}"


@pytest.mark.parametrize(
    "settings",
    [
        {"acl": "private", "grant_read": "id=1"},
        {"sse_customer_key": CUSTOMER_KEY, "sse_kms_key_id": "key-1"},
    ],
)
def test_what_dvc_refuses_is_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        of_dvc(URL, settings)
    with pytest.raises(BadSettings, match="exclude each other") as caught:
        s3_settings(URL, settings)
    assert caught.value.exit_code == 10
    assert CUSTOMER_KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"use_ssl": "perhaps"}, "use_ssl: expected true or false, not 'perhaps'"),
        ({"access_key_id": "only-this"}, "one is missing"),
        ({"secret_access_key": "only-this"}, "one is missing"),
        ({"endpointurl": "server:9000"}, "'server:9000' is no URL"),
        ({"read_timeout": "soon"}, "read_timeout: expected a number of seconds"),
        ({"connect_timeout": "0"}, "connect_timeout: expected a number of seconds"),
        ({"sse_customer_key": "%"}, "it is not 32 bytes in base64"),
        ({"ssl_verify": "/no/such/file.pem"}, "ssl_verify: there is no file /no/such/file.pem"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, str], problem: str) -> None:
    with pytest.raises(BadSettings, match="remote s3://bucket/team/data") as caught:
        s3_settings(URL, settings)
    assert problem in caught.value.message
    assert "only-this" not in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("url", ["s3://", "s3:///folder", "gs://bucket/a", "bucket/a"])
def test_a_url_without_a_bucket_is_refused(url: str) -> None:
    with pytest.raises(BadSettings, match="expected s3://BUCKET/FOLDER"):
        s3_settings(url, {})


def test_no_secret_is_in_the_repr() -> None:
    shown = repr(s3_settings(URL, {**KEYS, "sse_customer_key": CUSTOMER_KEY, "profile": "lab"}))
    assert "lab" in shown
    for secret in ("AKIAEXAMPLE", "very-secret", "very-temporary", "0123456789abcdef"):
        assert secret not in shown


def test_a_shorter_silence_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAPIN_REMOTE_TIMEOUT_S", "1.5")
    settings = s3_settings(URL, {})
    assert (settings.silence_s, settings.connect_timeout_s) == (1.5, 1.5)
    assert s3_settings(URL, {"read_timeout": "9"}).silence_s == 9


CONFIG = """
[default]
region = eu-west-1
[profile lab]
region = eu-central-1
endpoint_url = https://lab.example
ca_bundle = {bundle}
s3 =
    addressing_style = virtual
    max_concurrent_requests = 20
[profile "two words"]
region = eu-north-1
services = lab-services
endpoint_url = https://general.example
[profile amazon]
s3 =
    use_accelerate_endpoint = true
[profile role]
role_arn = arn:aws:iam::123456789012:role/x
source_profile = default
[services lab-services]
s3 =
  endpoint_url = https://s3.example
dynamodb =
  endpoint_url = https://other.example
"""
CREDENTIALS = """
[default]
aws_access_key_id = DEFAULT
aws_secret_access_key = default-secret
[lab]
aws_access_key_id = LAB
aws_secret_access_key = lab-secret
aws_session_token = lab-token
[role]
aws_access_key_id = ROLE
aws_secret_access_key = role-secret
"""


@pytest.mark.parametrize(
    ("profile", "environment"),
    [
        ("", {}),
        ("lab", {}),
        ("two words", {}),
        ("default", {}),
        ("", {"AWS_PROFILE": "lab"}),
        ("lab", {"AWS_PROFILE": "two words"}),
        ("", {"AWS_DEFAULT_REGION": "us-west-2", "AWS_REGION": "us-west-1"}),
        ("lab", {"AWS_ENDPOINT_URL": "https://from.env"}),
        ("lab", {"AWS_ENDPOINT_URL": "https://from.env", "AWS_ENDPOINT_URL_S3": "https://s3.from.env"}),
        ("two words", {"AWS_ENDPOINT_URL": "https://from.env"}),
        ("lab", {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "true"}),
    ],
)
def test_aws_files_mean_what_they_mean_to_botocore(
    aws: Path, monkeypatch: pytest.MonkeyPatch, profile: str, environment: dict[str, str]
) -> None:
    bundle = aws / "bundle.pem"
    bundle.touch()
    (aws / "config").write_text(CONFIG.format(bundle=bundle))
    (aws / "credentials").write_text(CREDENTIALS)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    session = Session(profile=profile or None)
    client = session.create_client("s3")
    ours = s3_settings(URL, {"profile": profile} if profile else {})
    assert ours.region == client.meta.region_name
    assert (ours.endpoint or "amazonaws.com") in client.meta.endpoint_url
    assert ours.ssl_verify == (session.get_config_variable("ca_bundle") or True)
    style = (session.get_config_variable("s3") or {}).get("addressing_style")
    assert read_aws_profile("~/.aws/config", profile).addressing_style == (style or "")
    keys = session.get_credentials().get_frozen_credentials() if profile != "two words" else None
    found = read_aws_keys("~/.aws/config", "~/.aws/credentials", profile)
    assert found == (keys and (keys.access_key, keys.secret_key, keys.token or ""))


@pytest.mark.parametrize(("profile", "wins"), [("", "FROM-ENV"), ("lab", "LAB")])
def test_keys_in_the_environment_give_way_only_to_a_named_profile(
    aws: Path, monkeypatch: pytest.MonkeyPatch, profile: str, wins: str
) -> None:
    (aws / "credentials").write_text(CREDENTIALS)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FROM-ENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "env-secret")
    theirs = Session(profile=profile or None).get_credentials()
    assert theirs.access_key == wins
    found = read_aws_keys("~/.aws/config", "~/.aws/credentials", profile)
    assert found is not None
    assert found[0] == wins


def test_a_profile_that_assumes_a_role_is_left_to_botocore(aws: Path) -> None:
    (aws / "config").write_text(CONFIG)
    (aws / "credentials").write_text(CREDENTIALS)
    assert read_aws_keys("~/.aws/config", "~/.aws/credentials", "role") is None


def test_a_broken_file_of_aws_is_named_and_not_quoted(aws: Path) -> None:
    (aws / "config").write_text("[default]\naws_secret_access_key very-secret\n")
    with pytest.raises(BadSettings, match=r"config.*it is not a file of settings") as caught:
        s3_settings(URL, {})
    assert "very-secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_files_of_aws_named_in_the_settings_give_way_to_the_environment(
    aws: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").write_text("[default]\nregion = sa-east-1\n")
    (tmp_path / "env").write_text("[default]\nregion = ca-west-1\n")
    assert s3_settings(URL, {"configpath": str(tmp_path / "mine")}).region == "sa-east-1"
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "env"))
    assert s3_settings(URL, {"configpath": str(tmp_path / "mine")}).region == "ca-west-1"


@pytest.mark.parametrize(
    ("url", "settings", "config", "reason"),
    [
        (URL, {}, "", ""),
        ("s3://bucket/with blank", {}, "", "unusual characters in the URL"),
        (URL, {"sse_customer_key": CUSTOMER_KEY}, "", "keys of the user's own (SSE-C)"),
        ("s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/point/team", {}, "", "an access point"),
        (URL, {}, "[default]\ns3 =\n  use_accelerate_endpoint = true\n", "use_accelerate_endpoint"),
    ],
)
def test_what_obstore_cannot_say_goes_through_botocore(
    aws: Path, url: str, settings: dict[str, str], config: str, reason: str
) -> None:
    (aws / "config").write_text(config)
    assert s3_settings(url, settings).only_boto == reason


@pytest.mark.parametrize("separator", ["/", ":"])
def test_an_access_point_is_one_bucket(separator: str) -> None:
    arn = f"arn:aws:s3:eu-west-1:123456789012:accesspoint{separator}point"
    settings = s3_settings(f"s3://{arn}/team/data", {})
    assert (settings.bucket, settings.prefix) == (arn, "team/data/")


@pytest.mark.parametrize(
    ("url", "settings", "config", "is_virtual"),
    [
        (URL, {}, "", True),
        ("s3://b.with.dots/x", {}, "", False),
        (URL, {"endpointurl": "https://server"}, "", False),
        (URL, {"endpointurl": "https://server"}, "[default]\ns3 =\n  addressing_style = virtual\n", True),
        (URL, {}, "[default]\ns3 =\n  addressing_style = path\n", False),
    ],
)
def test_the_bucket_is_part_of_the_host_where_botocore_would_say_so(
    aws: Path, url: str, settings: dict[str, str], config: str, is_virtual: bool
) -> None:
    (aws / "config").write_text(config)
    ours = s3_settings(url, settings)
    client = Session().create_client(
        "s3", endpoint_url=settings.get("endpointurl"), region_name="eu-west-1",
        aws_access_key_id="a", aws_secret_access_key="b",
    )  # fmt: skip
    asked = client.generate_presigned_url("get_object", Params={"Bucket": ours.bucket, "Key": "k"})
    assert asked.startswith(f"https://{ours.bucket}.") is is_virtual
    assert ours.is_virtual_hosted is is_virtual
