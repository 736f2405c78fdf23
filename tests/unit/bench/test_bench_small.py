"""The bench's generator, bookkeeping and page, without any tool and without any timing."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[3] / "bench"
sys.path.insert(0, str(BENCH))

import gen  # noqa: E402
import stopwatch  # noqa: E402
from arena import FolderArena  # noqa: E402
from readings import BYTES, COUNT, SECONDS, Reading, RunRecord, result_document  # noqa: E402
from render import page_text, read_results, write_page  # noqa: E402
from sizes import SIZES  # noqa: E402
from stopwatch import RunFailed, read_all, time_commands  # noqa: E402
from targets import TARGETS, judge, show_value  # noqa: E402

MACHINE = {
    "cpu": "Abacus",
    "cores": 2,
    "memory_gib": 1.0,
    "kernel": "Linux 6",
    "file_system": "ext4",
    "load_before": 0.0,
    "python": "3.11.0",
    "tools": {"datapin": "0.1.0"},
    "libraries": {"numpy": "2"},
}


def tree_of(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def one_second(tool: str, seconds: float, number: int = 0) -> RunRecord:
    run = RunRecord(tool, number)
    run.note("add", Reading(seconds, SECONDS))
    return run


def document_of(item: str, runs: list[RunRecord]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(json.dumps(result_document(item, asdict(SIZES["small"]), MACHINE, runs)))
    return document


@pytest.mark.parametrize("write", [gen.write_small_files, gen.write_even_files, gen.write_tiny_files])
def test_a_workload_is_the_same_tree_every_time(tmp_path: Path, write: Callable[[Path, int], object]) -> None:
    write(tmp_path / "one", 230)
    write(tmp_path / "two", 230)
    assert tree_of(tmp_path / "one") == tree_of(tmp_path / "two")
    assert len(set(tree_of(tmp_path / "one").values())) == 230


def test_small_files_are_2_to_20_kib_in_100_folders(tmp_path: Path) -> None:
    gen.write_small_files(tmp_path, 300)
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.jpg")]
    assert len(sizes) == 300
    assert min(sizes) >= 2_048
    assert max(sizes) <= 20_480
    assert len(list(tmp_path.iterdir())) == 100


def test_a_change_rewrites_adds_and_deletes_one_per_cent_each(tmp_path: Path) -> None:
    gen.write_small_files(tmp_path, 400)
    before = tree_of(tmp_path)
    assert gen.change_some(tmp_path) == 4
    after = tree_of(tmp_path)
    assert len(after.keys() - before.keys()) == 4
    assert len(before.keys() - after.keys()) == 4
    assert sum(before[key] != after[key] for key in before.keys() & after.keys()) == 4


def test_a_change_replaces_files_instead_of_writing_into_them(tmp_path: Path) -> None:
    gen.write_big_files(tmp_path / "big", 3, 1)
    linked = tmp_path / "linked"
    os.link(tmp_path / "big" / "big_001.bin", linked)
    before = linked.read_bytes()
    changed = gen.change_one(tmp_path / "big")
    assert changed.name == "big_001.bin"
    assert linked.read_bytes() == before != changed.read_bytes()
    assert len(before) == changed.stat().st_size


def test_synthetic_rows_are_sorted_unique_and_reproducible() -> None:
    rows = gen.synthetic_rows(5_000)
    keys = rows["key"].to_pylist()
    assert keys == sorted(set(keys))
    assert rows.equals(gen.synthetic_rows(5_000))
    assert {len(text) for text in rows["asset_id"].to_pylist()} == {64}
    assert len(rows) == 5_000


def test_a_timing_counts_wall_and_sync_and_sees_the_memory_of_child_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold = "import os, time; held = bytearray(60 << 20); time.sleep(0.4)\n"
    hold += "while not os.path.exists('seen'): time.sleep(0.01)"
    nest = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}], check=True)"
    weigh = stopwatch._pss_bytes

    def weigh_and_tell(pid: int) -> int:
        if (found := weigh(pid)) >= 60 << 20:
            (tmp_path / "seen").touch()  # the watch may be as slow as it likes: the memory is held until then
        return found

    monkeypatch.setattr(stopwatch, "_pss_bytes", weigh_and_tell)
    timing = time_commands([(sys.executable, "-c", nest)], tmp_path, dict(os.environ), watch_memory=True)
    assert timing.durable_s == timing.wall_s + timing.sync_s
    assert timing.wall_s >= 0.4
    assert timing.tree_pss_bytes is not None
    assert timing.peak_bytes == timing.tree_pss_bytes >= 60 << 20


def test_a_command_that_fails_says_so_with_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="exit 3: no room"):
        time_commands(
            [(sys.executable, "-c", "import sys; print('no room', file=sys.stderr); sys.exit(3)")],
            tmp_path,
            dict(os.environ),
        )
    with pytest.raises(RunFailed, match="no-such-tool-here is not installed"):
        time_commands([("no-such-tool-here",)], tmp_path, dict(os.environ))


def test_a_command_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="ended after"):
        time_commands(
            [(sys.executable, "-c", "import time; time.sleep(60)")], tmp_path, dict(os.environ), timeout_s=0.3
        )


def test_without_root_every_run_gets_an_empty_folder_and_used_ones_are_only_renamed(tmp_path: Path) -> None:
    arena = FolderArena(tmp_path)
    for _ in range(2):
        with arena.fresh() as folder:
            assert list(folder.iterdir()) == []
            (folder / "used").write_bytes(b"used")
    assert len(list((tmp_path / "trash").rglob("used"))) == 2
    arena.close()
    assert list(tmp_path.iterdir()) == []


def test_reading_everything_counts_every_byte(tmp_path: Path) -> None:
    gen.write_even_files(tmp_path, 7)
    assert read_all(tmp_path) == 7 * 10_240


def test_the_table_says_which_targets_are_met_by_ratio() -> None:
    runs = [one_second("datapin", 2.0), one_second("tar", 1.5), one_second("dvc", 13.0), one_second("restic", 5.5)]
    medians = {"small-files": document_of("small-files", runs)["medians"]}
    found = {target.against: judge(target, medians) for target in TARGETS if target.step == "add" and target.against}
    assert (found["tar"].met, round(found["tar"].ratio or 0, 2)) == (True, 1.33)
    assert (found["dvc"].met, found["dvc"].ratio) == (False, 6.5)
    assert (found["restic"].met, found["restic"].ratio) == (True, 2.75)
    assert found["cp"].met is None


def test_the_median_is_taken_over_all_rounds() -> None:
    runs = [one_second("datapin", seconds, number) for number, seconds in enumerate((9.0, 1.0, 2.0))]
    median = document_of("small-files", runs)["medians"]["datapin"]["add"]
    assert median == {"value": 2.0, "low": 1.0, "high": 9.0, "unit": "s", "readings": 3}


def test_a_failed_tool_is_shown_as_failed_with_its_message() -> None:
    broken = RunRecord("restic", 0, failed="restic is not installed: run bench/install_tools.sh")
    page = page_text({"small-files": document_of("small-files", [one_second("datapin", 1.0), broken])}, plotted=False)
    assert "| add | 1.00 s | failed |" in page
    assert "- restic failed: restic is not installed: run bench/install_tools.sh" in page
    assert "restic failed, see below" in page


def test_the_page_is_rendered_from_the_results_that_lie_in_the_folder(tmp_path: Path) -> None:
    memory = RunRecord("datapin", 0)
    memory.note("add", Reading(350e6, BYTES))
    million = RunRecord("datapin", 0)
    million.note("insert one row, shards written", Reading(1, COUNT))
    written = {
        "small-files": [one_second("datapin", 1.0), one_second("dvc", 9.0)],
        "memory": [memory],
        "million": [million],
    }
    for item, runs in written.items():
        (tmp_path / f"{item}.json").write_text(json.dumps(document_of(item, runs)))
    assert set(read_results(tmp_path)) == set(written)
    text = write_page(tmp_path).read_text()
    assert "| add 1,000 files of 2–20 KiB | 1.00 s | dvc 9.00 s | 9.00 × | at least 7 × faster | yes |" in text
    assert "| memory of add, 1,000 files of 2–20 KiB | 350 MB |  |  | at most 400 MB | yes |" in text
    assert "not measured" in text
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.0584, "s", "58 ms"),
        (1.234, "s", "1.23 s"),
        (21.84, "s", "21.8 s"),
        (4e8, "bytes", "400 MB"),
        (None, "s", "–"),
    ],
)
def test_values_are_shown_with_three_digits(value: float | None, unit: str, shown: str) -> None:
    assert show_value(value, unit) == shown
