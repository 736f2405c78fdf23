"""An S3 server on this machine, as a test sees it."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class S3Server:
    """Where it answers, and keys that may do everything; `checks_keys` if it refuses any others."""

    name: str
    endpoint: str
    access_key: str
    secret_key: str
    checks_keys: bool

    @cached_property
    def client(self) -> Any:
        """A boto3 client: what a test does to the server behind datapin's back."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
        )

    def new_bucket(self) -> str:
        """An empty bucket that nobody else uses; its name."""
        bucket = f"bucket-{secrets.token_hex(6)}"
        self.client.create_bucket(Bucket=bucket)
        return bucket

    def keys(self, bucket: str, prefix: str = "") -> dict[str, int]:
        """Every key and its size in bytes."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {found["Key"]: found["Size"] for page in pages for found in page.get("Contents", [])}

    def objects(self, bucket: str, prefix: str = "") -> dict[str, bytes]:
        """Every object."""
        return {key: self.client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in self.keys(bucket, prefix)}


@contextmanager
def reserved_ports(count: int) -> Iterator[list[int]]:
    """Ports of the loopback address that are nobody else's while the block runs; all differ.

    Who connects to one is refused, until a server of ours that sets SO_REUSEADDR, as servers do, listens there.
    """
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", 0))
        yield [one.getsockname()[1] for one in sockets]
