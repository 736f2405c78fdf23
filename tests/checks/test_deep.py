"""Every byte hashed again: damaged and lost assets by the names of their rows, here and on the remote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from checks.planted import Planted
from clones import Clone, write_images
from datapin.base.findings import Finding
from datapin.base.id_columns import ids_from_hex
from datapin.base.progress import SILENT
from datapin.manifest.manifest import Manifest
from datapin.manifest.write import write_manifest
from datapin.store.layout import pack_key
from datapin.verbs.verify.verify import verify
from datapin.verbs.workspace.workspace import Workspace


@pytest.fixture(scope="module")
def once(blank: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve small assets in a pack and a large one of its own, pushed to a remote."""
    top = tmp_path_factory.mktemp("deep")
    clone = Clone(top / "repo")
    shutil.copytree(blank, clone.path, symlinks=True)
    write_images(clone.path / "img")
    (clone.path / "img" / "large.bin").write_bytes(np.random.default_rng(0).bytes(5 << 20))
    clone.datapin("add", "img", "--to", "data/raw", "-q")
    clone.dvc("remote", "add", "--default", "lab", "../lab")
    clone.commit("v1")
    clone.datapin("push", "-q")
    return top


@pytest.fixture
def repo(once: Path, tmp_path: Path) -> Clone:
    shutil.copytree(once, tmp_path / "top", symlinks=True)
    return Clone(tmp_path / "top" / "repo")


def deep(repo: Clone, *names: str, rev: str | None = None, remote: bool = False) -> list[Finding]:
    return verify(Workspace.find(repo.path, progress=SILENT), rev, names=names or ("deep",), remote=remote).findings


def pack_of(store: Path) -> Path:
    (pack,) = store.glob("packs/*/*.pack")
    return pack


def lab_of(repo: Clone) -> Path:
    """Our store on the remote."""
    return repo.path.parent / "lab" / "datapin"


def flip(place: Path, offset: int) -> None:
    data = bytearray(place.read_bytes())
    data[offset] ^= 1
    place.chmod(0o644)
    place.write_bytes(data)


def offset_of(repo: Clone, key: str) -> int:
    table = Manifest.open(repo.path / "data/raw").to_table()
    ids = ids_from_hex(table.filter(pa.compute.equal(table["key"], key))["asset_id"])
    return int(Workspace.find(repo.path, progress=SILENT).store.locate(ids).offset[0])


def test_a_healthy_store_has_no_findings(repo: Clone) -> None:
    for rev in (None, "HEAD"):
        assert deep(repo, rev=rev) == []
    assert deep(repo, "deep", "deep.remote") == []


def test_what_is_not_here_is_brought_first(repo: Clone) -> None:
    shutil.rmtree(repo.path / ".git/datapin/store")
    assert deep(repo, rev="HEAD") == []
    assert pack_of(repo.path / ".git/datapin/store").is_file()


@pytest.mark.planted("deep.assets", "a bit of an asset in a pack is flipped")
def test_a_flipped_bit_in_a_pack_is_found_by_the_name_of_its_row(repo: Clone, planted: Planted) -> None:
    flip(pack_of(repo.path / ".git/datapin/store"), offset_of(repo, "b/03.bin") + 7)
    (found,) = planted.seen(deep(repo))
    assert found.where == "data/raw:b/03.bin"
    assert "damaged" in found.message
    assert found.hint


@pytest.mark.planted("deep.assets", "a bit of a large asset is flipped")
def test_a_flipped_bit_in_a_large_asset_is_found(repo: Clone, planted: Planted) -> None:
    (loose,) = (repo.path / ".git/datapin/store/assets").glob("*/*")
    flip(loose, 4 << 20)
    (found,) = planted.seen(deep(repo))
    assert found.where == "data/raw:large.bin"


@pytest.mark.planted("deep.assets", "assets are lost, here and on the remote")
@pytest.mark.parametrize("lost", ["packs", "index"], ids=["the index names them", "no index names them"])
def test_lost_assets_are_found(repo: Clone, planted: Planted, lost: str) -> None:
    shutil.rmtree(repo.path / ".git/datapin/store")
    shutil.rmtree(lab_of(repo) / lost)
    found = planted.seen(deep(repo, rev="HEAD"))
    planted.by_hand = "nobody has them"
    assert {one.where for one in found} >= {f"data/raw:{label}/{n:02}.bin" for label in "ab" for n in range(6)}
    assert all("is lost" in one.message for one in found)


@pytest.mark.planted("deep.assets", "an asset is nowhere, the others are on the remote")
def test_a_lost_asset_hides_no_other_that_can_be_brought(repo: Clone, planted: Planted) -> None:
    table = Manifest.open(repo.path / "data/raw").to_table()
    ids = table["asset_id"].to_pylist()
    ids[0] = "0" * 64
    write_manifest(table.set_column(1, table.schema.field(1), pa.array(ids)), repo.path / "data/other")
    repo.dvc("add", "-q", "data/other")
    shutil.rmtree(repo.path / ".git/datapin/store")
    (found,) = planted.seen(deep(repo))
    assert found.where == f"data/other:{table['key'][0]}"


@pytest.mark.planted("deep.assets", "a row says another size than its asset has")
def test_a_size_that_is_not_true_is_found(repo: Clone, planted: Planted) -> None:
    table = Manifest.open(repo.path / "data/raw").to_table()
    sizes = table["size"].to_pylist()
    sizes[2] += 1
    other = repo.path / "data/other"
    write_manifest(table.set_column(2, table.schema.field(2), pa.array(sizes)), other)
    repo.dvc("add", "-q", "data/other")
    (found,) = planted.seen(deep(repo))
    assert found.where == f"data/other:{table['key'][2]}"


@pytest.mark.planted("deep.assets", "an asset that a user's own column names is damaged")
def test_an_asset_of_another_column_is_looked_at(repo: Clone, planted: Planted) -> None:
    table = Manifest.open(repo.path / "data/raw").to_table()
    masks = pa.array([[], [table["asset_id"][3].as_py()], *[None] * (len(table) - 2)], pa.list_(pa.string()))
    field = pa.field("masks", masks.type, metadata={"datapin.asset": "true"})
    rows = table.slice(0, 2).append_column(field, masks.slice(0, 2))
    write_manifest(rows, repo.path / "data/masked")
    repo.dvc("add", "-q", "data/masked")
    flip(pack_of(repo.path / ".git/datapin/store"), offset_of(repo, table["key"][3].as_py()))
    wheres = {one.where for one in planted.seen(deep(repo))}
    assert wheres == {f"data/raw:{table['key'][3]}", f"data/masked:{table['key'][1]}"}


@pytest.mark.planted("deep.manifests", "a pinned manifest is damaged where the work tree's is well")
def test_a_damaged_pinned_manifest_is_found(repo: Clone, planted: Planted) -> None:
    md5 = (repo.path / "data/raw.dvc").read_text().split("md5: ")[1][:32]
    cache = repo.path / ".dvc/cache/files/md5"
    (entry,) = json.loads((cache / md5[:2] / f"{md5[2:]}.dir").read_bytes())
    shard = cache / entry["md5"][:2] / entry["md5"][2:]
    data = shard.read_bytes()
    shard.unlink()
    shard.write_bytes(data)
    flip(shard, len(data) // 4)
    (found,) = planted.seen(deep(repo))
    assert found.where == "data/raw"


@pytest.mark.planted("deep.remote", "a bit of a pack on the remote is flipped")
def test_a_damaged_pack_on_the_remote_is_found(repo: Clone, planted: Planted) -> None:
    pack = pack_of(lab_of(repo))
    flip(pack, 40)
    assert deep(repo, "deep") == []
    (found,) = planted.seen(deep(repo, "deep.remote"))
    assert found.where.endswith(pack_key(pack.stem))
    # What the hint says does heal it.
    assert found.hint.startswith("run `datapin push --again`")
    repo.datapin("push", "--again")
    assert deep(repo, "deep.remote") == []


@pytest.mark.planted("deep.remote", "a pack that the remote's index names is not there")
def test_a_lost_pack_on_the_remote_is_found(repo: Clone, planted: Planted) -> None:
    pack_of(lab_of(repo)).unlink()
    (found,) = planted.seen(deep(repo, "deep.remote"))
    assert found.hint.startswith("run `datapin push --again`")


@pytest.mark.planted("deep.remote", "a damaged pack whose assets lie in another one, too", severity="warning")
def test_a_damaged_pack_that_nobody_needs_is_a_warning(repo: Clone, planted: Planted) -> None:
    damaged, store = pack_of(lab_of(repo)), repo.path / ".git/datapin/store"
    flip(damaged, 40)
    for number in range(20):  # until the new pack is the second of the two that the index names
        shutil.rmtree(store)
        (repo.path / "img/a/more.bin").write_bytes(b"one more, so that the packs here are others: %d" % number)
        repo.datapin("add", "img", "--to", "data/raw", "-q")
        if pack_of(store).name > damaged.name:
            break
    assert [one.severity for one in deep(repo, "deep.remote")] == ["error"]
    repo.datapin("push", "--again")
    (found,) = planted.seen(deep(repo, "deep.remote"))
    assert "another copy" in found.message
