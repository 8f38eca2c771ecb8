"""Ids of the host that a container in a user namespace is given. Pure.

Its root is nobody there, and two containers with ranges of their own are strangers to each other. The ranges
that are chosen lie above those of people, of /etc/subuid and of systemd's containers, and below its foreign
ones (systemd's UIDS-GIDS document calls them unused).
"""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from storage.errors import InvalidArgumentError
from storage.snapshotters.ids import Shift

AUTO: Final = "auto"
SIZE: Final = 65536  # images know users up to 65534
FIRST, END = 0x70000000, 0x7FFE0000
_LARGEST = (1 << 32) - 2
_FORM = re.compile(r"(\d{1,10}):(\d{1,10}):(\d{1,10})\Z", re.ASCII)


class IdRange(NamedTuple):
    """The first user and group on the host, and how many of each."""

    uid: int
    gid: int
    size: int

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}:{self.size}"

    @property
    def shift(self) -> Shift:
        """As the snapshotters have it."""
        return Shift(f"0:{self.uid}:{self.size}", f"0:{self.gid}:{self.size}")

    def touches(self, other: "IdRange") -> bool:
        """Whether an id is in both."""
        pairs = ((self.uid, other.uid), (self.gid, other.gid))
        return any(ours < its + other.size and its < ours + self.size for ours, its in pairs)


def parse(userns: str) -> IdRange | None:
    """A range, from `UID:GID:SIZE`; None for the host's own user namespace, which is `host` or nothing.

    Raises:
        InvalidArgumentError: it is neither; it holds the host's root, or fewer ids than images have.
    """
    if userns in ("", "host"):
        return None
    found = _FORM.match(userns)
    uid, gid, size = map(int, found.groups()) if found else (0, 0, 0)
    if not uid or not gid or size < SIZE or max(uid, gid) + size > _LARGEST:
        raise InvalidArgumentError(
            f"userns {userns[:64]!r} is not auto, host or UID:GID:SIZE: the first ids on the host (not 0) "
            f"and how many (at least {SIZE}), for example 100000:100000:65536"
        )
    return IdRange(uid, gid, size)


def chosen(taken: Iterable[str]) -> IdRange:
    """A range that none of the containers with these `userns` has any id of.

    Raises:
        InvalidArgumentError: there is none left.
    """
    others = [one for one in map(parse, taken) if one is not None]
    for first in range(FIRST, END, SIZE):
        found = IdRange(first, first, SIZE)
        if not any(found.touches(other) for other in others):
            return found
    raise InvalidArgumentError("no range of ids is free for userns auto: remove a container that has one")
