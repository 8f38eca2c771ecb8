"""Durable desired state: each container on record has its actor, though nobody has asked for it anew.

The supervisor that has just started, or that could not start one, has the list of metadata read. Until all of
that has been seen to, a name that it does not know may be one of theirs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from actors import failpoints
from actors import messages as m
from actors.actor import Actor
from actors.paging import gather

RESTORE_AGAIN: Final = 0.2  # seconds
LIST_LIMIT: Final = 60.0  # seconds


class Restoring:
    """For the supervisor.

    Attributes:
        done: whether all on record have been started since the supervisor was.
    """

    def __init__(
        self, actor: Actor, start: Callable[[str, dict[str, Any]], None], complete: Callable[[], None]
    ) -> None:
        """`start` gets the name of each and what it is started with; `complete` is called after the last."""
        self._actor = actor
        self._start = start
        self._complete = complete
        self.done = False

    def begin(self) -> None:
        """Have the list read, then start them.

        What is left behind is looked for first: a directory made later may be that of a new container.
        """
        left, body = self._left(), m.ContainersList(retired=True, brief=True)
        gather(partial(self._actor.ask, limit=LIST_LIMIT), body, "containers", partial(self._listed, left))

    def again(self) -> None:
        """Soon, and once for all whose start has failed meanwhile; until then a name may be one of theirs."""
        if self.done:
            self.done = False
            self._actor.later(RESTORE_AGAIN, self.begin)

    def _listed(self, left: set[tuple[str, str]], result: Any) -> None:
        if isinstance(result, Exception):
            self._actor.log.error("containers cannot be restored: %s; tried again", result)
            self._actor.later(RESTORE_AGAIN, self.begin)
            return
        on_record = {(one["namespace"], one["id"]): one["created_at"] for one in result}
        for namespace, identity in sorted(on_record.keys() | left):
            failpoints.hit("supervisor", "restore", "each")
            created = on_record.get((namespace, identity), 0)
            args = {"namespace": namespace, "id": identity, "created_at": created}
            self._start(f"container/{namespace}/{identity}", args)
        self.done = True
        self._complete()

    def _left(self) -> set[tuple[str, str]]:
        """Directories whose container may be gone from the record: its actor, cut off, has to remove them."""
        found = (self._actor.settings.state / "containers").glob("*/*")
        return {(path.parent.name, path.name) for path in found}
