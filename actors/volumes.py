"""Volumes: directories that containers share and that outlive them.

States: none beside the directory. Accepts the `volumes.*` operations. Who uses a volume is asked of
metadata, whose records say what each container mounts; who has come for one while that was asked uses it
too. The files of what was removed are deleted in the background, after the answer. Restarted by the
supervisor, always; the start goes on with that.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from actors import messages as m
from actors.actor import Actor
from actors.call import LATER, Call, Later
from actors.paging import gather
from storage.errors import FailedPreconditionError, StorageError
from storage.snapshotters.trees import delete_tree
from storage.volumes import Volume, Volumes
from transport.errors import RemoteError

Uses = dict[tuple[str, str], list[str]]  # namespace and volume: the containers that mount it


class VolumesActor(Actor):
    """One method an operation; see actors/messages/ for what each means."""

    kind = "volumes"

    def started(self) -> None:
        """Open the directory, then delete in the background what is to go."""
        self._store = Volumes(self.settings.root / "volumes")
        self._deleting = self._more = False
        self._asking: list[Uses] = []  # who has come for a volume since metadata was asked, for each question
        self._delete_discarded()

    def volumes_create(self, body: m.VolumesCreate, _: Call) -> dict[str, Any]:
        """Make it, or find it made."""
        volume = self._store.create(body.namespace, body.name, body.labels, body.owner)
        seed = str(self._store.seed(volume, body.container)) if body.container else ""
        if body.container:
            for since in self._asking:
                since.setdefault((body.namespace, body.name), []).append(body.container)
        return {**self._described(volume), "seed": seed}

    def volumes_settle(self, body: m.VolumesSettle, _: Call) -> None:
        """Take over the first content."""
        self._store.settle(self._store.get(body.namespace, body.name), body.container)
        self._delete_discarded()

    def volumes_get(self, body: m.VolumesGet, call: Call) -> Later:
        """One volume and who uses it."""
        volume = self._store.get(body.namespace, body.name)
        self._with_uses(body.namespace, call, lambda uses: self._described(volume, uses))
        return LATER

    def volumes_list(self, body: m.VolumesList, call: Call) -> Later:
        """All of a namespace, or of all of them; or a page of those."""
        found: Iterable[Volume]
        if body.page:
            found, after = self._store.page(body.namespace, body.after)
            following = {"next": after}
        else:
            found, following = self._store.list(body.namespace), {}

        def answer(uses: Uses) -> dict[str, Any]:
            return {"volumes": [self._described(volume, uses) for volume in found], **following}

        self._with_uses(body.namespace, call, answer)
        return LATER

    def volumes_remove(self, body: m.VolumesRemove, call: Call) -> Later:
        """Remove one that nobody uses."""

        def remove(uses: Uses) -> None:
            users = uses.get((body.namespace, body.name))
            if users:
                text = f'volume "{body.name}" is used by container {", ".join(users[:3])}; remove that first'
                raise FailedPreconditionError(text)
            self._store.remove(body.namespace, body.name)
            self._delete_discarded()

        self._with_uses(body.namespace, call, remove)
        return LATER

    def volumes_prune(self, body: m.VolumesPrune, call: Call) -> Later:
        """Remove all that nobody uses."""

        def prune(uses: Uses) -> dict[str, Any]:
            unused = [
                volume
                for volume in self._store.list(body.namespace)
                if (volume.namespace, volume.name) not in uses and not volume.owner
            ]
            return {"removed": self._remove_all(unused)}

        self._with_uses(body.namespace, call, prune)
        return LATER

    def volumes_forget(self, body: m.VolumesForget, _: Call) -> None:
        """A container goes, and what is its own goes with it."""
        self._remove_all(one for one in self._store.list(body.namespace) if one.owner == body.owner)

    def _remove_all(self, volumes: Iterable[Volume]) -> list[str]:
        names = []
        for volume in volumes:
            self._store.remove(volume.namespace, volume.name)
            names.append(volume.name)
        self._delete_discarded()
        return names

    def _delete_discarded(self) -> None:
        """In a thread, one at a time; what is discarded meanwhile has its turn afterwards.

        What cannot be deleted, as something is mounted in it, has another turn then, or after the next start.
        """
        self._more = self._deleting
        if not self._deleting and (waiting := self._store.discarded()):
            self._deleting = True
            self.work(lambda: _delete(waiting), self._deleted)

    def _deleted(self, result: Any) -> None:
        self._deleting = False
        if isinstance(result, Exception):
            self.log.warning("files of a removed volume remain: %s; they go with the next one", result)
        if self._more:
            self._delete_discarded()

    def _described(self, volume: Volume, uses: Uses | None = None) -> dict[str, Any]:
        found = {**asdict(volume), "path": str(self._store.data(volume))}
        if uses is not None:
            found["used_by"] = uses.get((volume.namespace, volume.name), [])
        return found

    def _with_uses(self, namespace: str, call: Call, answer: Callable[[Uses], Any]) -> None:
        """Answer `call` with what `answer` makes of who uses what."""
        since: Uses = {}
        self._asking.append(since)

        def heard(result: Any) -> None:
            self._asking = [one for one in self._asking if one is not since]
            if isinstance(result, RemoteError):
                call.fail(result)
                return
            try:
                call.reply(answer({**since, **_uses(result)}))
            except StorageError as error:
                call.fail(error)

        gather(self.ask, m.ContainersList(namespace), "containers", heard)


def _delete(paths: Iterable[Path]) -> None:
    """As many as can be; raises what kept the first of the others."""
    kept: list[OSError] = []
    for path in paths:
        try:
            delete_tree(path)
        except OSError as error:
            kept.append(error)
    if kept:
        raise kept[0]


def _uses(containers: Iterable[dict[str, Any]]) -> Uses:
    found: Uses = {}
    for one in containers:
        for mount in one["options"].get("mounts") or ():
            if mount.get("type") == "volume" and mount.get("source"):
                found.setdefault((one["namespace"], mount["source"]), []).append(one["name"])
    return found
