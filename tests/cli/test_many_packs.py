"""Three hundred packs where a process may have 256 files open, as on macOS."""

from __future__ import annotations

import json
import os
from pathlib import Path

from clones import BIN, Clone

_FILES, _BYTES = 640, 3000  # two fill a pack of the smallest size
_START = """
import json, os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
import datapin
from pathlib import Path
os.chdir(sys.argv[1])
repo = datapin.Repo.find(Path.cwd(), jobs=2)
"""
_HERE = f"""{_START}
repo.add(["img"], to="data/raw")
pushed = repo.push()
told = repo.checkout("data/raw", into="out")
errors = [f.message for f in repo.verify(deep=True, checks=["deep"]).findings if f.severity == "error"]
print(json.dumps([pushed.packs, told.written, errors]))
"""
_THERE = f"""{_START}
lazy = datapin.open("data/raw")
first = [len(lazy[number].read()) for number in range(0, len(lazy), 64)]
fetched = repo.fetch()
datasets = [datapin.open("data/raw") for _ in range(4)]
read = {{len(one[number].read()) for number in range(len(lazy)) for one in datasets}}
batches = sum(len(batch) for batch in datasets[0].batches(64, shuffle=3, epoch=1))
print(json.dumps([len(set(first)), fetched.assets > 0, sorted(read), batches]))
"""


def test_every_verb_works_on_more_packs_than_files_may_be_open(repo: Clone, tmp_path: Path) -> None:
    (repo.path / "img").mkdir()
    for number in range(_FILES):
        (repo.path / "img" / f"{number}.bin").write_bytes(os.urandom(_BYTES))
    (repo.path / ".datapin" / "config.toml").write_text("[store]\npack_size = 4096\n")
    repo.dvc("remote", "add", "-d", "lab", str(tmp_path / "lab"))
    packs, written, errors = json.loads(repo.run(BIN / "python", "-c", _HERE, repo.path).stdout)
    assert packs >= 300
    assert (written, errors) == (_FILES, [])
    (repo.path / ".gitignore").write_text("/img\n/out\n")
    repo.commit("v1")
    repo.run("git", "clone", "-q", repo.path, tmp_path / "there")
    said = json.loads(repo.run(BIN / "python", "-c", _THERE, tmp_path / "there").stdout)
    assert said == [1, True, [_BYTES], _FILES]
