"""What can go wrong between us and an S3 server, in one form for both libraries, and in words for people.

Nothing that a server or a library said is repeated but the server's error code: their texts hold XML, URLs with
signatures, and names of keys.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from datapin.base.errors import RemoteUnreachable

TAKEN = "PreconditionFailed"
MISSING = "NoSuchKey"
PAST_THE_END = "InvalidRange"
NOT_SUPPORTED = "NotImplemented"

REFUSED, NO_HOST, BUSY_NAMES, BROKEN = "refused", "no-host", "busy-names", "broken"
SILENT, NO_TLS, BAD_CERTIFICATE, NO_KEYS = "silent", "no-tls", "bad-certificate", "no-keys"
WHOLE_ANSWER, ODD_KEY, WRONG_REGION, CHANGED, OTHER = "whole-answer", "odd-key", "wrong-region", "changed", "other"

_PASSES = frozenset((
    REFUSED, BUSY_NAMES, BROKEN, SILENT, NO_TLS, "SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout",
    "OperationAborted", "ConditionalRequestConflict", "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody",
    "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests",
))  # fmt: skip
_NEVER_HAPPENED = frozenset((REFUSED, NO_HOST, BUSY_NAMES, NO_TLS, BAD_CERTIFICATE, NO_KEYS))
_ELSEWHERE = frozenset((
    WRONG_REGION, "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
))  # fmt: skip


@dataclass
class S3Failure(Exception):
    """A request that failed: the server's own error code or one of ours, and the HTTP status, 0 if there was none."""

    code: str
    status: int = 0

    @property
    def may_pass(self) -> bool:
        """Trying again may help."""
        return self.code in _PASSES or self.status == 429 or (self.status >= 500 and self.code != NOT_SUPPORTED)

    @property
    def may_have_happened(self) -> bool:
        """The server may have done what it was asked."""
        return self.code not in _NEVER_HAPPENED

    @property
    def is_elsewhere(self) -> bool:
        """The bucket lies in another region than the one we asked."""
        return self.code in _ELSEWHERE or self.status == 301

    def __str__(self) -> str:
        return f"{self.code} {self.status or ''}".strip()


# What obstore says, from its text: it has one class for everything that is not in this table.
_SIGNS = (
    (re.compile(r"NotPartial"), WHOLE_ANSWER),
    (re.compile(r"InvalidPath"), ODD_KEY),
    (re.compile(r"BareRedirect|without LOCATION"), WRONG_REGION),
    (re.compile(r"External AWS credential provider|CredentialProvider"), NO_KEYS),
    (re.compile(r"InvalidCertificate|UnknownIssuer|certificate"), BAD_CERTIFICATE),
    (re.compile(r"Temporary failure in name resolution"), BUSY_NAMES),
    (re.compile(r"dns error"), NO_HOST),
    (re.compile(r"ConnectionRefused"), REFUSED),
    (re.compile(r"kind: Timeout|TimedOut"), SILENT),
    (re.compile(r"InvalidContentType|tls|Tls|CorruptMessage"), NO_TLS),
    (re.compile(r"kind: (?:Interrupted|Connect|Request|Decode|Body)\b|Reset|IncompleteBody|BrokenPipe"), BROKEN),
)
_STATUS = re.compile(r"(?:non-2xx status code:|status:) (\d{3})")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")


@contextmanager
def from_obstore() -> Iterator[None]:
    """Turn what obstore raises into S3Failure."""
    from obstore.exceptions import BaseError

    try:
        yield
    except (BaseError, FileNotFoundError, ValueError) as error:
        raise _of_obstore(str(error)) from None


@contextmanager
def from_botocore() -> Iterator[None]:
    """Turn what botocore raises into S3Failure."""
    from botocore.exceptions import BotoCoreError, ClientError
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ResponseParserError:
        raise S3Failure(BROKEN) from None
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code") or "")
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        # An answer to HEAD has no code: botocore puts the status there.
        raise of_answer("" if code.isdecimal() else code, status) from None
    except BotoCoreError as error:
        raise _of_botocore(error) from None


def _of_obstore(text: str) -> S3Failure:
    status = _STATUS.search(text)
    if status is not None:
        code = _CODE.search(text)
        return of_answer(code[1] if code else "", int(status[1]))
    return S3Failure(next((code for sign, code in _SIGNS if sign.search(text)), OTHER))


def _of_botocore(error: BaseException) -> S3Failure:
    from botocore import exceptions as boto

    kinds: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
        ((boto.ConnectTimeoutError, boto.ReadTimeoutError), SILENT),
        (boto.SSLError, BAD_CERTIFICATE if "certificate verify" in str(error).lower() else NO_TLS),
        (boto.EndpointConnectionError, _of_connection(error)),
        ((boto.HTTPClientError, boto.IncompleteReadError, boto.ResponseStreamingError), BROKEN),
        (
            (
                boto.NoCredentialsError,
                boto.PartialCredentialsError,
                boto.CredentialRetrievalError,
                boto.TokenRetrievalError,
                boto.SSOError,
                boto.LoginError,
                boto.ProfileNotFound,
                boto.MetadataRetrievalError,
                boto.RefreshWithMFAUnsupportedError,
            ),
            NO_KEYS,
        ),
    )
    return S3Failure(next((code for kind, code in kinds if isinstance(error, kind)), OTHER))


def _of_connection(error: BaseException) -> str:
    # The exception itself says no more than "Could not connect": the cause is in the one it was made of.
    cause = str(getattr(error, "kwargs", {}).get("error", ""))
    if "Temporary failure in name resolution" in cause:
        return BUSY_NAMES
    return NO_HOST if "Failed to resolve" in cause else REFUSED if "refused" in cause else BROKEN


def of_answer(code: str, status: int) -> S3Failure:
    """The failure that an answer of the server means; `code` is empty if its body was."""
    if status == 412 or code == TAKEN:
        return S3Failure(TAKEN, status)
    if status == 416:
        return S3Failure(PAST_THE_END, status)
    if status == 501:
        return S3Failure(NOT_SUPPORTED, status)
    return S3Failure(code, status)


def unreachable(url: str, endpoint: str, bucket: str, failure: S3Failure) -> RemoteUnreachable:
    """The failure for people: one line with the server's code in words, and what to do about it."""
    server = endpoint or "Amazon S3"
    known = _WORDS.get(failure.code)
    if known is None and failure.status:
        said = failure.code or "no error code"
        known = (
            f"{{server}} answered HTTP {failure.status} ({said})",
            "check its endpointurl, or look into the server's log" if failure.status < 500 else _LATER,
        )
    problem, advice = known or ("the connection to {server} failed", _ENDPOINT)
    return RemoteUnreachable(url, problem.format(server=server, bucket=bucket), advice)


_LATER = "wait a little and run the same command again: what arrived is kept"
_ENDPOINT = "check its URL and endpointurl with `dvc remote list` and `dvc config --list`, and the network"
_RIGHTS = "ask the bucket's owner for s3:ListBucket, s3:GetObject and s3:PutObject on it"
_KEYS = "set them with `dvc remote modify --local NAME access_key_id KEY` and `secret_access_key`, or a profile"
_LOGIN = "log in again (for example `aws sso login`), then run the same command again: what arrived is kept"

_WORDS: dict[str, tuple[str, str]] = {
    "NoSuchBucket": (
        "there is no bucket {bucket} at {server} (NoSuchBucket)",
        "make the bucket, or correct the URL with `dvc remote modify NAME url URL`",
    ),
    "AccessDenied": ("{server} denies access to bucket {bucket} (AccessDenied)", _RIGHTS),
    "AllAccessDisabled": ("{server} denies all access to bucket {bucket} (AllAccessDisabled)", _RIGHTS),
    "InvalidAccessKeyId": ("{server} does not know the access key (InvalidAccessKeyId)", _KEYS),
    "SignatureDoesNotMatch": ("the secret key does not belong to the access key (SignatureDoesNotMatch)", _KEYS),
    "ExpiredToken": ("the session has expired (ExpiredToken)", _LOGIN),
    "TokenRefreshRequired": ("the session has expired (TokenRefreshRequired)", _LOGIN),
    "InvalidToken": ("the session token is not valid (InvalidToken)", _LOGIN),
    "RequestTimeTooSkewed": ("this machine's clock is wrong (RequestTimeTooSkewed)", "set the clock, then try again"),
    "QuotaExceeded": ("the quota at {server} is used up (QuotaExceeded)", "ask the bucket's owner for more space"),
    "InvalidObjectState": (
        "an object lies in an archive and cannot be read (InvalidObjectState)",
        "restore it in the bucket's console, and take the bucket's folder out of archiving",
    ),
    REFUSED: ("nothing listens at {server}: connection refused", _ENDPOINT),
    NO_HOST: ("the host of {server} is not known (DNS)", _ENDPOINT),
    BUSY_NAMES: ("the host of {server} could not be looked up (DNS)", _ENDPOINT),
    BROKEN: ("the connection to {server} broke off again and again", _LATER),
    SILENT: ("{server} did not answer in time", _LATER),
    NO_TLS: ("{server} does not speak TLS, or broke off while it was set up", _ENDPOINT),
    BAD_CERTIFICATE: (
        "the certificate of {server} is not trusted",
        "name the file of your authority with `dvc remote modify NAME ssl_verify FILE`",
    ),
    NO_KEYS: ("no valid credentials were found for it", _KEYS),
    WRONG_REGION: (
        "bucket {bucket} lies in another region",
        "set it with `dvc remote modify NAME region REGION`",
    ),
    CHANGED: ("an object changed while it was read", "run the same command again"),
}
for _code in ("PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"):
    _WORDS[_code] = _WORDS[WRONG_REGION]
for _code in ("SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "OperationAborted"):
    _WORDS[_code] = (f"{{server}} is busy and stayed so for five attempts ({_code})", _LATER)
