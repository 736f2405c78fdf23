"""Brings dataset versions to a remote: packs, the index that names them, manifests, root records. In this order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from datapin.base import failpoints, log
from datapin.base.errors import DamagedPack, PushOvertaken
from datapin.base.progress import SILENT, Progress
from datapin.store.index import Index, join_entries
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.plan import TransferPlan, plan_transfer
from datapin.transfer.report import TransferReport
from datapin.transfer.root_records import (
    FINAL,
    PENDING,
    RootRecord,
    forget_other_roots,
    kept_root,
    read_root,
    version_of_key,
)
from datapin.transfer.roots import declare
from datapin.transfer.survey import Objects, Survey
from datapin.transfer.threads import map_in_order, packs_at_once
from datapin.transfer.uploads import Upload, Uploads
from datapin.transfer.wanted import Needs, PushVersion, Wanted

__all__ = ["PushVersion", "push_versions"]

_TRIES = 5
_READS_AT_ONCE = 16


def push_versions(
    store: Store,
    remote: RemoteStore,
    versions: Sequence[PushVersion],
    send_manifests: Callable[[Sequence[str]], int],
    *,
    jobs: int,
    progress: Progress = SILENT,
    dry_run: bool = False,
    actor: str = "",
    again: bool = False,
) -> TransferReport:
    """Bring these versions to `remote`; what is there is not sent again, also after a push that was cut off.

    A version counts as there if a final root record says so and every pack that it names is listed; then its ids are
    not asked for, and five requests do for any number of versions. `send_manifests` gets the md5s of the others, after
    their packs and before their roots. `again` takes no record's word: every version is looked at, and what the remote
    has lost of it is sent. Raises AssetsMissing if an asset is neither here nor there, DamagedAsset if there is no good
    copy here, PushOvertaken, DamagedPack, StoreFormat, RemoteUnreachable, StorageFailed.
    """
    push = _Push(store, remote, jobs, progress)
    survey = Survey(remote)
    there: list[RootRecord] = []
    todo = list({one.version: one for one in versions}.values())
    if not again:
        todo, there = _open_versions(remote, survey, versions)
    push.skipped = sum(record.assets for record in there)
    if dry_run:
        remote.check_format()
        return push.report_of(push.plan(survey, todo))
    for attempt in range(_TRIES):
        if not todo:
            break
        if attempt:
            survey = Survey(remote)
        else:
            remote.make()
        work = push.plan(survey, todo)
        relied_on = push.send(survey, work)
        if not attempt:
            push.skipped += work.wanted.present
            send_manifests([one.manifest for one in todo])
            failpoints.hit("push.manifests.sent")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        records = [_record(*of_one, actor, now) for of_one in zip(todo, work.needs, relied_on, strict=True)]
        todo = [one for one, is_final in zip(todo, declare(remote, records), strict=True) if not is_final]
    if todo:
        raise PushOvertaken(remote=remote.url, tries=_TRIES)
    return push.report()


@dataclass(frozen=True, slots=True)
class _Work:
    """What one look at the remote says is to be sent: rows of the index `here`."""

    here: Index
    wanted: Wanted
    needs: list[Needs]
    plan: TransferPlan


class _Push:
    """One push under way, and what it sent in all its tries."""

    def __init__(self, store: Store, remote: RemoteStore, jobs: int, progress: Progress) -> None:
        self._store = store
        self._remote = remote
        self._jobs = jobs
        self._progress = progress
        self._assets = self._packs = self._bytes = 0
        self.skipped = 0

    def plan(self, survey: Survey, todo: Sequence[PushVersion]) -> _Work:
        """What these versions lack."""
        here = self._store.index
        there = survey.reliable(self._remote.index(survey.index))
        wanted = Wanted(here, there)
        needs = [wanted.add(one.ids()) for one in todo]
        log.step("push", "%d versions to send; %d assets are there already, not sent", len(todo), wanted.present)
        return _Work(here, wanted, needs, plan_transfer(wanted.ids, here, there, never_whole=survey.condemned.packs))

    def send(self, survey: Survey, work: _Work) -> list[Objects]:
        """Send packs, loose assets and the index that names them; for each version what it relies on now."""
        plan = work.plan
        uploads: list[Upload] = []
        if plan.assets:
            with self._store.staging() as filler, self._progress.bar("pushing", plan.bytes, "B") as bar:
                sender = Uploads(self._store, self._remote, work.here, survey, filler)
                for upload in sender.send(plan, packs_at_once(self._jobs)):
                    bar.advance(upload.size_bytes)
                    uploads.append(upload)
            failpoints.hit("push.packs.sent")
        new = Index(join_entries([upload.entries for upload in uploads]))
        if len(new):
            # The index follows its packs: a reader must never find an entry whose bytes are not there yet.
            self._remote.publish_index(new.entries)
            failpoints.hit("push.index.sent")
        self._count(uploads)
        places = work.wanted.places(new)
        return [need.objects(places, new.entries) for need in work.needs]

    def report(self) -> TransferReport:
        """What was sent."""
        return TransferReport(self._assets, self._packs, self._bytes, self._remote.backend.requests, self.skipped)

    def report_of(self, work: _Work) -> TransferReport:
        """What would be sent."""
        plan = work.plan
        packs = len(plan.whole) + len(plan.loose)
        return TransferReport(plan.assets, packs, plan.bytes, 0, self.skipped + work.wanted.present)

    def _count(self, uploads: Sequence[Upload]) -> None:
        new = [upload for upload in uploads if upload.is_new]
        self._assets += sum(len(upload.entries) for upload in uploads)
        self._packs += len(new)
        self._bytes += sum(upload.size_bytes for upload in new)


def _open_versions(
    remote: RemoteStore, survey: Survey, versions: Sequence[PushVersion]
) -> tuple[list[PushVersion], list[RootRecord]]:
    """The distinct versions that have to be pushed, and a good record of each other one."""
    wanted = {one.version: one for one in versions}
    there: dict[str, RootRecord] = {}

    def take(records: Iterable[RootRecord | None]) -> None:
        for record in records:
            if record is None or record.state != FINAL or record.version not in wanted or record.version in there:
                continue
            if survey.holds(record):
                there[record.version] = record

    named = [key for key in survey.roots if version_of_key(key) in wanted]
    take(kept_root(remote, key) for key in named)
    older = [key for key in survey.roots if not version_of_key(key)]
    for keys in (named, older):
        unread = [key for key in keys if version_of_key(key) not in there] if len(there) < len(wanted) else []
        take(map_in_order(lambda key: _find_root(remote, key), unread, jobs=_READS_AT_ONCE))
    forget_other_roots(remote, survey.roots)
    return [one for version, one in wanted.items() if version not in there], list(there.values())


def _find_root(remote: RemoteStore, key: str) -> RootRecord | None:
    try:
        return read_root(remote, key)
    except DamagedPack:
        return None  # whatever it said, the version that it was about is pushed again


def _record(one: PushVersion, needs: Needs, relied_on: Objects, actor: str, now: str) -> RootRecord:
    return RootRecord(
        PENDING,
        one.dataset,
        one.digest,
        one.manifest,
        packs=tuple(sorted(pack.hex() for pack in relied_on.packs)),
        loose=tuple(sorted(raw_id.hex() for raw_id in relied_on.loose)),
        assets=needs.assets,
        actor=actor,
        commit=one.commit,
        time=now,
    )
