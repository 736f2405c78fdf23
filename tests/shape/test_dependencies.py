"""What the package says it needs: all that it imports, each with an oldest version, so that pip need not search."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NEEDED = {one.name: one for one in map(Requirement, PROJECT["project"]["dependencies"])}
EXTRAS = {
    one.name: one for extra in PROJECT["project"]["optional-dependencies"].values() for one in map(Requirement, extra)
}
# Of extras, and of remotes and tests whose owner installs them.
OPTIONAL = {"asyncssh", "webdav4", "pytest", "torch", "datasets", "dask", "distributed", "soundfile", "soxr"}
BESIDE = {"aiobotocore", "dvc-s3"}  # nobody imports them: one names the botocore that fits, one is DVC's plug-in


def _name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _imported() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Import):
                found |= {name.name.partition(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"datapin"}


def test_what_is_imported_is_named_and_nothing_else() -> None:
    distributions = packages_distributions()
    imported = {_name(distributions[module][0]) for module in _imported() - OPTIONAL}
    assert imported == {_name(name) for name in NEEDED} - BESIDE


def test_every_requirement_has_a_lower_bound() -> None:
    every = [*NEEDED.values(), *EXTRAS.values(), *map(Requirement, PROJECT["dependency-groups"]["dev"])]
    every += map(Requirement, PROJECT["build-system"]["requires"])
    assert [str(one) for one in every if not any(bound.operator == ">=" for bound in one.specifier)] == []
    # An upper bound of ours would keep users from versions that fit.
    assert [str(one) for one in every if any(bound.operator != ">=" for bound in one.specifier)] == []


def test_the_oldest_boto3_goes_with_the_oldest_aiobotocore() -> None:
    """Else pip looks at every version of one of them before it finds a pair; `make resolve` counts."""
    (oldest,) = (bound.version for bound in NEEDED["aiobotocore"].specifier)
    (botocore,) = (one for one in map(Requirement, requires("aiobotocore") or []) if one.name == "botocore")
    for name in ("boto3", "botocore"):
        (bound,) = (bound.version for bound in NEEDED[name].specifier)
        assert bound in botocore.specifier, f"{name}>={bound} does not go with aiobotocore {oldest}: {botocore}"


def test_the_lock_has_a_hash_for_everything_and_names_no_index() -> None:
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert not re.search(r"://|--(extra-)?index-url|--find-links|--trusted-host", text)
    blocks = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n?", "", text).strip())
    assert [block for block in blocks if "==" not in block or "--hash=sha256:" not in block] == []
    locked = {_name(block.partition("==")[0]) for block in blocks}
    assert {_name(name) for name in (*NEEDED, *EXTRAS)} <= locked
