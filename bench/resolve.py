"""What `pip install datapin` costs before anything is installed: the versions that pip has to look at, and its CPU.

pip 23 reads the wheels of one version after the other until all fit together; a dependency without a lower bound makes
it walk back for years. Run by `make resolve`; asks the package index that pip is set up for.
"""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import tempfile
import venv
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PIP = "pip==23.2.1"  # of Python 3.11 and Debian 12, the oldest that many have
MOST_CPU_S = 45.0
MOST_IN_VAIN = 40  # versions that were looked at and not taken
_LOOKED_AT = re.compile(
    r"^ *(?:Downloading|Using cached|Processing) (?:\S*/)?([A-Za-z0-9_.]+)-([0-9][^-/ ]*?)(?:-\S+\.whl|\.tar\.gz)"
)


def versions_looked_at(log: str) -> Counter[str]:
    """How many versions of each package pip has looked at, as its verbose log tells."""
    seen = {(match[1].lower(), match[2]) for line in log.splitlines() if (match := _LOOKED_AT.match(line))}
    return Counter(name for name, _ in seen)


def main() -> int:
    """Resolve the wheel's dependencies in an empty environment; 1 if that takes more than it may."""
    with tempfile.TemporaryDirectory(prefix="datapin-resolve-") as folder:
        place = Path(folder)
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, str(ROOT)]
        subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        (wheel,) = place.glob("datapin-*.whl")
        venv.create(place / "venv", with_pip=True)
        pip = [str(place / "venv" / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", PIP], check=True)
        report, before = place / "report.json", resource.getrusage(resource.RUSAGE_CHILDREN)
        words = [*pip, "install", "--dry-run", "--no-cache-dir", "--verbose", "--report", str(report), str(wheel)]
        log = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken = len(json.loads(report.read_bytes())["install"]) - 1  # without datapin's own wheel
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    looked = versions_looked_at(log)
    in_vain = looked.total() - taken
    most = ", ".join(f"{name} {count}" for name, count in looked.most_common(3) if count > 1)
    print(f"{PIP}: {taken} packages, {looked.total()} versions looked at ({most}), {cpu_s:.1f} s of CPU")
    if in_vain > MOST_IN_VAIN or cpu_s > MOST_CPU_S:
        print(
            f"expected at most {MOST_IN_VAIN} in vain and {MOST_CPU_S:.0f} s: raise the lower bounds in pyproject.toml"
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
