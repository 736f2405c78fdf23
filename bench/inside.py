"""Measured within one Python process of its own, in a repository that already holds the data; prints one JSON document.

inside.py reads            random reads of data/raw, verified and not
inside.py lazy             random reads of data/raw whose assets are on the remote only
inside.py million          open data/raw, open the index, look up every id
inside.py rows N DIR       write, open, edit and compare a manifest of N synthetic rows
"""

from __future__ import annotations

import hashlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

Answer = dict[str, tuple[float, str]]

DATASET = "data/raw"
SOURCE = "img"
READS = 300_000
ID_CHUNK = 1 << 20
LAZY_READS = 5_000
LAZY_BATCH = 256
LAZY_THREADS = 16


def reads() -> Answer:
    """Reads per second in random order, page cache warm: through Dataset, through Sample, and from the plain files."""
    import datapin

    dataset = datapin.open(DATASET)
    order = np.random.default_rng(1).integers(0, len(dataset), min(READS, 20 * len(dataset))).tolist()
    for index in range(len(dataset)):
        dataset.read(index)
    keys = dataset.to_arrow()["key"].to_pylist()

    def read_file(index: int) -> bytes:
        with open(f"{SOURCE}/{keys[index]}", "rb", buffering=0) as file:
            return file.read()

    return {
        "verified reads": _rate(dataset.read, order),
        "unverified reads": _rate(lambda index: dataset.read(index, verify=False), order),
        "verified reads, dataset[i].read()": _rate(lambda index: dataset[index].read(), order),
        "plain files, open + read": _rate(read_file, order),
        "plain files, open + read + SHA-256": _rate(lambda i: hashlib.sha256(read_file(i)).digest(), order),
    }


def lazy() -> Answer:
    """Reads per second of random assets that are on the remote only; then the same bytes by 16 threads of boto3."""
    from concurrent.futures import ThreadPoolExecutor

    import boto3
    from botocore.config import Config

    import datapin
    from datapin.base.progress import SILENT
    from datapin.dvcfiles.settings import settings_of_remotes
    from datapin.verbs.workspace.place import remote_place
    from datapin.verbs.workspace.workspace import Workspace

    dataset = datapin.open(DATASET)
    wanted = min(LAZY_READS, len(dataset))
    place = remote_place(Workspace.find(Path(), progress=SILENT))
    order = np.concatenate([batch.indices for batch in dataset.batches(LAZY_BATCH, shuffle=1)])[:wanted]
    places = place.store.index().locate(dataset.ids[order])

    began, count = time.perf_counter(), 0
    for batch in dataset.batches(LAZY_BATCH, shuffle=1):
        count += len(batch.read())
        if count >= wanted:
            break
    mine = count / (time.perf_counter() - began)

    settings = settings_of_remotes(Path())["lab"]
    bucket, _, prefix = settings["url"].removeprefix("s3://").partition("/")
    client = boto3.client(
        "s3",
        endpoint_url=settings["endpointurl"],
        aws_access_key_id=settings["access_key_id"],
        aws_secret_access_key=settings["secret_access_key"],
        region_name="us-east-1",
        config=Config(max_pool_connections=LAZY_THREADS, response_checksum_validation="when_required"),
    )

    def read_range(number: int) -> int:
        pack = places.packs[places.pack[number]].hex()
        start, length = int(places.offset[number]), int(places.length[number])
        answer = client.get_object(
            Bucket=bucket,
            Key=f"{prefix}/datapin/packs/{pack[:2]}/{pack}.pack",
            Range=f"bytes={start}-{start + length - 1}",
        )
        return len(answer["Body"].read())

    began = time.perf_counter()
    with ThreadPoolExecutor(LAZY_THREADS) as threads:
        read = sum(threads.map(read_range, range(wanted)))
    theirs = wanted / (time.perf_counter() - began)
    if read != int(places.length.sum()):
        raise SystemExit(f"read {read} bytes, expected {int(places.length.sum())}")
    return {"datapin: random reads": (mine, "per s"), "boto3: random reads": (theirs, "per s")}


def million() -> Answer:
    """Seconds to open the dataset, to open the index cold in this process, and to look up every id at once."""
    import datapin

    began = time.perf_counter()
    dataset = datapin.open(DATASET)
    rows = len(dataset)
    opened = time.perf_counter() - began
    began = time.perf_counter()
    table = dataset.to_arrow()
    loaded = time.perf_counter() - began
    ids = dataset.ids
    shuffled = ids[np.random.default_rng(2).permutation(rows)]

    from datapin.base.settings import read_settings
    from datapin.store.store import Store

    settings = read_settings(Path())
    began = time.perf_counter()
    store = Store.open(Path(settings.store.dir), settings.store)
    store.locate(shuffled[:1])
    index_opened = time.perf_counter() - began
    began = time.perf_counter()
    found = store.locate(shuffled).found
    located = time.perf_counter() - began
    if not found.all() or table.num_rows != rows:
        raise SystemExit(f"{int((~found).sum())} of {rows} assets were not found")
    return {
        "open": (opened, "s"),
        "open + all columns": (opened + loaded, "s"),
        "index open": (index_opened, "s"),
        "locate every id": (located, "s"),
        "reading process, memory": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "bytes"),
    }


def rows(count: int, folder: Path) -> Answer:
    """Seconds of the manifest's own operations on `count` rows, and the shards that one inserted row rewrites."""
    import gen
    from datapin.manifest.comparing.diff import count_changes
    from datapin.manifest.edit import edit_manifest
    from datapin.manifest.manifest import Manifest
    from datapin.manifest.write import write_manifest

    table = gen.synthetic_rows(count)
    before, after = folder / "before", folder / "after"
    folder.mkdir()
    answer: Answer = {}

    def timed(step: str, work: Callable[[], object]) -> None:
        began = time.perf_counter()
        work()
        answer[step] = (time.perf_counter() - began, "s")

    middle = table.slice(count // 2, 1).to_pydict()
    middle["key"] = [middle["key"][0].replace(".jpg", "_between.jpg")]
    inserted = pa.table(middle, schema=table.schema)
    timed("write", lambda: write_manifest(table, before))
    timed("open", lambda: Manifest.open(before))
    timed("open + all columns", lambda: Manifest.open(before).to_table())
    timed("insert one row", lambda: edit_manifest(Manifest.open(before), after, upserts=inserted, removed=None))
    timed("compare", lambda: count_changes(Manifest.open(before), Manifest.open(after)))
    changes = count_changes(Manifest.open(before), Manifest.open(after))
    if (changes.added, changes.changed, changes.removed) != (1, 0, 0):
        raise SystemExit(f"expected one row added, seen {changes}")
    kept = _hashes(before)
    answer["insert one row, shards written"] = (len(_hashes(after) - kept), "count")
    answer["shards"] = (len(kept), "count")
    answer["writing process, memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "bytes")
    return answer


def _rate(read: Callable[[int], bytes], order: Sequence[int]) -> tuple[float, str]:
    began = time.perf_counter()
    for index in order:
        read(index)
    return len(order) / (time.perf_counter() - began), "per s"


def _hashes(folder: Path) -> set[str]:
    return {hashlib.sha256(shard.read_bytes()).hexdigest() for shard in folder.glob("*.parquet")}


def main(arguments: list[str]) -> int:
    """Run one measurement and print it."""
    if arguments[:1] == ["reads"]:
        answer = reads()
    elif arguments[:1] == ["lazy"]:
        answer = lazy()
    elif arguments[:1] == ["million"]:
        answer = million()
    elif arguments[:1] == ["rows"] and len(arguments) == 3:
        answer = rows(int(arguments[1]), Path(arguments[2]))
    else:
        print(__doc__, file=sys.stderr)
        return 2
    json.dump(answer, sys.stdout)
    print(file=sys.stdout)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    sys.exit(main(sys.argv[1:]))
