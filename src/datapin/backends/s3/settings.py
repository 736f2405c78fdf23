"""What DVC's settings of an S3 remote mean, read as DVC itself reads them, without importing it."""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from datapin.backends.s3.aws_files import AwsProfile, read_aws_profile
from datapin.base.errors import BadSettings

SILENCE_VARIABLE = "DATAPIN_REMOTE_TIMEOUT_S"
_SILENCE_S = 60.0
_CONNECT_S = 20.0
_CUSTOMER_KEY_BYTES = 32

_ARN = re.compile(r"(?P<bucket>arn:aws[^/]*:(?:outpost[:/][^:/]+[:/])?(?:accesspoint|bucket)[:/][^/]+)/?(?P<path>.*)")
_GRANTS = {
    "grant_full_control": "GrantFullControl",
    "grant_read": "GrantRead",
    "grant_read_acp": "GrantReadACP",
    "grant_write_acp": "GrantWriteACP",
}
_PLAIN_PREFIX = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*")


@dataclass(frozen=True, slots=True)
class S3Settings:
    """One S3 remote: where it is, who asks, what every put must say. Its repr holds no secret."""

    bucket: str
    prefix: str = ""  # empty, or ends with "/"
    endpoint: str = ""  # empty: Amazon's own
    region: str = ""  # empty: nobody said
    profile: str = ""
    access_key_id: str = field(default="", repr=False)
    secret_access_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    aws_config_file: str = ""
    aws_credentials_file: str = ""
    use_ssl: bool = True
    ssl_verify: bool | str = True  # or a file of certificates
    is_anonymous: bool = False
    is_virtual_hosted: bool = False  # the bucket's name is part of the host's
    connect_timeout_s: float = _CONNECT_S
    silence_s: float = _SILENCE_S  # how long the server may say nothing
    put_arguments: tuple[tuple[str, str | bytes], ...] = field(default=(), repr=False)  # boto3's names
    read_arguments: tuple[tuple[str, str | bytes], ...] = field(default=(), repr=False)
    only_boto: str = ""  # why obstore cannot speak to it, empty if it can

    @property
    def url(self) -> str:
        """The place as a URL, for messages."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")


def s3_settings(url: str, settings: Mapping[str, Any]) -> S3Settings:
    """The remote at `url` with DVC's own settings of it. What they leave open, AWS's files and variables say.

    Reads AWS's two files; asks nothing of the remote. Raises BadSettings.
    """
    bucket, prefix = _place(url)
    said = _Said(url, settings)
    access_key_id, secret_access_key = said.text("access_key_id"), said.text("secret_access_key")
    if bool(access_key_id) != bool(secret_access_key):
        raise said.wrong("access_key_id", "access_key_id and secret_access_key go together, one is missing")
    # As in DVC, a variable of the environment wins over the path in the settings.
    config_file = os.environ.get("AWS_CONFIG_FILE") or said.text("configpath") or "~/.aws/config"
    credentials_file = (
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or said.text("credentialpath") or "~/.aws/credentials"
    )
    profile = read_aws_profile(config_file, said.text("profile"))
    endpoint = said.text("endpointurl") or profile.endpoint
    if endpoint and not re.match(r"https?://[^/]", endpoint):
        raise said.wrong("endpointurl", f"{endpoint!r} is no URL, expected https://HOST or http://HOST:PORT")
    silence_s = said.seconds("read_timeout", float(os.environ.get(SILENCE_VARIABLE) or _SILENCE_S))
    customer = said.customer_key()
    return S3Settings(
        bucket=bucket,
        prefix=prefix,
        endpoint=endpoint.rstrip("/"),
        region=said.text("region") or profile.region,
        profile=said.text("profile"),
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
        session_token=said.text("session_token"),
        aws_config_file=os.path.expanduser(config_file),
        aws_credentials_file=os.path.expanduser(credentials_file),
        use_ssl=said.truth("use_ssl", default=True),
        ssl_verify=said.verification(profile),
        is_anonymous=said.truth("allow_anonymous_login", default=False),
        is_virtual_hosted=_is_virtual_hosted(bucket, endpoint, profile),
        connect_timeout_s=said.seconds("connect_timeout", min(_CONNECT_S, silence_s)),
        silence_s=silence_s,
        put_arguments=(*said.encryption(), *customer, *said.access()),
        read_arguments=customer,
        only_boto=_reason_for_boto(bucket, prefix, profile, encrypts=bool(customer)),
    )


class _Said:
    """DVC's settings of one remote: text as it stands in the file, or values that DVC's reader made of it."""

    def __init__(self, url: str, settings: Mapping[str, Any]) -> None:
        self._url = url
        self._settings = settings

    def wrong(self, name: str, problem: str) -> BadSettings:
        return BadSettings(
            ".dvc/config",
            f"remote {self._url}: {name}",
            problem,
            "correct it with `dvc remote modify NAME OPTION VALUE`",
        )

    def text(self, name: str) -> str:
        value = self._settings.get(name)
        return "" if value is None else str(value)

    def truth(self, name: str, *, default: bool) -> bool:
        value = self.text(name).lower()
        if value not in ("", "true", "false"):
            raise self.wrong(name, f"expected true or false, not {value!r}")
        return value == "true" if value else default

    def seconds(self, name: str, default: float) -> float:
        value = self.text(name)
        if not value:
            return default
        if not value.isdecimal() or int(value) == 0:
            raise self.wrong(name, f"expected a number of seconds, not {value!r}")
        return float(value)

    def verification(self, profile: AwsProfile) -> bool | str:
        value = self.text("ssl_verify")
        if value.lower() in ("true", "false"):
            # boto3 looks for a bundle of certificates only if nothing is said.
            return value.lower() == "true"
        bundle = os.path.expanduser(value or profile.ca_bundle)
        if bundle and not os.path.exists(bundle):
            raise self.wrong("ssl_verify", f"there is no file {bundle}")
        return bundle or True

    def customer_key(self) -> tuple[tuple[str, str | bytes], ...]:
        """The arguments that encrypt with a key of the user's own, which every read must name too."""
        encoded, algorithm = self.text("sse_customer_key"), self.text("sse_customer_algorithm")
        if encoded and self.text("sse_kms_key_id"):
            raise self.wrong("sse_customer_key", "sse_kms_key_id and sse_customer_key exclude each other")
        if not encoded:
            return (("SSECustomerAlgorithm", algorithm),) if algorithm else ()
        try:
            key = base64.b64decode(encoded)
        except binascii.Error:
            key = b""
        if len(key) != _CUSTOMER_KEY_BYTES:
            raise self.wrong("sse_customer_key", f"it is not {_CUSTOMER_KEY_BYTES} bytes in base64")
        return (("SSECustomerAlgorithm", algorithm or "AES256"), ("SSECustomerKey", key))

    def encryption(self) -> tuple[tuple[str, str | bytes], ...]:
        named = {"ServerSideEncryption": self.text("sse"), "SSEKMSKeyId": self.text("sse_kms_key_id")}
        return tuple((name, value) for name, value in named.items() if value)

    def access(self) -> tuple[tuple[str, str | bytes], ...]:
        granted = tuple((_GRANTS[name], self.text(name)) for name in _GRANTS if self.text(name))
        if not self.text("acl"):
            return granted
        if granted:
            raise self.wrong("acl", "acl and grant_* exclude each other")
        return (("ACL", self.text("acl")),)


def _place(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    bucket, path = parts.netloc, parts.path.strip("/")
    if amazon := _ARN.fullmatch(f"{bucket}/{path}"):
        bucket, path = amazon["bucket"], amazon["path"]
    if parts.scheme.lower() != "s3" or not bucket:
        raise BadSettings(".dvc/config", f"remote {url}", "expected s3://BUCKET/FOLDER", "run `dvc remote list`")
    return bucket, f"{path}/" if path else ""


def _is_virtual_hosted(bucket: str, endpoint: str, profile: AwsProfile) -> bool:
    # botocore's rule: a server of one's own is asked by path, Amazon by the bucket's host. A certificate for
    # *.s3.amazonaws.com does not cover a name with dots.
    if endpoint:
        return profile.addressing_style == "virtual"
    return profile.addressing_style != "path" and re.fullmatch(r"[a-z0-9-]{3,63}", bucket) is not None


def _reason_for_boto(bucket: str, prefix: str, profile: AwsProfile, *, encrypts: bool) -> str:
    if encrypts:
        return "keys of the user's own (SSE-C)"
    if bucket.startswith("arn:"):
        return "an access point"
    if not _PLAIN_PREFIX.fullmatch(prefix):
        return "unusual characters in the URL"
    return profile.special
