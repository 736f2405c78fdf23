"""A put killed, refused or torn at every failpoint leaves nothing half-done; run again it equals a clean run."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from datapin.base import failpoints
from datapin.base.errors import AssetsMissing, Damage, DatapinError
from datapin.base.settings import StoreSettings
from datapin.pack.table import read_table_of_file
from datapin.store.adding import put
from datapin.store.store import FileBatch, Store
from stored import asset_id_of
from sweeps import some

SETTINGS = StoreSettings(large_asset=8192, pack_size=5000)
KILLED = failpoints.KILLED


def work(what: str, root: Path, source: Path) -> None:
    """One of the ways in which a store is changed."""
    paths = sorted(str(path) for path in source.rglob("*") if path.is_file())
    store = Store.create(root, SETTINGS)
    if what == "filling":
        with store.filling() as filling:
            for number, path in enumerate(paths):
                filling.put(Path(path).read_bytes())
                if number % 9 == 8:
                    filling.publish()
    elif what == "rebuild":
        store.rebuild_index()
    elif what == "copy":
        for number, path in enumerate(paths[:3]):
            store.copy_to(store.put(Path(path).read_bytes()), root.parent / f"copy{number}")
    else:
        sizes = np.array([os.stat(path).st_size for path in paths])
        store.put_files(FileBatch(paths, paths, sizes), jobs=2 if what == "put with workers" else 1)


@dataclass
class Done:
    code: int
    said: str


def run(what: str, root: Path, source: Path, *, point: str = "", log: str = "") -> Done:
    """`work` in a process of its own, with a failpoint armed."""
    return in_child(lambda: work(what, root, source), point=point, log=log)


def in_child(action: Callable[[], object], *, point: str = "", log: str = "") -> Done:
    # A fork, since a fresh interpreter would take a hundred times as long as the work.
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.dup2(writing, 1)
            os.environ["DATAPIN_FAILPOINT"] = failpoints._armed = point  # the first for workers, the second for us
            failpoints._log = log
            put.PARALLEL_FROM_FILES = 1
            os.write(1, f"{action()}".encode())
            code = 0
        except DatapinError as error:
            os.write(1, f"{type(error).__name__}: {error.message}".encode())
            code = error.exit_code
        except BaseException:  # noqa: BLE001  # the child must end here, whatever happened
            os.write(1, traceback.format_exc().encode())
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:
        said = pipe.read()
    return Done(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said)


PUBLISHING = {
    "store.format.written",
    "store.format.synced",
    "store.format.renamed",
    "store.pack.written",
    "store.pack.synced",
    "store.pack.renamed",
    "store.loose.written",
    "store.loose.synced",
    "store.loose.renamed",
    "store.packs.durable",
    "store.index.written",
    "store.index.synced",
    "store.index.renamed",
}
MERGING = {"store.index.merged", "store.index.removed"}
PLANNED = {
    "put": PUBLISHING,
    "filling": PUBLISHING | MERGING,
    "rebuild": {
        "store.index.written",
        "store.index.synced",
        "store.index.renamed",
        "store.index.rebuilt",
        "store.index.removed",
    },
    "copy": PUBLISHING | {"store.copy.synced"},
}


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where that is possible: these tests wait for a thousand fsyncs else."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="datapin-test-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    noise = random.Random(7)
    for number in range(90):
        (folder / f"{number:03d}").write_bytes(noise.randbytes(number * 5) + b"text" * number)
    (folder / "000large").write_bytes(noise.randbytes(20_000))
    return folder


def prepare(what: str, root: Path, source: Path) -> None:
    """What must be there before `what` can show its work."""
    if what == "rebuild":
        assert run("put", root, source).code == 0
        Store.open(root, SETTINGS).put(b"a second index file")


def points_of(what: str, tmp_path: Path, source: Path) -> dict[str, int]:
    """Names of the failpoints that a clean run passes, with how often."""
    prepare(what, tmp_path / "clean" / "store", source)
    log = tmp_path / "log"
    done = run(what, tmp_path / "clean" / "store", source, log=str(log))
    assert done.code == 0, done.said
    names = log.read_text().split()
    return {name: names.count(name) for name in names}


def check_nothing_half_done(root: Path) -> None:
    """Whatever can be seen is whole: packs have their names, indexed assets read back verified."""
    for path in (root / "packs").rglob("*.pack"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem
        read_table_of_file(path)
    for path in (root / "assets").rglob("*"):
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    if not (root / "format.json").exists():
        return
    store = Store.open(root, SETTINGS)
    reader = store.reader(store.index.entries.ids)
    for number in range(len(reader)):
        reader.read(number)
    assert [finding for finding in store.check() if finding.severity != "note"] == []


def check_equals_clean_run(root: Path, source: Path) -> None:
    """All assets are readable, and a rebuilt index names exactly them."""
    contents = {path.read_bytes() for path in source.iterdir()}
    store = Store.open(root, SETTINGS)
    for data in contents:
        assert store.read(asset_id_of(data)) == data
    store.rebuild_index()
    extra = {b"a second index file"}
    seen = {row.tobytes() for row in store.index.entries.ids}
    wanted = {hashlib.sha256(data).digest() for data in contents}
    assert wanted <= seen <= wanted | {hashlib.sha256(data).digest() for data in extra}


@pytest.mark.parametrize("what", ["put", "filling", "rebuild", "copy"])
def test_killed_at_any_failpoint_a_rerun_finishes(what: str, tmp_path: Path, source: Path) -> None:
    points = points_of(what, tmp_path, source)
    assert set(points) == PLANNED[what]
    for name, count in some(points.items(), 12):
        for hit in sorted({1, count}):
            root = tmp_path / f"{name}-{hit}" / "store"
            prepare(what, root, source)
            killed = run(what, root, source, point=f"{name}:{hit}:exit")
            assert killed.code == KILLED, (name, hit, killed.said)
            check_nothing_half_done(root)
            again = run(what, root, source)
            assert again.code == 0, (name, hit, again.said)
            check_nothing_half_done(root)
            if what != "copy":
                check_equals_clean_run(root, source)


@pytest.mark.parametrize("action", ["short", "exit"])
@pytest.mark.parametrize(
    "name", ["store.pack.written", "store.index.written", "store.loose.written", "store.format.written"]
)
def test_a_torn_write_stays_invisible(name: str, action: str, tmp_path: Path, source: Path) -> None:
    root = tmp_path / "store"
    assert run("put", root, source, point=f"{name}:1:{action}").code == KILLED
    check_nothing_half_done(root)
    assert run("put", root, source).code == 0
    check_equals_clean_run(root, source)


@pytest.mark.parametrize(
    ("what", "number"), [("put", 28), ("put", 30), ("filling", 28), ("filling", 5)]
)  # ENOSPC, EROFS, EIO
def test_a_refusing_file_system_is_one_error_and_a_rerun_finishes(
    what: str, number: int, tmp_path: Path, source: Path
) -> None:
    for name in sorted(PUBLISHING):
        root = tmp_path / name / "store"
        done = run(what, root, source, point=f"{name}:1:oserror={number}")
        assert done.code == 30, (name, done.said)
        assert os.strerror(number) in done.said
        assert not [path for path in root.rglob("*") if path.name.startswith(".tmp-")]
        check_nothing_half_done(root)
        assert run(what, root, source).code == 0
        check_equals_clean_run(root, source)


@pytest.mark.parametrize("what", ["put", "put with workers"])
def test_a_disk_full_before_the_first_rename_publishes_nothing(what: str, tmp_path: Path, source: Path) -> None:
    for name in ("store.pack.written", "store.pack.synced", "store.loose.written", "store.loose.synced"):
        root = tmp_path / name.replace(".", "-") / what.replace(" ", "-")
        done = run(what, root, source, point=f"{name}:1:oserror=28")
        assert done.code == 30, done.said
        assert sorted(path.name for path in root.rglob("*") if path.is_file()) == ["format.json"]


def test_a_worker_killed_anywhere_publishes_nothing_and_a_rerun_finishes(tmp_path: Path, source: Path) -> None:
    for name in ("store.pack.written", "store.pack.synced", "store.loose.written", "store.loose.synced"):
        root = tmp_path / name / "store"
        done = run("put with workers", root, source, point=f"{name}:1:exit")
        assert "WorkersLost" in done.said
        assert sorted(path.name for path in root.rglob("*") if path.is_file()) == ["format.json"]
        assert run("put with workers", root, source).code == 0
        check_equals_clean_run(root, source)


def test_killed_twice_a_third_run_finishes(tmp_path: Path, source: Path) -> None:
    root = tmp_path / "store"
    assert run("put", root, source, point="store.pack.renamed:3:exit").code == KILLED
    assert run("put", root, source, point="store.index.synced:1:exit").code == KILLED
    assert run("put", root, source).code == 0
    check_nothing_half_done(root)
    check_equals_clean_run(root, source)


def as_nobody(action: Callable[[], object]) -> Callable[[], object]:
    def act() -> object:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        return action()

    return act


def read_everything(root: Path) -> int:
    store = Store.open(root, SETTINGS)
    reader = store.reader(store.index.entries.ids)
    return sum(len(reader.read(number)) for number in range(len(reader)))


def test_a_store_that_may_only_be_read_refuses_a_put_and_still_reads(tmp_path: Path, source: Path) -> None:
    # Root ignores modes, so as root the put is made as nobody, who must be able to reach these folders at least.
    is_root = os.getuid() == 0
    root, source = tmp_path / "store", Path(shutil.copytree(source, tmp_path / "source"))
    assert run("put", root, source).code == 0
    for folder in (tmp_path, *tmp_path.parents):
        if is_root and folder.stat().st_mode & 0o005 != 0o005:
            folder.chmod(folder.stat().st_mode | 0o055)
    source.chmod(0o755)
    folders = [root, *(path for path in root.rglob("*") if path.is_dir())]
    for folder in folders:
        folder.chmod(0o555)
    before = sorted(root.rglob("*"))
    wrapped = as_nobody if is_root else lambda action: action
    done = in_child(wrapped(lambda: work("filling", root, source)))
    assert done.code == 30, done.said
    assert "Permission denied" in done.said
    assert sorted(root.rglob("*")) == before
    contents = {path.read_bytes() for path in source.iterdir()}
    assert in_child(wrapped(lambda: read_everything(root))) == Done(0, str(sum(map(len, contents))))
    for folder in folders:
        folder.chmod(0o755)


def test_a_store_that_cannot_be_made_is_one_error(tmp_path: Path, source: Path) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    done = run("put", tmp_path / "file" / "store", source)
    assert done.code == 30
    assert "Not a directory" in done.said


def test_every_truncation_and_flipped_bit_is_right_bytes_or_an_error(tmp_path: Path) -> None:
    """Whatever is done to a file of the store, a verified read never gives other bytes."""
    store = Store.create(tmp_path / "store", SETTINGS)
    contents = [os.urandom(60), b"text" * 60, os.urandom(9000)]
    ids = [store.put(data) for data in contents[:2]] + [store.put(contents[2])]
    noise = random.Random(3)
    files = [path for path in store.root.rglob("*") if path.is_file() and path.suffix in (".pack", ".parquet", "")]
    seen = 0
    for path in files:
        whole = path.read_bytes()
        for place in noise.sample(range(len(whole)), min(60, len(whole))):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << noise.randrange(8)
            for harmed in (bytes(flipped), whole[:place]):
                path.write_bytes(harmed)
                fresh = Store.open(store.root, SETTINGS)
                for asset_id, data in zip(ids, contents, strict=True):
                    try:
                        assert fresh.read(asset_id) == data
                    except (Damage, AssetsMissing):
                        seen += 1
        path.write_bytes(whole)
    assert seen > 100
    store.rebuild_index()  # what was found damaged is looked at again
    assert np.array_equal(store.missing(store.index.entries.ids), np.zeros(3, dtype=bool))
