"""Completion as shells ask for it: real bash, zsh and fish, and what each place offers."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from clones import BIN, ENVIRONMENT, Clone
from datapin.cli.shell.completion import script

ASKS = """
import io, json, os, sys
import datapin.cli.main as main
from datapin.cli.shell import completion
for line in sys.stdin.read().splitlines():
    os.environ |= {"_DATAPIN_COMPLETE": "bash_complete", "COMP_LINE": line, "COMP_BREAKS": "@=: "}
    said, sys.stdout = sys.stdout, io.StringIO()
    completion.answer(main.root)
    said, sys.stdout = sys.stdout, said
    print(json.dumps([line, said.getvalue().splitlines()]))
heavy = {"numpy", "pyarrow", "pandas", "duckdb", "dvc", "git", "pydantic", "PIL"} & set(sys.modules)
print(json.dumps(["heavy", sorted(heavy)]))
"""


@pytest.fixture(scope="module")
def place(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """Two datasets, one with a blank in its name, two versions, a tag, a remote."""
    clone = Clone(tmp_path_factory.mktemp("completed") / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    (clone.path / "img").mkdir()
    (clone.path / "img" / "one.txt").write_text("1")
    (clone.path / ".gitignore").write_text("/img\n")
    clone.dvc("remote", "add", "-q", "-d", "lab", "/nowhere")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    clone.commit("one")
    clone.git("tag", "v1")
    clone.datapin("add", "img", "--to", "data/my set", "-q")
    clone.datapin("update", "data/raw", "--set", "label = 'x'", "-q")
    clone.commit("two")
    return clone


def test_each_place_offers_what_may_stand_there(place: Clone) -> None:
    wanted: dict[str, list[str]] = {
        "datapin stat": ["plain,status"],
        "datapin --cd": ["plain,--cd"],
        "datapin add img --la": ["plain,--label"],
        "datapin add img --label ": ["plain,parent", "plain,none"],
        "datapin add img --label=p": ["plain,parent"],
        "datapin add img --to data/r": ["plain,data/raw"],
        "datapin add ": ["file,"],
        "datapin ls data/": ["plain,data/my\\ set", "plain,data/raw"],
        "datapin ls 'data/m": ["plain,data/my set"],
        "datapin --json -q ls data/r": ["plain,data/raw"],
        "git datapin ls data/r": ["plain,data/raw"],
        "/opt/bin/datapin ls data/r": ["plain,data/raw"],
        "datapin ls data/raw@": ["plain,v1", "plain,main", "plain,HEAD", "plain,~1"],
        "datapin ls data/raw@v": ["plain,v1"],
        "datapin rollback data/raw --to ~": ["plain,~1"],
        "datapin diff data/raw v": ["plain,v1"],
        "datapin ls data/raw --columns la": ["plain,label"],
        "datapin ls data/raw --columns key,la": ["plain,key,label"],
        "datapin ls data/raw --where \"key = 'x' AND la": ["plain,key = 'x' AND label"],
        "datapin update data/raw --set la": ["plain,label="],
        "datapin fetch -r ": ["plain,lab"],
        "datapin verify ma": ["plain,main"],
        "datapin run tr": ["plain,train"],
        "datapin init --ci ": ["plain,github", "plain,gitlab"],
        "datapin help form": ["plain,format"],
        "datapin completion z": ["plain,zsh"],
        "datapin --color a": ["plain,auto", "plain,always"],
        "datapin checkout data/raw --into ": ["dir,"],
        "datapin ls no/such@": ["plain,v1", "plain,main", "plain,HEAD"],
        "datapin ls 'un": [],
        "datapin": [],
    }
    said = subprocess.run(
        [BIN / "python", "-c", ASKS], cwd=place.path, env=ENVIRONMENT, input="\n".join(wanted), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    answers = dict(json.loads(line) for line in said.stdout.splitlines())
    assert answers.pop("heavy") == []
    assert {line: sorted(answer) for line, answer in answers.items()} == {
        line: sorted(answer) for line, answer in wanted.items()
    }


def test_outside_a_repository_nothing_is_said(tmp_path: Path) -> None:
    for word in ("bash_complete", "zsh_complete", "fish_complete", "csh_complete", "nonsense", ""):
        env = {"_DATAPIN_COMPLETE": word, "COMP_LINE": "datapin ls ", "COMP_WORDS": "datapin ls ", "COMP_CWORD": "2"}
        ended = Clone(tmp_path).datapin("x", env=env)
        assert (ended.stdout, ended.stderr) == ("", "")


def in_bash(clone: Clone, line: str, *words: str) -> list[str]:
    """What bash would put into COMPREPLY for `line`, split as `words`."""
    array = " ".join(f"'{word}'" for word in words)
    code = f"""
        eval "$(datapin completion bash)"
        COMP_LINE='{line}' COMP_POINT={len(line)} COMP_WORDS=({array}) COMP_CWORD={len(words) - 1}
        complete -p datapin >&2
        _datapin_completion datapin
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    ended = clone.run("bash", "--norc", "-c", code)
    assert "-F _datapin_completion datapin" in ended.stderr
    return ended.stdout.splitlines()


def test_bash_completes(place: Clone) -> None:
    assert in_bash(place, "datapin ls data/r", "datapin", "ls", "data/r") == ["data/raw"]
    assert in_bash(place, "datapin ls data/raw@v", "datapin", "ls", "data/raw", "@", "v") == ["v1"]


def typed(shell: list[str], lines: str, place: Clone, until: str) -> str:
    """What an interactive shell shows of what is typed."""
    ours, theirs = pty.openpty()
    environment = {**ENVIRONMENT, "TERM": "dumb", "PS1": "$ ", "ZDOTDIR": "/nowhere", "HOME": str(place.path.parent)}
    process = subprocess.Popen(
        shell, cwd=place.path, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    said = b""
    try:
        time.sleep(1)
        os.write(ours, lines.encode())
        deadline = time.monotonic() + 60
        while until.encode() not in said and time.monotonic() < deadline:
            said += os.read(ours, 1 << 16)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    return said.decode(errors="replace")


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed here")
def test_zsh_completes(place: Clone) -> None:
    (place.path.parent / "comp.zsh").write_text(script("zsh"))
    lines = f"source {place.path.parent / 'comp.zsh'}\ndatapin ls data/raw@v\t"
    assert "data/raw@v1" in typed(["zsh", "-f", "-i"], lines, place, "data/raw@v1")


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed here")
def test_fish_completes(place: Clone) -> None:
    (place.path.parent / "comp.fish").write_text(script("fish"))
    code = f"source {place.path.parent / 'comp.fish'}; complete -C 'datapin ls data/raw@v'; complete -C 'datapin stat'"
    said = place.run("fish", "--no-config", "-c", code, HOME=str(place.path.parent)).stdout
    assert [line.split("\t")[0] for line in said.splitlines()] == ["data/raw@v1", "status"]
