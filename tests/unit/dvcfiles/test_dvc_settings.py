"""Our reading of DVC's settings agrees with DVC's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clones import Clone
from datapin.base.errors import BadSettings
from datapin.dvcfiles.settings import cache_directory, default_remote, remote_names, settings_of_remotes


@pytest.fixture(autouse=True)
def no_personal_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_GLOBAL_CONFIG_DIR", str(tmp_path / "global"))
    monkeypatch.setenv("DVC_SYSTEM_CONFIG_DIR", str(tmp_path / "system"))


def dvc_says(root: Path) -> tuple[Path, list[str], str | None]:
    from dvc.repo import Repo

    with Repo(os.fspath(root)) as repo:
        cache = Path(repo.cache.local.path).parent.parent
        return cache, sorted(repo.config["remote"]), repo.config["core"].get("remote")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[core]\n    remote = lab\n['remote \"lab\"']\n    url = /srv/lab\n",
        "[cache]\n    dir = ../shared/cache\n",
        "[cache]\n    dir = /abs/cache\n    type = hardlink\n",
        "[Cache]\nDir = rel\n",
        '[cache]\n    dir = "quoted dir"\n',
        "[cache]\n    dir = 'with, comma'\n",
        "[cache]\n    dir = x # note\n",
        "[cache]\n    dir = ~/cache\n",
        "# only a note\n[core]\n    autostage = true\n",
        '[\'remote "a b"\']\n    url = s3://bucket/prefix\n[remote "plain"]\n    url = ../up\n',
    ],
)
def test_cache_and_remotes_are_those_that_dvc_sees(clone: Clone, text: str) -> None:
    (clone.path / ".dvc" / "config").write_text(text)
    ours = (cache_directory(clone.path), remote_names(clone.path), default_remote(clone.path))
    assert ours == dvc_says(clone.path)


def test_higher_levels_win_over_lower_ones(clone: Clone, tmp_path: Path) -> None:
    for folder, name in ((tmp_path / "system", "s"), (tmp_path / "global", "g")):
        folder.mkdir()
        (folder / "config").write_text(f"[cache]\n    dir = /{name}\n['remote \"{name}\"']\n    url = /{name}\n")
    assert cache_directory(clone.path) == Path("/g")
    (clone.path / ".dvc" / "config").write_text("[cache]\n    dir = /repo\n")
    assert cache_directory(clone.path) == Path("/repo")
    (clone.path / ".dvc" / "config.local").write_text("[cache]\n    dir = local\n")
    assert cache_directory(clone.path) == clone.path / ".dvc" / "local"
    assert remote_names(clone.path) == ["g", "s"]
    assert dvc_says(clone.path)[:2] == (clone.path / ".dvc" / "local", ["g", "s"])


def test_a_local_file_completes_a_remote(clone: Clone) -> None:
    clone.dvc("remote", "add", "-d", "lab", "../lab")
    clone.dvc("remote", "modify", "--local", "lab", "url", "elsewhere")
    assert settings_of_remotes(clone.path) == {"lab": {"url": str(clone.path / ".dvc" / "elsewhere")}} or (
        settings_of_remotes(clone.path)["lab"]["url"] == str(clone.path / "elsewhere")
    )
    assert default_remote(clone.path) == "lab"


def test_settings_that_dvc_refuses_are_one_error(clone: Clone) -> None:
    (clone.path / ".dvc" / "config").write_text("[core\n  remote = x, 'y\n")
    with pytest.raises(BadSettings, match="config"):
        cache_directory(clone.path)
