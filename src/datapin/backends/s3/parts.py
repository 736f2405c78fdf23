"""One object in many requests, for what is too large for one. Parts are sent again one by one."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from datapin.backends.s3.failures import BROKEN, MISSING, TAKEN, S3Failure, from_botocore
from datapin.backends.s3.retry import again

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
