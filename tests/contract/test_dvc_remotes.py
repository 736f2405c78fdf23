"""DVC's own file systems as backends, against real servers: SSH, and S3 as any object store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from datapin.backends.backend import Backend
from datapin.backends.dvcfs.backend import DvcBackend
from datapin.testing.backend_suite import BackendSuite
from dvc_remotes import backend_at
from servers.s3_server import S3Server
from servers.ssh import PASSWORD, SshServer, ssh_server


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("ssh")) as server:
        yield server


class TestSsh(BackendSuite):
    objects_in_a_long_listing = 300

    @pytest.fixture
    def backend(self, ssh: SshServer, tmp_path: Path) -> Backend:
        return backend_at(tmp_path / "repo", url=ssh.url(f"remotes/{tmp_path.name}"), password=PASSWORD)


class TestS3ThroughDvc(BackendSuite):
    objects_in_a_long_listing = 300

    @pytest.fixture
    def backend(self, moto_server: S3Server, tmp_path: Path) -> Backend:
        settings = {
            "url": f"s3://{moto_server.new_bucket()}/below/it",
            "endpointurl": moto_server.endpoint,
            "access_key_id": moto_server.access_key,
            "secret_access_key": moto_server.secret_key,
            "region": "us-east-1",
        }
        backend_at(tmp_path / "repo", **settings)
        return DvcBackend("lab", settings, root=tmp_path / "repo")
