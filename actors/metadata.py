"""Metadata: namespaces, images, containers and what became of them. Single writer of one SQLite file.

States: none beside the database. Accepts the operations below; what it answers is durable. Announces
image and container changes to `events`; asks the supervisor to start a new container's actor.
Restarted by the supervisor, always.
"""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any, cast

import msgspec

from actors import failpoints, lookups
from actors import messages as m
from actors.call import LATER, Call, Later
from actors.leasing import LeasingActor, masked
from actors.lookups import image_name
from actors.questions import RETRY_AFTER
from actors.runtime import id_ranges, mount_plan, namespaces
from actors.runtime.errors import InvalidSpecError
from actors.runtime.wishes import Wishes, wishes
from storage.descriptor import Descriptor
from storage.errors import FailedPreconditionError, InvalidArgumentError, NotFoundError, StorageError
from storage.metadata import Announcement, Container, Image, Metadata, Namespace, NewContainer, Task
from storage.metadata.announcements import LIFETIME
from storage.metadata.namespaces import phrase
from storage.reference import Reference
from transport.keys import Key, KeyRing

MOST_TOLD = 1 << 14  # bytes of a record that goes with the start of its actor, through two control channels


class MetadataActor(LeasingActor):
    """One method an operation; see actors/messages/ for what each means."""

    kind = "metadata"

    def started(self) -> None:
        """Open the database, migrating it if need be."""
        self._store = Metadata(self.settings.root / "metadata.db")
        self._keys = KeyRing(self.settings.keys)
        self._follow_all()
        self.announce_again(iter(self._store.announcements.recent()))

    def stopping(self) -> None:
        """Close the database in order."""
        self._store.close()
        self.finish()

    # Keys of clients on other hosts

    def keys_server(self, _body: m.KeysServer, _: Call) -> dict[str, str]:
        """Where it listens, and its public key."""
        listen, node = self.settings.listen, self.settings.node
        return {"endpoint": listen, "public": self._keys.server().public, "node": node}

    def keys_allow(self, body: m.KeysAllow, _: Call) -> None:
        """Enter it."""
        self._keys.allow(Key(body.name, body.public, body.role, time.time_ns()))

    def keys_revoke(self, body: m.KeysRevoke, _: Call) -> None:
        """Strike it."""
        self._keys.revoke(body.name)

    def keys_list(self, _body: m.KeysList, _: Call) -> dict[str, Any]:
        """By name."""
        found = sorted(self._keys.keys().values(), key=lambda key: key.name)
        return {"keys": [asdict(key) for key in found]}

    # Images

    def images_get(self, body: m.ImagesGet, _: Call) -> Image:
        """Look an image up by its name as people type it."""
        return lookups.image(self._store, body)

    def images_list(self, body: m.ImagesList, _: Call) -> dict[str, Any]:
        """All images of a namespace."""
        return lookups.images(self._store, body)

    def images_put(self, body: m.ImagesPut, _: Call) -> Image:
        """Create or move a name."""
        Descriptor.from_dict(body.target)  # what is on record can be relied upon
        with self.announcing() as tell:
            name, store = image_name(body), self._store.images
            image, created = store.put(body.namespace, name, body.target, body.labels)
            tell(*_event_of(image, created=created))
        self.changed(deleted=not created)  # a name that moves lets go of what it named
        return image

    def images_create(self, body: m.ImagesCreate, _: Call) -> Image:
        """Create a name."""
        Descriptor.from_dict(body.target)
        with self.announcing() as tell:
            image = self._store.images.create(body.namespace, body.name, body.target, body.labels)
            tell(*_event_of(image, created=True))
        self.changed()
        return image

    def images_update(self, body: m.ImagesUpdate, _: Call) -> Image:
        """Change a name that there is."""
        if body.target is not None:
            Descriptor.from_dict(body.target)
        with self.announcing() as tell:
            before = self._store.images.get(body.namespace, body.name)
            labels = before.labels if body.labels is None else masked(before.labels, body.labels, body.fields)
            target = before.target if body.target is None else body.target
            image, _created = self._store.images.put(body.namespace, body.name, target, labels)
            tell(*_event_of(image, created=False))
        self.changed(deleted=True)
        return image

    def images_delete(self, body: m.ImagesDelete, call: Call) -> Image | Later:
        """Forget a name that no container uses."""
        name = image_name(body)
        users = self._store.containers.users(body.namespace, name)
        if users and not body.force:
            text = f"image {name} is used by container {', '.join(users[:3])}; remove that or use --force"
            raise FailedPreconditionError(text)
        with self.announcing() as tell:
            image = self._store.images.delete(body.namespace, name)
            tell(body.namespace, "/images/delete", name, {"name": name})
        self.changed(deleted=True)
        if body.sync:
            self.collect_before(call, image)
            return LATER
        return image

    # Containers

    def containers_create(self, body: m.ContainersCreate, call: Call) -> Later:
        """Record it, then have its actor started; answered when that is ready."""
        options = self._with_ids(body.options)
        wish = _checked(options)
        name, digest = ("", "") if wish.bundle else (body.image, "") if wish.foreign else self._image_of(body)
        container_id = body.id or secrets.token_hex(32)
        new = NewContainer(
            id=container_id,
            name=body.name,
            image=name,
            image_digest=digest,
            runtime=body.runtime or self.settings.runtime_name,
            snapshotter=body.snapshotter or self.settings.snapshots_default,
            snapshot_key=body.snapshot_key if wish.foreign else container_id,
            options=options,
            labels=body.labels,
            wanted="running" if body.wanted == "running" else "stopped",
            auto_remove=body.auto_remove,
        )
        container = self._store.containers.create(body.namespace, new)
        failpoints.hit("metadata", "create", "recorded")
        answer = {"id": container.id, "name": container.name, "actor": _actor_of(container)}
        if container.wanted == "running" and container.image:
            self._expect_bundle(container)
        self._follow(
            container,
            lambda result: call.settle(result if isinstance(result, Exception) else answer),
            _told(container),
        )
        return LATER

    def _follow(
        self,
        container: Container,
        started: Callable[[Any], None] = lambda _: None,
        told: Mapping[str, Any] | None = None,
    ) -> None:
        """What follows a record: an actor, and word of it. Once, however often it is asked for.

        `told`: the record, for an actor that is the first to read it. It is said a single time: who starts
        later may be the second, after one who changed it or cleared it away.
        """
        args = {"namespace": container.namespace, "id": container.id, "created_at": container.created_at}
        start = m.ChildrenStart("container", _actor_of(container), args)
        self.ask(start, started, first=replace(start, told=dict(told)) if told else None)
        self._announce_container(container)

    def _follow_all(self) -> None:
        """A crash may have come between a record and what follows it."""
        since = time.time_ns() - LIFETIME
        for container in self._store.containers.list_all():
            if container.created_at > since:
                self._follow(container)

    def _announce_container(self, container: Container) -> None:
        foreign = container.options.get("foreign") or {}
        event: dict[str, Any] = {"id": container.id, "image": container.image}
        event["runtime"] = foreign.get("runtime", container.runtime)
        if foreign.get("options", {}).get("type_url"):
            event["runtime_options"] = foreign["options"]
        topic, at = "/containers/create", container.created_at
        key = f"{topic}:{container.namespace}:{container.id}:{at}"
        self.announce(Announcement(key, container.namespace, topic, event, at))

    def _expect_bundle(self, container: Container) -> None:
        """While its actor is forked. A hint, sent once; it comes before anything that the actor asks."""
        expect = m.BundlesExpect(
            container.namespace,
            container.id,
            container.image,
            container.image_digest,
            dict(container.options),
            container.name,
            cast("m.SnapshotterName", container.snapshotter),
            container.runtime,
            container.auto_remove,
        )
        self.ask(expect, lambda _: None, limit=RETRY_AFTER)

    def _with_ids(self, options: dict[str, Any]) -> dict[str, Any]:
        """With a range of ids in place of `auto`, for as long as there is the record."""
        if options.get("userns") != id_ranges.AUTO:
            return options
        taken = [str(one.options.get("userns", "")) for one in self._store.containers.list_all()]
        return {**options, "userns": str(id_ranges.chosen(taken))}

    def _image_of(self, body: m.ContainersCreate) -> tuple[str, str]:
        image = self._store.images.get(body.namespace, str(Reference.parse(body.image)))
        return image.name, str(image.target["digest"])

    def containers_get(self, body: m.ContainersGet, _: Call) -> dict[str, Any]:
        """One container and its task."""
        return lookups.container(self._store, body)

    def containers_list(self, body: m.ContainersList, _: Call) -> dict[str, Any]:
        """The containers of one namespace, or of all, each with its task."""
        return lookups.containers(self._store, body)

    def containers_want(self, body: m.ContainersWant, _: Call) -> Container:
        """Record the desired state."""
        return self._store.containers.update(body.namespace, body.id, wanted=body.wanted)

    def containers_update(self, body: m.ContainersUpdate, _: Call) -> Container:
        """What is given."""
        before = self._store.containers.get(body.namespace, body.id)
        options = _options(before, body)
        if options is not None:
            if options.get("userns", "") != before.options.get("userns", ""):
                raise InvalidArgumentError("userns cannot be changed: its files belong to these ids")
            _checked(options)
        labels = None if body.labels is None else masked(before.labels, body.labels, body.fields)
        with self.announcing() as tell:
            found = self._store.containers.update(
                body.namespace,
                body.id,
                name=body.name or None,
                options=options,
                labels=labels,
                image=body.image,
                snapshot_key=body.snapshot_key,
            )
            event = {"id": found.id, "image": found.image, "labels": dict(found.labels)}
            event["snapshot_key"] = found.snapshot_key
            tell(body.namespace, "/containers/update", found.id, event)
        self.changed(deleted=body.snapshot_key is not None or body.image is not None)
        return found

    def containers_forget(self, body: m.ContainersForget, _: Call) -> None:
        """The end of a removal; saying it twice is fine."""
        try:
            found = self._store.containers.get(body.namespace, body.id)
        except NotFoundError:
            return
        if found.id == body.id and body.created_at in (0, found.created_at):
            with self.announcing(_announcement(body.namespace, body.told) if body.told else None):
                self._store.containers.delete(body.namespace, body.id)
            self.changed(deleted=True)

    def tasks_record(self, body: m.TasksRecord, _: Call) -> None:
        """What a container's actor reports; of a container that is gone, nothing is kept."""
        fields = msgspec.to_builtins(body)
        fields["container"] = fields.pop("id")
        final = fields.pop("final")
        with self._store.transaction():
            self._store.tasks.record(msgspec.convert(fields, Task))
            if final:
                self._store.containers.retire(body.namespace, body.id)

    # Namespaces

    def namespaces_list(self, body: m.NamespacesList, _: Call) -> dict[str, Any]:
        """All namespaces."""
        return lookups.namespaces(self._store, body)

    def namespaces_create(self, body: m.NamespacesCreate, _: Call) -> Namespace:
        """One more."""
        with self.announcing() as tell:
            found = self._store.namespaces.create(body.name, body.labels)
            tell(*_event_in("create", found))
        return found

    def namespaces_ensure(self, body: m.NamespacesEnsure, _: Call) -> None:
        """Not for the first time."""
        self._store.namespaces.ensure(body.name)

    def namespaces_update(self, body: m.NamespacesUpdate, _: Call) -> Namespace:
        """Its labels."""
        labels = dict(body.labels)
        with self.announcing() as tell:
            if body.fields:
                known = {one.name: one.labels for one in self._store.namespaces.list()}
                labels = masked(known.get(body.name, {}), labels, body.fields)
            found = self._store.namespaces.update(body.name, labels)
            tell(*_event_in("update", found))
        return found

    def namespaces_delete(self, body: m.NamespacesDelete, call: Call) -> Later:
        """Only an empty one; of what is on record elsewhere, the owners are asked."""
        self._store.namespaces.get(body.name)

        def with_snapshots(found: Any) -> None:
            if isinstance(found, Exception):
                call.fail(found)
                return
            keys = [one["key"] for one in found["snapshots"] if one["namespace"] == body.name]
            self.ask(m.VolumesList(body.name, page=True), partial(with_volumes, keys))

        def with_volumes(keys: list[str], found: Any) -> None:
            if isinstance(found, Exception):
                call.fail(found)
                return
            names = [one["name"] for one in found["volumes"]]
            others = [phrase(kind, some) for kind, some in (("snapshot", keys), ("volume", names)) if some]
            try:
                self._delete_namespace(body.name, others)
                call.reply()
            except StorageError as error:
                call.fail(error)

        self.ask(m.SnapshotsGraph(), with_snapshots)
        return LATER

    def _delete_namespace(self, name: str, others: list[str]) -> None:
        with self.announcing() as tell:
            self._store.namespaces.delete(name, others)
            tell(*_event_in("delete", Namespace(name, {})))
        self.changed(deleted=True)  # its leases, which may have held something


def _event_of(image: Image, *, created: bool) -> tuple[str, str, str, dict[str, Any]]:
    topic = "/images/create" if created else "/images/update"
    return image.namespace, topic, image.name, {"name": image.name, "labels": dict(image.labels)}


def _event_in(verb: str, found: Namespace) -> tuple[str, str, str, dict[str, Any]]:
    event = {"name": found.name, "labels": dict(found.labels)}
    return found.name, f"/namespaces/{verb}", found.name, event


def _announcement(namespace: str, told: m.NewEvent) -> Announcement:
    return Announcement(told.key, namespace, told.topic, told.body, told.at)


def _options(before: Container, body: m.ContainersUpdate) -> dict[str, Any] | None:
    """What takes the place of a container's options; None leaves them.

    What its client has described changes by a client's word alone, and part by part: whoever writes anything
    else has read it before, and it may have changed since. Raises InvalidArgumentError.
    """
    foreign, described = before.options.get("foreign"), dict(body.described or {})
    if not foreign:
        if described or body.extensions:
            raise InvalidArgumentError(
                f"container {before.name} was not described by a client of containerd's API"
            )
        return body.options
    if body.extensions:
        described["extensions"] = {**{**foreign, **described}.get("extensions", {}), **body.extensions}
    if body.options is None and not described:
        return None
    others = before.options if body.options is None else body.options
    return {**others, "foreign": {**foreign, **described}}


def _checked(options: dict[str, Any]) -> Wishes:
    """What can be seen to make no sense is refused before it is recorded."""
    try:
        wish = wishes(options)
        mount_plan.check_mounts(wish.mounts)
        namespaces.refuse_sharing(wish)
    except InvalidSpecError as error:
        raise InvalidArgumentError(str(error)) from error
    return wish


def _told(container: Container) -> dict[str, Any]:
    """What the actor of a new container would ask for; not if it is large, or others may be changing it."""
    record = lookups.joined(container, None)
    small = len(msgspec.json.encode(record)) <= MOST_TOLD
    return record if small and not container.options.get("foreign") else {}


def _actor_of(container: Container) -> str:
    return f"container/{container.namespace}/{container.id}"
