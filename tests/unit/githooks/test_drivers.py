from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from datapin.githooks.drivers import LINES, drivers_state, install_drivers


@pytest.fixture
def root(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    return tmp_path


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_drivers_are_installed_once(root: Path) -> None:
    assert [finding.severity for finding in drivers_state(root)] == ["warning"] * 3
    first = install_drivers(root)
    assert (first.created, first.changed) == ([".gitattributes"], [".git/config"])
    assert drivers_state(root) == []
    assert install_drivers(root) == type(first)()


@pytest.mark.parametrize("theirs", ["*.dvc merge=dvc\n", "*.png binary", "# notes\r\n*.sh text\r\n"])
def test_lines_of_others_stay_and_ours_win_after_them(root: Path, theirs: str) -> None:
    path = root / ".gitattributes"
    path.write_bytes(theirs.encode())
    assert install_drivers(root).changed[0] == ".gitattributes"
    assert path.read_bytes().decode().startswith(theirs)
    assert drivers_state(root) == []


def test_a_later_line_that_wins_is_left_and_told(root: Path) -> None:
    install_drivers(root)
    path = root / ".gitattributes"
    path.write_text(path.read_text() + "*.dvc merge=dvc\n")
    before = path.read_text()
    assert install_drivers(root).changed == []
    assert path.read_text() == before
    (finding,) = drivers_state(root)
    assert "merge is 'dvc'" in finding.message
    assert LINES[0] in finding.hint


def test_settings_of_another_version_are_found_and_replaced(root: Path) -> None:
    install_drivers(root)
    git(root, "config", "merge.datapin.driver", "git datapin old %A")
    (finding,) = drivers_state(root)
    assert "another version" in finding.message
    assert install_drivers(root).changed == [".git/config"]
    assert drivers_state(root) == []


def test_a_clone_has_the_lines_and_lacks_the_settings(root: Path) -> None:
    install_drivers(root)
    git(root, "add", ".gitattributes")
    git(root, "-c", "user.name=t", "-c", "user.email=t@example.com", "commit", "-qm", "lines")
    git(root, "clone", "-q", ".", "other")
    (finding,) = drivers_state(root / "other")
    assert "as text" in finding.message
    assert install_drivers(root / "other").created == []
    git(root, "worktree", "add", "-q", "linked")
    assert drivers_state(root / "linked") == []
    assert install_drivers(root / "linked") == type(install_drivers(root))()
