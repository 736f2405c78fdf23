"""What a rollback needs of DVC's cache, brought there before anything moves; what is nowhere is named."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from datapin.base import failpoints
from datapin.base.errors import DatapinError, ManifestMissing, OutputMissing, listed, who_must_push
from datapin.dvcfiles.cache import DvcCache
from datapin.dvcfiles.outs import PinnedOut
from datapin.pins.outputs import check_cached, files_of
from datapin.verbs.rollback.goals import Goals
from datapin.verbs.workspace.bring import Absence, bring_what_is_somewhere
from datapin.verbs.workspace.workspace import Workspace


def bring_goals(workspace: Workspace, goals: Goals, outs: Sequence[PinnedOut], version: str) -> None:
    """The manifests of all goals and these other outputs, into DVC's cache; the outputs are verified there.

    Raises ManifestMissing or OutputMissing, which name all that is nowhere, and DamagedManifest.
    """
    cache = DvcCache(workspace.root)
    manifests = [PinnedOut(one.dataset, one.wanted.md5, one.wanted.file, one.wanted.stage) for one in goals.datasets]
    lacking = [out for out in (*manifests, *outs) if files_of(cache, out) is None]
    absence = bring_what_is_somewhere(workspace, list(dict.fromkeys(out.md5 for out in lacking)))
    if absence.md5s:
        raise _nowhere(goals, [out for out in lacking if out.md5 in absence.md5s], absence, version)
    failpoints.hit("rollback.brought")
    check_cached([file for out in outs for file in files_of(cache, out) or ()])


def _nowhere(goals: Goals, absent: Sequence[PinnedOut], absence: Absence, version: str) -> DatapinError:
    datasets = {one.dataset for one in goals.datasets}
    first = absent[0]
    if len(absent) == 1 and first.path in datasets:
        advice = absence.advice or who_must_push(first.path, is_output=first.stage is not None)
        return ManifestMissing(first.path, f"{first.md5} in DVC's cache", absence.reason, advice)
    sources = [one.dataset for one in goals.datasets if one.wanted.stage is None]
    advice = absence.advice or "somebody who has it must run `datapin push --all-versions` and `dvc push`"
    if sources and all(out.stage is not None for out in absent):
        command = shlex.join(["datapin", "rollback", *sources, "--to", version])
        advice = f"{advice}; or run `{command}`, take the parameters over, and `dvc repro` makes it again"
    return OutputMissing(listed([out.path for out in absent], 5), f"not here ({absence.reason})", advice)
