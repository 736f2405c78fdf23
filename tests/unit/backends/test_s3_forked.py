"""PyTorch's loaders fork: a child reads from a bucket that its parent has read from already."""

from __future__ import annotations

import os
import signal

import pytest

from datapin.backends.s3.backend import S3Backend
from datapin.backends.s3.settings import s3_settings
from servers.s3_server import S3Server


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_reads_what_its_parent_reads(moto_server: S3Server) -> None:
    said = {
        "endpointurl": moto_server.endpoint,
        "access_key_id": moto_server.access_key,
        "secret_access_key": moto_server.secret_key,
    }
    backend = S3Backend(s3_settings(f"s3://{moto_server.new_bucket()}/folder", said))
    backend.put_if_absent("key", b"bytes")
    assert backend.get("key") == b"bytes"
    child = os.fork()
    if not child:
        signal.alarm(600)
        os._exit(0 if backend.get("key") == b"bytes" and backend.head("other") is None else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert backend.get("key") == b"bytes"
