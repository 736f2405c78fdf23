"""A result is reused if the asset, the parameters and the code are the same: what counts as code."""

from __future__ import annotations

from pathlib import Path

import pytest

from datapin.base.errors import OperatorRefused
from datapin.pipeline.record.fingerprint import (
    code_identity,
    declares_batch_invariance,
    file_hashes,
    fingerprint_of,
    library_versions,
    memo_key,
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    package = tmp_path / "mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "extract.py").write_text(
        '"""Doc."""\nfrom . import scale\nimport numpy\nLIMIT = 3\n\n'
        'def run(assets):\n    """Doc."""\n    return scale.up(assets)\n'
    )
    (package / "scale.py").write_text("from mine.deep import CONSTANT\n\ndef up(x):\n    return x * CONSTANT\n")
    (package / "deep.py").write_text("CONSTANT = 2\n")
    (package / "unrelated.py").write_text("X = 1\n")
    return tmp_path


def identity(root: Path) -> dict[str, str]:
    return code_identity(root, "mine.extract", "run", "mine.extract:run")


def edit(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def test_comments_and_docstrings_do_not_count(project: Path) -> None:
    before = identity(project)
    edit(project / "mine/extract.py", '    """Doc."""\n', "    # other words\n\n")
    edit(project / "mine/extract.py", '"""Doc."""', '"""Other."""')
    assert identity(project) == before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("extract.py", "scale.up(assets)", "scale.up(assets[:1])"),
        ("extract.py", "LIMIT = 3", "LIMIT = 4"),
        ("scale.py", "x * CONSTANT", "x + CONSTANT"),
        ("deep.py", "CONSTANT = 2", "CONSTANT = 3"),
        ("__init__.py", "", "import os\n"),
    ],
)
def test_code_that_the_function_depends_on_counts(project: Path, file: str, old: str, new: str) -> None:
    before = identity(project)
    path = project / "mine" / file
    path.write_text(path.read_text().replace(old, new) if old else new)
    assert identity(project) != before


def test_a_module_that_is_not_imported_does_not_count(project: Path) -> None:
    before = identity(project)
    edit(project / "mine/unrelated.py", "1", "2")
    assert identity(project) == before


def test_a_declared_version_takes_control(project: Path) -> None:
    edit(project / "mine/extract.py", "LIMIT = 3", 'LIMIT = 3\nversion = "7"')
    assert identity(project) == {"version": "7"}
    edit(project / "mine/deep.py", "2", "3")
    assert identity(project) == {"version": "7"}


def test_a_version_set_on_the_function_takes_control(project: Path) -> None:
    with open(project / "mine/extract.py", "a") as file:
        file.write('run.version = "a"\nother.version = "b"\n')
    assert identity(project) == {"version": "a"}


def test_reading_the_code_runs_nothing(project: Path) -> None:
    with open(project / "mine/extract.py", "a") as file:
        file.write(f"open({str(project / 'ran')!r}, 'w')\n")
    identity(project)
    assert not (project / "ran").exists()


def test_modules_that_import_each_other_end(project: Path) -> None:
    with open(project / "mine/deep.py", "a") as file:
        file.write("import mine.scale\n")
    assert set(identity(project)) == {"mine", "mine.extract", "mine.scale", "mine.deep"}


def test_a_module_that_is_not_there_is_named(project: Path) -> None:
    with pytest.raises(OperatorRefused, match=r"mine\.extrct"):
        code_identity(project, "mine.extrct", "run", "mine.extrct:run")


def test_a_file_that_is_not_python_is_named(project: Path) -> None:
    (project / "mine/scale.py").write_text("def (")
    with pytest.raises(OperatorRefused, match=r"mine/scale\.py is not Python"):
        identity(project)


def test_declared_libraries_and_inputs_count(project: Path) -> None:
    assert library_versions(["numpy"], "x") != {}
    with pytest.raises(OperatorRefused, match="no-such-library"):
        library_versions(["no-such-library"], "x")
    (project / "weights.bin").write_bytes(b"1")
    before = file_hashes(project, ["weights.bin"], "x")
    (project / "weights.bin").write_bytes(b"2")
    assert file_hashes(project, ["weights.bin"], "x") != before
    with pytest.raises(OperatorRefused, match=r"gone\.bin"):
        file_hashes(project, ["gone.bin"], "x")


def test_a_fingerprint_does_not_depend_on_the_order_of_names() -> None:
    assert fingerprint_of({"a": 1, "b": [1, 2]}) == fingerprint_of({"b": [1, 2], "a": 1})
    assert fingerprint_of({"a": 1}) != fingerprint_of({"a": 2})


def test_another_zlib_is_another_entry_of_the_memo_but_the_same_operator() -> None:
    fingerprint = fingerprint_of({"op": "x"})
    assert memo_key(fingerprint, {"zlib": "1.2"}) != memo_key(fingerprint, {"zlib": "1.3"})


@pytest.mark.parametrize(
    ("line", "declared"),
    [
        ("batch_invariant = True", True),
        ("run.batch_invariant = True", True),
        ("batch_invariant = 1", False),
        ("other.batch_invariant = True", False),
        ("", False),
    ],
)
def test_independence_of_the_batch_is_declared_in_the_module(project: Path, line: str, declared: bool) -> None:
    with open(project / "mine/extract.py", "a") as file:
        file.write(line + "\n")
    assert declares_batch_invariance(project, "mine.extract", "run", "mine.extract:run") is declared
