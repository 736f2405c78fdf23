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
from datapin.dvcfiles.hashes import key_of, md5_of
from datapin.dvcfiles.locks import overlap
from datapin.dvcfiles.stages import LockedFile, LockedStage, read_stages
from datapin.dvcfiles.texts import folder_of, load_yaml
from datapin.git.ask import blob_at
from datapin.manifest.manifest import Manifest
from datapin.pins.files import LOCK, beside, is_lock
from datapin.pins.read import Pins


@dataclass(frozen=True)
class PinnedOutputs:
    """The pins of `commit`, read from Git's objects: the work tree may hold anything."""

    subject: Subject
    commit: str

    @cached_property
    def pins(self) -> Pins:
        """Everything that the commit pins."""
        return Pins(self.subject.root, self.commit)

    @cached_property
    def lock_files(self) -> list[str]:
        """Every `dvc.lock` of the commit."""
        return [file for file in self.pins.pointers if is_lock(file)]

    @cached_property
    def stages(self) -> list[LockedStage]:
        """Every stage as it ran last. Raises BadSettings or Refused for a `dvc.lock` that cannot be read."""
        return [stage for file in self.lock_files for stage in self.stages_of(file, self.pins.text(file) or b"")]

    def stages_of(self, file: str, text: bytes) -> list[LockedStage]:
        """The stages that `text` tells of, in the place of the commit's `file`."""
        return read_stages(text, file, self.pins.folders(file))

    def folder_of(self, stage: LockedStage) -> str:
        """Where the stage runs, relative to the root."""
        return folder_of(stage.name, stage.file, self.pins.folders(stage.file))

    @cached_property
    def frozen(self) -> set[tuple[str, str]]:
        """Stages that DVC does not run because they are frozen: the lock's file, and their name."""
        found = set()
        for file in self.lock_files:
            pipeline = self.pins.text(beside(file)) or b""
            stages = load_yaml(pipeline, beside(file)).get("stages", {}) if b"frozen" in pipeline else {}
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
        for file in self.pins.pointers:
            problem = self.pins.problem(file)
            if problem is not None:
                raise problem
        pinned = [LockedFile(out.path, out.md5) for out in self.pins.outs if out.stage is None]
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

    def _file(self, path: str, md5: str) -> Path:
        text = blob_at(self.subject.root, self.commit, path)  # outputs that Git keeps and DVC's cache does not
        if text is not None and md5_of(text) == md5:
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
        if md5_of(data) != md5.removesuffix(".dir"):
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
            return remote.root.get(key_of(md5))
        except ObjectMissing:
            raise OutputMissing(path, f"neither here nor at {remote.root.url}") from None


def address(stage: LockedStage) -> str:
    """How DVC calls the stage at the root."""
    return stage.name if stage.file == LOCK else f"{beside(stage.file)}:{stage.name}"


def is_manifest(names: list[str]) -> bool:
    """Whether files of these names are what a folder with a manifest holds."""
    return bool(names) and all(name.startswith("part-") and name.endswith(".parquet") for name in names)
