"""What belongs to a container, and goes with it: its snapshot, its own volumes, its record.

The record goes last: as long as it is there, a container's actor comes back and does what is left to do.
Of a container that removes itself, the exit that is on record says so, and the rest need not wait for its
turn: each step is a wait for another actor and for the disk. Nor does anybody have to wait for the rest,
where all of it bears the container's id alone: then the exit is recorded as final, and the container retires.
"""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from actors import failpoints
from actors import lifecycle as life
from actors import messages as m
from transport.errors import RemoteError

if TYPE_CHECKING:
    from actors.container import ContainerActor

AGAIN = 1.0  # seconds until a removal that failed is tried again
DETACH_LIMIT = 90.0  # seconds: plugins of networks are asked several times


class Removal:
    """One for each container's actor; what it says is safe from the actor's thread and from a worker's.

    Attributes:
        volumes: whether the run has any; so it is taken to have while nobody has said.
        retired: the end is on record as final, by this incarnation.
        announced: that it goes has been told, with its exit.
        left: what plugins of networks have not taken back; None while nobody has asked.
    """

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self.volumes = True
        self.retired = self.announced = False
        self.left: list[str] | None = None
        self._under_way: dict[type, Callable[[], Any]] = {}

    def release(self) -> None:
        """Begin with what nobody wants any more: the run of one that removes itself has been cleaned up."""
        if self._removes_itself():
            self._begin_with_the_rest()

    def told_with_exit(self) -> list[m.NewEvent]:
        """What is told in one with the exit of one that removes itself: that it goes."""
        return [self._deletion()] if self._removes_itself() else []

    def _removes_itself(self) -> bool:
        state = self._actor.state
        return state.phase == "exited" and state.auto_remove

    def is_quiet(self) -> bool:
        """Whether its record is all that others know of it, but for what is named after its id.

        Not so with volumes, ports or addresses, which whoever waits for the end may want to use again; with
        a log that somebody else takes down; with hooks of a bundle; or with what a client of containerd's API
        has made.
        """
        options = self._actor.record["options"]
        plain = not any(options.get(name) for name in ("foreign", "bundle", "cgroup_parent"))
        network, log = options.get("network") or {}, options.get("log") or {}
        alone = not network.get("networks") and log.get("driver", "file") in ("file", "none")
        return self._actor.state.auto_remove and plain and alone and not self.volumes

    def begin(self) -> None:
        """Remove everything -> Removed. A copy that has the root mounted comes to its end first.

        What has never run, the runtime is asked to clear away: nobody else may reap that call.
        """
        actor = self._actor
        actor.copying.when_unmounted(lambda: actor.processes.run_runtime(self._remove, self._removed))

    def _remove(self) -> None:
        """In a worker thread. First the wish is durable, last the record goes: a crash between repeats it.

        Of what its client made step by step, nothing but the record outlives a reboot, and that client has
        yet to be answered: there the wish is in our journal alone.
        """
        actor = self._actor
        actor.delivery.finish()
        if not (self._is_wished() or actor.record["options"].get("foreign")):
            actor.call(m.ContainersWant(actor.namespace, actor.id, "removed"))
        failpoints.hit("container", "remove", "wanted")
        if not (actor.state.settled or actor.stepwise.has_forgotten()):
            actor.clean_up_run()
        elif self.left is None and (actor.record["options"].get("network") or {}).get("networks"):
            found = actor.call(m.NetworkDetach(actor.namespace, actor.id), limit=DETACH_LIMIT)
            self.left = found.get("left", [])
        failpoints.hit("container", "remove", "cleaned")
        self._begin_with_the_rest()
        failpoints.hit("container", "remove", "snapshot")
        while self._under_way:
            _, wait = self._under_way.popitem()
            wait()
        failpoints.hit("container", "remove", "rest")
        told = None if self.announced else self._deletion()
        actor.call(m.ContainersForget(actor.namespace, actor.id, actor.record["created_at"], told))
        failpoints.hit("container", "remove", "forgotten")

    def _is_wished(self) -> bool:
        """Whether it is on record already that it goes: the exit of one that removes itself says so."""
        state = self._actor.state
        return state.auto_remove and state.settled and not state.error

    def _begin_with_the_rest(self) -> None:
        actor = self._actor
        if actor.record["options"].get("foreign"):  # whoever made the snapshot removes it; it has no volumes
            return
        if self.volumes:
            self._begin(m.VolumesForget(actor.namespace, actor.id))
        self._begin(m.SnapshotsRemove(actor.namespace, actor.id, actor.record["snapshotter"]))

    def _begin(self, body: Any) -> None:
        """Unless it is under way."""
        if type(body) not in self._under_way:
            self._under_way[type(body)] = self._actor.begin(body)

    def _deletion(self) -> m.NewEvent:
        actor, topic = self._actor, "/containers/delete"
        event: dict[str, Any] = {"container_id": actor.id, "id": actor.id}
        if actor.state.error:  # whoever asked for the start may come to hear of it only when all is gone
            event |= {"error": actor.state.error, "error_code": actor.state.error_code}
        key = f"{topic}:{actor.namespace}:{actor.id}:{actor.record['created_at']}"
        return m.NewEvent(topic, key, event, time.time_ns())

    def _removed(self, result: Any) -> None:
        if isinstance(result, RemoteError) and result.code == "not_found":
            result = None  # the record went in an earlier attempt
        if isinstance(result, Exception):
            self._actor.log.warning("removal: %s; tried again", result)
            self._under_way.clear()
            self._actor.later(AGAIN, self.begin)
            return
        self._actor.happened(life.Removed())
