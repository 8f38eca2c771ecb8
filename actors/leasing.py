"""What metadata answers about leases, about content as namespaces know it, and to the collector.

Part of the metadata actor. Whatever takes a reference away is told to the collector, which decides when to
collect; notes are gathered while one is under way.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec

from actors import failpoints, lookups
from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call, Later
from storage.backup import backup_path
from storage.collection.labels import expiry
from storage.errors import InvalidArgumentError, NotFoundError
from storage.metadata import Announcement, Content, Lease, Metadata, Resource
from storage.metadata.collecting import Snapshot

TELL_EVERY = 10  # changes without a deletion that are told in one note
NOTE_LIMIT = 60.0  # seconds for a collector that is being started again; its start collects anyhow
RESUME_WINDOW = 600 * 1_000_000_000  # nanoseconds in which an interrupted transfer may be begun again
GC_LIMIT = 600.0  # seconds that a collection may take


class LeasingActor(Actor):
    """One method an operation; see actors/messages/leases.py for what each means."""

    _store: Metadata
    _changed = _deleted = 0
    _telling = False
    _later: int | None = None

    # Events

    @contextmanager
    def announcing(
        self, known: Announcement | None = None
    ) -> Iterator[Callable[[str, str, str, dict[str, Any]], None]]:
        """A transaction with the events of what it writes: each by namespace, topic, key and body.

        With the one that is `known` beforehand, they are noted in it and announced after it; by the next
        incarnation, if this one dies in between.
        """
        noted: list[Announcement] = []
        with self._store.transaction():
            if known is not None:
                noted.append(self._store.announcements.keep(known))
            yield lambda *event: noted.append(self._store.announcements.note(*event))
        failpoints.hit("metadata", "announce", "recorded")
        for one in noted:
            self.announce(one)

    def announce(self, event: Announcement) -> None:
        """Have `events` journal it, once for each key."""
        self.ask(_published(event), self._announced)

    def announce_again(self, events: Iterator[Announcement]) -> None:
        """What an earlier incarnation may not have come to, one after the other: they may be many."""

        def announced(result: Any) -> None:
            self._announced(result)
            self.announce_again(events)

        event = next(events, None)
        if event is not None:
            self.ask(_published(event), announced)

    def _announced(self, result: Any) -> None:
        if isinstance(result, Exception):
            self.log.warning("an event was not announced: %s", result)

    # Notes to the collector

    def changed(self, *, deleted: bool = False) -> None:
        """Something was written; `deleted` says that something else may be garbage by it."""
        self._changed += 1
        self._deleted += deleted
        if self._deleted or self._changed >= TELL_EVERY:
            self._tell_collector()

    def _tell_collector(self) -> None:
        """One note at a time."""
        if self._telling:
            return
        due = [at for at in (self._store.leases.next_expiry(), self._later) if at is not None]
        note = m.CollectorNote(self._changed, self._deleted, min(due, default=None))
        self._later = None
        self._changed = self._deleted = 0
        self._telling = True
        self.ask(note, self._told_collector, limit=NOTE_LIMIT)

    def _told_collector(self, _result: Any) -> None:
        """A note that was lost is made up for by the next one, or by the collector's start."""
        self._telling = False
        if self._deleted or self._later is not None:
            self._tell_collector()

    # Leases

    def leases_create(self, body: m.LeasesCreate, _: Call) -> Lease:
        """Make a lease."""
        expires_at = expiry(body.labels)
        identity = body.id or secrets.token_hex(16)
        lease = self._store.leases.create(body.namespace, identity, labels=body.labels, expires_at=expires_at)
        self.changed(deleted=expires_at is not None)  # the collector has to know when it ends
        return lease

    def leases_list(self, body: m.LeasesList, _: Call) -> dict[str, Any]:
        """The leases of a namespace, or all."""
        return lookups.leases(self._store, body)

    def leases_delete(self, body: m.LeasesDelete, call: Call) -> Later | None:
        """Delete it, and with `sync` what it held."""
        try:
            self._store.leases.delete(body.namespace, body.id)
        except NotFoundError:
            if body.strict:
                raise
        else:
            self.changed(deleted=True)
        if not body.sync:
            return None
        self.collect_before(call, {})
        return LATER

    def collect_before(self, call: Call, answer: Any) -> None:
        """Answer `call` when a collection has come to its end."""
        self.ask(
            m.GcRun(),
            lambda result: call.settle(result if isinstance(result, Exception) else answer),
            limit=GC_LIMIT,
        )

    def leases_add_resource(self, body: m.LeasesAddResource, _: Call) -> None:
        """Hold."""
        resources = [Resource(one.type, one.id) for one in body.resources]
        if self._store.leases.add(body.namespace, body.id, *resources):
            self.changed()

    def leases_delete_resource(self, body: m.LeasesDeleteResource, _: Call) -> None:
        """Hold no longer."""
        resource = Resource(body.resource.type, body.resource.id)
        self._store.leases.remove(body.namespace, body.id, resource)
        self.changed(deleted=True)

    def leases_list_resources(self, body: m.LeasesListResources, _: Call) -> dict[str, Any]:
        """What it holds."""
        return {"resources": self._store.leases.resources(body.namespace, body.id)}

    def leases_take(self, body: m.LeasesTake, _: Call) -> Lease:
        """An actor's lease, for this incarnation of it."""
        return self._store.leases.take(body.namespace, body.id, body.holder, body.instance, body.incarnation)

    def leases_release(self, body: m.LeasesRelease, _: Call) -> None:
        """The end of an actor, or of its work."""
        leases = self._store.leases
        if body.resumable:
            until = time.time_ns() + RESUME_WINDOW
            if leases.let_go(body.holder, body.instance, body.incarnation, until):
                self._tell_collector()
            return
        if not leases.release(body.holder, body.instance, body.incarnation):
            return
        if not body.finished:
            self._later = time.time_ns() + RESUME_WINDOW
            self._tell_collector()
        self.changed()

    # Content as namespaces know it

    def contents_admit(self, body: m.ContentsAdmit, _: Call) -> dict[str, Any]:
        """Hold, then see whether the namespace knows the blob or may get to know it."""
        with self._store.transaction():
            if body.lease:
                held = [Resource("ingests", body.ref)]
                held += [Resource("content", body.digest)] if body.digest else []
                self._store.leases.add(body.namespace, body.lease, *held)
            known = body.present and self._knows(body)
        return {"known": known}

    def _knows(self, body: m.ContentsAdmit) -> bool:
        contents = self._store.contents
        if contents.find(body.namespace, body.digest) is not None:
            return True
        if not body.isolated or contents.may_share(body.namespace, body.digest, isolated=True):
            contents.put(body.namespace, body.digest, {})
            return True
        return False

    def contents_put(self, body: m.ContentsPut, _: Call) -> Content:
        """A blob has become durable."""
        store = self._store
        with store.transaction():
            before = store.contents.find(body.namespace, body.digest)
            if body.lease:
                store.leases.add(body.namespace, body.lease, Resource("content", body.digest))
                store.leases.remove(body.namespace, body.lease, Resource("ingests", body.ref))
            labels = {**(before.labels if before else {}), **body.labels}
            if before is None or labels != before.labels:
                before = store.contents.put(body.namespace, body.digest, labels)
                self.changed()
        return before

    def contents_get(self, body: m.ContentsGet, _: Call) -> Content:
        """One blob."""
        return lookups.content(self._store, body)

    def contents_update(self, body: m.ContentsUpdate, _: Call) -> Content:
        """Labels of one blob."""
        with self._store.transaction():
            before = self._store.contents.get(body.namespace, body.digest)
            labels = masked(before.labels, body.labels, body.fields)
            after = self._store.contents.put(body.namespace, body.digest, labels)
        self.changed(deleted=True)  # a reference may have gone
        return after

    def contents_merge(self, body: m.ContentsMerge, _: Call) -> None:
        """Labels of several blobs, which the lease holds from now on."""
        isolated = self.settings.content_sharing == "isolated"
        contents, before = self._store.contents, self._store.changes
        with self._store.transaction():
            if body.lease:
                held = [Resource("content", digest) for digest in body.labels]
                self._store.leases.add(body.namespace, body.lease, *held)
            for digest in body.labels:
                if contents.find(body.namespace, digest) is None and (
                    not isolated or contents.may_share(body.namespace, digest, isolated=True)
                ):
                    contents.put(body.namespace, digest, {})
            contents.merge(body.namespace, body.labels)
        if self._store.changes > before:
            self.changed()

    def contents_list(self, body: m.ContentsList, _: Call) -> dict[str, Any]:
        """The blobs that a namespace knows, or that any does; or a page of them."""
        if body.page:
            found, following = self._store.contents.page(body.namespace or None, body.after)
            return {"contents": found, "next": following}
        return {"contents": self._store.contents.list(body.namespace or None)}

    def contents_forget(self, body: m.ContentsForget, _: Call) -> None:
        """A namespace, or all of them, no longer know a blob."""
        if self._store.contents.delete(body.namespace or None, body.digest):
            self.changed(deleted=True)
        elif body.strict:
            raise NotFoundError(f'blob {body.digest} not found in namespace "{body.namespace}"')

    def contents_unheld(self, body: m.ContentsUnheld, _: Call) -> dict[str, Any]:
        """The final word before blobs and ingests are deleted."""
        leases = self._store.leases
        kept = self._store.contents.known(body.digests) | leases.holding("content", body.digests)
        held = leases.holding("ingests", body.ingests)
        return {
            "digests": [one for one in body.digests if one not in kept],
            "ingests": [one for one in body.ingests if one not in held],
        }

    # Collection

    def collection_sweep(self, body: m.CollectionSweep, _: Call) -> dict[str, Any]:
        """Mark, and forget."""
        with self.announcing() as tell:
            swept = self._store.collecting.sweep(_snapshots(body.snapshots))
            for namespace, name in swept.images:
                tell(namespace, "/images/delete", name, {"name": name})
        answer: dict[str, Any] = msgspec.to_builtins(swept)
        return answer

    def collection_unreached(self, body: m.CollectionUnreached, _: Call) -> dict[str, Any]:
        """The final word before snapshots are deleted."""
        return {"snapshots": self._store.collecting.unreached(_snapshots(body.snapshots))}

    def metadata_check(self, _body: m.MetadataCheck, _: Call) -> dict[str, Any]:
        """The database."""
        return {"problems": self._store.check()}

    def metadata_backup(self, body: m.MetadataBackup, _: Call) -> None:
        """A copy of the database."""
        self._store.backup(backup_path(body.path))


def _published(event: Announcement) -> m.EventsPublish:
    return m.EventsPublish(event.namespace, event.topic, event.key, dict(event.body), event.at)


def masked(before: Mapping[str, str], given: Mapping[str, str], fields: list[str]) -> dict[str, str]:
    """Labels after an update: all of those given, or only the `fields` of them.

    Raises:
        InvalidArgumentError: a field is neither `labels` nor `labels.KEY`.
    """
    if not fields or "labels" in fields:
        return {key: value for key, value in given.items() if value}
    after = dict(before)
    for name in fields:
        kind, _, key = name.partition(".")
        if kind != "labels" or not key:
            raise InvalidArgumentError(f"field {name[:80]!a} cannot be updated: use labels or labels.KEY")
        after.pop(key, None)
        if given.get(key):
            after[key] = given[key]
    return after


def _snapshots(nodes: list[m.SnapshotNode]) -> list[Snapshot]:
    return [Snapshot(one.namespace, one.snapshotter, one.key, one.parent, one.labels) for one in nodes]
