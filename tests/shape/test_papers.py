"""What the papers name is there: files, sections, floors and homes as the import rules have them."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

from datapin.cli.shell.guide_pages import _anchor

ROOT = Path(__file__).parents[2]
SOURCE, TESTS = ROOT / "src" / "datapin", ROOT / "tests"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "docs/guide/*.md", "bench/*.md")
    for path in ROOT.glob(pattern)
)
# Of these a bare `name.py` is ours; elsewhere it may be a file of the reader's.
OF_THE_CODE = [page for page in PAGES if page.startswith("docs/") and page.count("/") == 1]
OF_THE_CODE += ["CONTRIBUTING.md", "SECURITY.md"]
FOLDERS = (".ci", ".github", "bench", "docs", "src", "tests")  # what begins so is a path of this repository
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]


@cache
def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def is_there(name: str) -> bool:
    """Whether a path as a page writes it, from the root, below `src/datapin` or below `tests`, names something."""
    places = (ROOT / name, SOURCE / name, TESTS / name)
    return any(place.exists() for place in places) or any(
        any(top.glob(pattern)) for top in (SOURCE, TESTS) for pattern in (name, f"**/{name}") if "." in name
    )


def has_section(path: Path, section: str) -> bool:
    return section in {_anchor(heading) for heading in re.findall(r"^#+ (.*)", text_of(path), re.MULTILINE)}


def paths_in(page: str) -> list[tuple[str, str]]:
    """Path and section of each thing in backticks that looks like a path of this repository."""
    found = []
    for word in re.findall(r"`([\w.*-]+(?:/[\w.*-]*)*(?:#[\w-]+)?)`", text_of(ROOT / page)):
        name, _, section = word.partition("#")
        is_module = name.endswith(".py") and ("/" in name or page in OF_THE_CODE)
        if is_module or ("/" in name and name.split("/")[0] in FOLDERS):
            found.append((name, section))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_names_is_there(page: str) -> None:
    for name, section in paths_in(page):
        assert is_there(name), name
        assert not section or has_section(ROOT / name, section), f"{name}#{section}"


def test_pages_that_lead_through_the_code_name_files() -> None:
    """Else the test above could not fail."""
    assert len(paths_in("CONTRIBUTING.md")) > 50
    assert len(paths_in("docs/protocols.md")) > 30


@pytest.mark.parametrize("page", PAGES)
def test_every_link_of_a_page_leads_somewhere(page: str) -> None:
    for target, section in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([\w-]+))?\)", text_of(ROOT / page)):
        path = (ROOT / page).parent / target if target else ROOT / page
        assert path.exists(), target
        assert not section or has_section(path, section), f"{target}#{section}"


def test_every_test_that_the_guide_for_contributors_names_is_there() -> None:
    tests = "".join(text_of(path) for path in [*TESTS.rglob("*.py"), *SOURCE.glob("testing/*.py")])
    named = re.findall(r"`(test_\w+|Test\w+)`", text_of(ROOT / "CONTRIBUTING.md"))
    assert len(named) > 4
    assert [name for name in named if not re.search(rf"(def|class) {name}\b", tests)] == []


def test_every_invariant_that_the_code_cites_is_in_the_protocols() -> None:
    known = set(re.findall(r"^\| (I\d+) \|", text_of(ROOT / "docs" / "protocols.md"), re.MULTILINE))
    cited = {one for path in SOURCE.rglob("*.py") for one in re.findall(r"\bI\d+\b", text_of(path))}
    assert cited
    assert cited <= known


def test_the_drawing_has_the_floors_of_the_import_rules() -> None:
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    layers = [set(re.findall(r"\w+", layer)) & rooms for layer in CONTRACTS[0]["layers"]]
    drawing = text_of(ROOT / "docs" / "architecture.md").split("```")[1]
    drawn = [set(re.findall(r"[│┌├] ?([a-z]+)/ ", line)) & rooms for line in drawing.splitlines()]
    assert [floor for floor in drawn if floor] == [floor for floor in layers if floor]


def test_the_table_of_rooms_has_the_homes_of_the_import_rules() -> None:
    table = re.findall(r"^\| ([a-z]+) \|[^|]*\| ([^|]+) \|$", text_of(ROOT / "docs" / "architecture.md"), re.MULTILINE)
    told = {
        (name.strip().lower(), room)
        for room, cell in table
        for name in re.sub(r"\([^)]*\)", "", cell).split(",")
        if name.strip() not in ("–", "only home of")
    }
    ruled: set[tuple[str, str]] = set()
    shared: set[tuple[str, str]] = set()
    for contract in CONTRACTS:
        title = re.match(r"One home: ([^(,]+)", contract["name"])
        if title is None:
            continue
        rooms = {source.split(".")[1] for source in contract.get("ignore_imports", ())}
        pairs = {(name.strip().lower(), room) for name in title[1].split(" and ") for room in rooms}
        (ruled if len(rooms) == 1 else shared).update(pairs)
    assert ruled <= told
    assert told <= ruled | shared


def test_our_own_hooks_run_what_make_lint_runs_and_pin_nothing() -> None:
    hooks = text_of(ROOT / ".pre-commit-config.yaml")
    assert set(re.findall(r"- repo: (\S+)", hooks)) == {"local"}
    assert "additional_dependencies" not in hooks
    recipe = re.search(r"^lint: .*\n((?:\t.*\n)+)", text_of(ROOT / "Makefile"), re.MULTILINE)
    assert recipe is not None
    lint = {line.strip().removeprefix("$(BIN)/").removesuffix(" .") for line in recipe[1].splitlines()}
    entries = re.findall(r"entry: \.venv/bin/(.*)", hooks)
    assert {entry.removesuffix(" --force-exclude") for entry in entries} == lint
