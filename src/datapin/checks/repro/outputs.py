"""What a commit pins, as a rerun needs it: its stages as they ran, the sources they read, and the files of both."""

from __future__ import annotations

import hashlib
import os
import posixpath
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from datapin.base.documents import read_json
from datapin.base.errors import BadSettings, DamagedManifest, ObjectMissing, OutputMissing
from datapin.base.files import make_directory, publish_bytes
from datapin.checks.subject import Subject
from datapin.dvcfiles.cache import DvcCache, check_list_hash
from datapin.dvcfiles.locks import overlap
from datapin.dvcfiles.pipelines import read_pipelines
from datapin.dvcfiles.stages import LockedFile, LockedStage, read_stages
from datapin.dvcfiles.texts import load_yaml, stage_outputs
from datapin.git.ask import blob_at, files_named
from datapin.manifest.manifest import Manifest

LOCK, PIPELINE = "dvc.lock", "dvc.yaml"


@dataclass(frozen=True)
class PinnedOutputs:
    """The pins of `commit`, read from Git's objects: the work tree may hold anything."""

    subject: Subject
    commit: str

    @cached_property
    def lock_files(self) -> list[str]:
        """Every `dvc.lock` of the commit."""
        return [file for file in self._files(LOCK) if posixpath.basename(file) == LOCK]

    @cached_property
    def stages(self) -> list[LockedStage]:
        """Every stage as it ran last. Raises BadSettings or Refused for a `dvc.lock` that cannot be read."""
        return [stage for file in self.lock_files for stage in self.stages_of(file, self._text(file))]

    def stages_of(self, file: str, text: bytes) -> list[LockedStage]:
        """The stages that `text` tells of, in the place of the commit's `file`."""
        return read_stages(text, file, self._folders(file))

    def folder_of(self, stage: LockedStage) -> str:
        """Where the stage runs, relative to the root."""
        folders, here = self._folders(stage.file), posixpath.dirname(stage.file) or "."
        return folders.get(stage.name) or folders.get(stage.name.split("@", 1)[0], here)

    @cached_property
    def frozen(self) -> set[tuple[str, str]]:
        """Stages that DVC does not run because they are frozen: the lock's file, and their name."""
        found = set()
        for file in self.lock_files:
            pipeline = self._text(_beside(file))
            stages = load_yaml(pipeline, _beside(file)).get("stages", {}) if b"frozen" in pipeline else {}
            for name, body in stages.items() if isinstance(stages, dict) else ():
                if isinstance(body, dict) and body.get("frozen") is True:
                    found.add((file, str(name)))
        return found

    def is_frozen(self, stage: LockedStage) -> bool:
        """Whether DVC would leave the stage alone."""
        return (stage.file, stage.name.split("@", 1)[0]) in self.frozen

    @cached_property
    def sources(self) -> dict[str, LockedFile]:
        """What stages read and `.dvc` files or frozen stages pin, by path."""
        pinned = [out for file in self._files("*.dvc") if not file.endswith("/.dvc") for out in self._pointed(file)]
        pinned += [out for stage in self.stages if self.is_frozen(stage) for out in stage.outs]
        needed = {dep.path for stage in self.stages for dep in stage.deps}  # DVC looks at those of frozen stages, too
        return {out.path: out for out in pinned if any(overlap(out.path, path) for path in needed)}

    def files(self, out: LockedFile) -> dict[str, Path]:
        """The pinned files of an output by their names in it; one that is a single file has the name "".

        Raises OutputMissing, DamagedManifest, RemoteUnreachable.
        """
        if out.md5 is None:
            raise OutputMissing(out.path, "pinned without an MD5")
        if not out.md5.endswith(".dir"):
            return {"": self._file(out.path, out.md5)}
        return {name: self._file(f"{out.path}/{name}", md5) for name, md5 in self._folder(out.path, out.md5)}

    def manifest(self, out: LockedFile, into: Path) -> Manifest:
        """The pinned manifest, as links in the folder `into`. Raises as `files`, and what opening it raises."""
        make_directory(into)
        folder = into / hashlib.sha256(f"{out.path}\0{out.md5}".encode()).hexdigest()[:16]
        if not folder.is_dir():
            folder.mkdir()
            for name, file in self.files(out).items():
                os.symlink(os.path.abspath(file), folder / name)
        return Manifest.open(folder, f"{out.path} (as pinned)")

    def _pointed(self, file: str) -> list[LockedFile]:
        document = load_yaml(self._text(file), file)
        folder = posixpath.join(posixpath.dirname(file), str(document.get("wdir", ".")))
        found = []
        for out in document.get("outs") or ():
            path, md5 = (out.get("path"), out.get("md5")) if isinstance(out, dict) else (None, None)
            if isinstance(path, str) and isinstance(md5, str):
                found.append(LockedFile(posixpath.normpath(posixpath.join(folder, path)), md5))
        return found

    def _file(self, path: str, md5: str) -> Path:
        text = blob_at(self.subject.root, self.commit, path)  # outputs that Git keeps and DVC's cache does not
        if text is not None and hashlib.md5(text, usedforsecurity=False).hexdigest() == md5:
            kept = self.subject.cache / "verify"
            make_directory(kept)
            publish_bytes(kept / md5, text)
            return kept / md5
        try:
            return self.subject.out_bytes(path, md5)
        except BadSettings as error:
            raise OutputMissing(path, f"not here, and there is no remote to ask: {error.message}") from None

    def _folder(self, path: str, md5: str) -> list[tuple[str, str]]:
        """Name and hash of each file that DVC's list names."""
        kept = DvcCache(self.subject.root).find(check_list_hash(md5))
        data = kept.read_bytes() if kept is not None else self._list_from_remote(path, md5)
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5.removesuffix(".dir"):
            raise DamagedManifest(path, f"DVC's list of its files does not hash to {md5}")
        try:
            entries = [(entry["relpath"], entry["md5"]) for entry in read_json(data, path)]
        except (ValueError, TypeError, KeyError):
            raise DamagedManifest(path, "DVC's list of its files does not parse") from None
        for name, _ in entries:
            if not isinstance(name, str) or posixpath.isabs(name) or {"", ".", ".."} & set(name.split("/")):
                raise DamagedManifest(path, f"DVC's list of its files names {name!r}, expected paths below it")
        return entries

    def _list_from_remote(self, path: str, md5: str) -> bytes:
        remote = self.subject.remote()
        if remote is None:
            raise OutputMissing(path, "not in DVC's cache, and there is no remote")
        try:
            return remote.root.get(f"files/md5/{md5[:2]}/{md5[2:]}")
        except ObjectMissing:
            raise OutputMissing(path, f"neither here nor at {remote.root.url}") from None

    def _folders(self, lock_file: str) -> dict[str, str]:
        file = _beside(lock_file)
        pipeline = self._text(file)
        if b"wdir" in pipeline and b"${" in pipeline:  # a template, which only DVC can fill in
            stages = read_pipelines(self.subject.root, self.commit, [file], ()).stages
            return {stage.name: stage.folder for stage in stages}
        return stage_outputs(pipeline, file)[0] if b"wdir" in pipeline else {}

    def _files(self, pattern: str) -> list[str]:
        return files_named(self.subject.root, pattern, rev=self.commit)

    def _text(self, file: str) -> bytes:
        return blob_at(self.subject.root, self.commit, file) or b""


def address(stage: LockedStage) -> str:
    """How DVC calls the stage at the root."""
    return stage.name if stage.file == LOCK else f"{_beside(stage.file)}:{stage.name}"


def is_manifest(names: list[str]) -> bool:
    """Whether files of these names are what a folder with a manifest holds."""
    return bool(names) and all(name.startswith("part-") and name.endswith(".parquet") for name in names)


def _beside(lock_file: str) -> str:
    return posixpath.join(posixpath.dirname(lock_file), PIPELINE)
