"""Operator fingerprints: a result is reused if the asset, the parameters and the code are the same.

Code means the operator's file and the project files it imports, plus the versions of the libraries it lists; an
operator that sets `version = "…"` takes control, and only that counts. Not part of it: worker count, batch size, host,
absolute paths, comments, docstrings. Known hole: dynamic imports and data files that are not declared as inputs.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from datapin.base.errors import OperatorRefused

INPUTS = "datapin.inputs"  # of a manifest that a stage wrote: the digests of those that it read

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def canonical_json(value: object) -> str:
    """JSON with one spelling per value: sorted names, no spaces, plain ASCII."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def fingerprint_of(parts: Mapping[str, Any]) -> str:
    """SHA-256 (64 hex) of the canonical JSON of `parts`."""
    return hashlib.sha256(canonical_json({"v": 1, **parts}).encode()).hexdigest()


def memo_key(fingerprint: str, environment: Mapping[str, str]) -> str:
    """Where the memo keeps an operator's results: another zlib or Pillow is another entry, not a failed check."""
    return fingerprint_of({"operator": fingerprint, "environment": dict(environment)})


def code_identity(root: Path, module: str, function: str, operator: str) -> dict[str, str]:
    """What identifies the code of `module:function` below `root`: its version, or hashes of the files it depends on.

    Nothing is imported or run. Raises OperatorRefused if the module is not in the repository or not Python.
    """
    entry, tree = _entry(root, module, operator)
    version = _declared(tree, function, "version")
    if isinstance(version, str):
        return {"version": version}
    hashes: dict[str, str] = {}
    waiting = {module: entry}
    while waiting:
        name, path = waiting.popitem()
        tree = _parse(path, root, operator)
        is_package = path.name == "__init__.py"
        for imported in _imported_names(tree, name, is_package):
            found = _module_file(root, imported)
            if found is not None and imported not in hashes:
                waiting[imported] = found
        hashes[name] = _code_hash(tree)
    return hashes


def declares_batch_invariance(root: Path, module: str, function: str, operator: str) -> bool:
    """Whether the module says `batch_invariant = True`, for itself or for the function. Nothing is imported or run.

    Raises OperatorRefused if the module is not in the repository or not Python.
    """
    _, tree = _entry(root, module, operator)
    return _declared(tree, function, "batch_invariant") is True


def library_versions(names: Iterable[str], operator: str) -> dict[str, str]:
    """Installed versions of the named libraries. Raises OperatorRefused if one is not installed."""
    versions = {}
    for name in sorted(set(names)):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            raise OperatorRefused(operator, f"declares the library {name!r}, which is not installed") from None
    return versions


def file_hashes(root: Path, paths: Iterable[str], operator: str) -> dict[str, str]:
    """SHA-256 of declared input files. Raises OperatorRefused if one cannot be read."""
    hashes = {}
    for path in sorted(set(paths)):
        try:
            with open(root / path, "rb") as file:
                hashes[path] = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise OperatorRefused(operator, f"declares the input {path!r}: {error.strerror}") from None
    return hashes


def _entry(root: Path, module: str, operator: str) -> tuple[Path, ast.Module]:
    path = _module_file(root, module)
    if path is None:
        raise OperatorRefused(operator, f"no module {module!r} in the repository (looked for {_candidates(module)[0]})")
    return path, _parse(path, root, operator)


def _candidates(module: str) -> tuple[str, str]:
    base = module.replace(".", "/")
    return f"{base}.py", f"{base}/__init__.py"


def _module_file(root: Path, module: str) -> Path | None:
    if not all(part.isidentifier() for part in module.split(".")):
        return None
    return next((root / name for name in reversed(_candidates(module)) if (root / name).is_file()), None)


def _parse(path: Path, root: Path, operator: str) -> ast.Module:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise OperatorRefused(operator, f"{path.relative_to(root)} is not Python: {error}") from None
    except OSError as error:
        raise OperatorRefused(operator, f"{path.relative_to(root)} cannot be read: {error.strerror}") from None


def _declared(tree: ast.Module, function: str, name: str) -> object:
    """The constant assigned to `name`, or to `<function>.<name>`, at the top of the module; None if there is none."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            for target in statement.targets:
                if ast.unparse(target) in (name, f"{function}.{name}"):
                    return statement.value.value
    return None


def _code_hash(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if not isinstance(node, _DOCUMENTED) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.unparse(tree).encode("utf-8", "surrogatepass")).hexdigest()


def _imported_names(tree: ast.Module, module: str, is_package: bool) -> set[str]:
    """Every module name that the code's import statements may load, packages above them included."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module, is_package)
            names.add(base)
            names.update(f"{base}.{alias.name}" if base else alias.name for alias in node.names)
    above = {".".join(name.split(".")[:count]) for name in names for count in range(1, name.count(".") + 1)}
    above.update(".".join(module.split(".")[:count]) for count in range(1, module.count(".") + 1))
    return (names | above) - {""}


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    kept = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*kept, *([node.module] if node.module else [])])


def report_json(document: Mapping[str, Any]) -> bytes:
    """`document` as JSON whose bytes depend on its content only: sorted names, two spaces, one newline at the end."""
    return (json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
