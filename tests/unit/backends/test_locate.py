"""From the names and settings of DVC's remotes to backends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from datapin.backends.dvcfs.backend import DvcBackend
from datapin.backends.local import LocalBackend
from datapin.backends.locate import locate_backend, resolved_settings
from datapin.base.errors import BadSettings, RemoteUnreachable

ROOT = Path("/repo")


@pytest.mark.parametrize(
    ("url", "where"),
    [
        ("/disk/lab", "/disk/lab"),
        ("../lab", "/repo/../lab"),
        ("file:///disk/lab", "/disk/lab"),
        ("remote://disk/team/a", "/disk/base/team/a"),
        ("remote://disk", "/disk/base"),
    ],
)
def test_a_directory_remote_is_a_local_backend_at_its_url(url: str, where: str) -> None:
    backend = locate_backend("lab", {"lab": {"url": url}, "disk": {"url": "/disk/base/"}}, root=ROOT)
    assert isinstance(backend, LocalBackend)
    assert Path(backend.url) == Path(where)


@pytest.mark.parametrize("scheme", ["ssh", "gs", "azure", "https", "webdavs", "hdfs", "oss", "gdrive"])
def test_any_other_remote_goes_through_dvc_and_is_asked_nothing_yet(scheme: str) -> None:
    backend = locate_backend("lab", {"lab": {"url": f"{scheme}://host/path"}}, root=ROOT)
    assert isinstance(backend, DvcBackend)
    assert backend.url == f"{scheme}://host/path"


def test_a_reference_takes_its_parents_settings_and_keeps_its_own() -> None:
    remotes = {
        "server": {"url": "ssh://host/srv", "user": "root", "port": "22"},
        "team": {"url": "remote://server/team", "user": "lab"},
        "mine": {"url": "remote://team/mine", "port": "2222"},
    }
    expected = {"url": "ssh://host/srv/team/mine", "user": "lab", "port": "2222"}
    assert resolved_settings("mine", remotes) == expected


def test_remotes_are_found_as_dvc_finds_them_in_any_case() -> None:
    assert resolved_settings("Lab", {"lab": {"url": "/x"}}) == {"url": "/x"}


def test_references_in_a_circle_are_named() -> None:
    remotes = {"a": {"url": "remote://b/x"}, "b": {"url": "remote://a/y"}}
    with pytest.raises(BadSettings, match=r'remote "a": its URL leads back to itself: a -> b -> a'):
        locate_backend("a", remotes, root=ROOT)


@pytest.mark.parametrize(
    ("remotes", "problem"),
    [
        ({}, "there is no remote 'lab'; known: none"),
        ({"other": {"url": "/x"}}, "there is no remote 'lab'; known: other"),
        ({"lab": {"url": "remote://gone/x"}}, "there is no remote 'gone'; known: lab"),
        ({"lab": {"url": ""}}, "it has no URL"),
        ({"lab": {}}, "it has no URL"),
    ],
)
def test_a_remote_without_a_place_is_a_mistake_in_the_settings(
    remotes: dict[str, dict[str, str]], problem: str
) -> None:
    with pytest.raises(BadSettings) as caught:
        locate_backend("lab", remotes, root=ROOT)
    assert problem in caught.value.message
    assert caught.value.exit_code == 10


@pytest.mark.parametrize("way", ["version_aware", "worktree"])
@pytest.mark.parametrize("said", ["true", "True", "yes", "1", True])
def test_a_remote_that_keeps_no_objects_by_hash_is_refused_with_a_reason(way: str, said: bool | str) -> None:
    with pytest.raises(BadSettings, match=f'remote "lab": {way} remotes keep files under their own names') as caught:
        locate_backend("lab", {"lab": {"url": "s3://bucket/x", way: said}}, root=ROOT)
    assert "dvc remote add" in caught.value.hint


@pytest.mark.parametrize("said", ["false", "", False])
def test_a_remote_that_only_names_such_a_way_is_not_refused(said: bool | str) -> None:
    backend = locate_backend("lab", {"lab": {"url": "/disk", "version_aware": said}}, root=ROOT)
    assert backend.url == "/disk"


def test_finding_a_remote_loads_no_cloud_library() -> None:
    code = (
        "import sys; from pathlib import Path; from datapin.backends.locate import locate_backend\n"
        "for url in ('/disk', 's3://bucket/x', 'ssh://host/x'):\n"
        "    locate_backend('lab', {'lab': {'url': url}}, root=Path('/repo'))\n"
        "loaded = {name.partition('.')[0] for name in sys.modules}\n"
        "print(sorted(loaded & {'dvc', 'dvc_objects', 'fsspec', 'boto3', 'botocore', 'obstore', 'asyncssh'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_kind_of_remote_that_dvc_does_not_know_is_one_error(tmp_path: Path) -> None:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("['remote \"lab\"']\n    url = moon://base/x\n")
    backend = locate_backend("lab", {"lab": {"url": "moon://base/x"}}, root=tmp_path)
    with pytest.raises(RemoteUnreachable) as caught:
        backend.get("key")
    assert "\n" not in caught.value.message
    print(caught.value.message)
