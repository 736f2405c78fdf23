"""The house's limits: sizes of modules and functions, names, where imports stand."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "datapin"
MODULES = sorted(SOURCE.rglob("*.py"))

MODULE_LINES, FUNCTION_LINES, FOLDER_MODULES = 400, 60, 15
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "handler", "info", "meta", "obj"}
# Imported only when their verb runs: each costs 50 ms to 1.5 s.
HEAVY = {
    "boto3", "botocore", "obstore", "dvc", "dvc_data", "dvc_objects", "pandas", "duckdb", "sklearn", "skops", "dask",
    "git", "scipy", "threadpoolctl", "soundfile", "soxr",
}  # fmt: skip
# The only doors that load our own modules by name: the command line loads a command, the package its façade (PEP 562).
LOADERS = {"__init__.py", "cli/main.py"}
# What only some calls of a verb need, imported when they come (decision 0015); import-linter sees these as any other.
LATE = {
    ("pins/files.py", "datapin.dvcfiles.pipelines"),
    ("verbs/workspace/workspace.py", "datapin.store.store"),
    ("verbs/workspace/workspace.py", "datapin.rollback.trees"),
    ("verbs/workspace/selector.py", "datapin.verbs.workspace.bring"),
    ("verbs/workspace/selector.py", "datapin.dvcfiles.objects"),
    ("verbs/history/diff.py", "datapin.verbs.history.page.page"),
    ("verbs/stages.py", "datapin.pipeline.stages.preview"),
    ("verbs/stages.py", "datapin.verbs.history.page.preview_page"),
    ("verbs/workspace/bring.py", "datapin.verbs.workspace.place"),
    ("verbs/workspace/presence.py", "datapin.transfer.lazy"),
    ("verbs/workspace/presence.py", "datapin.verbs.workspace.place"),
    ("verbs/rollback/rows.py", "datapin.transfer.survey"),
    ("verbs/rollback/rows.py", "datapin.verbs.workspace.place"),
    ("verbs/rows/removed_rows.py", "datapin.verbs.workspace.bring"),
    ("verbs/status.py", "datapin.verbs.rows.tree_changes"),
    ("verbs/hooks/run_hook.py", "datapin.verbs.hooks.with_rows"),
}
# The front door and the one for programs: each function is one verb, and loads what it needs (decision 0035).
DOORS = {"repo.py", "questions.py", "plumbing.py"}


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []


def under_type_checking(tree: ast.Module) -> set[ast.AST]:
    guarded = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    return {child for block in guarded for child in ast.walk(block)}


@pytest.fixture(params=MODULES, ids=name_of)
def module(request: pytest.FixtureRequest) -> tuple[Path, ast.Module]:
    path: Path = request.param
    return path, ast.parse(path.read_text(encoding="utf-8"))


def test_a_module_and_its_functions_stay_short(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    assert path.read_text(encoding="utf-8").count("\n") <= MODULE_LINES, f"{name_of(path)} is too long"
    long = [f"{f.name}:{f.lineno}" for f in functions(tree) if (f.end_lineno or 0) - f.lineno + 1 > FUNCTION_LINES]
    assert not long, f"{name_of(path)}: functions over {FUNCTION_LINES} lines: {long}"


def test_a_folder_holds_what_one_can_keep_in_mind() -> None:
    sizes = Counter(path.parent.relative_to(SOURCE).as_posix() for path in MODULES if path.name != "__init__.py")
    del sizes["cli/commands"]  # one for each verb
    assert {folder: size for folder, size in sizes.items() if size > FOLDER_MODULES} == {}


def test_no_two_public_classes_have_one_name() -> None:
    homes = defaultdict(list)
    for path in MODULES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(name_of(path))
    assert {name: places for name, places in homes.items() if len(places) > 1} == {}


def test_every_room_of_the_architecture_is_there_and_no_other() -> None:
    page = (SOURCE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| ([a-z]+) \|", page, re.MULTILINE)) - {"room"}
    assert told == {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    for named in re.findall(r"`([a-z_0-9]+(?:/[a-z_0-9*]+)*\.py)`", page):
        assert list(SOURCE.glob(f"**/{named}")) or list(SOURCE.parents[1].glob(named)), named


def test_every_test_that_the_promises_name_is_there() -> None:
    tests = SOURCE.parents[1] / "tests"
    rooms = "|".join(folder.name for folder in tests.iterdir() if folder.is_dir())
    for page in ("reliability.md", "security.md"):
        text = (SOURCE.parents[1] / "docs" / page).read_text(encoding="utf-8")
        named = re.findall(rf"`((?:{rooms})/[\w/.]*)`", text)
        assert named
        assert [one for one in named if not (tests / one).exists()] == []


NAMES_OF_OTHERS = {"filesystem.py": {"info"}}  # fsspec asks for it by this name


def test_names_say_the_thing(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    words = set(re.split(r"[_.]", path.stem))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            words |= {word.lower() for word in re.findall(r"[A-Z][a-z]+", node.name)}
        elif isinstance(node, ast.FunctionDef):
            words |= {node.name}
            assert not node.name.startswith(("do_", "process_")), f"{name_of(path)}: {node.name}"
    words -= NAMES_OF_OTHERS.get(name_of(path), set())
    assert not words & FORBIDDEN_NAMES, f"{name_of(path)}: {sorted(words & FORBIDDEN_NAMES)}"


def test_our_own_modules_are_imported_at_the_top(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    late = [
        (node.lineno, name)
        for function in functions(tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imported(node)
        if name.split(".")[0] == "datapin" and (name_of(path), name) not in LATE and name_of(path) not in DOORS
    ]
    assert not late, f"{name_of(path)}: {late}"
    if name_of(path) not in LOADERS:
        assert 'importlib.import_module("datapin' not in path.read_text(encoding="utf-8")


def test_heavy_libraries_are_imported_only_when_used(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    guarded = under_type_checking(tree)
    top = [name for node in tree.body if node not in guarded for name in imported(node)]
    early = [name for name in top if name.split(".")[0] in HEAVY or name.startswith("pyarrow.dataset")]
    assert not early, f"{name_of(path)} imports {early} at the top"


# Dask pickles tasks and results itself: who reaches a scheduler may run code on its workers, and is trusted (0042).
TASKS_OF_DASK = {f"pipeline/mapping/engines/{name}.py" for name in ("dask", "dask_task")}


def test_nothing_that_runs_foreign_bytes(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    names = {name.split(".")[0] for node in ast.walk(tree) for name in imported(node)}
    if name_of(path) in TASKS_OF_DASK:
        names.discard("pickle")
    assert not names & {"pickle", "marshal", "shelve", "joblib", "dill", "cloudpickle"}, name_of(path)
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not calls & {"eval", "exec", "torch.load", "yaml.load", "os.system"}, name_of(path)


def test_public_things_have_a_docstring(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    assert ast.get_docstring(tree) or not tree.body, f"{name_of(path)} has no docstring"
    public = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    bare = [node.name for node in public if not ast.get_docstring(node)]
    assert not bare, f"{name_of(path)}: no docstring: {bare}"


def test_help_needs_no_heavy_library() -> None:
    code = "import sys, datapin.cli.main; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert "click" in loaded
    assert not loaded & (HEAVY | {"numpy", "pyarrow", "pydantic", "ruamel", "PIL", "tqdm"})


def test_reading_rows_needs_no_store_no_remote_and_no_pictures() -> None:
    code = "import sys, datapin.cli.commands.diff, datapin.verbs.history.diff; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert "datapin.manifest.comparing.diff" in loaded
    assert not loaded & {"datapin.store.store", "datapin.backends.locate", "datapin.transfer.fetch", "PIL", "zstandard"}


def test_a_worker_of_add_needs_no_heavy_library() -> None:
    code = "import sys, datapin.store.adding.worker; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert not loaded & (HEAVY | {"numpy", "pyarrow", "pydantic", "ruamel", "PIL", "tqdm", "click"})
