"""The journal of a container's actor: one small file with all that its next incarnation has to know.

It outlives every process of ours; a power cut ends the container too. Where there is no room for it, on the
disk or in the table of open files, nothing that follows on it is done before there is: a crash would make
none, and the output goes on being taken meanwhile. But of a container that is to be removed nothing need be
known, and that may be what makes room.
"""

import errno
import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import msgspec

from actors import failpoints
from actors.lifecycle import State
from actors.linux import plain_file
from actors.runtime import bundle as files

if TYPE_CHECKING:
    from actors.container import ContainerActor

SHORTAGES: Final = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)  # they pass
AGAIN: Final = 0.5  # seconds


class Journal:
    """Used in the actor's thread.

    Attributes:
        waits: there is no room at the moment.
    """

    def __init__(self, actor: "ContainerActor") -> None:
        self._actor = actor
        self._next: list[Callable[[], None]] = []  # what follows on it, while it waits
        self.waits = False

    def save(self, then: Callable[[], None]) -> None:
        """Write down what is known now, and go on with `then` once that is done: at once, as a rule."""
        if self.waits:
            self._next.append(then)
        elif self._written() or self._actor.state.remove:
            then()
        else:
            self._actor.log.warning("no room for the journal, which waits")
            self.waits = True
            self._next.append(then)
            self._actor.later(AGAIN, self._once_more)

    def when_saved(self, then: Callable[[], None]) -> None:
        """Go on with `then` once what was to be written is: now, as a rule."""
        if self.waits:
            self._next.append(then)
        else:
            then()

    def go_on(self) -> None:
        """Wait no longer: it is written, or need not be."""
        self.waits = False
        following, self._next = self._next, []
        for then in following:
            self.when_saved(then)

    def _written(self) -> bool:
        try:
            self._write()
        except OSError as error:
            if error.errno not in SHORTAGES:
                raise
            return False
        return True

    def _once_more(self) -> None:
        if not self.waits:
            return
        if self._written():
            self._actor.log.warning("there is room for the journal again")
            self.go_on()
        else:
            self._actor.later(AGAIN, self._once_more)

    def _write(self) -> None:
        actor = self._actor
        document = {
            "state": actor.state,
            "execs": actor.execs.to_journal(),
            "health": actor.health.to_journal(),
            "sleep": actor.sleep.to_journal(),
            "heard": actor.reports.to_journal(),
        }
        path = f"{actor.bundle}/{files.JOURNAL}"
        temporary = f"{path}.new"
        plain_file.write(temporary, msgspec.json.encode(document))
        failpoints.hit("container", "save", "written")
        os.rename(temporary, path)  # noqa: PTH104  # see plain_file

    def read(self) -> None:
        """What a later version has added to it, before a downgrade, is passed over."""
        actor = self._actor
        try:
            document = json.loads((actor.bundle / files.JOURNAL).read_bytes())
        except FileNotFoundError:
            return
        actor.state = msgspec.convert(document["state"], State)
        actor.execs.from_journal(document["execs"])
        actor.health.from_journal(document.get("health", {}))
        actor.sleep.from_journal(document.get("sleep", {}))
        actor.reports.from_journal(document.get("heard", {}))
