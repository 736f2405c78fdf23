"""A journal is believed only as far as it names what a command of ours would have written there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from datapin.base.errors import DamagedJournal
from datapin.base.journals import SET_ASIDE, Anchors, finish_swap

STAGED = ".tmp-4194305-0123456789abcdef"  # above the largest pid: its process has died


@pytest.fixture
def place(tmp_path: Path) -> Path:
    for folder in ("root/data/raw", "root/.git/hooks", "scratch/journal", f"scratch/{STAGED}", "outside/theirs"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "file").write_text(folder)
    (tmp_path / "root/link").symlink_to(tmp_path / "outside")
    return tmp_path


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 200_000,
        b"[1]",
        b"{}",
        {"staged": f"scratch:{STAGED}"},
        {"staged": f"scratch:{STAGED}", "target": 7},
        {"staged": f"scratch:{STAGED}", "target": "{place}/outside/theirs"},
        {"staged": f"scratch:{STAGED}", "target": "tree:../outside/theirs"},
        {"staged": f"scratch:{STAGED}", "target": "tree:{place}/outside/theirs"},
        {"staged": f"scratch:{STAGED}", "target": "tree:link/theirs"},
        {"staged": f"scratch:{STAGED}", "target": "tree:.git/hooks"},
        {"staged": f"scratch:{STAGED}", "target": "tree:sub/.GIT/hooks"},
        {"staged": f"scratch:{STAGED}", "target": "tree:.dvc"},
        {"staged": f"scratch:{STAGED}", "target": "tree:data//raw"},
        {"staged": f"scratch:{STAGED}", "target": "tree:data/\0raw"},
        {"staged": f"scratch:{STAGED}", "target": "tree:"},
        {"staged": f"scratch:../root/{STAGED}", "target": "tree:data/raw"},
        {"staged": "tree:data", "target": "tree:data/raw"},
        {"staged": "{place}/outside/theirs", "target": "tree:data/raw"},
    ],
    ids=range(21),
)
def test_a_journal_that_is_not_ours_moves_nothing_and_is_set_aside(place: Path, said: bytes | dict[str, str]) -> None:
    root, scratch = place / "root", place / "scratch"
    journal = scratch / "journal" / "x.json"
    text = said if isinstance(said, bytes) else json.dumps(said).replace("{place}", str(place)).encode()
    journal.write_bytes(text)

    def seen() -> dict[str, str]:
        return {
            str(path.relative_to(place)): path.read_text()
            for top in ("root", "outside")
            for path in (place / top).rglob("*")
            if path.is_file()
        }

    before = seen()
    with pytest.raises(DamagedJournal, match="set aside"):
        finish_swap(journal, Anchors(root, scratch))
    assert seen() == before
    assert not journal.exists()
    assert (scratch / SET_ASIDE / "x.json.0").read_bytes() == text
    assert (scratch / SET_ASIDE / STAGED / "file").exists(), "what a dead command left is kept with it"
    assert not finish_swap(journal, Anchors(root, scratch)), "the next command goes on"


def test_what_another_journal_needs_stays_where_it_is(place: Path) -> None:
    scratch = place / "scratch"
    good = {"staged": f"scratch:{STAGED}", "target": "tree:data/raw"}
    (scratch / "journal" / "good.json").write_text(json.dumps(good))
    (scratch / "journal" / "bad.json").write_bytes(b"?")
    with pytest.raises(DamagedJournal):
        finish_swap(scratch / "journal" / "bad.json", Anchors(place / "root", scratch))
    assert finish_swap(scratch / "journal" / "good.json", Anchors(place / "root", scratch))
    assert (place / "root" / "data" / "raw" / "file").read_text() == f"scratch/{STAGED}"
    assert sorted(os.listdir(scratch)) == ["journal", "set-aside"]
