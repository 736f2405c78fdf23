"""Stages that are not deterministic, each in its own way; and everything else that keeps a commit from reproducing."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from checks.planted import Planted
from checks.repro_repos import METRICS, RECORD, repro, stage, state, write
from clones import BIN, ENVIRONMENT, Clone
from datapin.base.findings import Finding
from datapin.verbs.verify.verify import VerifyReport

STEADY = "print(sum(number * number for number in range(1000)))"
SCRIPTS = {
    "clock": "import time; print(time.time())",
    "random": "import random; print([random.random() for _ in range(4)])",
    "uuid": "import uuid; print(uuid.uuid4())",
    "set": "print(list({f'class {n}' for n in range(40)}))",
    "hash": "print(hash('data/raw'))",
    "zone": "import time; print(time.strftime('%H:%M %z', time.localtime(0)))",
    "locale": "import locale; print(locale.setlocale(locale.LC_ALL, ''))",
    "place": "import os; print(os.getcwd())",
    "threads": "import os; print(os.environ.get('OMP_NUM_THREADS', os.cpu_count()))",
    "blas": "from threadpoolctl import threadpool_info as t; import numpy; print([one['num_threads'] for one in t()])",
    "workers": "import tomllib, os; from datapin.verbs.workspace.workspace import Workspace; "
    "from datapin.base.progress import SILENT; from pathlib import Path; "
    "print(Workspace.find(Path('.'), progress=SILENT).jobs)",
    "inode": "import os; print(os.stat('dvc.yaml').st_ino)",
}


@pytest.fixture(scope="module")
def faulty(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> VerifyReport:
    """One rerun of all of them, beside a stage that gives the same every time and one that reads a faulty one."""
    clone = Clone(tmp_path_factory.mktemp("faulty") / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    scripts = {"steady": STEADY, **SCRIPTS}
    stages = {name: stage(f"python by_{name}.py > {name}.txt", [f"{name}.txt"], [f"by_{name}.py"]) for name in scripts}
    stages["after"] = stage("wc -c < clock.txt > after.txt; cat clock.txt >> after.txt", ["after.txt"], ["clock.txt"])
    write(clone, {"dvc.yaml": {"stages": stages}, **{f"by_{name}.py": text for name, text in scripts.items()}})
    clone.dvc("repro", "-q")
    clone.commit("all of them")
    return repro(clone)


def fault(name: str, words: str) -> Any:
    return pytest.param(name, marks=pytest.mark.planted("repro.outputs", words), id=name)


@pytest.mark.parametrize(
    "name",
    [
        fault("clock", "a stage writes the time"),
        fault("random", "a stage draws random numbers without a seed"),
        fault("uuid", "a stage draws a UUID"),
        fault("set", "a stage writes the members of a set in its order"),
        fault("hash", "a stage writes the hash of a text, which Python salts"),
        fault("zone", "a stage writes local time"),
        fault("locale", "a stage depends on the locale"),
        fault("place", "a stage writes the folder it runs in"),
        fault("threads", "a stage depends on the number of threads"),
        fault("blas", "a stage depends on the number of BLAS threads"),
        fault("workers", "a stage depends on the number of workers"),
        fault("inode", "a stage depends on where its files lie on the disk"),
    ],
)
def test_a_stage_that_is_not_deterministic_is_caught(faulty: VerifyReport, name: str, planted: Planted) -> None:
    (finding,) = planted.seen([one for one in faulty.findings if one.where == f"{name}.txt"])
    assert "→" in finding.message
    assert "PYTHONHASHSEED=" in finding.message


def test_a_stage_that_is_deterministic_is_not_named_and_one_after_a_faulty_one_names_it(faulty: VerifyReport) -> None:
    by_place = {one.where: one for one in faulty.findings}
    assert "steady.txt" not in by_place
    assert "it follows from clock.txt" in by_place["after.txt"].message
    assert not faulty.ok
    assert any(f"1 of {len(SCRIPTS) + 2} outputs have identical bytes" in note for note in faulty.notes)


# --- one small pipeline, spoiled in other ways

PIPELINE = {
    "stages": {
        "first": stage("sort words.txt > sorted.txt", ["sorted.txt"], ["words.txt"]),
        "train": stage(
            "cp in/model.bin in/metrics.json in/run.json . && head -n 1 sorted.txt > top.txt",
            ["model.bin", "top.txt"],
            ["in", "sorted.txt"],
            params=["limit"],
            metrics=[{"metrics.json": {"cache": False}}, {"run.json": {"cache": False}}],
        ),
    }
}
MODEL = b"\x00\xffmodel" * 50


@pytest.fixture(scope="module")
def once(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source that DVC keeps, two stages, a model, metrics and a run record."""
    clone = Clone(tmp_path_factory.mktemp("small") / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    files = {"in/model.bin": MODEL, "in/metrics.json": METRICS, "in/run.json": RECORD}
    write(clone, {"dvc.yaml": PIPELINE, "params.yaml": {"limit": 1}, "words.txt": "b\na\nc\n", **files})
    clone.dvc("add", "-q", "words.txt")
    clone.dvc("repro", "-q")
    clone.commit("healthy")
    return clone.path


@pytest.fixture
def small(once: Path, tmp_path: Path) -> Clone:
    shutil.copytree(once, tmp_path / "repo", symlinks=True)
    return Clone(tmp_path / "repo")


def outputs(report: VerifyReport) -> list[Finding]:
    return [one for one in report.findings if one.check == "repro.outputs"]


def test_a_healthy_pipeline_has_no_findings_and_nothing_of_it_is_touched(
    small: Clone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    places = [
        small.path / name for name in (".dvc", ".git/datapin/store", ".git/datapin/memo", ".git/refs", ".git/worktrees")
    ]
    before = [state(place) for place in places]
    report = repro(small, "HEAD", "repro.outputs")
    assert report.findings == []
    assert "5 of 5 outputs have identical bytes" in report.notes[0]
    assert [state(place) for place in places] == before
    assert small.git("status", "--porcelain") == ""
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.planted("repro.outputs", "an input is changed, and the pipeline was not run again")
def test_a_changed_input_is_named_as_the_cause(small: Clone, planted: Planted) -> None:
    write(small, {"in/metrics.json": {"test": {**METRICS["test"], "accuracy": 0.5}}})
    small.commit("another input")
    (finding,) = planted.seen(outputs(repro(small, "HEAD", "repro.outputs")))
    assert finding.where == "metrics.json"
    assert "first test.accuracy 0.9 → 0.5; largest difference 0.4 (test.accuracy)" in finding.message
    assert "dvc.lock was written with another in" in finding.message


@pytest.mark.planted("repro.outputs", "a parameter is changed, and the pipeline was not run again")
def test_a_changed_parameter_is_named_as_the_cause(small: Clone, planted: Planted) -> None:
    write(small, {"params.yaml": {"limit": 2}, "in/model.bin": MODEL[::-1]})
    (small.path / "in/metrics.json").unlink()
    write(small, {"in/metrics.json": {"test": {"accuracy": 0.8}}})
    small.commit("another parameter")
    found = planted.seen(outputs(repro(small, "HEAD", "repro.outputs")))
    assert {one.where for one in found} == {"model.bin", "metrics.json"}
    assert all("dvc.lock was written with limit 1, params.yaml says 2" in one.message for one in found)


@pytest.mark.planted("repro.outputs", "a stage needs a file that nobody committed")
def test_a_stage_that_fails_says_its_last_words(small: Clone, planted: Planted) -> None:
    (small.path / ".git/info/exclude").write_text("/in\n")
    small.git("rm", "-rq", "--cached", "in")
    small.commit("forgot the inputs")
    (finding,) = planted.seen(outputs(repro(small, "HEAD", "repro.outputs")))
    assert finding.where == "stage train"
    assert "in/model.bin" in finding.message


@pytest.mark.planted("repro.outputs", "the bytes of a source are nowhere")
def test_a_source_that_is_nowhere_is_named(small: Clone, planted: Planted) -> None:
    (small.path / "words.txt").unlink()
    shutil.rmtree(small.path / ".dvc/cache/files")
    found = [one for one in repro(small, "HEAD", "repro.outputs").findings if one.check != "pins.readable"]
    (finding,) = planted.seen(found)
    assert "words.txt" in finding.message


def test_sources_come_from_the_remote(small: Clone, tmp_path: Path) -> None:
    small.dvc("remote", "add", "-d", "-q", "far", str(tmp_path / "far"))
    small.dvc("push", "-q", "words.txt")
    small.commit("a remote")
    small.git("clone", "-q", ".", tmp_path / "fresh")
    assert repro(Clone(tmp_path / "fresh"), None, "repro.outputs").findings == []


def pin(clone: Clone, files: dict[str, object]) -> None:
    """Make `dvc.lock` pin other outputs than the stages give: as `dvc commit` would, in no time."""
    lock = (clone.path / "dvc.lock").read_text()
    for name in files:
        old = (clone.path / name).read_bytes()
        (clone.path / name).unlink()
        write(clone, {name: files[name]})
        new = (clone.path / name).read_bytes()
        was, now = (f"md5: {hashlib.md5(data).hexdigest()}\n      size: {len(data)}\n" for data in (old, new))
        assert was in lock
        lock = lock.replace(
            f"path: {name}\n      hash: md5\n      {was}", f"path: {name}\n      hash: md5\n      {now}"
        )
    write(clone, {"dvc.lock": lock})
    clone.commit("pinned by hand")


@pytest.mark.planted("repro.outputs", "an output is edited by hand and pinned")
def test_an_output_that_was_edited_by_hand_is_found_and_what_follows_from_it(small: Clone, planted: Planted) -> None:
    pin(small, {"sorted.txt": "x\nb\nc\n", "top.txt": "x\n"})
    found = planted.seen(outputs(repro(small, "HEAD", "repro.outputs")))
    messages = {one.where: one.message for one in found}
    assert "1 line(s) differ, first line 1: 'x' → 'a'" in messages["sorted.txt"]
    assert "the environment is the recorded one" in messages["sorted.txt"]
    assert "it follows from sorted.txt" in messages["top.txt"]


@pytest.mark.planted("repro.outputs", "a model has other bytes on the same machine, its metrics are the same")
def test_another_model_is_an_error_where_the_environment_is_the_recorded_one(small: Clone, planted: Planted) -> None:
    pin(small, {"model.bin": MODEL[::-1]})
    (finding,) = planted.seen(outputs(repro(small, "HEAD", "repro.outputs")))
    assert "350 bytes, the first other one at byte 0" in finding.message


@pytest.mark.planted("repro.outputs", "a model has other bytes under another BLAS", severity="warning")
def test_another_model_is_a_warning_where_the_environment_is_another(small: Clone, planted: Planted) -> None:
    record = {**RECORD["runs"][0], "environment": {"blas": [{"name": "openblas", "architecture": "Zen"}]}}
    metrics = {"test": {**METRICS["test"], "log_loss": 0.2500001}}
    pin(small, {"model.bin": MODEL[::-1], "run.json": {"runs": [record]}, "metrics.json": metrics})
    report = repro(small, "HEAD", "repro.outputs")
    found = planted.seen(outputs(report))
    assert report.ok
    assert {one.where for one in found} == {"model.bin", "metrics.json"}
    assert all("openblas ? Zen ? in the run record" in one.message for one in found)
    (note,) = [one for one in outputs(report) if one.severity == "note"]
    assert note.where == "run.json"


@pytest.mark.planted("repro.outputs", "a metric is another one under another BLAS")
def test_other_metrics_are_an_error_wherever_they_come_from(small: Clone, planted: Planted) -> None:
    record = {**RECORD["runs"][0], "environment": {"blas": [{"name": "openblas", "architecture": "Zen"}]}}
    metrics = {"test": {**METRICS["test"], "rows": 101}}
    pin(small, {"model.bin": MODEL[::-1], "run.json": {"runs": [record]}, "metrics.json": metrics})
    found = planted.seen(outputs(repro(small, "HEAD", "repro.outputs")))
    assert {one.where for one in found} == {"model.bin", "metrics.json"}


@pytest.mark.planted("repro.outputs", "changes are not committed", severity="warning")
def test_changes_that_are_not_committed_are_not_run(small: Clone, planted: Planted) -> None:
    write(small, {"in/metrics.json": {"test": {"accuracy": 0.1}}})
    (finding,) = planted.seen(outputs(repro(small)))
    assert small.git("rev-parse", "HEAD")[:12] in finding.message


@pytest.mark.planted("repro.outputs", "a stage is in dvc.yaml that was never run")
def test_a_stage_that_was_never_run_has_nothing_to_compare(small: Clone, planted: Planted) -> None:
    more = {"stages": {**PIPELINE["stages"], "new": stage("echo > new.txt", ["new.txt"])}}
    write(small, {"dvc.yaml": more})
    small.commit("one more stage")
    (finding,) = planted.seen(outputs(repro(small, "HEAD", "repro.outputs")))
    assert finding.where == "stage new"


@pytest.mark.planted("repro.outputs", "dvc.lock pins a stage that dvc.yaml does not have any more")
def test_a_stage_that_is_gone_is_not_green(small: Clone, planted: Planted) -> None:
    write(small, {"dvc.yaml": {"stages": {"first": PIPELINE["stages"]["first"]}}})
    small.commit("one stage less")
    (finding,) = planted.seen(outputs(repro(small, "HEAD", "repro.outputs")))
    assert finding.where == "stage train"


def test_a_frozen_stage_is_said_not_to_have_run(small: Clone) -> None:
    frozen = {"stages": {**PIPELINE["stages"], "first": {**PIPELINE["stages"]["first"], "frozen": True}}}
    write(small, {"dvc.yaml": frozen})
    small.commit("frozen")
    report = repro(small, None, "repro.outputs")
    (finding,) = outputs(report)
    assert (finding.severity, finding.where) == ("note", "stage first")
    assert "1 stage(s) ran again" in report.notes[0]


def test_an_old_revision_of_a_shallow_clone_reproduces(small: Clone, tmp_path: Path) -> None:
    write(small, {"in/metrics.json": {}})
    small.commit("spoiled")
    small.git("clone", "-q", "--depth", "2", f"file://{small.path}", tmp_path / "shallow")
    shutil.copytree(small.path / ".dvc/cache", tmp_path / "shallow/.dvc/cache")
    shallow = Clone(tmp_path / "shallow")
    assert repro(shallow, "HEAD~1", "repro.outputs").findings == []
    assert not repro(shallow, "HEAD", "repro.outputs").ok


def test_a_hook_of_git_s_does_not_lead_the_clone_astray(small: Clone) -> None:
    (small.path / ".git/hooks/pre-commit").write_text(
        f"#!/bin/sh\nexec {BIN}/datapin verify HEAD --check repro.outputs\n"
    )
    (small.path / ".git/hooks/pre-commit").chmod(0o755)
    before = small.git("rev-parse", "HEAD")
    write(small, {"note.txt": "x"})
    small.commit("with a hook")
    assert small.git("rev-parse", "HEAD~1") == before
    assert small.git("status", "--porcelain") == ""


def test_a_revision_without_stages_says_that_nothing_ran(blank: Path, tmp_path: Path) -> None:
    shutil.copytree(blank, tmp_path / "repo", symlinks=True)
    report = repro(Clone(tmp_path / "repo"), None, "repro.outputs")
    assert report.findings == []
    assert report.notes == ["no dvc.lock pins a stage, so there was nothing to run again"]


@pytest.fixture
def lifeline(tmp_path: Path) -> Iterator[int]:
    """Reads the pipe `tmp_path` / "lifeline": it ends when nobody who opened it is alive any more."""
    os.mkfifo(tmp_path / "lifeline")
    number = os.open(tmp_path / "lifeline", os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(number, True)
    yield number
    os.close(number)


def test_ctrl_c_ends_the_stages_and_removes_the_clone(small: Clone, tmp_path: Path, lifeline: int) -> None:
    command = "echo > o.txt; exec 3> ../../../lifeline; touch ../../began; sleep 600; echo survived >&3"
    write(small, {"dvc.yaml": {"stages": {"long": stage(command, ["o.txt"])}}})
    write(
        small,
        {"dvc.lock": {"schema": "2.0", "stages": {"long": {"cmd": "x", "outs": [{"path": "o.txt", "md5": "0" * 32}]}}}},
    )
    small.commit("a long stage")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words: list[str | Path] = [BIN / "datapin", "verify", "HEAD", "--check", "repro.outputs"]
    process = subprocess.Popen(words, cwd=small.path, env={**ENVIRONMENT, "TMPDIR": str(temporary)})
    while not (temporary / "began").exists() and process.poll() is None:
        time.sleep(0.05)
    assert (temporary / "began").exists()
    process.send_signal(signal.SIGINT)
    assert process.wait() == 130
    assert [path.name for path in temporary.iterdir()] == ["began"]
    assert os.read(lifeline, 100) == b""


@pytest.mark.parametrize("way", ["link", "path"])
@pytest.mark.planted("repro.outputs", "a stage writes to a place outside of the repository")
def test_a_stage_that_writes_elsewhere_is_not_run(small: Clone, tmp_path: Path, way: str, planted: Planted) -> None:
    (tmp_path / "precious").mkdir()
    target = "far" if way == "link" else str(tmp_path / "precious")
    if way == "link":
        (small.path / "far").symlink_to(tmp_path / "precious")
    out = {f"{target}/o.txt": {"cache": False}}
    write(small, {"dvc.yaml": {"stages": {"away": {"cmd": f"echo here > {target}/o.txt", "outs": [out]}}}})
    write(small, {"dvc.lock": {"schema": "2.0", "stages": {}}})
    small.dvc("repro", "-q")
    small.commit("writes elsewhere")
    (tmp_path / "precious/o.txt").write_text("mine\n")
    (finding,) = planted.seen(outputs(repro(small, "HEAD", "repro.outputs")))
    assert "is outside of it" in finding.message
    assert (tmp_path / "precious/o.txt").read_text() == "mine\n"


def test_what_a_stage_leaves_in_the_background_does_not_hold_the_check(
    small: Clone, tmp_path: Path, lifeline: int
) -> None:
    server = stage(f"exec 3> {tmp_path}/lifeline; echo > o.txt; (sleep 600; echo survived >&3) &", ["o.txt"])
    locked = {
        "cmd": server["cmd"],
        "outs": [{"path": "o.txt", "hash": "md5", "md5": hashlib.md5(b"\n").hexdigest(), "size": 1}],
    }
    write(small, {"dvc.yaml": {"stages": {"server": server}}})
    write(small, {"dvc.lock": {"schema": "2.0", "stages": {"server": locked}}})
    small.commit("leaves something")
    assert repro(small, "HEAD", "repro.outputs").findings == []
    assert os.read(lifeline, 100) == b""
