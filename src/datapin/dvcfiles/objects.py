"""Manifests between DVC's cache and a DVC remote, by hash: what `dvc push` and `dvc pull` move, but checked.

DVC takes the presence of a `.dir` for the presence of its files (treeverse/dvc#11011); here each object is asked for.
The remote is the work tree's, whatever an old revision's settings say. Objects lie where DVC puts them, below
`files/md5`, so that stock DVC finds them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TypeAlias

from datapin.backends.backend import Backend
from datapin.base import failpoints
from datapin.base.errors import DamagedManifest, DatapinError, ManifestMissing, ObjectMissing, ToolFailed
from datapin.base.files import make_directory, publish_bytes, publish_file, temporary_name
from datapin.dvcfiles.cache import DvcCache, check_list_hash, holds_shards, parse_list, parse_output_list
from datapin.dvcfiles.hashes import OBJECTS, key_of, list_bytes, md5_of, md5_of_file, new_md5
from datapin.dvcfiles.outs import PinnedOut
from datapin.dvcfiles.tracking.plain import LeftToDvc, lay_out_plain
from datapin.dvcfiles.tracking.track import silent

_THREADS = 8
_HEADS_AT_ONCE = 16
_MOST_HEADS = 64
_READINGS = 3  # a body may come damaged through a bad line; what is damaged thrice is damaged there
_AGAIN = "run `datapin push --all-versions --again`, which replaces it"

ParseList: TypeAlias = Callable[[bytes, str], list[tuple[str, str]]]
BringFile: TypeAlias = Callable[[DvcCache, Backend, str], None]
IsHere: TypeAlias = Callable[[DvcCache, str], bool]


def send_manifests(root: Path, remote: Backend, md5s: Sequence[str], *, again: bool = False) -> dict[str, DatapinError]:
    """Copy the manifests with these `.dir` hashes from the cache to the remote; why some of them are not whole there.

    That is ManifestMissing or DamagedManifest, and keeps none of the others away. `again` reads what is there, and
    replaces what does not hash to its name. Raises RemoteUnreachable.
    """
    cache = DvcCache(root)
    failed: dict[str, DatapinError] = {}
    shards: dict[str, Path] = {}
    of_list: dict[str, list[str]] = {}
    lists: dict[str, Path] = {}
    for md5 in md5s:
        try:
            named = {shard: _cached(cache, shard, f"{md5} ({name})") for name, shard in _entries(cache, md5)}
            lists[md5] = _cached(cache, md5, md5)
        except (ManifestMissing, DamagedManifest) as error:
            failed[md5] = error
            continue
        shards |= named
        of_list[md5] = list(named)
    # Shards before lists: a list is never visible before everything that it names.
    bad = _send_all(remote, shards, again)
    failpoints.hit("push.manifests.sent")
    for md5, named_shards in of_list.items():
        lost = next((bad[shard] for shard in named_shards if shard in bad), None)
        if lost is not None:
            failed[md5] = lost
    failed |= _send_all(remote, {md5: path for md5, path in lists.items() if md5 not in failed}, again)
    failpoints.hit("push.manifests.sent")
    return failed


def _send_all(remote: Backend, objects: Mapping[str, Path], again: bool) -> dict[str, DatapinError]:
    def send(one: tuple[str, Path]) -> DatapinError | None:
        try:
            _send(remote, *one, again)
        except DamagedManifest as error:
            return error
        return None

    with ThreadPoolExecutor(_THREADS) as threads:
        answers = list(zip(objects, threads.map(send, objects.items()), strict=True))
    return {md5: error for md5, error in answers if error is not None}


def bring_manifests(root: Path, remote: Backend, md5s: Sequence[str]) -> list[str]:
    """Copy these manifests from the remote to the cache; the hashes of those that the remote does not have whole.

    What lies in the cache and does not hash to its name is brought anew. Raises DamagedManifest if the remote's bytes
    are not those that the hash names, RemoteUnreachable.
    """
    cache = DvcCache(root)
    wanted = [md5 for md5 in md5s if not is_intact(cache, check_list_hash(md5))]
    return [md5 for md5 in wanted if not _bring_folder(cache, remote, md5, parse_list, _bring, is_good)]


def is_good(cache: DvcCache, md5: str) -> bool:
    """Whether the cache has the object of this hash, and it hashes to its name."""
    path = cache.find(md5)
    return path is not None and md5_of_file(path) == md5.removesuffix(".dir")


def is_intact(cache: DvcCache, md5: str, known: Callable[[str], bool] | None = None) -> bool:
    """Whether the manifest of this hash is in the cache, and all of it hashes to its name: 2 ms a MB."""
    good = known or partial(is_good, cache)
    return good(md5) and all(good(file) for _, file in cache.entries(md5) or ())


def keep_manifest(root: Path, folder: Path, md5: str) -> None:
    """Put the manifest in `folder`, which hashes to `md5`, into the cache, where that lacks some of it."""
    cache = DvcCache(root)
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    objects = {md5_of(data): data for data in files.values()}
    listing = list_bytes({name: md5_of(data) for name, data in files.items()})
    if md5_of(listing) != md5.removesuffix(".dir"):
        return  # it has changed meanwhile
    for name, data in (*objects.items(), (md5, listing)):
        if not is_good(cache, name):
            _keep(cache, name, data)


def is_manifest_there(remote: Backend, md5: str) -> bool:
    """Whether the output `md5` is a manifest, as DVC's list of it on the remote tells; False if that is not there.

    Raises RemoteUnreachable.
    """
    try:
        names = [name for name, _ in parse_output_list(_read(remote, check_list_hash(md5)), md5)]
    except (ObjectMissing, DamagedManifest):
        return False
    return holds_shards(names)


def bring_outputs(root: Path, remote: Backend, md5s: Sequence[str]) -> list[str]:
    """As `bring_manifests`, for outputs of any kind: files of any size, and folders of them."""
    cache = DvcCache(root)
    absent = []
    for md5 in md5s:
        if md5.endswith(".dir"):
            # Outputs may be of any size: those that are here are not hashed.
            is_here = _bring_folder(cache, remote, md5, parse_output_list, _bring_stream, _is_there)
        else:
            is_here = cache.find(md5) is not None or _is_brought(cache, remote, md5)
        if not is_here:
            absent.append(md5)
    return absent


def lay_out(root: Path, pointers: Sequence[PinnedOut]) -> None:
    """The cached manifests of these pointers into the work tree, where none of them may lie yet.

    As `dvc checkout` would; where DVC's settings are the plain ones without its import. Raises ManifestMissing,
    ToolFailed.
    """
    left = []
    for pointer in pointers:
        try:
            DvcCache(root).give_back(pointer.md5)
            lay_out_plain(root, pointer.dataset, DvcCache(root).shards(pointer))
        except LeftToDvc:
            left.append(pointer.file if pointer.stage is None else pointer.dataset)
    if left:
        _lay_out_by_dvc(root, left)


def _lay_out_by_dvc(root: Path, targets: Sequence[str]) -> None:
    from dvc.repo import Repo

    try:
        with silent(), closing(Repo(os.fspath(root))) as repo:
            repo.checkout(targets=[os.fspath(root / target) for target in targets], force=False)
    except OSError:
        raise  # told as what the file system refused
    except Exception as error:
        raise ToolFailed("dvc", " ".join(str(error).split()) or type(error).__name__) from error


def _entries(cache: DvcCache, md5: str) -> list[tuple[str, str]]:
    entries = cache.entries(md5)
    if entries is None:
        raise ManifestMissing(dataset=md5, missing=f"{md5} in DVC's cache")
    return entries


def _cached(cache: DvcCache, md5: str, what: str) -> Path:
    path = cache.find(md5)
    if path is None:
        raise ManifestMissing(dataset=what, missing=f"{md5} in DVC's cache")
    return path


def _send(remote: Backend, md5: str, path: Path, again: bool) -> None:
    seen, size = remote.head(key_of(md5)), path.stat().st_size
    if seen is not None and seen.size_bytes == size and not (again and _is_damaged(remote, md5)):
        return
    if seen is not None and not again:
        raise DamagedManifest(f"{remote.url}/{key_of(md5)}", f"holds {seen.size_bytes} bytes, expected {size}", _AGAIN)
    if md5_of_file(path) != md5.removesuffix(".dir"):
        raise DamagedManifest(str(path), "does not hash to its name; DVC's cache is damaged")
    if seen is not None:
        remote.delete(key_of(md5))
    remote.put_if_absent(key_of(md5), path)


def _is_damaged(remote: Backend, md5: str) -> bool:
    try:
        _read(remote, md5)
    except ObjectMissing:
        return False
    except DamagedManifest:
        return True
    return False


def _bring_folder(
    cache: DvcCache, remote: Backend, md5: str, parse: ParseList, bring: BringFile, is_here: IsHere
) -> bool:
    """Everything in the folder, then its list; False if the remote lacks some of it."""
    kept = cache.find(check_list_hash(md5)) if is_good(cache, md5) else None
    try:
        data = _read(remote, md5) if kept is None else kept.read_bytes()
        entries = parse(data, f"{remote.url}/{key_of(md5)}" if kept is None else str(kept))
        missing = sorted({file for _, file in entries if not is_here(cache, file)})
        with ThreadPoolExecutor(_THREADS) as threads:
            for _ in threads.map(lambda file: bring(cache, remote, file), missing):
                pass
    except ObjectMissing:
        return False
    failpoints.hit("fetch.manifest.shards")
    if kept is None:
        _keep(cache, md5, data)
    return True


def _is_there(cache: DvcCache, md5: str) -> bool:
    return cache.find(md5) is not None


def _is_brought(cache: DvcCache, remote: Backend, md5: str) -> bool:
    try:
        _bring_stream(cache, remote, md5)
    except ObjectMissing:
        return False
    return True


def _bring(cache: DvcCache, remote: Backend, md5: str) -> None:
    _keep(cache, md5, _read(remote, md5))


def _read(remote: Backend, md5: str) -> bytes:
    """The object, checked. A shard is at most a few tens of MB: it is held in memory."""
    for _ in range(_READINGS):
        data = remote.get(key_of(md5))
        if md5_of(data) == md5.removesuffix(".dir"):
            return data
    raise DamagedManifest(f"{remote.url}/{key_of(md5)}", "does not hash to its name", f"{_AGAIN}, where the data is")


def _bring_stream(cache: DvcCache, remote: Backend, md5: str) -> None:
    """A file that may be too large for memory."""
    target = cache.path_of(md5)
    make_directory(target.parent)
    for _ in range(_READINGS):
        staged = target.parent / temporary_name()
        try:
            digest = new_md5()
            with staged.open("xb") as file:
                for chunk in remote.iter_chunks(key_of(md5)):
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() == md5:
                staged.chmod(0o444)  # as DVC protects what its cache holds
                publish_file(staged, target)
                return
        finally:
            staged.unlink(missing_ok=True)
    raise DamagedManifest(f"{remote.url}/{key_of(md5)}", "does not hash to its name")


def _keep(cache: DvcCache, md5: str, data: bytes) -> None:
    path = cache.path_of(md5)
    make_directory(path.parent)
    publish_bytes(path, data)
    path.chmod(0o444)  # as DVC protects what its cache holds


def manifests_on(root: Path, remote: Backend, md5s: Sequence[str]) -> set[str]:
    """Those of the manifests with these `.dir` hashes that `remote` holds: their lists, and every file named there.

    Up to 64 objects are asked for one by one, all at once: a HEAD costs a twelfth of a LIST and takes as long. More are
    listed. Raises DamagedManifest for a hash that names no folder, RemoteUnreachable.
    """
    cache = DvcCache(root)
    with ThreadPoolExecutor(_HEADS_AT_ONCE) as threads:
        lists = dict(zip(md5s, threads.map(lambda md5: _files_of(cache, remote, md5), md5s), strict=True))
        objects = sorted({*(file for named in lists.values() for file in named or ()), *lists})
        if len(objects) > _MOST_HEADS:
            listed = {found.key for found in remote.iter_objects(f"{OBJECTS}/")}
            is_there = {name: key_of(name) in listed for name in objects}
        else:
            looked = threads.map(lambda name: remote.head(key_of(name)) is not None, objects)
            is_there = dict(zip(objects, looked, strict=True))
    return {md5 for md5, named in lists.items() if named is not None and all(map(is_there.get, (md5, *named)))}


def _files_of(cache: DvcCache, remote: Backend, md5: str) -> list[str] | None:
    """The hashes of the manifest's files, None if neither the cache nor the remote has a list of them."""
    entries = cache.entries(check_list_hash(md5))
    if entries is not None:
        return [file for _, file in entries]
    try:
        return [file for _, file in parse_list(remote.get(key_of(md5)), f"{remote.url}/{key_of(md5)}")]
    except (ObjectMissing, DamagedManifest):
        return None
