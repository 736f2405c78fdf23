"""Errors of stored bytes that are not what they must be."""

from __future__ import annotations

from dataclasses import dataclass

from datapin.base.errors.tree import Damage


@dataclass
class DamagedAsset(Damage):
    """Bytes that do not hash to their id."""

    asset_id: str
    where: str
    problem: str = "hash mismatch"
    usual_hint = "run `datapin fetch`; without a remote add the original file again, a good copy heals it"

    @property
    def message(self) -> str:
        return f"asset {self.asset_id[:12]} is damaged in {self.where}: {self.problem}"


@dataclass
class DamagedPack(Damage):
    """A pack, index or store file that cannot be what its name says."""

    path: str
    problem: str
    usual_hint = "run `datapin rebuild-index`, then `datapin fetch` if `datapin doctor` says that assets are lost"

    @property
    def message(self) -> str:
        return f"{self.path} is damaged: {self.problem}"


@dataclass
class DamagedManifest(Damage):
    """A manifest that does not parse, or whose rows break the format. `advice` where another command is the cure."""

    path: str
    problem: str
    advice: str = ""
    usual_hint = "bring the pinned rows back with `datapin restore`, after `datapin fetch` if DVC's cache is damaged"

    @property
    def message(self) -> str:
        return f"{self.path} is not a readable manifest: {self.problem}"


@dataclass
class DamagedModel(Damage):
    """A model file, or the record of the run that made it, that cannot be read back."""

    path: str
    problem: str
    advice: str = ""
    usual_hint = "bring it back with `dvc checkout`, or make it again with `dvc repro`"

    @property
    def message(self) -> str:
        return f"{self.path} is not a readable model: {self.problem}"


@dataclass
class DamagedJournal(Damage):
    """A journal that does not parse, or names what is not ours to move; it was set aside."""

    path: str
    problem: str
    usual_hint = "run `datapin recover`"

    @property
    def message(self) -> str:
        return f"{self.path} is no journal of a command that was cut off here, and was set aside: {self.problem}"


@dataclass
class BadDocument(Damage, ValueError):
    """A text (JSON, YAML, TOML) that does not parse, or is larger or deeper than one of its kind may be."""

    path: str
    problem: str

    @property
    def message(self) -> str:
        return f"{self.path}: {self.problem}"

    @property
    def hint(self) -> str:
        return f"bring {self.path} back as Git, DVC or the remote has it; `datapin doctor` looks at the set-up"
