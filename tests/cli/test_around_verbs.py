"""What surrounds every verb: options before or after it, help, what an unknown word is told, colours, pager, log."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import threading
from pathlib import Path

import pytest

import datapin
from clones import BIN, ENVIRONMENT, Clone
from datapin.base.files import lock
from datapin.cli.main import VERBS
from datapin.cli.shell.guide_pages import page_text
from datapin.cli.shell.suggestions import _NEIGHBOURS, unknown_verb

ESCAPE = "\x1b["


def on_terminal(clone: Clone, *words: str, **env: str) -> str:
    """What a terminal shows of a command."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [BIN / "datapin", *words], cwd=clone.path, env={**ENVIRONMENT, "TERM": "xterm", **env},
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 1 << 16):
            said += part
    except OSError:  # Linux: the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0, said
    return said.decode().replace("\r\n", "\n")


def test_global_options_stand_before_or_after_the_verb(filled: Clone) -> None:
    plain = filled.datapin("ls", "data/raw", "--json").stdout
    assert filled.datapin("--json", "ls", "data/raw").stdout == plain
    assert filled.datapin("-q", "--cd", "..", "--json", "ls", "data/raw", cwd=filled.path / "img").stdout == plain
    both = filled.datapin("--cd", "..", "ls", "data/raw", "--cd", "img", "--json", cwd=filled.path / "img")
    assert both.stdout == plain
    assert filled.datapin("-q", "add", "img", "--to", "data/raw").stdout == ""
    assert filled.datapin("add", "img", "--to", "data/raw", "-q").stdout == ""
    assert filled.json("--cd", "nowhere", "status", code=2)["error"]["message"].startswith("--cd nowhere: No such")
    assert json.loads(filled.datapin("--json", "ls", "data/nope", code=10).stdout)["error"]["kind"] == "unknown-dataset"
    filled.datapin("--cd", "img", "checkout", "data/raw", "--into", "../out")
    assert (filled.path / "out" / "a" / "00.bin").is_file(), "an option of a verb's own keeps its name"


def test_without_a_verb_the_help_is_printed(blank: Path) -> None:
    clone = Clone(blank)
    alone = clone.datapin(code=2)
    assert alone.stdout == clone.datapin("--help").stdout == clone.datapin("help").stdout
    assert alone.stderr == ""
    assert clone.datapin("help", "add").stdout == clone.datapin("add", "--help").stdout
    assert clone.datapin("help", "guide").stdout.startswith("# Guide")
    assert clone.datapin("help", "guide/verify").stdout.startswith("# ")
    assert clone.json("help", "ls")["text"].startswith("Usage: datapin ls")
    assert "no such section" in clone.refusal("help", "format#nope", code=2)[0]
    assert "did you mean `datapin help remotes`" in clone.refusal("help", "remots", code=2)[1]


@pytest.mark.parametrize(
    ("word", "advice"),
    [
        ("pull", "datapin fetch"), ("list", "datapin ls"), ("rm", "datapin remove"), ("commit", "git commit"),
        ("clone", "git clone"), ("import-url", "dvc import-url"), ("co", "datapin checkout"), ("PULL", "datapin fetch"),
        ("get", "datapin fetch"), ("blame", "datapin log"), ("st", "datapin status"), ("statsu", "datapin status"),
        ("chekout", "datapin checkout"), ("rolback", "datapin rollback"), ("ver", "datapin verify"),
        ("ad", "datapin add"),
        ("comit", "git commit"), ("xyzzy", "datapin help"), ("", "datapin help"),
    ],
)  # fmt: skip
def test_an_unknown_verb_leads_to_a_known_one(word: str, advice: str) -> None:
    error = unknown_verb(word, list(VERBS))
    assert repr(word) in error.message
    assert advice in error.hint


def test_what_leads_from_neighbours_is_there() -> None:
    for advice in _NEIGHBOURS.values():
        for verb in re.findall(r"`datapin ([a-z][a-z-]*)", advice):
            assert verb in VERBS, advice


def test_unknown_verbs_are_told_on_the_command_line(blank: Path) -> None:
    message, hint = Clone(blank).refusal("pull", code=2)
    assert (message, "`datapin fetch`" in hint) == ("'pull' is not a datapin command", True)


def test_hints_name_pages_that_are_there() -> None:
    """Each page that a text of ours names, `datapin help PAGE` or docs/…, is there, and its section."""
    source = Path(datapin.__file__).parent
    named: set[str] = set()
    for path in source.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        named |= set(re.findall(r"docs/[\w/-]+\.md(?:#[\w-]+)?", text))
        named |= {topic for topic in re.findall(r"`datapin help ([\w/#-]+)`", text) if topic not in VERBS}
        hints = re.findall(r'return f?"[^"]*docs/[^"]*"', text)
        assert not hints, f"{path}: a page is named by `datapin help PAGE`, which an installed datapin shows: {hints}"
    named -= {"COMMAND", "PAGE", "docs/guide/PAGE.md"}
    assert {"format#keys", "format#manifests"} <= named
    for topic in sorted(named):
        assert page_text(topic), topic


def test_colours_are_for_terminals_or_those_who_ask(filled: Clone) -> None:
    filled.datapin("update", "data/raw", "--set", "label = 'z'", "--where", "key = 'a/00.bin'", "-q")
    piped = filled.datapin("diff", "data/raw").stdout
    assert ESCAPE not in piped
    asked = filled.datapin("diff", "data/raw", "--color", "always").stdout
    assert f"{ESCAPE}33m~ a/00.bin{ESCAPE}0m" in asked
    assert re.sub(r"\x1b\[\d+m", "", asked) == piped
    assert ESCAPE in filled.datapin("status", FORCE_COLOR="1").stdout
    assert ESCAPE not in filled.datapin("--color=never", "status", FORCE_COLOR="1").stdout
    assert f"{ESCAPE}31m{ESCAPE}1merror: {ESCAPE}0m" in filled.datapin("nope", code=2, FORCE_COLOR="1").stderr
    assert ESCAPE not in filled.json("status", FORCE_COLOR="1")["datasets"][0]["dataset"]
    assert f"{ESCAPE}32mnot committed:{ESCAPE}0m" in on_terminal(filled, "status")
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        assert ESCAPE not in on_terminal(filled, "status", **env)
    assert ESCAPE in on_terminal(filled, "status", "--color", "always", NO_COLOR="1")


def test_long_lists_go_through_gits_pager_on_a_terminal(filled: Clone, tmp_path: Path) -> None:
    marked = {"GIT_PAGER": "sed s/^/paged:/", "HOME": str(tmp_path)}
    for words in (("ls", "data/raw"), ("log", "data/raw"), ("help", "ls"), ("query", "SELECT key FROM 'data/raw'")):
        shown = on_terminal(filled, *words, **marked)
        assert all(line.startswith("paged:") for line in shown.splitlines()), shown
    assert f"paged:{ESCAPE}1m" in on_terminal(filled, "diff", "data/raw", **marked), "colours reach the pager"
    assert "paged:" not in filled.datapin("ls", "data/raw", env=marked).stdout, "no terminal"
    for without in (("ls", "data/raw", "--no-pager"), ("--no-pager", "ls", "data/raw"), ("ls", "data/raw", "--json")):
        assert "paged:" not in on_terminal(filled, *without, **marked)
    (tmp_path / ".gitconfig").write_text("[core]\n\tpager = sed s/^/mine:/\n")
    assert "mine:key" in on_terminal(filled, "ls", "data/raw", HOME=str(tmp_path), PAGER="sed s/^/no:/")
    filled.git("config", "core.pager", f"touch {tmp_path / 'ran'}; cat")
    assert "mine:key" in on_terminal(filled, "ls", "data/raw", HOME=str(tmp_path))
    assert not (tmp_path / "ran").exists(), "settings of the repository run no program"
    for env in ({"GIT_PAGER": ""}, {"GIT_PAGER": "cat"}, {"GIT_PAGER": "there-is-no-such-pager"}):
        assert on_terminal(filled, "ls", "data/raw", **env) == filled.datapin("ls", "data/raw").stdout
    assert on_terminal(filled, "ls", "data/raw", GIT_PAGER="head -1").startswith("key "), "a pager that leaves early"


def test_the_log_tells_what_happens_and_no_secrets(filled: Clone, tmp_path: Path) -> None:
    file = tmp_path / "log"
    filled.dvc("remote", "add", "-q", "-d", "lab", tmp_path / "lab")
    (filled.path / "img" / "a" / "new.bin").write_bytes(b"new")
    said = filled.datapin("add", "img", "--to", "data/raw", "-v", DATAPIN_LOG=str(file), MY_TOKEN="hunter2hunter2")
    assert re.search(r"add: 13 files, \d+ unchanged since the last add", said.stderr)
    assert re.search(r"store: wrote pack [0-9a-f]{64}: \d+ bytes, 1 assets", said.stderr)
    assert "lock: took" not in said.stderr, "that is for -vv"
    assert "data/raw: 1 added" in said.stdout, "results stay on stdout"
    more = filled.datapin("-v", "push", "-v", DATAPIN_LOG=str(file)).stderr
    assert "push: " in more
    assert "assets are there already, not sent" in more
    assert re.search(r"request: put_if_absent .*/lab", more)
    where = "label = 'https://user:hunter2@example.com/x?token=hunter2' OR key = 'hunter2hunter2'"
    filled.datapin("ls", "data/raw", "--where", where, DATAPIN_LOG=str(file), MY_TOKEN="hunter2hunter2")
    text = file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    assert "command: datapin ls" in text
    assert "hunter2" not in text
    assert "DEBUG lock: took" in text, "the file gets all"
    assert filled.datapin("status").stderr == "", "off is off"
    ended = filled.datapin("status", DATAPIN_LOG="/nowhere/log")
    assert ended.stderr.startswith("warning: DATAPIN_LOG=/nowhere/log: No such file")


def test_the_log_tells_a_lock_that_is_waited_for(filled: Clone) -> None:
    held, free = threading.Event(), threading.Event()
    (path,) = named_in_log(filled, r"took the lock of dataset data/raw, (\S+)")

    def hold() -> None:
        with lock(Path(path), what="it"):
            held.set()
            free.wait(60)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(60)
    said = ""
    with subprocess.Popen(
        [BIN / "datapin", "-v", "add", "img", "--to", "data/raw"],
        cwd=filled.path, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True,
    ) as waiting:  # fmt: skip
        assert waiting.stderr is not None
        for line in waiting.stderr:
            said += line
            if "waiting for the lock of dataset data/raw" in line:
                free.set()
    holder.join()
    assert waiting.returncode == 0
    assert re.search(r"got the lock of dataset data/raw after \d", said)


def named_in_log(clone: Clone, pattern: str) -> list[str]:
    return re.findall(pattern, clone.datapin("add", "img", "--to", "data/raw", "-vv").stderr)


def test_what_nobody_foresaw_ends_with_70_and_its_traceback(filled: Clone) -> None:
    program = (
        "import datapin.cli.main as main\n"
        "def broken(context):\n    raise ZeroDivisionError('https://me:hunter2@example.com')\n"
        "main.root.invoke = broken\nmain.main({})"
    )
    for words, stream in (("['status']", "stderr"), ("['status', '--json']", "stdout")):
        ended = subprocess.run(
            [BIN / "python", "-c", program.format(words)],
            cwd=filled.path,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 70
        assert "Traceback" in ended.stderr
        assert "hunter2" not in ended.stderr + ended.stdout
        assert "ZeroDivisionError: https://***@example.com" in getattr(ended, stream)


def test_errors_and_the_repository_by_text(filled: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    import datapin.errors

    monkeypatch.chdir(filled.path / "img")
    assert datapin.Repo.find(".").root == datapin.Repo.find().root == datapin.Repo.find(filled.path).root
    with pytest.raises(datapin.errors.NoRepository) as caught:
        datapin.Repo.find("/")
    assert isinstance(caught.value, datapin.errors.DatapinError)
    assert datapin.errors.DatapinError.__module__.startswith("datapin.")
