"""Brings dataset versions to a remote: packs, the index that names them, manifests, root records. In this order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from datapin.base import failpoints, log
from datapin.base.errors import AssetsMissing, BadRows, Damage, DamagedPack, DatapinError, PushOvertaken
from datapin.base.progress import SILENT, Progress
from datapin.store.index import Index, join_entries
from datapin.store.remote import RemoteStore
from datapin.store.store import Store
from datapin.transfer.mending import damaged_objects, mend_index
from datapin.transfer.plan import TransferPlan, plan_transfer
from datapin.transfer.report import Failure, TransferReport
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

__all__ = ["Manifests", "PushVersion", "push_versions"]

_TRIES = 5
_READS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Manifests:
    """How manifests come to the remote, all named by the md5 of their lists.

    `send` says why some of them could not be sent; `held` which of them the remote holds whole.
    """

    send: Callable[[Sequence[str]], Mapping[str, DatapinError]]
    held: Callable[[Sequence[str]], Collection[str]]


def push_versions(
    store: Store,
    remote: RemoteStore,
    versions: Sequence[PushVersion],
    manifests: Manifests,
    *,
    jobs: int,
    progress: Progress = SILENT,
    dry_run: bool = False,
    actor: str = "",
    again: bool = False,
) -> TransferReport:
    """Bring these versions to `remote`; what is there is not sent again, also after a push that was cut off.

    A version counts as there if a final root record says so, every pack that it names is listed and in the index, and
    its manifest is there; then its ids are not asked for. What the remote has lost of it is sent again. `again` takes
    no record's word: every version is looked at, and what is damaged there by its size, or by a deep check of this
    machine, is replaced. A version that cannot be pushed (AssetsMissing, DamagedAsset,
    DamagedManifest, ManifestMissing, …) keeps none of the others away: the report says why. Raises PushOvertaken,
    DamagedPack, StoreFormat, RemoteUnreachable, StorageFailed.
    """
    push = _Push(store, remote, jobs, progress)
    survey = _mended_survey(remote, dry_run=dry_run) if again else Survey(remote)
    there: list[RootRecord] = []
    todo = list({one.version: one for one in versions}.values())
    if not again:
        todo, there = _open_versions(remote, survey, versions)
    push.skipped = sum(record.assets for record in there)
    if dry_run:
        remote.check_format()
        return push.report_of(push.plan(survey, todo))
    vouched = {record.version for record in there}
    pushed = {one.manifest: one for one in versions if one.version in vouched}
    lost = sorted(pushed.keys() - set(manifests.held(sorted(pushed)))) if pushed else []
    push.fail({pushed[md5]: error for md5, error in manifests.send(lost).items()} if lost else {})
    for attempt in range(_TRIES):
        if not todo:
            break
        if attempt:
            survey = _mended_survey(remote) if again else Survey(remote)
        else:
            remote.make()
        work = push.plan(survey, todo)
        work, relied_on = push.send(survey, work)
        if not attempt:
            push.skipped += work.wanted.present
            by_md5 = {one.manifest: one for one in work.versions}
            push.fail({by_md5[md5]: error for md5, error in manifests.send(list(by_md5)).items()})
            failpoints.hit("push.manifests.sent")
        todo = push.declared(work, relied_on, actor)
    if again:
        remote.note_damage(())
    if todo:
        raise PushOvertaken(remote=remote.url, tries=_TRIES)
    return push.report()


@dataclass(frozen=True, slots=True)
class _Work:
    """What one look at the remote says is to be sent: rows of the index `here`."""

    here: Index
    wanted: Wanted
    versions: list[PushVersion]
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
        self.failures: list[Failure] = []

    def plan(self, survey: Survey, todo: Sequence[PushVersion]) -> _Work:
        """What these versions lack; those of which something is nowhere are left out and have failed."""
        here = self._store.index
        there = survey.reliable(self._remote.index(survey.index))
        wanted = Wanted(here, there)
        versions, needs = [], []
        for one in todo:
            try:
                needs.append(wanted.add(one.ids()))
                versions.append(one)
            except (AssetsMissing, Damage, BadRows) as error:
                self.fail({one: error})
        log.step("push", "%d versions to send; %d assets are there already, not sent", len(versions), wanted.present)
        plan = plan_transfer(wanted.ids, here, there, never_whole=survey.condemned.packs)
        return _Work(here, wanted, versions, needs, plan)

    def fail(self, errors: Mapping[PushVersion, DatapinError]) -> None:
        """These versions cannot be pushed."""
        self.failures += [Failure(version, error) for version, error in errors.items()]

    def send(self, survey: Survey, work: _Work) -> tuple[_Work, list[Objects]]:
        """Send packs, loose assets and the index that names them; for each version what it relies on now.

        The work comes back without versions that need an asset which turned out to be damaged or gone: they have
        failed.
        """
        plan = work.plan
        uploads: list[Upload] = []
        damaged: dict[bytes, DatapinError] = {}
        if plan.assets:
            with self._store.staging() as filler, self._progress.bar("pushing", plan.bytes, "B") as bar:
                sender = Uploads(self._store, self._remote, work.here, survey, filler)
                for upload in sender.send(plan, packs_at_once(self._jobs)):
                    bar.advance(upload.size_bytes)
                    uploads.append(upload)
            damaged = sender.damaged
            failpoints.hit("push.packs.sent")
        new = Index(join_entries([upload.entries for upload in uploads]))
        if len(new):
            # The index follows its packs: a reader must never find an entry whose bytes are not there yet.
            self._remote.publish_index(new.entries)
            failpoints.hit("push.index.sent")
        self._count(uploads)
        if damaged:
            work = self._without(work, damaged)
        places = work.wanted.places(new)
        return work, [need.objects(places, new.entries) for need in work.needs]

    def declared(self, work: _Work, relied_on: Sequence[Objects], actor: str) -> list[PushVersion]:
        """Write the root records of what is there now; the versions that have to be pushed again."""
        failed = {failure.version for failure in self.failures}
        steps = [step for step in zip(work.versions, work.needs, relied_on, strict=True) if step[0] not in failed]
        now = datetime.now(UTC).isoformat(timespec="seconds")
        records = [_record(*step, actor, now) for step in steps]
        are_final = declare(self._remote, records) if records else []
        return [step[0] for step, is_final in zip(steps, are_final, strict=True) if not is_final]

    def _without(self, work: _Work, damaged: Mapping[bytes, DatapinError]) -> _Work:
        """The work without the versions that need one of these assets."""
        kept = []
        rows = {work.here.find_one(raw_id): error for raw_id, error in damaged.items()}
        for number, need in enumerate(work.needs):
            error = next((error for row, error in rows.items() if row is not None and need.has_row(row)), None)
            if error is None:
                kept.append(number)
            else:
                self.fail({work.versions[number]: error})
        versions = [work.versions[number] for number in kept]
        return replace(work, versions=versions, needs=[work.needs[number] for number in kept])

    def report(self) -> TransferReport:
        """What was sent."""
        requests = self._remote.backend.requests
        return TransferReport(self._assets, self._packs, self._bytes, requests, self.skipped, tuple(self.failures))

    def report_of(self, work: _Work) -> TransferReport:
        """What would be sent."""
        plan = work.plan
        packs = len(plan.whole) + len(plan.loose)
        skipped = self.skipped + work.wanted.present
        return TransferReport(plan.assets, packs, plan.bytes, 0, skipped, tuple(self.failures))

    def _count(self, uploads: Sequence[Upload]) -> None:
        new = [upload for upload in uploads if upload.is_new]
        self._assets += sum(len(upload.entries) for upload in uploads)
        self._packs += len(new)
        self._bytes += sum(upload.size_bytes for upload in new)


def _mended_survey(remote: RemoteStore, *, dry_run: bool = False) -> Survey:
    """A look at the remote that takes damaged objects as lost; its index is mended first, unless `dry_run`."""
    survey = Survey(remote)
    if not remote.check_format():
        return survey
    if not dry_run:
        mend_index(remote, survey)
        survey = Survey(remote)
    survey.take_as_lost(damaged_objects(remote, survey))
    return survey


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
