"""The formats of `verify`: each says the same, and nothing that a key or a label says breaks out of it."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from clones import Clone, write_images
from datapin.base.findings import Finding
from datapin.checks.runner import CheckResult
from datapin.checks.waivers import Waived
from datapin.cli.formats.verify import FORMATS, render
from datapin.verbs.history.page.counts import CountBar
from datapin.verbs.verify.base_diff import BaseDiff, DatasetDiff
from datapin.verbs.verify.verify import VerifiedDataset, VerifyReport
from remotes import Worker

HOSTILE = [
    "::error file=x::boo",
    "a\n::set-output name=x::y",
    "a\r::stop-commands::t",
    "a##[command]b",
    "100%0Aboo",
    "a,b:c=d",
    "]]></failure><testcase name='x'/>",
    "<script>alert(1)</script>",
    "&lt;b&gt; &amp; &#60;",
    "a|b\\|c\\\\|d",
    "`code` ``more`` ```",
    "[link](http://evil.example) ![x](y) www.evil.example https://evil.example",
    "@everyone #1 !1 /close",
    "*bold* _it_ ~~no~~ # head",
    "\x00\x07\x1b[31mred\x1b[0m\u202e\ufffe",
    "\udcff",
    "🦊 café",
]
XML_CHARACTER = re.compile("[\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*")


def report_on(text: str) -> VerifyReport:
    """A report in which everything that people can choose is this text."""
    findings = [
        Finding("error", "pins.a", text, f"row {text!r} is wrong: {text}", text),
        Finding("error", "pins.a", f"data/raw:{text}", text),
        Finding("warning", "pins.b", f"data/raw:{text}", text, "look at it"),
        Finding("note", "waivers.unused", ".datapin/waivers.toml: line 3", text),
    ]
    waived = [Waived(Finding("error", "pins.c", text, text, text), text, "2027-01-01")]
    checks = [CheckResult(name, "Is it so?", []) for name in ("pins.a", "pins.b", "pins.c")]
    diff = DatasetDiff("data/raw", 1, 2, 3, {text: 3}, {"label": [CountBar(text, 1, 2)]})
    return VerifyReport(
        rev=text,
        commit="0" * 40,
        ok=False,
        findings=findings,
        waived=waived,
        checks=checks,
        datasets=[VerifiedDataset("data/raw", "data/raw.dvc", "sha256:ab", 7), VerifiedDataset(text, text, None, None)],
        notes=[text],
        diff=BaseDiff(text, "1" * 40, [diff, DatasetDiff(text, problem=text)]),
    )


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("text", HOSTILE)
def test_every_format_can_be_written_as_utf_8(form: str, text: str) -> None:
    data = render(report_on(text), form).encode()
    assert not re.search(rb"[\x00-\x08\x0b-\x1f]", data)


@pytest.mark.parametrize("text", HOSTILE)
def test_json_gives_the_text_back(text: str) -> None:
    document = json.loads(render(report_on(text), "json"))
    assert document["findings"][1]["message"] == text
    assert document["waived"][0]["reason"] == text


CHILDREN = {  # junit-10.xsd of Jenkins's xUnit plug-in: what may stand in what, and with which attributes
    "testsuites": ({"testsuite"}, {"name", "time", "tests", "failures", "errors"}, set()),
    "testsuite": (
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
        {"name", "tests", "failures", "errors", "group", "time", "skipped", "timestamp", "hostname", "id", "package"},
        {"name", "tests", "failures", "errors"},
    ),
    "properties": ({"property"}, set(), set()),
    "property": (set(), {"name", "value"}, {"name", "value"}),
    "testcase": ({"skipped", "error", "failure", "system-out", "system-err"}, {"name", "time", "classname"}, {"name"}),
    "failure": (set(), {"type", "message"}, set()),
    "system-out": (set(), set(), set()),
}


def check_junit(text: str) -> ElementTree.Element:
    assert XML_CHARACTER.fullmatch(text)
    root = ElementTree.fromstring(text)
    assert root.tag == "testsuites"
    for element in root.iter():
        children, allowed, required = CHILDREN[element.tag]
        assert {child.tag for child in element} <= children
        assert required <= element.attrib.keys() <= allowed, element.attrib
        if "time" in element.attrib:
            assert re.fullmatch(r"\d+\.\d{3}", element.attrib["time"])
    suite = root[0]
    assert int(suite.attrib["tests"]) == len(suite.findall("testcase"))
    assert int(suite.attrib["failures"]) == len(suite.findall("testcase/failure"))
    return suite


@pytest.mark.parametrize("text", HOSTILE)
def test_junit_has_one_case_per_check_and_every_error_in_its_failure(text: str) -> None:
    suite = check_junit(render(report_on(text), "junit"))
    cases = {case.attrib["name"]: case for case in suite.findall("testcase")}
    assert list(cases) == ["pins.a", "pins.b", "pins.c", "waivers.unused"]
    (failure,) = suite.iter("failure")
    assert failure in list(cases["pins.a"])
    assert (failure.text or "").count("error: ") >= 2
    assert "warning: data/raw:" in str(cases["pins.b"].findtext("system-out"))
    assert "waived until 2027-01-01" in str(cases["pins.c"].findtext("system-out"))


def unescaped(text: str) -> str:
    """As GitHub's runner reads the data of a command."""
    return text.replace("%3A", ":").replace("%2C", ",").replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")


@pytest.mark.parametrize("text", HOSTILE)
def test_github_takes_one_command_per_finding_and_no_other(text: str) -> None:
    lines = render(report_on(text), "github").splitlines()
    commands = [line for line in lines if line.lstrip().startswith("::")]
    assert len(commands) == 4
    assert lines[:4] == commands
    seen = [re.fullmatch(r"::(error|warning|notice) ([^:]*)::(.*)", line) for line in commands]
    assert [found[1] for found in seen if found] == ["error", "error", "warning", "notice"]
    for found in seen:
        assert found
        names = [part.partition("=")[0] for part in found[2].split(",")]
        assert set(names) <= {"file", "line", "title"}
        assert len(names) == len(set(names))
    assert "file=data/raw.dvc,title=pins.a" in commands[1]
    assert "file=.datapin/waivers.toml,line=3,title=waivers.unused" in commands[3]
    assert not [line for line in lines[4:] if "##[" in line]
    if text.isprintable():
        assert unescaped(commands[1].partition(",title=pins.a::")[2]) == f"data/raw:{text}: {text}"


@pytest.mark.parametrize("text", [text for text in HOSTILE if text.isprintable()])
def test_markdown_shows_the_text_and_makes_nothing_of_it(text: str) -> None:
    data = render(report_on(text), "markdown")
    plain = render(report_on("x"), "markdown")
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    seen, expected = (structure(parser, one) for one in (data, plain))
    assert seen == expected
    assert not re.search(r"(?<!<span>)@|://|www\.", re.sub("<code>.*?</code>", "", data))


def structure(parser: MarkdownIt, text: str) -> list[str]:
    """The tags that a reader makes of it, text left out."""
    found = []
    for token in parser.parse(text):
        found.append(token.type)
        for child in token.children or ():
            if child.type == "html_inline" and "span" not in child.content:
                found.append(child.content)
            elif child.type not in ("text", "html_inline", "text_special", "entity"):
                found.append(child.type)
    return found


def test_the_text_says_one_thing_once_and_the_gravest_first() -> None:
    same = [Finding("error", f"presence.{name}", "work tree", "no remote", "add one") for name in "ab"]
    report = VerifyReport(None, None, False, [Finding("warning", "pins.x", "y", "z"), *same])
    lines = render(report, "text").splitlines()
    assert lines[:3] == [
        "error: presence.a, presence.b: work tree: no remote",
        "  hint: add one",
        "warning: pins.x: y: z",
    ]


def test_what_many_checks_cannot_read_is_said_once() -> None:
    same = [Finding("error", f"presence.{name}", "work tree", "no remote", "add one") for name in "abcde"]
    report = VerifyReport(None, None, False, same)
    assert render(report, "text").splitlines()[0] == (
        "error: presence.a, presence.b and 3 more checks: work tree: no remote"
    )
    commands = [line for line in render(report, "github").splitlines() if line.startswith("::")]
    assert commands == ["::error title=presence.a%2C presence.b and 3 more checks::work tree: no remote; add one"]
    assert render(report, "markdown").count("no remote") == 1
    assert render(report, "junit").count("<failure") == 5


def test_a_summary_stays_small_whatever_there_is_to_say() -> None:
    findings = [Finding("error", "pins.a", f"data/raw:{number}", "x" * 5000, "y" * 5000) for number in range(3000)]
    text = render(VerifyReport("HEAD", "0" * 40, False, findings), "markdown")
    assert len(text.encode()) < 1 << 20
    assert "… and 2800 more findings" in text


@pytest.fixture(scope="module")
def worker(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """A repository with two versions of a dataset, and keys and labels that nobody should choose."""
    clone = Clone(tmp_path_factory.mktemp("formats") / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    write_images(clone.path / "img", classes="ab")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    clone.commit("v1")
    clone.git("tag", "v1")
    write_images(clone.path / "img", classes="abc")
    (clone.path / "img" / "a" / "x|y ::error::@z <b>`.bin").write_bytes(b"odd")
    clone.datapin("add", "img", "--to", "data/raw", "--label", "parent", "-q")
    clone.datapin("update", "data/raw", "--set", "label = '<script>|@x'", "--where", "label = 'b'", "-q")
    clone.commit("v2")
    return Worker(clone.path)


def test_one_run_writes_every_format_and_the_diff_against_a_base(worker: Worker, tmp_path: Path) -> None:
    words = [word for form in FORMATS for word in ("--report", f"{form}={tmp_path}/out/{form}")]
    said = worker.datapin("verify", "HEAD", "--check", "pins", "--diff-base", "v1", *words).done().out
    texts = {form: (tmp_path / "out" / form).read_text() for form in FORMATS}
    assert texts["text"] == said
    document: dict[str, Any] = json.loads(texts["json"])
    assert {"rev", "commit", "ok", "findings", "waived", "checks", "datasets", "diff"} <= document.keys()
    (dataset,) = document["datasets"]
    assert (dataset["dataset"], dataset["pointer"], dataset["rows"]) == ("data/raw", "data/raw.dvc", 19)
    (diff,) = document["diff"]["datasets"]
    assert (diff["added"], diff["removed"], diff["changed"], diff["columns"]) == (7, 0, 6, {"label": 6})
    assert {bar["name"]: (bar["before"], bar["after"]) for bar in diff["counts"]["label"]} == {
        "a": (6, 7),
        "b": (6, 0),
        "c": (0, 6),
        "<script>|@x": (0, 6),
    }
    check_junit(texts["junit"])
    assert "| <code>data/raw</code> | 7 | 0 | 6 | <code>label</code> 6 |" in texts["markdown"]
    assert dataset["digest"] in texts["markdown"]
    assert "data/raw: 7 added, 0 removed, 6 changed" in said
    assert f"data/raw        19 rows  {dataset['digest']}" in said
    assert texts["github"].startswith("pins ")


def test_without_a_difference_the_diff_says_so(worker: Worker) -> None:
    said = worker.datapin("verify", "v1", "--check", "pins", "--diff-base", "v1").done().out
    assert "no row differs" in said


def test_wrong_words_are_refused_before_anything_runs(worker: Worker) -> None:
    assert "expected FORMAT=FILE" in worker.datapin("verify", "--report", "yaml=x").refused(2)
    assert "expected FORMAT=FILE" in worker.datapin("verify", "--report", "json").refused(2)
    worker.datapin("verify", "--diff-base", "nowhere").refused(10)
    worker.datapin("verify", "--report", "json=/proc/nowhere/x", "--check", "pins").refused(30)
