"""Which library carries a request: obstore wherever it can, botocore where it must. Both are made when first used."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from datapin.backends.s3.aws_files import read_aws_keys
from datapin.backends.s3.boto import BotoWire, find_keys, find_region
from datapin.backends.s3.failures import BAD_CERTIFICATE, S3Failure
from datapin.backends.s3.obstore import ObstoreWire
from datapin.backends.s3.settings import S3Settings
from datapin.backends.s3.wire import S3Wire

# obstore holds what it puts in memory, and its clock for silence runs while it sends; botocore streams.
_MOST_BYTES_FROM_MEMORY = 4 << 20
_FIRST_REGION = "us-east-1"
# The process that obstore's threads were started in. A fork takes none along: a call there would wait for ever.
_obstore_process: int | None = None

_Answer = TypeVar("_Answer")


class S3Wires:
    """The ways to one bucket. Every call may come from any thread."""

    def __init__(self, settings: S3Settings, *, most_bytes_in_one_put: int) -> None:
        self._settings = settings
        self._most_bytes_in_one_put = most_bytes_in_one_put
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._obstore: ObstoreWire | None = None
        self._boto: BotoWire | None = None
        self._asked_for_region = False
        self._by_boto = bool(settings.only_boto)
        self.region = settings.region or _FIRST_REGION
        self.has_bucket = False  # an answer has shown that the bucket exists

    def reading(self) -> S3Wire:
        """For everything but putting. Raises S3Failure if there are no credentials."""
        global _obstore_process
        if self._by_boto or _obstore_process not in (None, os.getpid()):
            return self.boto()
        with self._lock:
            if self._obstore is None:
                self._obstore = ObstoreWire(self._settings, self.region, self._keys())
                _obstore_process = os.getpid()
            return self._obstore

    def writing(self, size_bytes: int) -> S3Wire:
        """For a put of this size. Raises S3Failure if there are no credentials."""
        if self._settings.put_arguments or size_bytes > _MOST_BYTES_FROM_MEMORY:
            return self.boto()
        return self.reading()

    def boto(self) -> BotoWire:
        """For what only botocore can. Raises S3Failure."""
        if self._process != os.getpid():
            # A forked process must not share the connections of its parent, nor a lock that may be held there.
            self._process, self._lock, self._boto = os.getpid(), threading.Lock(), None
        with self._lock:
            if self._boto is None:
                self._boto = BotoWire(self._settings, self.region, most_bytes_in_one_put=self._most_bytes_in_one_put)
            return self._boto

    def finds_a_way(self, failure: S3Failure, asked: str) -> bool:
        """True if it is worth asking again at once, because it will be asked otherwise than in the region `asked`."""
        if failure.code == BAD_CERTIFICATE and isinstance(self._settings.ssl_verify, str):
            # obstore takes no certificate that signs itself, which is what a laboratory's server often has.
            self._by_boto = True
            return True
        if not failure.is_elsewhere:
            return False
        with self._lock:
            if self.region != asked:
                return True
            if self._asked_for_region:
                return False
            self._asked_for_region = True
            found = find_region(self._settings, asked)
            if found in ("", asked):
                return False
            self.region, self._obstore, self._boto = found, None, None
            return True

    def following(self, action: Callable[[], _Answer]) -> _Answer:
        """What `action` answers, asked a second time if there is another way. Raises S3Failure."""
        asked = self.region
        try:
            return action()
        except S3Failure as failure:
            if not self.finds_a_way(failure, asked):
                raise
        return action()

    def _keys(self) -> Callable[[], dict[str, Any]] | None:
        settings = self._settings
        if settings.is_anonymous:
            return None
        keys: tuple[str, str, str] | None = (
            settings.access_key_id, settings.secret_access_key, settings.session_token
        )  # fmt: skip
        if not settings.access_key_id:
            keys = read_aws_keys(settings.aws_config_file, settings.aws_credentials_file, settings.profile)
        if keys is None:
            return find_keys(settings)
        key, secret, token = keys
        return lambda: {
            "access_key_id": key,
            "secret_access_key": secret,
            "token": token or None,
            "expires_at": None,
        }
