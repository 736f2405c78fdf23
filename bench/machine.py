"""What the figures were measured on, without naming the machine."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

from stopwatch import RunFailed
from tools import TOOLS

LIBRARIES = ("dvc", "pyarrow", "numpy", "duckdb", "zstandard")


def describe_machine(file_system: str) -> dict[str, object]:
    """CPU, cores, memory, kernel, file system, load and versions, as written into every result."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30), 1),
        "kernel": "Linux " + re.match(r"[\d.]*", platform.release()).group().rstrip("."),  # type: ignore[union-attr]
        "file_system": file_system,
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "tools": tool_versions(),
        "libraries": {name: _library_version(name) for name in LIBRARIES},
        "datapin_commit": _own_commit(),
    }


def tool_versions() -> dict[str, str]:
    """The installed version of each tool, or why there is none."""
    versions = {}
    for name, tool in TOOLS.items():
        try:
            versions[name] = tool.version()
        except RunFailed as missing:
            versions[name] = str(missing)
    return versions


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _library_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _own_commit() -> str:
    here = Path(__file__).parent
    answer = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--", "."], cwd=here, text=True, capture_output=True, check=False
    )
    if answer.returncode != 0:
        answer = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=here, text=True, capture_output=True, check=False
        )
    return answer.stdout.strip() or "unknown"
