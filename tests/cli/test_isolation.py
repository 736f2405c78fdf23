"""Every verb in a folder full of shadow modules and programs, with hostile settings of the repository: none is run."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from clones import BIN, ENVIRONMENT, Clone, write_images
from datapin.cli.main import HIDDEN, VERBS

# What datapin, DVC, Git's bindings and Python's start import, at the start or late.
_MODULES = (
    "datapin", "dvc", "types", "json", "numpy", "sitecustomize", "usercustomize", "git", "random", "queue", "struct",
    "logging", "csv", "PIL", "pandas", "ruamel", "yaml", "click", "tqdm", "duckdb", "sklearn", "skops", "zstandard",
    "pyarrow", "pydantic", "dvc_objects", "scmrepo", "pygit2", "dulwich", "multiprocessing", "subprocess", "runpy",
)  # fmt: skip
_PROGRAMS = ("git", "dvc", "datapin", "git-datapin", "python", "python3", "ssh", "gs", "env", "cat", "grep")
_HOOKS = ("post-index-change", "pre-commit", "post-checkout", "pre-push", "reference-transaction", "post-merge")
_ARGUMENTS: dict[str, list[list[str]]] = {
    "init": [["--hooks"], ["--no-hooks"]],
    "add": [["img", "--to", "data/raw", "--label", "parent", "-q"], ["many", "--to", "data/many", "-j", "2", "-q"]],
    "status": [[]],
    "ls": [["data/raw", "--limit", "2"]],
    "query": [["SELECT count(*) FROM 'data/raw@HEAD'"]],
    "diff": [["data/raw", "HEAD~1"]],
    "update": [["data/raw", "--set", "label='z'", "--where", "key = 'a/0.png'"]],
    "remove": [["data/raw", "--where", "key = 'a/1.png'"]],
    "checkout": [["data/raw", "--into", "out"]],
    "resolve": [["data/raw"]],
    "rollback": [["data/raw", "--to", "HEAD", "--force"], ["--all", "--to", "HEAD", "--force"]],
    "run": [["prepare"], ["train"]],
    "push": [["--all-versions"]],
    "fetch": [["--all-versions"]],
    "verify": [["--remote", "--deep"], ["HEAD", "--repro", "--sample", "2"]],
    "trace": [["data/prepared"]],
    "uses": [["data/raw:a/2.png"]],
    "why": [["data/raw:a/2.png"]],
    "rebuild-index": [[]],
    "doctor": [[]],
    "hook": [["post-checkout", "HEAD~1", "HEAD", "1"], ["post-index-change", "1", "0"]],
    "textconv": [["data/raw.dvc"]],
    "merge-driver": [["base.dvc", "ours.dvc", "theirs.dvc", "data/raw.dvc"]],
    "merge-lock": [["base.dvc", "ours.dvc", "theirs.dvc", "dvc.lock"]],
    "recover": [[]],
    "help": [["add"]],
    "completion": [["bash"]],
}


def _plant(repo: Clone, canary: Path) -> None:
    """Shadow modules and programs at the root, and settings of `.git/config` that name programs."""
    trap = f"open({str(canary)!r}, 'a').write(__file__ + '\\n')\nraise SystemExit(9)\n"
    for name in _MODULES:
        (repo.path / name).mkdir()
        (repo.path / name / "__init__.py").write_text(trap)
        (repo.path / f"{name}.py").write_text(trap)
    script = f'#!/bin/sh\necho "$0 $*" >>{canary}\nexit 1\n'
    hooks = repo.path / "traps"
    hooks.mkdir()
    for path in [*(repo.path / name for name in _PROGRAMS), *(hooks / name for name in _HOOKS), hooks / "evil"]:
        if not path.exists():
            path.write_text(script)
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
    evil = str(hooks / "evil")
    programs = (
        "core.fsmonitor", "core.pager", "pager.log", "pager.status", "diff.external", "diff.evil.textconv",
        "diff.evil.command", "filter.evil.clean", "filter.evil.smudge", "filter.evil.process", "filter.e=vil.clean",
        "gpg.program", "gpg.ssh.program", "core.sshCommand", "core.editor", "core.askPass", "credential.helper",
        "core.alternateRefsCommand", "uploadpack.packObjectsHook", "interactive.diffFilter", "sequence.editor",
        "merge.evil.driver",
    )  # fmt: skip
    values = {**dict.fromkeys(programs, evil), "core.hooksPath": str(hooks), "log.showSignature": "true"}
    values |= {f"alias.{name}": f"!{evil}" for name in ("status", "log", "ls-files", "rev-parse", "cat-file")}
    for name, value in values.items():
        repo.git("config", name, value)
    (repo.path / ".git" / "info" / "attributes").write_text("* filter=evil diff=evil\n*.dvc filter=e=vil merge=evil\n")


def _run_verb(repo: Clone, verb: str, words: list[str], env: dict[str, str]) -> None:
    if verb.startswith("merge-"):
        pointer = (repo.path / "data" / "raw.dvc").read_bytes()
        for name in ("base", "ours", "theirs"):
            (repo.path / f"{name}.dvc").write_bytes(pointer)
    ended = repo.run(BIN / "datapin", verb, *words, code=None, env=env)
    assert ended.returncode in (0, 1, 10, 20, 40), f"{verb} {words}: {ended.returncode}\n{ended.stdout}{ended.stderr}"


def test_no_verb_runs_what_lies_in_the_folder_or_what_its_settings_name(filled: Clone, tmp_path: Path) -> None:
    repo, canary = filled, tmp_path / "canary"
    repo.datapin("init", "--template", "image", "--hooks")
    repo.dvc("remote", "add", "-d", "lab", str(tmp_path / "lab"))
    write_images(repo.path / "img", per_class=7)
    repo.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    repo.commit("v2")
    (repo.path / "many").mkdir()
    for number in range(2001):
        (repo.path / "many" / f"{number}.txt").write_text(f"{number}")
    _plant(repo, canary)
    for verb in [*_ARGUMENTS, *(verb for verb in (*VERBS, *HIDDEN) if verb not in _ARGUMENTS)]:
        for words in _ARGUMENTS.get(verb, [["data/raw"]]):
            # What the stages of a dvc.yaml call is found as the user's PATH says.
            dot = "" if "--repro" in words else f".{os.pathsep}{os.pathsep}"
            _run_verb(repo, verb, words, {"PATH": dot + ENVIRONMENT["PATH"], "PYTHONPATH": ""})
            assert not canary.exists(), f"datapin {verb} {' '.join(words)} ran {canary.read_text()}"


def test_the_traps_do_snap_where_nobody_is_careful(filled: Clone, tmp_path: Path) -> None:
    """Else the test above could not fail: plain Git and plain Python do run what lies here."""
    canary = tmp_path / "canary"
    _plant(filled, canary)
    filled.run("git", "status", code=None)
    assert "evil" in canary.read_text()
    filled.run(BIN / "python", "-c", "import datapin", code=None)
    assert "datapin" in canary.read_text().splitlines()[-1]
    filled.run("sh", "-c", "git-datapin status", code=None, PATH=f".{os.pathsep}{ENVIRONMENT['PATH']}")
    assert "git-datapin status" in canary.read_text()
