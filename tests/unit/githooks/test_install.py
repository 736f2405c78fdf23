"""Hooks in the folder where Git looks for them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from clones import Clone
from datapin.githooks.block import HOOKS, has_block
from datapin.githooks.install import hooks_state, install_hooks, remove_hooks

HOOK = ".git/hooks/pre-push"
NAMES = tuple(HOOKS)
ALL = [f".git/hooks/{name}" for name in NAMES]
NONE = [("warning", HOOK), ("warning", ".git/hooks/post-checkout")]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    fresh = Clone(tmp_path / "repo")
    fresh.path.mkdir()
    fresh.git("init", "-q", "-b", "main")
    return fresh


def write_hook(path: Path, text: str, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def state(root: Path) -> list[tuple[str, str]]:
    return [(finding.severity, finding.where) for finding in hooks_state(root)]


def test_a_hook_is_made_executable_and_once(clone: Clone) -> None:
    assert state(clone.path) == NONE
    assert install_hooks(clone.path).created == ALL
    assert all(os.access(clone.path / hook, os.X_OK) for hook in ALL)
    again = install_hooks(clone.path)
    assert (again.created, again.changed, again.left) == ([], [], [])
    assert state(clone.path) == []


def test_what_was_made_goes_again_and_what_was_there_stays(clone: Clone) -> None:
    install_hooks(clone.path)
    assert remove_hooks(clone.path).changed == ALL
    assert not any((clone.path / hook).exists() for hook in ALL)
    assert remove_hooks(clone.path).changed == []
    users = "#!/bin/bash\necho mine\xe9\n".encode("latin-1")
    path = write_hook(clone.path / HOOK, "", 0o750)
    path.write_bytes(users)
    assert install_hooks(clone.path).changed == [HOOK]
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    assert path.read_bytes().startswith(b"#!/bin/bash\n# >>> datapin >>>")
    remove_hooks(clone.path)
    assert path.read_bytes() == users


def test_the_hooks_path_of_the_settings_is_used(clone: Clone, tmp_path: Path) -> None:
    clone.git("config", "core.hooksPath", "tools/hooks")
    below = clone.path / "below"
    below.mkdir()
    assert install_hooks(clone.path).created == [f"tools/hooks/{name}" for name in NAMES]
    assert state(clone.path) == []
    assert install_hooks(below).created == []
    clone.git("config", "core.hooksPath", tmp_path / "everywhere")
    assert install_hooks(clone.path).created == [str(tmp_path / "everywhere" / name) for name in NAMES]


def test_a_hook_that_may_be_committed_names_no_path_of_this_machine(clone: Clone, tmp_path: Path) -> None:
    clone.git("config", "core.hooksPath", "tools")
    install_hooks(clone.path)
    assert "/bin/git-datapin" not in (clone.path / "tools" / "pre-push").read_text()
    clone.git("config", "--unset", "core.hooksPath")
    install_hooks(clone.path)
    assert "/bin/git-datapin" in (clone.path / HOOK).read_text()


def test_a_changed_hooks_path_leaves_a_dead_hook_that_doctor_sees(clone: Clone) -> None:
    install_hooks(clone.path)
    clone.git("config", "core.hooksPath", "tools")
    assert state(clone.path) == [("warning", "tools/pre-push")]
    assert "tools" in hooks_state(clone.path)[0].message
    install_hooks(clone.path)
    assert state(clone.path) == []
    assert sorted(remove_hooks(clone.path).changed) == sorted([*ALL, *(f"tools/{name}" for name in NAMES)])


def test_worktrees_share_the_hooks(clone: Clone, tmp_path: Path) -> None:
    clone.commit("x")
    clone.git("worktree", "add", "-q", tmp_path / "linked")
    assert install_hooks(tmp_path / "linked").created == [str(clone.path / hook) for hook in ALL]
    assert state(clone.path) == []
    assert state(tmp_path / "linked") == []


def test_a_submodule_has_hooks_of_its_own(clone: Clone, tmp_path: Path) -> None:
    inner = Clone(tmp_path / "inner")
    inner.path.mkdir()
    inner.git("init", "-q")
    inner.commit("x")
    clone.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", inner.path, "sub")
    install_hooks(clone.path / "sub")
    assert has_block((clone.path / ".git" / "modules" / "sub" / "hooks" / "pre-push").read_text())
    assert not (clone.path / HOOK).exists()


@pytest.mark.parametrize("text", ["#!/usr/bin/env python3\nprint(1)\n", "\x7fELF\0\0"])
def test_a_hook_that_is_no_shell_script_is_left_and_told(clone: Clone, text: str) -> None:
    path = write_hook(clone.path / HOOK, text)
    (left,) = install_hooks(clone.path).left
    assert (left.file, path.read_text()) == (HOOK, text)
    assert "git-datapin hook pre-push" in left.advice


def test_a_hook_that_is_switched_off_is_not_switched_on(clone: Clone) -> None:
    path = write_hook(clone.path / HOOK, "#!/bin/sh\nrm -rf everything\n", 0o644)
    (left,) = install_hooks(clone.path).left
    assert "not executable" in left.reason
    assert not os.access(path, os.X_OK)
    clone.git("config", "core.hooksPath", "/dev/null")
    left = install_hooks(clone.path).left[0]
    assert "core.hooksPath" in left.advice
    assert state(clone.path) == [("warning", "/dev/null/pre-push"), ("warning", "/dev/null/post-checkout")]


def test_a_link_keeps_leading_to_the_users_script(clone: Clone) -> None:
    script = write_hook(clone.path / "scripts" / "push.sh", "#!/bin/sh\necho mine\n")
    (clone.path / HOOK).parent.mkdir(exist_ok=True)
    (clone.path / HOOK).symlink_to(script)
    install_hooks(clone.path)
    assert (clone.path / HOOK).is_symlink()
    assert has_block(script.read_text())
    script.unlink()
    (left,) = install_hooks(clone.path).left
    assert "link" in left.reason


def test_a_broken_or_old_hook_is_a_finding_with_its_fix(clone: Clone) -> None:
    install_hooks(clone.path)
    path = clone.path / HOOK
    path.chmod(0o644)
    (finding,) = hooks_state(clone.path)
    assert (finding.severity, finding.hint) == ("warning", f"run `chmod +x {HOOK}`")
    assert install_hooks(clone.path).changed == [HOOK]
    assert state(clone.path) == []
    path.write_text(path.read_text().replace("exit 1", "exit 0"))
    assert state(clone.path) == [("warning", HOOK)]
    install_hooks(clone.path)
    assert state(clone.path) == []


def test_a_hook_of_the_pre_commit_tool_that_knows_us_is_no_finding(clone: Clone) -> None:
    write_hook(clone.path / HOOK, "#!/usr/bin/env bash\n# File generated by pre-commit: https://pre-commit.com\n")
    assert state(clone.path) == NONE
    (clone.path / ".pre-commit-config.yaml").write_text("repos:\n- hooks:\n  - id: datapin-pre-push\n")
    assert state(clone.path) == NONE[1:]
