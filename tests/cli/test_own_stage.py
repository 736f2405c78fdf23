"""The guide's stage of one's own, as printed: it writes a dataset that DVC pins and everything else reads."""

from __future__ import annotations

import io
import re
from pathlib import Path

from PIL import Image

from clones import Clone
from datapin.repo import Repo

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "stages.md"


def test_the_stage_in_the_guide_writes_a_dataset_that_reproduces(repo: Clone) -> None:
    text = GUIDE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n# thumbnails\.py\n(.*?)```", text, re.S)
    (commands,) = re.findall(r"```console\n(.*?)```", text, re.S)
    (repo.path / "thumbnails.py").write_text(code)
    for number, name in enumerate(("a.png", "b.jpg", "c.gif")):
        (repo.path / "photos").mkdir(exist_ok=True)
        Image.new("L", (40, 20), 60 * number).save(repo.path / "photos" / name)
    (repo.path / ".gitignore").write_text("/photos/\n/out/\n")
    repo.datapin("add", "photos", "--to", "data/raw", "-q")
    for line in commands.strip().splitlines():
        repo.run("sh", "-c", line.removeprefix("$ "))
    repo.commit("thumbnails")
    made = Repo.find(repo.path).open("data/thumbnails")
    assert [photo.key for photo in made] == ["a.png", "b.jpg", "c.gif"]
    images = [Image.open(io.BytesIO(photo.read())) for photo in made]
    assert [(image.format, image.size) for image in images] == [("PNG", (8, 4)), ("JPEG", (8, 4)), ("GIF", (8, 4))]
    assert repo.json("verify", "HEAD", "--repro")["ok"]
