"""Bundles: makes what an OCI runtime is given, from a container's record and its image.

States: none. Reading an image's configuration, looking users up and writing a specification take memory
that a container's own process, of which there may be a thousand, would then keep; here it is used again.
Restarted by the supervisor, always; making a bundle twice does no harm, so callers ask again. What a dry
run has left mounted when this actor died is removed by the next start.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from actors import failpoints
from actors import messages as m
from actors.actor import ASK_LIMIT, Actor
from actors.call import LATER, Call, Later
from actors.linux import migration, netns
from actors.linux.openat2 import open_in_root
from actors.linux.syncfs import sync_filesystem
from actors.making import Making
from actors.networking import names
from actors.networking import wishes as connecting
from actors.runtime import bundle as files
from actors.runtime import composing, filters, id_ranges, raw_bundle, rootfs_check, shifted, users
from actors.runtime.default_spec import mount_destinations
from actors.runtime.errors import ContainerError, InvalidSpecError
from actors.runtime.oci_runtime import is_crun
from actors.runtime.wishes import MountWish, Wishes, wishes
from actors.tracing import TRACE, current
from storage.names import check_identifier
from storage.snapshotters.ids import Shift
from storage.snapshotters.trees import copy_tree
from transport.errors import RemoteError

Record = m.BundlesMake | m.BundlesSpec
EXPECTED_LIMIT = 30.0  # seconds
SPARE_PAUSE = 0.1  # seconds after a network namespace was made until there is one in advance
MOST_EXPECTED = 256  # bundles made in advance that nobody has asked for; the oldest is forgotten
OWN_LENGTH = 32  # characters of a container's id in the name of a volume of its own
GENERATED = re.compile("[0-9a-f]{64}")
MOST_IMAGES, MOST_REMEMBERED = 32, 1 << 16  # images, and about so many bytes of each


@dataclass(slots=True)
class _Expected:
    """A bundle that is made in advance: what came of it, or who waits for that."""

    body: m.BundlesMake
    result: Any = None
    call: Call | None = None

    def settle(self, result: Any) -> None:
        """It is made, or could not be."""
        self.result = result
        if self.call is not None:
            self.call.settle(result)

    def claim(self, call: Call) -> None:
        """Its container has come to ask for it."""
        if self.result is None:
            self.call = call
        else:
            call.settle(self.result)


class BundlesActor(Actor):
    """Each operation is worked on in a thread of its own."""

    kind = "bundles"

    def started(self) -> None:
        """Remove what dry runs have left."""
        self._makings: dict[str, Making] = {}
        self._expected: dict[str, _Expected] = {}
        self._images: dict[tuple[str, str], files.Image] = {}
        self._identities: dict[tuple[Any, ...], users.Identity] = {}
        self._own = threading.local()  # to each worker thread: its making
        self._spare = netns.Spare()
        self._spare_due = False
        filters.clear_unfinished(self.settings.filters)
        for left in self._dry().glob("*/*"):
            self.work(partial(self._remove_dry, left.parent.name, left), self._cleared)

    def _dry(self) -> Path:
        return self.settings.state / "dry"

    def _cleared(self, result: Any) -> None:
        if isinstance(result, Exception):
            self.log.warning("clearing up after a dry run: %s", result)

    def bundles_expect(self, body: m.BundlesExpect, _: Call) -> None:
        """Begin: the fork of the container's actor takes as long as this does.

        Not where the actor of an earlier container of that id has yet to clear away: it would take this, too.
        """
        _check_names(body)
        self._expected.pop(_key(body), None)
        if self.settings.bundle(body.namespace, body.id).exists():
            return
        make = m.BundlesMake(**{one.name: getattr(body, one.name) for one in fields(body)})
        expected = _Expected(make)
        self._begin(make, EXPECTED_LIMIT, expected.settle)
        self._expected[_key(body)] = expected
        while len(self._expected) > MOST_EXPECTED:
            del self._expected[next(iter(self._expected))]

    def bundles_make(self, body: m.BundlesMake, call: Call) -> Later:
        """Make a bundle, unless that was expected; one that is made for the same container is given up."""
        expected = self._expected.pop(_key(body), None)
        if expected is not None and expected.body == body:
            expected.claim(call)
        else:
            self._begin(body, call.envelope.deadline / 1000, call.settle)
        return LATER

    def _begin(self, body: m.BundlesMake, limit: float, settle: Callable[[Any], None]) -> None:
        _check_names(body)
        migration.expect()
        key = _key(body)
        making = Making(limit, self._makings.get(key))
        self._makings[key] = making

        def make() -> dict[str, Any]:
            self._own.making = making
            return making.perform(lambda: self._make(body))

        def made(result: Any) -> None:
            if self._makings.get(key) is making:  # a later one may have come to its end before us
                del self._makings[key]
            settle(_as_answer(result))

        self.work(make, made)

    def bundles_spec(self, body: m.BundlesSpec, call: Call) -> Later:
        """Only show what would be in it."""
        _check_names(body)
        self.work(lambda: self._show(body), lambda result: call.settle(_as_answer(result)))
        return LATER

    def asking(self, body: Any, *, to: str = "", limit: float = ASK_LIMIT) -> Future[Any]:
        """What the thread of a making asks for ends with it."""
        making: Making | None = getattr(self._own, "making", None)
        if making is None:
            return super().asking(body, to=to, limit=limit)
        return making.hold(super().asking(body, to=to, limit=making.left(limit)))

    # In a worker thread

    def _make(self, body: m.BundlesMake) -> dict[str, Any]:
        """The network namespace is made while the snapshot is."""
        wish = wishes(body.options)
        directory = self.settings.bundle(body.namespace, body.id)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # expected, it comes before its actor
        if wish.bundle:
            return self._make_raw(body, wish, directory)
        if wish.foreign:
            return self._make_foreign(body, wish, directory)
        image = self._image(body, wish)
        snapshot = self._snapshot(body, body.id, image)
        network = self._network(body, wish)
        place = snapshot()
        self._mount_root(body, place, directory, brief=body.brief)
        sources = self._volumes(body, composing.all_mounts(wish, image.config), directory)
        sources = self._shifted(wish, sources, directory)
        whose = self._identity(directory, wish, image, place)
        spec = composing.compose(directory, body, wish, image, network(), sources, whose)
        files.write_health(directory, composing.health_of(wish, image.config))
        self._write_spec(body, directory, spec)
        failpoints.hit("bundles", "spec", "after")
        return {"stop_signal": wish.stop_signal or image.stop_signal, "volumes": bool(sources)}

    def _image(self, body: Record, wish: Wishes) -> files.Image:
        """What a digest names does not change: of small images, the last few are remembered."""
        key = (body.image_digest, wish.platform)
        known = self._images.get(key)
        if known is None:
            known = files.find_image(self.settings.content, *key)
            if known.size <= MOST_REMEMBERED:
                _remember(self._images, key, known)
        return known

    def _identity(
        self, directory: Path, wish: Wishes, image: files.Image, place: dict[str, Any]
    ) -> users.Identity:
        """As the files of the root say: of layers, which never change, they are read once."""
        if not place.get("stacked") or os.path.lexists(f"{place['upper']}/etc"):
            return composing.identity(directory / files.ROOTFS, wish, image.config)
        user = wish.user or str(image.config.get("User") or "")
        key = (user, tuple(wish.groups), tuple(place["lowers"]))
        found = self._identities.get(key)
        if found is None:
            found = composing.identity(directory / files.ROOTFS, wish, image.config)
            if len(found.home) + len(found.additional_gids) <= MOST_REMEMBERED:
                _remember(self._identities, key, found)
        return found

    def _network(self, body: m.BundlesMake, wish: Wishes) -> Callable[[], Any]:
        """Where there is nothing but loopback, there is nothing to be recorded: that is made here."""
        wanted = connecting.parse(wish.network)
        if wanted.mode or wanted.networks or wish.userns:
            attach = m.NetworkAttach(body.namespace, body.id, body.name, wish.network, wish.userns)
            return self.begin(attach)
        path = self._netns(body)
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)
            netns.create(path, self._spare)
        except OSError as error:
            text = f"network: {error.strerror or error}"
            raise RemoteError("failed_precondition", text, outcome="unknown") from error
        failpoints.hit("bundles", "netns", "after")
        self.soon(self._want_spare)
        return lambda: names.own_answer(path, body.name or body.id[:12], wanted, (), ())

    def _want_spare(self) -> None:
        """In the actor's thread, as what follows: have one made for the next, once this one has started."""
        if not self._spare_due:
            self._spare_due = True
            self.later(SPARE_PAUSE, self._renew_spare)

    def _renew_spare(self) -> None:
        self._spare_due = False
        self.work(self._spare.prepare, self._renewed)

    def _renewed(self, result: Any) -> None:
        if isinstance(result, Exception):  # it is made when it is wanted, and told then
            self.log.warning("no network namespace could be made in advance: %s", result)

    def _netns(self, body: Record) -> Path:
        return self.settings.state / "netns" / f"{body.namespace}+{body.id}"

    @staticmethod
    def _mount_root(body: Record, snapshot: dict[str, Any], directory: Path, *, brief: bool) -> None:
        ids = id_ranges.parse(body.options.get("userns", ""))
        failpoints.hit("bundles", "mount", "before")
        try:
            files.mount_rootfs(directory, snapshot["mounts"], brief=brief)
        except OSError as error:
            if ids is None or error.errno != errno.EINVAL:
                raise
            text = "userns: this snapshotter's file system has no idmapped mounts; use --snapshotter native"
            raise InvalidSpecError(text) from error
        failpoints.hit("bundles", "mount", "after")

    def _snapshot(self, body: Record, key: str, image: files.Image) -> Callable[[], dict[str, Any]]:
        ids = id_ranges.parse(body.options.get("userns", ""))
        labels = ids.shift.labels if ids else {}
        prepare = m.SnapshotsPrepare(
            body.namespace, key, image.chain_id, labels, snapshotter=body.snapshotter
        )
        wait = self.begin(prepare)

        def prepared() -> dict[str, Any]:
            try:
                answer: dict[str, Any] = wait()
            except RemoteError as error:
                if error.code != "not_found":
                    raise
                where = body.snapshotter or self.settings.snapshots_default
                text = f"image {body.image} is not unpacked in snapshotter {where}: pull it there"
                raise RemoteError("failed_precondition", text, outcome="done") from error
            return answer

        return prepared

    @staticmethod
    def _shifted(wish: Wishes, volumes: dict[str, str], directory: Path) -> dict[str, str]:
        """For a container with ids of its own: volumes, and what the caller says, with shifted owners."""
        ids = id_ranges.parse(wish.userns)
        if ids is None:
            return volumes
        shifted.open_way(directory, ids)
        return shifted.show(directory, volumes | composing.idmapped(wish), ids)

    def _make_raw(self, body: m.BundlesMake, wish: Wishes, directory: Path) -> dict[str, Any]:
        spec, root = raw_bundle.load(wish.bundle, files.cgroups_path(body.namespace, body.id))
        files.mount_rootfs(directory, [{"type": "bind", "source": str(root), "options": ["rbind"]}])
        rootfs_check.check(directory / files.ROOTFS, mount_destinations(spec))
        files.write_health(directory, composing.health_of(wish, {}))
        self._write_spec(body, directory, spec)
        return {"stop_signal": wish.stop_signal, "volumes": True}

    def _make_foreign(self, body: m.BundlesMake, wish: Wishes, directory: Path) -> dict[str, Any]:
        rootfs = files.read_task(directory)["rootfs"]
        path = files.cgroups_path(body.namespace, body.id)
        spec = raw_bundle.foreign(wish.foreign, path, mounted=bool(rootfs))
        if rootfs:
            files.mount_rootfs(directory, rootfs, shorten=True)
        files.write_health(directory, None)
        self._write_spec(body, directory, spec)
        return {"stop_signal": "", "volumes": False}

    def _write_spec(self, body: m.BundlesMake, directory: Path, spec: Mapping[str, Any]) -> None:
        runtime = self.settings.runtime_binary or body.runtime
        if is_crun(runtime):
            spec = filters.with_known(spec, self.settings.filters, runtime)
        trace = current.get().trace
        if trace:  # so that the runtime, its state and its hooks know it too
            spec = {**spec, "annotations": {**(spec.get("annotations") or {}), TRACE: trace}}
        files.write_spec(directory, spec)
        if self.settings.runtime_keep_specs:
            name = f"{directory.parent.name}+{directory.name}+{time.time_ns()}.json"
            kept = Path(self.settings.runtime_keep_specs) / name
            shutil.copyfile(directory / files.CONFIG, kept.with_suffix(".new"))
            kept.with_suffix(".new").rename(kept)  # whole, or not there

    def _volumes(self, body: m.BundlesMake, mounts: list[MountWish], directory: Path) -> dict[str, str]:
        """The host's paths of the volumes, by target; those that are new are filled from the image."""
        return {one.target: self._volume(body, one, directory) for one in mounts if one.type == "volume"}

    def _volume(self, body: m.BundlesMake, wish: MountWish, directory: Path) -> str:
        owner = "" if wish.source else body.id
        name = wish.source or own_volume(body.id, wish.target)
        found = self.call(m.VolumesCreate(body.namespace, name, owner=owner, container=body.id))
        if not found["settled"]:
            if not wish.nocopy:
                ids = id_ranges.parse(body.options.get("userns", ""))
                back = ids.shift.back() if ids else Shift()
                _fill(directory / files.ROOTFS, wish.target, Path(found["seed"]), back)
            self.call(m.VolumesSettle(body.namespace, name, body.id))
        return str(found["path"])

    def _show(self, body: m.BundlesSpec) -> dict[str, Any]:
        if body.options.get("userns") == id_ranges.AUTO:  # it is chosen when a container is recorded
            example = {**body.options, "userns": str(id_ranges.chosen(()))}
            body = replace(body, options=example)
        wish = wishes(body.options)
        # Of its own: the same may be asked for at the same time, be it again since a router has died.
        directory = self._dry() / body.namespace / f"{secrets.token_hex(4)}-{body.id}"
        if wish.bundle:
            return {"spec": raw_bundle.load(wish.bundle, files.cgroups_path(body.namespace, body.id))[0]}
        own = str(self._netns(body))
        path = "" if wish.network.get("mode") == "host" else own
        owner = str(self.settings.state / "userns" / f"{body.namespace}+{body.id}") if wish.userns else ""
        network: dict[str, Any] = {"path": path, "hosts": [], "nameservers": [], "userns": owner}
        image = self._image(body, wish)
        try:
            self._mount_root(body, self._snapshot(body, _dry_key(directory), image)(), directory, brief=True)
            sources = {
                one.target: str(self._place_of(body, one))
                for one in composing.all_mounts(wish, image.config)
                if one.type == "volume"
            }
            return {"spec": composing.compose(directory, body, wish, image, network, sources)}
        finally:
            self._remove_dry(body.namespace, directory)

    def _place_of(self, body: Record, wish: MountWish) -> Path:
        name = wish.source or own_volume(body.id, wish.target)
        check_identifier("volume name", name)
        return self.settings.root / "volumes" / body.namespace / name / "data"

    def _remove_dry(self, namespace: str, directory: Path) -> None:
        files.unmount_rootfs(directory)
        self.call(m.SnapshotsRemove(namespace, _dry_key(directory)))
        self.call(m.SnapshotsRemove(namespace, _dry_key(directory), "native"))
        shutil.rmtree(directory, ignore_errors=True)


def _remember(known: dict[Any, Any], key: Any, value: Any) -> None:
    known[key] = value
    for oldest in list(known)[:-MOST_IMAGES]:  # other threads do the same
        known.pop(oldest, None)


def _dry_key(directory: Path) -> str:
    return f"dry-{directory.name}"[:76]


def own_volume(container: str, target: str) -> str:
    """The name of the volume that a container has for itself at `target`: the same at each start.

    Ids that we have made differ in what is taken of them; of those that somebody chose, two may begin alike.
    """
    own = container
    if len(container) > OWN_LENGTH:
        own = container if GENERATED.fullmatch(container) else hashlib.sha256(container.encode()).hexdigest()
    return f"{own[:OWN_LENGTH]}-{hashlib.sha256(os.path.normpath(target).encode()).hexdigest()[:16]}"


def _fill(rootfs: Path, target: str, seed: Path, shift: Shift) -> None:
    """Copy what the image has at `target`, if that is a directory, without being led out of the root.

    It is on the disk afterwards: the record that the volume has it is, and nobody copies it once more.

    `shift` leads from the owners seen in the root to those that containers know.
    """
    if seed.is_dir():
        shutil.rmtree(seed)  # of an attempt that was cut off
    root = os.open(rootfs, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        source = open_in_root(root, target, os.O_RDONLY | os.O_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    finally:
        os.close(root)
    try:
        seed.mkdir(mode=0o755)
        # By its real path, which nobody changes: nothing runs in this root yet.
        copy_tree(Path(os.readlink(f"/proc/self/fd/{source}")), seed, shift)  # noqa: PTH115
    finally:
        os.close(source)
    if any(seed.iterdir()):  # most images have an empty directory there
        sync_filesystem(seed)


def _key(body: Record) -> str:
    return f"{body.namespace}/{body.id}"


def _check_names(body: Record | m.BundlesExpect) -> None:
    check_identifier("namespace", body.namespace)
    check_identifier("container id", body.id)


def _as_answer(result: Any) -> Any:
    if isinstance(result, ContainerError):
        return RemoteError(result.code, str(result), outcome="done")
    return result
