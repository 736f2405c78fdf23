"""What is special about DVC's file systems: lost connections, refused logins, servers that can do less."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datapin.backends.backend import Backend
from datapin.backends.local import LocalBackend
from datapin.base.errors import ObjectMissing, RemoteUnreachable
from dvc_remotes import backend_at
from servers.ssh import PASSWORD, SshServer, ssh_server
from servers.web import web_server

SECRET = "canary-3f9a"


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("ssh")) as server:
        yield server


@pytest.fixture
def over_ssh(ssh: SshServer, tmp_path: Path) -> Backend:
    return backend_at(tmp_path / "repo", url=ssh.url(tmp_path.name), password=PASSWORD)


@pytest.fixture
def there(ssh: SshServer, tmp_path: Path) -> Path:
    """The folder of `over_ssh`, on the server."""
    return ssh.folder / tmp_path.name


class TestSsh:
    def test_a_key_opens_it_as_a_password_does(self, ssh: SshServer, tmp_path: Path) -> None:
        backend = backend_at(tmp_path / "repo", url=ssh.url(tmp_path.name), keyfile=ssh.key)
        assert backend.put_if_absent("key", b"x") is True

    @pytest.mark.parametrize("moment", ["before-write", "before-rename", "after-rename"])
    def test_a_put_whose_connection_is_lost_is_done_once(
        self, ssh: SshServer, over_ssh: Backend, there: Path, moment: str
    ) -> None:
        over_ssh.head("key")
        order = ssh.drop(moment)
        assert over_ssh.put_if_absent("dir/key", b"bytes") is True
        assert not order.exists()
        assert (there / "dir" / "key").read_bytes() == b"bytes"
        assert [found.key for found in over_ssh.iter_objects("")] == ["dir/key"]

    def test_a_key_that_somebody_else_took_while_we_connected_again_is_theirs(
        self, ssh: SshServer, over_ssh: Backend, there: Path
    ) -> None:
        there.mkdir()
        order = ssh.drop("before-write", place=there / "key", theirs=b"theirs")
        assert over_ssh.put_if_absent("key", b"ours!!") is False
        assert not order.exists()
        assert over_ssh.get("key") == b"theirs"

    @pytest.mark.parametrize("moment", ["before-write", "before-rename", "after-rename"])
    def test_a_replacement_whose_connection_is_lost_is_done(
        self, ssh: SshServer, over_ssh: Backend, moment: str
    ) -> None:
        over_ssh.put_if_absent("root", b"old")
        data, tag = over_ssh.get_tagged("root")
        assert data == b"old"
        order = ssh.drop(moment)
        assert over_ssh.replace("root", b"new", tag) is True
        assert not order.exists()
        assert over_ssh.get("root") == b"new"
        assert over_ssh.replace("root", b"newer", tag) is False
        assert over_ssh.replace("gone", b"newer", tag) is False

    def test_reads_go_on_after_a_lost_connection(self, ssh: SshServer, over_ssh: Backend) -> None:
        data = os.urandom(9 << 20)
        over_ssh.put_if_absent("key", data)
        reads: tuple[Callable[[], bytes], ...] = (
            lambda: over_ssh.get("key"),
            lambda: b"".join(over_ssh.iter_chunks("key")),
            lambda: b"".join(over_ssh.get_ranges("key", [(0, 5 << 20), (5 << 20, 4 << 20)])),
        )
        for read in reads:
            order = ssh.drop("before-read")
            assert read() == data
            assert not order.exists()

    def test_a_stream_goes_on_where_it_was(self, ssh: SshServer, over_ssh: Backend) -> None:
        data = os.urandom(9 << 20)
        over_ssh.put_if_absent("key", data)
        chunks = over_ssh.iter_chunks("key")
        first = next(chunks)
        order = ssh.drop("before-read")
        assert first + b"".join(chunks) == data
        assert not order.exists()

    def test_names_that_are_no_keys_are_not_listed(self, over_ssh: Backend, there: Path) -> None:
        over_ssh.put_if_absent("dir/key", b"x")
        for name in (".tmp-1-ab", "with space", "ä"):
            (there / "dir" / name).write_bytes(b"?")
        (there / ".hidden").mkdir()
        (there / ".hidden" / "key").write_bytes(b"?")
        assert [found.key for found in over_ssh.iter_objects("")] == ["dir/key"]

    def test_a_folder_elsewhere_on_the_server_may_be_linked_in(self, over_ssh: Backend, there: Path) -> None:
        over_ssh.put_if_absent("disk1/key", b"x")
        (there / "dir").symlink_to("disk1")
        assert [found.key for found in over_ssh.iter_objects("dir/")] == ["dir/key"]
        assert over_ssh.get("dir/key") == b"x"

    def test_a_wrong_password_is_one_error_that_does_not_tell_it(self, ssh: SshServer, tmp_path: Path) -> None:
        backend = backend_at(tmp_path / "repo", url=ssh.url("x"), password=SECRET)
        with pytest.raises(RemoteUnreachable, match="cannot connect: access denied") as caught:
            backend.get("key")
        assert SECRET not in f"{caught.value.message}{caught.value.hint}{caught.value.details()}"
        assert "dvc remote modify --local lab" in caught.value.hint

    def test_a_folder_that_may_not_be_written_is_one_error(self, over_ssh: Backend, there: Path) -> None:
        there.write_bytes(b"a file in the way")
        with pytest.raises(RemoteUnreachable, match="cannot write dir/key"):
            over_ssh.put_if_absent("dir/key", b"x")

    def test_a_server_that_went_silent_ends_the_wait_with_one_line(self, tmp_path: Path) -> None:
        with ssh_server(tmp_path) as server:
            said = said_by(
                tmp_path / "repo",
                f"silenced = {server.process.pid}\n{READ_IN_SILENCE}",
                silence_s=1,
                url=server.url("x"),
                password=PASSWORD,
            )
            os.kill(server.process.pid, signal.SIGCONT)
        waited_s, _, error = said.partition("\n")
        assert error == f"remote {server.url('x')}: cannot connect: no answer within 1 s\n"
        assert 1 < float(waited_s) < 100, "twice 60 s is what nobody asked for"


READ_IN_SILENCE = """
import time
while True:
    try:
        backend.head('key')  # once the connection is there; on a slow machine a second may be too short for it
        break
    except RemoteUnreachable:
        pass
os.kill(silenced, signal.SIGSTOP)
start_s = time.monotonic()
try:
    backend.get('key')
finally:
    print(time.monotonic() - start_s)
"""


def said_by(repo: Path, code: str, *, silence_s: int = 60, **settings: object) -> str:
    """What a program of its own says that runs `code` with `backend`: only the error of datapin, if there is one."""
    backend_at(repo, **settings)
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from datapin.backends.locate import locate_backend; from datapin.base.errors import RemoteUnreachable\n"
        "from datapin.dvcfiles.settings import settings_of_remotes\n"
        "root = Path(sys.argv[1]); backend = locate_backend('lab', settings_of_remotes(root), root=root)\n"
        "try: exec(sys.argv[2])\n"
        "except RemoteUnreachable as error: print(error.message)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, repo, code],
        capture_output=True,
        text=True,
        env={**os.environ, "DATAPIN_REMOTE_TIMEOUT_S": str(silence_s)},
        stdin=subprocess.DEVNULL,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("scheme", ["ssh", "http"])
def test_a_server_that_is_not_there_is_one_line_without_the_password(
    scheme: str, tmp_path: Path, closed_port: int
) -> None:
    url = f"{scheme}://lab:{SECRET}@127.0.0.1:{closed_port}/x"
    said = said_by(tmp_path / "repo", "backend.head('key')", url=url)
    assert said.startswith(f"remote {scheme}://lab@127.0.0.1:{closed_port}/x: cannot ")
    assert "onnect" in said
    assert said.count("\n") == 1
    assert SECRET not in said


def test_a_host_without_an_address_is_one_line(tmp_path: Path) -> None:
    said = said_by(tmp_path / "repo", "backend.get('key')", url="ssh://lab@no-such-host.invalid/x")
    assert said.startswith("remote ssh://lab@no-such-host.invalid/x: cannot connect: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("scheme", ["gs", "azure", "oss", "gdrive", "webdavs", "hdfs"])
def test_a_library_that_is_not_installed_is_named_with_the_command(scheme: str, tmp_path: Path) -> None:
    backend = backend_at(tmp_path / "repo", url=f"{scheme}://place/x")
    with pytest.raises(RemoteUnreachable, match=f"library for {scheme} remotes is not installed") as caught:
        backend.get("key")
    assert caught.value.hint == f'run `pip install "dvc[{scheme.rstrip("s") if scheme == "webdavs" else scheme}]"`'


@pytest.fixture
def shelf(tmp_path: Path) -> LocalBackend:
    """A directory that a web server shows, as a backend."""
    shelf = LocalBackend(tmp_path / "shelf" / "remote")
    shelf.put_if_absent("packs/ab/one.pack", os.urandom(50_000))
    shelf.put_if_absent("packs/cd/two.pack", os.urandom(9 << 20))
    shelf.put_if_absent("packs-old", b"")
    shelf.put_if_absent("format.json", b"{}")
    return shelf


class TestWeb:
    def test_what_lies_there_is_read_and_listed(self, shelf: LocalBackend, tmp_path: Path) -> None:
        with web_server(tmp_path / "shelf") as server:
            backend = backend_at(tmp_path / "repo", url=server.url("remote"))
            seen = list(backend.iter_objects(""))
            assert [(one.key, one.size_bytes) for one in seen] == [
                (one.key, one.size_bytes) for one in shelf.iter_objects("")
            ]
            assert all(abs(one.modified_s - time.time()) < 600 for one in seen)
            assert [one.key for one in backend.iter_objects("packs/ab/")] == ["packs/ab/one.pack"]
            assert list(backend.iter_objects("condemned/")) == []
            for one in seen:
                assert backend.get(one.key) == b"".join(backend.iter_chunks(one.key)) == shelf.get(one.key)
                assert backend.head(one.key) == one
            assert backend.head("packs") is None
            assert backend.head("none") is None
            with pytest.raises(ObjectMissing):
                backend.get("none")
            with pytest.raises(ObjectMissing):
                list(backend.iter_chunks("none"))
            with pytest.raises(ObjectMissing):
                backend.get_ranges("none", [(0, 1)])

    @pytest.mark.parametrize("gives_ranges", [True, False])
    def test_ranges_are_the_right_bytes_whatever_the_server_can(
        self, shelf: LocalBackend, tmp_path: Path, gives_ranges: bool
    ) -> None:
        asked = [(40_000, 500), (0, 10), (10, 50_000), (5, 1), (49_990, 10), (49_990, 100), (60_000, 5), (3, 0)]
        data = shelf.get("packs/ab/one.pack")
        with web_server(tmp_path / "shelf", gives_ranges=gives_ranges) as server:
            backend = backend_at(tmp_path / "repo", url=server.url("remote"))
            for _ in range(2):
                parts = backend.get_ranges("packs/ab/one.pack", asked)
                assert parts == [data[offset : offset + length] for offset, length in asked]
            whole = [line for line in server.asked if line == "GET /remote/packs/ab/one.pack"]
            assert len(whole) == (0 if gives_ranges else 2)

    def test_nothing_is_said_beside_the_listing(self, shelf: LocalBackend, tmp_path: Path) -> None:
        with web_server(tmp_path / "shelf") as server:
            code = "print(len(list(backend.iter_objects(''))), len(backend.get('format.json')))"
            assert said_by(tmp_path / "repo", code, url=server.url("remote")) == "4 2\n"

    def test_it_is_not_written(self, shelf: LocalBackend, tmp_path: Path) -> None:
        with web_server(tmp_path / "shelf") as server:
            backend = backend_at(tmp_path / "repo", url=server.url("remote"))
            for write in (
                lambda: backend.put_if_absent("new", b"x"),
                lambda: backend.replace("format.json", b"x", "tag"),
                lambda: backend.delete("format.json"),
            ):
                with pytest.raises(RemoteUnreachable, match="it is read-only"):
                    write()
            assert server.asked == []
        abilities = backend.abilities("format.json", b"{}")
        assert (abilities.exclusive_put, abilities.replace) == (False, False)
        assert "only read" in abilities.reason

    def test_a_server_that_shows_no_folders_says_so_and_is_read_all_the_same(
        self, shelf: LocalBackend, tmp_path: Path
    ) -> None:
        with web_server(tmp_path / "shelf", lists=False) as server:
            backend = backend_at(tmp_path / "repo", url=server.url("remote"))
            assert backend.get("format.json") == b"{}"
            for prefix in ("", "packs/", "condemned/"):
                with pytest.raises(RemoteUnreachable, match="shows no listing"):
                    list(backend.iter_objects(prefix))

    def test_a_login_is_dvcs_and_never_told(self, shelf: LocalBackend, tmp_path: Path) -> None:
        login = {"auth": "basic", "user": "lab", "password": SECRET}
        with web_server(tmp_path / "shelf") as server:
            server.authorization = "Basic " + base64.b64encode(f"lab:{SECRET}".encode()).decode()
            backend = backend_at(tmp_path / "repo", url=server.url("remote"), **login)
            assert backend.get("format.json") == b"{}"
            server.authorization = "Basic another"
            for refused in (lambda: backend.get("format.json"), lambda: backend.head("format.json")):
                with pytest.raises(RemoteUnreachable, match="access denied") as caught:
                    refused()
                assert SECRET not in f"{caught.value.message}{caught.value.hint}{caught.value.details()}"

    def test_a_busy_server_is_asked_again(self, shelf: LocalBackend, tmp_path: Path) -> None:
        with web_server(tmp_path / "shelf") as server:
            backend = backend_at(tmp_path / "repo", url=server.url("remote"))
            server.refuse_next = 2
            assert backend.get("format.json") == b"{}"
            assert server.refuse_next == 0
            server.refuse_next = 100
            with pytest.raises(RemoteUnreachable, match="503"):
                backend.get("format.json")

    def test_a_body_cut_short_is_read_again(self, shelf: LocalBackend, tmp_path: Path) -> None:
        with web_server(tmp_path / "shelf") as server:
            backend = backend_at(tmp_path / "repo", url=server.url("remote"))
            reads: tuple[Callable[[], bytes], ...] = (
                lambda: backend.get("packs/cd/two.pack"),
                lambda: b"".join(backend.iter_chunks("packs/cd/two.pack")),
                lambda: b"".join(backend.get_ranges("packs/cd/two.pack", [(0, 9 << 20)])),
            )
            for read in reads:
                server.cut_next = 1
                assert read() == shelf.get("packs/cd/two.pack")
                assert server.cut_next == 0
