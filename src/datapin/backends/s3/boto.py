"""S3 by boto3: credentials from wherever AWS's tools find them, large uploads, and whatever obstore cannot say."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from datapin.backends.backend import StoredObject
from datapin.backends.s3.failures import (
    BROKEN,
    MISSING,
    NO_KEYS,
    PAST_THE_END,
    TAKEN,
    WHOLE_ANSWER,
    S3Failure,
    from_botocore,
)
from datapin.backends.s3.retry import again
from datapin.backends.s3.settings import S3Settings
from datapin.backends.s3.wire import Reading

_CHUNK_BYTES = 1 << 18
_CONNECTIONS = 32
_RANGES_AT_ONCE = 8
# Keys that botocore renews by itself are asked for again well before they can expire.
_KEYS_LAST = timedelta(minutes=5)


def find_keys(settings: S3Settings) -> Callable[[], dict[str, Any]]:
    """Where the credentials of the moment come from, as obstore wants them. Raises S3Failure if nobody has any."""
    with from_botocore():
        found = _session(settings).get_credentials()
        if found is None:
            raise S3Failure(NO_KEYS)
        found.get_frozen_credentials()

    def current() -> dict[str, Any]:
        with from_botocore():
            keys = found.get_frozen_credentials()
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            "expires_at": datetime.now(UTC) + _KEYS_LAST,
        }

    return current


def find_region(settings: S3Settings, asked: str) -> str:
    """The region of the bucket, as the server in region `asked` says; empty if it does not. Raises S3Failure."""
    from botocore.exceptions import ClientError

    with from_botocore():
        client = _client(settings, asked)
        try:
            answer = client.head_bucket(Bucket=settings.bucket)
        except ClientError as error:
            answer = error.response
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(headers.get("x-amz-bucket-region") or answer.get("Error", {}).get("Region", ""))


class BotoWire:
    """See S3Wire. Over `most_bytes_in_one_put` an object goes in parts."""

    def __init__(self, settings: S3Settings, region: str, *, most_bytes_in_one_put: int) -> None:
        self._bucket = settings.bucket
        self._put_arguments = dict(settings.put_arguments)
        self._read_arguments = dict(settings.read_arguments)
        self._most_bytes_in_one_put = most_bytes_in_one_put
        with from_botocore():
            self._client = _client(settings, region)

    def put(self, key: str, source: bytes | Path, *, if_absent: bool = False, if_tag: str = "") -> None:
        """See S3Wire. A file is streamed."""
        size_bytes = source.stat().st_size if isinstance(source, Path) else len(source)
        condition = {"IfNoneMatch": "*"} if if_absent else {"IfMatch": if_tag} if if_tag else {}
        if size_bytes > self._most_bytes_in_one_put:
            upload = PartsUpload(self._client, self._bucket, key, self._read_arguments)
            upload.run(source, size_bytes, self._most_bytes_in_one_put, self._put_arguments, condition)
            return
        with from_botocore(), source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as body:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **self._put_arguments, **condition)

    def read(self, key: str, offset: int) -> Reading:
        """See S3Wire."""
        asked = {"Range": f"bytes={offset}-"} if offset else {}
        with from_botocore():
            got = self._client.get_object(Bucket=self._bucket, Key=key, **asked, **self._read_arguments)
        size_bytes = got["ContentLength"]
        if offset and not got.get("ContentRange"):
            got["Body"].close()
            raise S3Failure(WHOLE_ANSWER)
        return Reading(offset + size_bytes, got["ETag"], _chunks(got["Body"]))

    def read_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        """See S3Wire."""
        if len(ranges) == 1:
            return [self._read_range(key, *ranges[0])]
        with ThreadPoolExecutor(_RANGES_AT_ONCE) as threads:
            return list(threads.map(lambda asked: self._read_range(key, *asked), ranges))

    def pages(self, prefix: str, after: str) -> Iterator[list[StoredObject]]:
        """See S3Wire."""
        asked = {"Bucket": self._bucket, "Prefix": prefix, **({"StartAfter": after} if after else {})}
        with from_botocore():
            for page in self._client.get_paginator("list_objects_v2").paginate(**asked):
                if "IsTruncated" not in page:
                    raise S3Failure(BROKEN)  # botocore takes an answer without a body for an empty one
                yield [
                    StoredObject(found["Key"], found["Size"], found["LastModified"].timestamp())
                    for found in page.get("Contents", [])
                ]

    def head(self, key: str) -> tuple[StoredObject, str]:
        """See S3Wire."""
        with from_botocore():
            found = self._client.head_object(Bucket=self._bucket, Key=key, **self._read_arguments)
        return StoredObject(key, found["ContentLength"], found["LastModified"].timestamp()), found["ETag"]

    def delete(self, key: str) -> None:
        """See S3Wire."""
        with from_botocore():
            self._client.delete_object(Bucket=self._bucket, Key=key)

    def _read_range(self, key: str, offset: int, length: int) -> bytes:
        asked = f"bytes={offset}-{offset + length - 1}"
        with from_botocore():
            got = self._client.get_object(Bucket=self._bucket, Key=key, Range=asked, **self._read_arguments)
            with closing(got["Body"]) as body:
                if got.get("ContentRange"):
                    return bytes(body.read())
                # This server ignores ranges: here comes the whole object.
                if offset >= got["ContentLength"]:
                    raise S3Failure(PAST_THE_END)
                return bytes(body.read(offset + length)[offset:])


def _chunks(body: Any) -> Iterator[bytes]:
    with from_botocore(), closing(body):
        yield from body.iter_chunks(_CHUNK_BYTES)


def _session(settings: S3Settings) -> Any:
    import boto3
    from botocore.session import Session

    core = Session(profile=settings.profile or None)
    core.set_config_variable("config_file", settings.aws_config_file)
    core.set_config_variable("credentials_file", settings.aws_credentials_file)
    return boto3.Session(
        settings.access_key_id or None,
        settings.secret_access_key or None,
        settings.session_token or None,
        botocore_session=core,
    )


def _client(settings: S3Settings, region: str) -> Any:
    from botocore import UNSIGNED
    from botocore.config import Config

    return _session(settings).client(
        "s3",
        region_name=region,
        endpoint_url=settings.endpoint or None,
        use_ssl=settings.use_ssl,
        verify=settings.ssl_verify,
        config=Config(
            signature_version=UNSIGNED if settings.is_anonymous else None,
            # Sending, too, is given up after this time: a slow line may take long to swallow a block.
            connect_timeout=max(settings.connect_timeout_s, settings.silence_s),
            read_timeout=settings.silence_s,
            # Trying again is the backend's: only it knows whether a write may have happened.
            retries={"total_max_attempts": 1},
            max_pool_connections=_CONNECTIONS,
            # The signature covers the body's SHA-256 already; many servers choke on the newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


# One object in many requests, for what is too large for one. Parts are sent again one by one.


_MOST_PARTS = 9_000  # Amazon takes 10,000
_LEAST_PART_BYTES = 64 << 20


class PartsUpload:
    """An object on its way to `key` of `bucket`; nobody sees any of it before the end."""

    def __init__(self, client: Any, bucket: str, key: str, part_arguments: Mapping[str, Any]) -> None:
        self._client = client
        self._place = {"Bucket": bucket, "Key": key}
        self._part_arguments = part_arguments

    def run(
        self, source: bytes | Path, size_bytes: int, most_part_bytes: int, put_arguments: Mapping[str, Any],
        condition: Mapping[str, str],
    ) -> None:  # fmt: skip
        """Send everything; what arrived of it is thrown away if that fails. Raises S3Failure."""
        part_bytes = max(min(_LEAST_PART_BYTES, most_part_bytes), -(-size_bytes // _MOST_PARTS))
        upload = again(lambda: self._begin(put_arguments))
        try:
            parts = []
            for number, start in enumerate(range(0, size_bytes, part_bytes), start=1):
                tag = again(lambda n=number, s=start: self._send(upload, n, source, s, part_bytes))  # type: ignore[misc]
                parts.append({"PartNumber": number, "ETag": tag})
            # Some servers ignore a condition at this place; then looking is as good as it gets.
            if "IfNoneMatch" in condition and again(self._is_there):
                raise S3Failure(TAKEN, 412)
            with from_botocore():
                self._client.complete_multipart_upload(
                    **self._place,
                    UploadId=upload,
                    MultipartUpload={"Parts": parts},
                    **self._part_arguments,
                    **condition,
                )
        except BaseException:
            self._abort(upload)
            raise

    def _begin(self, put_arguments: Mapping[str, Any]) -> str:
        with from_botocore():
            begun = self._client.create_multipart_upload(**self._place, **put_arguments)
        if "UploadId" not in begun:
            raise S3Failure(BROKEN)  # botocore takes an answer without a body for an empty one
        return str(begun["UploadId"])

    def _send(self, upload: str, number: int, source: bytes | Path, start: int, part_bytes: int) -> str:
        from s3transfer.utils import ReadFileChunk

        with (
            from_botocore(),
            closing(
                ReadFileChunk.from_filename(str(source), start, part_bytes)
                if isinstance(source, Path)
                else io.BytesIO(source[start : start + part_bytes])
            ) as body,
        ):
            sent = self._client.upload_part(
                **self._place, UploadId=upload, PartNumber=number, Body=body, **self._part_arguments
            )
            return str(sent["ETag"])

    def _is_there(self) -> bool:
        try:
            with from_botocore():
                self._client.head_object(**self._place, **self._part_arguments)
        except S3Failure as failure:
            if failure.status == 404 or failure.code == MISSING:
                return False
            raise
        return True

    def _abort(self, upload: str) -> None:
        # If the end arrived and only its answer was lost there is nothing to abort, and the object stays.
        with suppress(S3Failure), from_botocore():
            self._client.abort_multipart_upload(**self._place, UploadId=upload)
