"""What the libraries below DVC's file systems raise, as one of our errors: one line, a hint, never a secret.

Their classes are found by name among the modules that are loaded: a library that is not loaded cannot have raised.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from datapin.base.errors import RemoteUnreachable

_FOREIGN = (
    ("aiohttp", "ClientError"),
    ("asyncssh", "Error"),
    ("asyncssh", "ProcessError"),
    ("azure.core.exceptions", "AzureError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("dvc.config", "ConfigError"),
    ("dvc_objects.fs.errors", "AuthError"),
    ("dvc_objects.fs.errors", "ConfigError"),
    ("dvc_objects.fs.errors", "RemoteMissingDepsError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("httpx", "HTTPError"),
    ("oss2.exceptions", "OssError"),
    ("pydrive2.files", "ApiRequestError"),
    ("pydrive2.settings", "InvalidConfigError"),
    ("webdav4.client", "ClientError"),
)
_PASSING = (
    ("aiohttp", "ClientConnectionError"),
    ("aiohttp", "ClientPayloadError"),
    ("asyncssh", "ChannelOpenError"),
    ("asyncssh", "ConnectionLost"),
    ("asyncssh", "SFTPConnectionLost"),
    ("asyncssh", "SFTPNoConnection"),
    ("azure.core.exceptions", "ServiceRequestError"),
    ("azure.core.exceptions", "ServiceResponseError"),
    ("botocore.exceptions", "HTTPClientError"),
    ("google.auth.exceptions", "TransportError"),
    ("httpx", "TransportError"),
    # Two make the same folders at once.
    ("webdav4.client", "ResourceConflict"),
    ("webdav4.client", "ResourceLocked"),
)
_DENIED = (("asyncssh", "PermissionDenied"),)
_BELOW_HTTP = (("aiohttp", "ClientError"),)
_MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_DENIED_STATUS = (401, 403, 407)
_GONE_STATUS = (404, 410)
_BUSY_STATUS = (408, 429)
_MOST_CHARACTERS = 300
_SECRET_SETTING = re.compile(r"(?!.*(file|path)$).*(pass|secret|token|key|connection_string|sas)")
# `user:password@` of a URL, and its query, where signed URLs carry their signature.
_USER_INFO = re.compile(r"(?<=://)([^/@:\s]*):[^/@\s]*@")
_NUMBER = re.compile(r"^\[Errno -?\d+\] ")
_QUERY = re.compile(r"(://[^\s?'\"]+)\?[^\s'\"]*")


def foreign_errors() -> tuple[type[Exception], ...]:
    """The classes that a call into a file system may raise for a reason that is not our bug."""
    # Several libraries say ValueError if credentials cannot be, or if a server answers what it should not.
    return (OSError, ValueError, *_loaded(_FOREIGN))


def may_pass(error: BaseException) -> bool:
    """True if the same call may succeed a little later: a lost connection, a server that is busy."""
    if isinstance(error, (ConnectionError, TimeoutError, *_loaded(_PASSING))):
        return True
    status = http_status(error)
    return status is not None and (status >= 500 or status in _BUSY_STATUS)


def http_status(error: BaseException) -> int | None:
    """The HTTP status, however the library calls it."""
    for name in ("status", "status_code", "code"):
        seen = getattr(error, name, None)
        if isinstance(seen, int | str) and re.fullmatch(r"[1-5]\d\d", str(seen)):
            return int(seen)
    return None


def is_missing(error: BaseException) -> bool:
    """True if there is nothing of that name."""
    return isinstance(error, _MISSING) or http_status(error) in _GONE_STATUS


def is_denied(error: BaseException) -> bool:
    """True if the place knows us not, or not well enough."""
    return isinstance(error, (PermissionError, *_loaded(_DENIED))) or http_status(error) in _DENIED_STATUS


def real_cause(error: BaseException) -> BaseException:
    """What happened below: fsspec's HTTP says that a file is not found whatever kept it from asking."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and cause is not None:
        return cause if isinstance(cause, (TimeoutError, *_loaded(_BELOW_HTTP))) else error
    return error


def unreachable(
    error: BaseException, *, name: str, url: str, action: str, secrets: Iterable[str], silence_s: float
) -> RemoteUnreachable:
    """The error to show for the one that came from below while we wanted to `action`."""
    if is_denied(error):
        return RemoteUnreachable(
            url,
            f"cannot {action}: access denied ({_text(error, secrets)})",
            f"check user, password or key of the remote: `dvc remote modify --local {name} OPTION VALUE`",
        )
    if isinstance(error, TimeoutError):
        return RemoteUnreachable(
            url,
            f"cannot {action}: no answer within {silence_s:.0f} s",
            "check the network and the server, then run the same command again",
        )
    if may_pass(error):
        return RemoteUnreachable(
            url,
            f"cannot {action}: {_text(error, secrets)}",
            "check the URL, the network and the server, then run the same command again",
        )
    return RemoteUnreachable(url, f"cannot {action}: {_text(error, secrets)}")


def library_missing(protocol: str, url: str) -> RemoteUnreachable:
    """DVC's part for this kind of remote is not installed."""
    extra = {"webdavs": "webdav", "https": "http"}.get(protocol, protocol)
    return RemoteUnreachable(
        url, f"DVC's library for {protocol} remotes is not installed", f'run `pip install "dvc[{extra}]"`'
    )


def secrets_of(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """What a remote's settings hold that no message may."""
    named = [str(value) for name, value in settings.items() if _SECRET_SETTING.match(name)]
    return tuple(secret for secret in (*named, urlsplit(str(settings["url"])).password or "") if len(secret) > 2)


def shown_url(url: str) -> str:
    """`url` without a password or a signature."""
    return _QUERY.sub(r"\1", _USER_INFO.sub(r"\1@", url)).rstrip("/")


def _text(error: BaseException, secrets: Iterable[str]) -> str:
    status = http_status(error)
    if isinstance(error, OSError) and error.strerror:
        text = error.strerror
    elif status is not None and vars(error).get("message"):
        text = f"{status} {vars(error).get('message', '')}"
    else:
        text = str(error)
    lines = text.strip().splitlines()
    text = _NUMBER.sub("", lines[0]) if lines else type(error).__name__
    for secret in secrets:
        text = text.replace(secret, "***")
    return shown_url(text)[:_MOST_CHARACTERS]


def _loaded(names: Iterable[tuple[str, str]]) -> tuple[type[Exception], ...]:
    found = (getattr(sys.modules.get(module), name, None) for module, name in names)
    return tuple(kind for kind in found if isinstance(kind, type) and issubclass(kind, Exception))
