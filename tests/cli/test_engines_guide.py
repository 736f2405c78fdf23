"""The guide to engines is a session: its commands run in order and print what it says."""

from __future__ import annotations

from clones import Clone
from guides import GUIDES, session
from workspaces import picture


def test_the_guide_to_engines_prints_what_it_says(repo: Clone) -> None:
    for number in range(40):
        file = repo.path / "photos" / "ab"[number % 2] / f"{number:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(picture(number))
    (repo.path / ".gitignore").write_text("/photos\n")
    (repo.path / "params.yaml").write_text("prepare: {resize: 6}\n")
    repo.datapin("add", "photos", "--to", "data/raw", "--label", "parent", "-q")
    prepare = "{cmd: datapin run prepare, deps: [data/raw], params: [prepare], outs: [data/prepared]}"
    (repo.path / "dvc.yaml").write_text(f"stages:\n  prepare: {prepare}\n")
    repo.dvc("repro", "-q")
    repo.commit("prepared")
    repo.run("rm", "-r", ".git/datapin/memo")
    guide = (GUIDES / "engines.md").read_text(encoding="utf-8")
    assert session(repo, guide) == guide


def test_another_engine_is_refused(repo: Clone) -> None:
    message, hint = repo.refusal("run", "prepare", "--engine", "spark", code=2)
    assert "'spark'" in message
    assert "dask:tcp://" in hint
