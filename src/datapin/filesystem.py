"""Datasets as a file system of fsspec: `datapin:///REPOSITORY!data/raw@v1/3/0042.png`, read only.

So every library that opens URLs through fsspec (pandas, PyArrow, Dask, Hugging Face's datasets) reads assets, also in
workers that lost the current folder: the repository stands in the URL, with its whole path (its first slash may be
missing) or beginning with a dot. A version with slashes is written with `%2F`.
"""

from __future__ import annotations

import io
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, overload
from urllib.parse import quote, unquote

import pyarrow as pa
from fsspec.spec import AbstractFileSystem

from datapin.base.errors import NoRepository, UnknownDataset, UnknownVersion, Usage
from datapin.base.progress import SILENT
from datapin.dataset import Dataset, Fetch, open_dataset
from datapin.store.reader import Verify
from datapin.verbs.workspace.workspace import Workspace

PROTOCOL = "datapin"


def url_of(repo: str | Path, dataset: str, key: str = "", *, version: str | None = None) -> str:
    """The URL of a row's asset, or of a dataset."""
    named = dataset if version is None else f"{dataset}@{quote(version, safe='')}"
    return f"{PROTOCOL}://{Path(repo).resolve()}!{named}" + (f"/{key}" if key else "")


@dataclass(frozen=True, slots=True)
class _Place:
    """A dataset version, and a path in it; both empty for the repository itself."""

    dataset: str
    path: str


class _Keys(Sequence[str]):
    """Sorted keys without a Python object for each."""

    def __init__(self, column: pa.Array) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> list[str]: ...
    def __getitem__(self, place: int | slice) -> str | list[str]:
        found = self._column[place]
        return found.to_pylist() if isinstance(place, slice) else found.as_py()  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _Opened:
    dataset: Dataset
    keys: _Keys
    sizes: pa.Array
    ids: pa.Array

    def place_of(self, key: str) -> int | None:
        """The row of a key."""
        place = bisect_left(self.keys, key)
        return place if place < len(self.keys) and self.keys[place] == key else None


class DatapinFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """The assets of a repository's datasets by their keys. `repo` is where URLs without one look."""

    protocol = PROTOCOL
    root_marker = ""

    def __init__(self, repo: str = ".", fetch: Fetch = "auto", verify: Verify = True, **options: Any) -> None:
        super().__init__(**options)
        self.repo = repo
        self._fetch: Fetch = fetch
        self._verify: Verify = verify
        self._workspaces: dict[str, Workspace] = {}
        self._opened: dict[tuple[str, str], _Opened] = {}

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name, size and type of a row's asset (with its `sha256`), or of a folder. Raises FileNotFoundError."""
        path = self._strip_protocol(path)
        repo, place = self._split(path)
        if not place.dataset:
            return {"name": path, "size": 0, "type": "directory"}
        opened = self._open_dataset(repo, place.dataset, path)
        row = opened.place_of(place.path)
        if row is not None:
            return self._file(path, opened, row)
        folder = f"{place.path}/" if place.path else ""
        after = bisect_left(opened.keys, folder)
        if not place.path or (after < len(opened.keys) and opened.keys[after].startswith(folder)):
            return {"name": path, "size": 0, "type": "directory"}
        raise FileNotFoundError(path)

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What lies in a folder; a look-up for each name in it, whatever lies below."""
        path = self._strip_protocol(path)
        repo, place = self._split(path)
        found = [self.info(path)]
        if found[0]["type"] == "directory":
            found = list(self._children(repo, place, path))
        return found if detail else [one["name"] for one in found]

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The asset's bytes, verified, or some of them."""
        return self._read(self._strip_protocol(path))[start:end]

    def cat_ranges(
        self, paths: Sequence[str], starts: Any, ends: Any, max_gap: Any = None, on_error: str = "return", **_: Any
    ) -> list[Any]:
        """Parts of several assets; each is read whole, to be verified."""
        count = len(paths)
        every = [starts] * count if isinstance(starts, int | None) else starts
        stops = [ends] * count if isinstance(ends, int | None) else ends
        found: list[Any] = []
        for path, start, end in zip(paths, every, stops, strict=True):
            try:
                found.append(self.cat_file(path, start, end))
            except FileNotFoundError as error:
                if on_error == "raise":
                    raise
                found.append(error)
        return found

    def created(self, path: str) -> NoReturn:
        """Assets have no times: a version has."""
        raise NotImplementedError("an asset has no time; `datapin log --key` tells when a row changed")

    modified = created

    def ukey(self, path: str) -> str:
        """What changes if the bytes do: the asset's id."""
        return str(self.info(path).get("sha256", path))

    def _open(self, path: str, mode: str = "rb", **_: Any) -> io.BytesIO:
        if mode not in ("rb", "r"):
            _refuse(path)
        return io.BytesIO(self._read(path))

    def _read(self, path: str) -> bytes:
        repo, place = self._split(path)
        if not place.path:
            raise IsADirectoryError(path)
        opened = self._open_dataset(repo, place.dataset, path)
        row = opened.place_of(place.path)
        if row is None:
            self.info(path)  # says that there is nothing
            raise IsADirectoryError(path)
        return opened.dataset.read(row, verify=self._verify)

    def _children(self, repo: str, place: _Place, path: str) -> Any:
        if not place.dataset:
            for name in self._workspace(repo).datasets():
                yield {"name": f"{path.rstrip('!')}!{name}", "size": 0, "type": "directory"}
            return
        opened = self._open_dataset(repo, place.dataset, path)
        folder = f"{place.path}/" if place.path else ""
        row = bisect_left(opened.keys, folder)
        while row < len(opened.keys) and (key := opened.keys[row]).startswith(folder):
            name, slash, _ = key[len(folder) :].partition("/")
            child = f"{path}/{name}"
            if not slash:
                yield self._file(child, opened, row)
                row += 1
                continue
            yield {"name": child, "size": 0, "type": "directory"}
            row = bisect_left(opened.keys, f"{folder}{name}0", row)  # 0 follows the slash

    @staticmethod
    def _file(path: str, opened: _Opened, row: int) -> dict[str, Any]:
        size, asset_id = opened.sizes[row].as_py(), opened.ids[row].as_py()
        return {"name": path, "size": size, "type": "file", "sha256": asset_id}

    def _split(self, path: str) -> tuple[str, _Place]:
        """The repository, and what is named in it: without a version, the longest dataset that the path begins with."""
        repo, mark, rest = path.partition("!")
        repo, rest = (_folder(repo) if repo else self.repo, rest) if mark else (self.repo, path)
        rest = rest.strip("/")
        if not rest:
            return repo, _Place("", "")
        try:
            known = self._workspace(repo).datasets()
        except NoRepository:
            raise FileNotFoundError(path) from None
        fitting = [one for one in known if rest == one or rest.startswith(f"{one}/")]
        if fitting:  # an @ further on is part of a key
            dataset = max(fitting, key=len)
            return repo, _Place(dataset, rest[len(dataset) + 1 :])
        name, at, version = rest.partition("@")
        if not at:
            raise FileNotFoundError(path)
        revision, _, key = version.partition("/")
        return repo, _Place(f"{name}@{unquote(revision)}", key)

    def _workspace(self, repo: str) -> Workspace:
        found = self._workspaces.get(repo)
        if found is None:
            if not Path(repo).is_dir():  # or one of the folders above it would be taken
                raise FileNotFoundError(f"no folder {repo}")
            found = self._workspaces[repo] = Workspace.find(Path(repo), progress=SILENT)
        return found

    def _open_dataset(self, repo: str, name: str, path: str) -> _Opened:
        found = self._opened.get((repo, name))
        if found is None:
            try:
                dataset = open_dataset(self._workspace(repo), name, version=None, where=None, fetch=self._fetch)
            except (UnknownDataset, UnknownVersion, NoRepository, Usage) as error:
                raise FileNotFoundError(f"{path}: {error.message}") from None
            keys, sizes, ids = (dataset.column(column) for column in ("key", "size", "asset_id"))
            found = self._opened[repo, name] = _Opened(dataset, _Keys(keys), sizes, ids)
        return found

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget what was opened: a dataset without a version is read as it was when it was first asked for."""
        self._workspaces, self._opened = {}, {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_workspaces": {}, "_opened": {}}

    def mkdir(self, path: str, create_parents: bool = True, **_: Any) -> None:
        """Refused, as everything that writes."""
        _refuse(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Refused."""
        _refuse(path)

    def rmdir(self, path: str) -> None:
        """Refused."""
        _refuse(path)

    def rm_file(self, path: str) -> None:
        """Refused."""
        _refuse(path)

    def cp_file(self, path1: str, path2: str, **_: Any) -> None:
        """Refused."""
        _refuse(path2)


def _folder(repo: str) -> str:
    """A repository as URLs name it: libraries that take a URL for a path (`datasets`) make one slash of three."""
    return repo if repo.startswith(("/", ".")) else f"/{repo}"


def _refuse(path: str) -> NoReturn:
    raise PermissionError(f"{path}: {PROTOCOL}:// is read-only; `datapin add` and `datapin.write` change a dataset")
