"""The stages that `dvc.yaml` files declare, in the work tree or at a commit, and what their inputs hold there.

DVC's own code resolves templates and hashes files, so that both read a pipeline alike; its import costs 0.3 s.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datapin.base.documents import DEPTH, YAML_BYTES
from datapin.base.errors import BadSettings, DatapinError, ToolFailed
from datapin.dvcfiles.git_links import GitLinks
from datapin.dvcfiles.hashes import list_hash
from datapin.dvcfiles.texts import load_yaml
from datapin.dvcfiles.tracking.track import silent
from datapin.git.ask import top_directory


@dataclass(frozen=True, slots=True)
class DeclaredDep:
    """An input of a stage. `name` is how `dvc.lock` names it, `path` lies below the root; None if it lies elsewhere.

    `md5` is the hash of what is there, None if nothing is. If `is_pinned`, DVC's pins say what is there: the path is a
    pinned output, or lies in one, or holds some; `files` are then the hashes of the files around them.
    """

    name: str
    path: str | None
    md5: str | None = None
    is_pinned: bool = False
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeclaredParams:
    """Parameters of a stage in the file `name` (as `dvc.lock` names it): `names` as wanted, empty for all.

    `values` is None if there is no such file; a name that it lacks is not in the file.
    """

    name: str
    names: tuple[str, ...]
    values: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class DeclaredOut:
    """An output of a stage: `path` lies below the root, None if it lies elsewhere.

    `md5` is the hash of what is there: in the work tree, or, if DVC does not cache it, in the commit; else None.
    """

    name: str
    path: str | None
    is_cached: bool
    md5: str | None = None


@dataclass(frozen=True, slots=True)
class DeclaredStage:
    """One stage of the `dvc.yaml` named `file`, templates resolved; `folder` is where its command runs."""

    name: str
    file: str
    folder: str
    command: object
    deps: tuple[DeclaredDep, ...]
    params: tuple[DeclaredParams, ...]
    outs: tuple[DeclaredOut, ...]
    is_frozen: bool

    @property
    def address(self) -> str:
        """The name by which `dvc repro` takes it at the root."""
        return self.name if self.file == "dvc.yaml" else f"{self.file}:{self.name}"


@dataclass(frozen=True, slots=True)
class Pipelines:
    """All stages; `problems` are the errors of what DVC could not read, by file or by `file:stage`.

    `ignored` are pipelines that `.dvcignore` names: they have no stages.
    """

    stages: tuple[DeclaredStage, ...] = ()
    problems: Mapping[str, DatapinError] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()


def read_pipelines(root: Path, commit: str | None, files: Sequence[str], pinned: Collection[str]) -> Pipelines:
    """The stages of the `dvc.yaml` files `files` (relative to the root), of the work tree if `commit` is None.

    `pinned` are the paths that `.dvc` files pin. A file that `.dvcignore` names has no stages. Raises BadSettings if
    DVC cannot read its own settings.
    """
    if not files:
        return Pipelines()
    stages: list[tuple[str, Any]] = []
    problems: dict[str, DatapinError] = {}
    with silent(), _opened(root, commit) as repo:
        ignored = tuple(file for file in files if repo.dvcignore.is_ignored_file(_place(repo, file)))
        for file in files:
            if file not in ignored:
                _load(repo, file, stages, problems)
        outs = {path for _, stage in stages for path in (_below(repo, out) for out in stage.outs) if path is not None}
        reader = _Reader(repo, root, commit, tuple(sorted({*pinned, *outs})))
        found = []
        for file, stage in stages:
            try:
                found.append(reader.declared(file, stage))
            except _foreseen() as error:
                problems[f"{file}:{stage.name}"] = _failure(error)
    return Pipelines(tuple(found), problems, ignored)


def working_folders(root: Path, commit: str | None, file: str) -> dict[str, str]:
    """Where each stage of the `dvc.yaml` named `file` runs, by its full name: `wdir` with its templates filled in.

    Raises BadSettings, Refused, ToolFailed.
    """
    stages: list[tuple[str, Any]] = []
    problems: dict[str, DatapinError] = {}
    with silent(), _opened(root, commit) as repo:
        _load(repo, file, stages, problems)
        if file in problems:
            raise problems[file]
        top = repo.fs.as_posix(repo.root_dir)
        return {str(stage.name): posixpath.relpath(repo.fs.as_posix(stage.wdir), top) for _, stage in stages}


def hashes_here(root: Path, files: Sequence[str]) -> dict[str, str | None]:
    """The hash of what lies in the work tree where each output of the `.dvc` files `files` belongs; by its path.

    DVC keeps the hashes of files that did not change. Raises BadSettings, ToolFailed.
    """
    from dvc.dvcfile import load_file

    found: dict[str, str | None] = {}
    with silent(), _opened(root, None) as repo:
        for file in files:
            try:
                for out in load_file(repo, _place(repo, file)).stage.outs:
                    path = _below(repo, out)
                    if path is not None:
                        found[path] = _hash_here(out)
            except _foreseen() as error:
                raise _failure(error) from None
    return found


@dataclass
class _Reader:
    """Turns DVC's stages into ours while DVC's repository is open."""

    repo: Any
    root: Path
    commit: str | None
    pinned: tuple[str, ...]
    _hashes: dict[tuple[str, str], str | None] = field(default_factory=dict)
    _links: GitLinks | None = None

    def declared(self, file: str, stage: Any) -> DeclaredStage:
        from dvc.dependency import ParamsDependency

        params = [dep for dep in stage.deps if isinstance(dep, ParamsDependency)]
        deps = [dep for dep in stage.deps if not isinstance(dep, ParamsDependency)]
        return DeclaredStage(
            name=str(stage.name),
            file=file,
            folder=posixpath.relpath(self.repo.fs.as_posix(stage.wdir), self.repo.fs.as_posix(self.repo.root_dir)),
            command=stage.cmd,
            deps=tuple(self._dep(dep) for dep in deps),
            params=tuple(self._params(dep) for dep in params),
            outs=tuple(self._out(out) for out in stage.outs),
            is_frozen=bool(stage.frozen),
        )

    def _params(self, dep: Any) -> DeclaredParams:
        if not dep.exists:
            return DeclaredParams(dep.def_path, tuple(dep.params), None)
        return DeclaredParams(dep.def_path, tuple(dep.params), dict(dep.read_params()))

    def _out(self, out: Any) -> DeclaredOut:
        path = _below(self.repo, out)
        is_told = path is not None and (self.commit is None or not out.use_cache)
        md5 = self._hash(out, path) if is_told and path is not None else None
        return DeclaredOut(out.def_path, path, out.use_cache, md5)

    def _dep(self, dep: Any) -> DeclaredDep:
        path = _below(self.repo, dep)
        if path is None:
            return DeclaredDep(dep.def_path, None)
        if any(_is_in(path, out) for out in self.pinned):
            return DeclaredDep(dep.def_path, path, is_pinned=True)
        if any(_is_in(out, path) for out in self.pinned):
            return DeclaredDep(dep.def_path, path, is_pinned=True, files=self._files_around(dep, path))
        return DeclaredDep(dep.def_path, path, self._hash(dep, path))

    def _hash(self, item: Any, path: str) -> str | None:
        known = (path, str(item.hash_name))
        if known not in self._hashes:
            try:
                self._hashes[known] = self._hash_at_commit(item, path) if self.commit is not None else _hash_here(item)
            except FileNotFoundError:
                self._hashes[known] = None  # a link that leads nowhere, or a file that went meanwhile
        return self._hashes[known]

    def _files_around(self, dep: Any, path: str) -> dict[str, str]:
        """The files of the folder that no pin covers, by name below it."""
        found = {}
        for name in self._walk(path):
            if not any(_is_in(name, out) for out in self.pinned):
                found[posixpath.relpath(name, path)] = self._hash_of_file(name, dep.hash_name)
        return found

    def _hash_at_commit(self, dep: Any, path: str) -> str | None:
        place = self._followed(path)
        at = _place(self.repo, place)
        if not self.repo.fs.exists(at):
            return None
        if not self.repo.fs.isdir(at):
            return self._hash_of_file(path, dep.hash_name)
        names = {posixpath.relpath(name, place): name for name in self._walk(place)}
        return list_hash({name: self._hash_of_file(file, dep.hash_name) for name, file in names.items()})

    def _walk(self, path: str) -> Iterator[str]:
        at = _place(self.repo, path)
        if self.repo.fs.isdir(at):
            for name in self.repo.dvcignore.find(self.repo.fs, at):
                yield posixpath.relpath(self.repo.fs.as_posix(name), self.repo.fs.as_posix(self.repo.root_dir))

    def _hash_of_file(self, path: str, hash_name: str) -> str:
        from dvc_data.hashfile.hash import fobj_md5

        with self.repo.fs.open(_place(self.repo, self._followed(path)), "rb") as file:
            return str(fobj_md5(file, name=hash_name))

    def _followed(self, path: str) -> str:
        """Git's trees keep a link as the text it points to; whoever reads a file follows it."""
        if self.commit is None:
            return path
        if self._links is None:
            self._links = GitLinks(self.root, self.commit)
        return self._links.follow(path)


def _load(repo: Any, file: str, stages: list[tuple[str, Any]], problems: dict[str, DatapinError]) -> None:
    from dvc.dvcfile import ProjectFile, load_file

    try:
        _check_bounds(repo, file)
        project = load_file(repo, _place(repo, file))
        # Without the lock, which may be unreadable: it is read by lock_entries. Only the kind of hash is lost by that.
        loader = ProjectFile.LOADER(project, project.contents, _locked(project))
        names = list(loader)
    except DatapinError as error:
        problems[file] = error
        return
    except _foreseen() as error:
        problems[file] = _failure(error)
        return
    for name in names:
        try:
            stages.append((file, loader[name]))
        except _foreseen() as error:
            problems[f"{file}:{name}"] = _failure(error)


def _check_bounds(repo: Any, file: str) -> None:
    """DVC's own reader unfolds whatever a text says. Raises BadSettings, Refused."""
    folder = posixpath.dirname(file)
    for name in (file, posixpath.join(folder, "dvc.lock"), posixpath.join(folder, "params.yaml")):
        if repo.fs.isfile(_place(repo, name)):
            with repo.fs.open(_place(repo, name), "rb") as stream:
                text = stream.read(YAML_BYTES + 1)
            # Only what unfolds or nests: reading all of a long text twice would double the time.
            deepest = max(text.count(sign) for sign in (b"[", b"{", b"- -", b"? ?"))
            if len(text) > YAML_BYTES or b"*" in text or deepest > DEPTH:
                load_yaml(text, name)


def _locked(project: Any) -> Any:
    try:
        return project.lockfile_contents
    except _foreseen():
        return {}


def _place(repo: Any, path: str) -> str:
    return str(repo.fs.join(repo.root_dir, *path.split("/")))


def _hash_here(dep: Any) -> str | None:
    return str(dep.get_hash().value) if dep.exists else None


def _below(repo: Any, item: Any) -> str | None:
    """The path of a dependency or an output below the root, None if it lies elsewhere: on a remote, or above."""
    if item.protocol != "local" or type(item).__name__ in ("RepoDependency", "DatasetDependency", "DbDependency"):
        return None
    path = posixpath.relpath(repo.fs.as_posix(item.fs_path), repo.fs.as_posix(repo.root_dir))
    return None if path == ".." or path.startswith("../") else path


def _is_in(path: str, folder: str) -> bool:
    return path == folder or folder == "." or path.startswith(f"{folder}/")


@contextmanager
def _opened(root: Path, commit: str | None) -> Iterator[Any]:
    """DVC's repository of the work tree or of the commit."""
    from dvc.config import Config
    from dvc.fs import GitFileSystem
    from dvc.repo import Repo
    from dvc.scm import SCM

    try:
        if commit is None:
            repo = Repo(os.fspath(root))
        else:
            top = top_directory(root)
            below = posixpath.normpath(f"/{root.resolve().relative_to(top.resolve()).as_posix()}")
            scm = SCM(os.fspath(top))
            # Today's settings over those of the commit: a config.local may complete a remote that the commit lacks.
            settings = dict(Config(os.fspath(root / ".dvc")))
            repo = Repo(below, fs=GitFileSystem(scm=scm, rev=commit), scm=scm, config=settings)
    except _foreseen() as error:
        raise BadSettings(".dvc/config", "", _first_line(error), "run `dvc doctor` to see more") from None
    try:
        yield repo
    finally:
        repo.close()


def _foreseen() -> tuple[type[Exception], ...]:
    """What DVC raises on files that it cannot make sense of."""
    from dvc.exceptions import DvcException
    from scmrepo.exceptions import SCMError

    return (DvcException, SCMError, OSError, ValueError, TypeError, RecursionError)


def _failure(error: BaseException) -> ToolFailed:
    return ToolFailed("dvc", _first_line(error))


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
