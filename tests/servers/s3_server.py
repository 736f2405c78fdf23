"""An S3 server on this machine, as a test sees it."""

from __future__ import annotations

import secrets
import socket
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


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on; all differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()
