"""Waivers: what they cover is shown with its reason, and they cover no more than they say, for no longer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from checks.planted import Planted
from clones import Clone, write_images
from datapin.base.findings import Finding
from datapin.checks.waivers import FILE, Waived, apply_waivers
from remotes import Worker

TODAY = date(2026, 11, 21)
RED = Finding("error", "hygiene.groups", "data/raw:a/1.png", "the group is in two splits")
OTHER = Finding("warning", "hygiene.drift", "data/raw", "labels drifted")
GOOD = """# what we live with
[[waiver]]
check = "hygiene.groups"
where = "data/raw:a/*"
reason = "one patient, two visits"
expires = 2026-11-21
"""


def applied(
    text: str | bytes, *findings: Finding, ran: Iterable[str] = ("hygiene.groups", "hygiene.drift"), today: date = TODAY
) -> tuple[list[Finding], list[Waived]]:
    data = text.encode() if isinstance(text, str) else text
    known = {"hygiene.groups", "hygiene.drift", "pins.readable"}
    return apply_waivers(data, findings, today, known=known, ran=set(ran))


def test_a_finding_that_is_covered_is_waived_with_its_reason_up_to_the_last_day() -> None:
    assert applied(GOOD, RED, OTHER) == ([OTHER], [Waived(RED, "one patient, two visits", "2026-11-21")])


def test_nothing_else_is_covered() -> None:
    elsewhere = Finding("error", "hygiene.groups", "data/raw:b/1.png", "the group is in two splits")
    standing, waived = applied(GOOD, RED, elsewhere)
    assert (standing, len(waived)) == ([elsewhere], 1)


def test_without_a_file_everything_stands() -> None:
    assert apply_waivers(None, [RED], TODAY, known=set(), ran=set()) == ([RED], [])


@pytest.mark.parametrize("message", ["could not be checked: no such file", "could not be read: not YAML"])
def test_what_could_not_be_read_is_never_waived(message: str) -> None:
    unread = Finding("error", "hygiene.groups", "data/raw:a/1.png", message)
    (standing, note), waived = applied(GOOD, unread)
    assert (standing, note.severity, waived) == (unread, "note", [])
    unreadable = Finding("error", "pins.readable", "data/raw:a/1.png", "anything")
    assert applied(GOOD.replace("hygiene.groups", "pins.readable"), unreadable)[0] == [unreadable]


def test_of_a_check_that_did_not_run_nobody_says_that_its_waiver_covers_nothing() -> None:
    assert applied(GOOD, ran=()) == ([], [])


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (GOOD.replace('reason = "one patient, two visits"\n', ""), 2, "has no reason"),
        (GOOD.replace("one patient, two visits", "  "), 2, "has no reason"),
        (GOOD.replace("expires = 2026-11-21", ""), 2, "has no expires"),
        (GOOD.replace("2026-11-21", '"2026-11-21"'), 2, "has no expires"),
        (GOOD.replace("2026-11-21", "2026-11-21T10:00:00"), 2, "has no expires"),
        (GOOD.replace("2026-11-21", "2026-02-30"), 6, "is not TOML"),
        (GOOD.replace('where = "data/raw:a/*"', ""), 2, "has no where"),
        (GOOD.replace('"hygiene.groups"', '"hygiene"'), 2, "names no check: 'hygiene'"),
        (GOOD.replace('"hygiene.groups"', "7"), 2, "has no check"),
        (GOOD + "until = 2027-01-01\n", 2, "has 'until'"),
        (GOOD + GOOD.replace("where", "wo"), 8, "has no where"),
        (GOOD + "reason = 1\n", 7, "is not TOML"),
        (GOOD + "[[waivers]]\n", 1, "has 'waivers'"),
        ("waiver = 7\n", 1, "not written as [[waiver]]"),
        ("\n\nwaiver", 3, "is not TOML"),
        (b"# \n# \xff\n", 2, "is not UTF-8"),
    ],
)
def test_a_malformed_waiver_is_an_error_that_names_its_line(text: str | bytes, line: int, problem: str) -> None:
    found = [one for one in applied(text, OTHER)[0] if one.check == "waivers.malformed"]
    assert [one.severity for one in found] == ["error"]
    assert found[0].where == f"{FILE}: line {line}"
    assert problem in found[0].message


def test_a_malformed_waiver_covers_nothing_and_hides_no_other() -> None:
    standing, waived = applied(GOOD + GOOD.replace("reason", "raison"), RED)
    assert ([one.check for one in standing], [one.finding for one in waived]) == (["waivers.malformed"], [RED])


@pytest.fixture(scope="module")
def once(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose only finding is a model of another remote."""
    top = tmp_path_factory.mktemp("waivers")
    clone = Clone(top / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    write_images(clone.path / "img")
    (clone.path / "model.bin").write_bytes(b"weights")
    with (clone.path / ".dvc" / "config").open("a") as settings:
        settings.write("[core]\n    remote = lab\n['remote \"lab\"']\n    url = ../../lab\n")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    clone.dvc("add", "-q", "model.bin")
    clone.datapin("push", "-q")
    return top


@pytest.fixture
def worker(once: Path, tmp_path: Path) -> Worker:
    shutil.copytree(once, tmp_path / "top", symlinks=True)
    return Worker(tmp_path / "top" / "repo")


def verified(worker: Worker, text: str) -> Any:
    (worker.path / FILE).write_text(text)
    return json.loads(worker.datapin("verify", "--check", "presence", "--json").out)


WAIVER = """[[waiver]]
check = "presence.outputs"
where = "model.bin"
reason = "made again by the weekly job"
expires = {expires}
"""


def test_a_waived_error_makes_the_verdict_good_and_is_shown(worker: Worker) -> None:
    assert worker.datapin("verify", "--check", "presence").code == 1
    report = verified(worker, WAIVER.format(expires="2999-01-01"))
    assert (report["ok"], report["findings"]) == (True, [])
    (waived,) = report["waived"]
    assert (waived["where"], waived["reason"]) == ("model.bin", "made again by the weekly job")
    said = worker.datapin("verify", "--check", "presence").done().out
    assert "made again by the weekly job" in said


@pytest.mark.planted("waivers.expired", "a waiver's last day is over", severity="warning")
@pytest.mark.planted("presence.outputs", "a model was never pushed, and its waiver is over")
def test_an_expired_waiver_covers_no_longer(worker: Worker, planted: Planted) -> None:
    report = verified(worker, WAIVER.format(expires="2020-01-01"))
    planted.seen(report["findings"])
    assert not report["ok"]


@pytest.mark.planted("waivers.malformed", "a waiver without a reason")
@pytest.mark.planted("presence.outputs", "a model was never pushed, and its waiver gives no reason")
def test_a_waiver_without_a_reason_is_an_error(worker: Worker, planted: Planted) -> None:
    report = verified(worker, WAIVER.format(expires="2999-01-01").replace("made again by the weekly job", ""))
    planted.seen(report["findings"])


@pytest.mark.planted("waivers.unused", "a waiver for what is in order", severity="note")
@pytest.mark.planted("presence.outputs", "a model was never pushed, and the waiver is another file's")
def test_a_waiver_that_covers_nothing_is_noted(worker: Worker, planted: Planted) -> None:
    report = verified(worker, WAIVER.format(expires="2999-01-01").replace("model.bin", "model.onnx"))
    planted.seen(report["findings"])


def test_git_does_not_ignore_the_file(worker: Worker) -> None:
    clone = Clone(worker.path)
    (worker.path / FILE).write_text("")
    clone.run("git", "check-ignore", "-q", FILE, code=1)


def test_a_revision_is_judged_by_its_own_waivers(worker: Worker) -> None:
    clone = Clone(worker.path)
    clone.commit("before")
    (worker.path / FILE).write_text(WAIVER.format(expires="2999-01-01"))
    assert worker.datapin("verify", "HEAD", "--check", "presence").code == 1
    clone.commit("after")
    assert worker.datapin("verify", "HEAD", "--check", "presence").code == 0
