"""What reads foreign text, and what starts programs, has one door each."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "datapin"

# Besides base/documents.py: what our own processes send each other, and text that DuckDB or we ourselves have made.
OWN_JSON = {
    "store/adding/worker.py", "store/adding/channel.py", "store/adding/put.py", "manifest/sql.py",
    "pipeline/operators/user_code.py",
}  # fmt: skip
BARE_READERS = {
    "json.load", "json.loads", "tomllib.load", "tomllib.loads", "orjson.loads", "yaml.load", "yaml.safe_load", "YAML",
    "np.load", "numpy.load",
}  # fmt: skip
BARE_STARTS = {
    "os.system", "os.popen", "os.execv", "os.execvp", "os.execvpe", "os.spawnv", "os.posix_spawn", "subprocess.call",
    "subprocess.check_output", "subprocess.check_call", "multiprocessing.Process", "multiprocessing.Pool",
    "ProcessPoolExecutor", "Process", "Pool", "get_context", "set_start_method",
}  # fmt: skip
PROGRAMS = {"git", "python", "python3", "-m"}


@cache
def _modules() -> list[tuple[str, ast.Module]]:
    paths = sorted(SOURCE.rglob("*.py"))
    return [(path.relative_to(SOURCE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))) for path in paths]


def _calls(tree: ast.Module) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def test_foreign_text_is_read_by_the_bounded_readers_only() -> None:
    found = {(name, ast.unparse(call.func)) for name, tree in _modules() for call in _calls(tree)}
    bare = {(name, call) for name, call in found if call in BARE_READERS and name != "base/documents.py"}
    assert {name for name, call in bare if call.startswith("json.")} == OWN_JSON
    assert {(name, call) for name, call in bare if not call.startswith("json.")} == set()


def test_programs_are_started_by_the_words_of_one_module_only() -> None:
    for name, tree in _modules():
        calls = _calls(tree)
        assert not {ast.unparse(call.func) for call in calls} & BARE_STARTS, name
        for node in ast.walk(tree):
            if isinstance(node, ast.List) and name != "base/processes.py":
                words = [word.value for word in node.elts[:3] if isinstance(word, ast.Constant)]
                assert not (words and words[0] in PROGRAMS and len(node.elts) > 1), f"{name}: {words}"
        starts = [call for call in calls if ast.unparse(call.func) in ("subprocess.run", "subprocess.Popen")]
        shells = [one for one in starts if any(word.arg == "shell" for word in one.keywords)]
        assert not shells, f"{name}: a shell"


def _is_interpreter(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "executable" and ast.unparse(node) == "sys.executable"


def test_the_interpreter_is_named_by_one_module_only() -> None:
    # Beside it: where this installation's own command lies.
    named = {name for name, tree in _modules() for node in ast.walk(tree) if _is_interpreter(node)}
    assert named <= {"base/processes.py", "githooks/drivers.py", "githooks/install.py", "checks/repro/rerun.py"}
