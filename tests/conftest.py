"""Repositories for tests: made once, copied for each. Servers: started once, stopped at the end."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from clones import Clone, write_images
from datapin.backends.s3 import reads as s3_reads
from datapin.backends.s3 import retry as s3_retry
from datapin.backends.s3 import writes as s3_writes
from datapin.base import log
from servers.ceph import missing_programs, radosgw
from servers.fault_proxy import FaultProxy
from servers.moto import moto
from servers.s3_server import S3Server, reserved_ports

# A time limit for one example would judge the machine, and a draw that nobody can repeat another commit.
settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

# A shell that starts its tests in the background lets them ignore Ctrl-C, and all that they start, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

_NO_CEPH = "Ceph radosgw is not installed here"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--hints", action="store_true", help="run the hints of planted faults (checks/healing.py)")


# Files that take longest come first, so that no worker is alone with them at the end.
_SLOW_FIRST = ("faults", "cli", "checks", "contract", "property")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        room = item.path.relative_to(tests).parts[0]
        return _SLOW_FIRST.index(room) if room in _SLOW_FIRST else len(_SLOW_FIRST)

    items.sort(key=rank)


@pytest.fixture(autouse=True)
def _no_log_of_the_test_before() -> Iterator[None]:
    yield
    log.start()


@pytest.fixture(scope="session")
def blank(bare_blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository right after `git init`, `dvc init`, `datapin init` and a commit: made once, copied for each test."""
    clone = Clone(tmp_path_factory.mktemp("blank") / "repo")
    shutil.copytree(bare_blank, clone.path, symlinks=True)
    clone.datapin("init", "--no-hooks")
    clone.commit("init")
    return clone.path


@pytest.fixture(scope="session")
def bare_blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository right after `git init` and `dvc init`."""
    clone = Clone(tmp_path_factory.mktemp("bare") / "repo")
    clone.path.mkdir()
    clone.git("init", "-q", "-b", "main")
    clone.dvc("init", "-q")
    clone.commit("init")
    return clone.path


@pytest.fixture
def clone(bare_blank: Path, tmp_path: Path) -> Clone:
    shutil.copytree(bare_blank, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


@pytest.fixture
def repo(blank: Path, tmp_path: Path) -> Clone:
    shutil.copytree(blank, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


@pytest.fixture
def filled(repo: Clone) -> Clone:
    """A repository with the dataset data/raw: 12 rows in the classes a and b, committed."""
    write_images(repo.path / "img")
    repo.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    repo.commit("v1")
    return repo


@pytest.fixture(scope="session")
def moto_server() -> Iterator[S3Server]:
    """An emulator of S3: always there. It takes any key."""
    with moto() as server:
        yield server


@pytest.fixture(scope="session")
def radosgw_server() -> Iterator[S3Server]:
    """A real S3 server that checks keys and signatures; where Ceph is not installed its tests do not run."""
    if missing := missing_programs():
        pytest.skip(f"{_NO_CEPH}: no {', '.join(missing)}")
    with radosgw() as server:
        yield server


@pytest.fixture(params=["moto", "radosgw"])
def s3_server(request: pytest.FixtureRequest) -> S3Server:
    """Each S3 server in turn."""
    server: S3Server = request.getfixturevalue(f"{request.param}_server")
    return server


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of S3 in this process take half a second of silence for a fault, and ask again without end.

    A machine that often takes as long as that only takes longer.
    """
    monkeypatch.setenv("DATAPIN_REMOTE_TIMEOUT_S", "0.5")
    monkeypatch.setattr(s3_retry, "_LONGEST_PAUSE_S", 0.1)
    for room in (s3_reads, s3_retry, s3_writes):
        monkeypatch.setattr(room, "ATTEMPTS", 200)


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port of this machine where nobody answers, nor will while the test runs."""
    with reserved_ports(1) as (port,):
        yield port


@pytest.fixture
def fault_proxy(s3_server: S3Server) -> Iterator[FaultProxy]:
    """A proxy before the server, which spoils nothing yet."""
    with FaultProxy(s3_server.endpoint) as proxy:
        yield proxy


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say plainly what did not run for want of a server."""
    skipped = terminalreporter.stats.get("skipped", [])
    without = [report.nodeid for report in skipped if _NO_CEPH in str(report.longrepr)]
    if without:
        terminalreporter.section("NOT RUN")
        terminalreporter.line(
            f"{len(without)} tests did not run: {_NO_CEPH}. "
            "`sudo sh tests/servers/install_ceph.sh` installs it on Debian; `make test` does so as root."
        )
