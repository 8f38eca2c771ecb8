"""Owners of a snapshot shown shifted, for containers in a user namespace.

Asked for by two labels of containerd's, whose values are `CONTAINER:HOST:COUNT`, several separated by commas.
overlayfs passes them on as mount options; the native snapshotter shifts what it copies.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from storage.errors import InvalidArgumentError

UIDS = "containerd.io/snapshot/uidmapping"
GIDS = "containerd.io/snapshot/gidmapping"
_MAP = re.compile(r"\d{1,10}:\d{1,10}:[1-9]\d{0,9}(,\d{1,10}:\d{1,10}:[1-9]\d{0,9})*")
_IDS = 2**32 - 1
_OVERFLOW = 65534  # what the kernel shows for an owner that has no place in the map


@dataclass(frozen=True, slots=True)
class Shift:
    """Both maps; without any, nothing is shifted."""

    uids: str = ""
    gids: str = ""

    def __bool__(self) -> bool:
        return bool(self.uids)

    @property
    def options(self) -> tuple[str, ...]:
        """The words that ask a mounter for it."""
        return (f"uidmap={self.uids}", f"gidmap={self.gids}") if self else ()

    @property
    def labels(self) -> dict[str, str]:
        """Those that ask a snapshotter for it."""
        return {UIDS: self.uids, GIDS: self.gids} if self else {}

    def back(self) -> "Shift":
        """The shift that undoes it."""
        return Shift(_reversed(self.uids), _reversed(self.gids))

    def owner(self, uid: int, gid: int) -> tuple[int, int]:
        """The owner on the host of what belongs to uid:gid in the container."""
        return (_shifted(uid, self.uids), _shifted(gid, self.gids)) if self else (uid, gid)


def shift_of(labels: Mapping[str, str]) -> Shift:
    """What the labels of a snapshot ask for.

    Raises:
        InvalidArgumentError: a map is malformed, out of range, or there is only one of the two.
    """
    shift = Shift(labels.get(UIDS, ""), labels.get(GIDS, ""))
    if bool(shift.uids) != bool(shift.gids):
        raise InvalidArgumentError(f"snapshot labels {UIDS} and {GIDS}: give both or neither")
    for text in (shift.uids, shift.gids):
        if text and not (_MAP.fullmatch(text) and all(_in_range(line) for line in text.split(","))):
            raise InvalidArgumentError(
                f'id map "{text[:40]}": write CONTAINER:HOST:COUNT, such as 0:100000:65536'
            )
    return shift


def _reversed(text: str) -> str:
    lines = (line.split(":") for line in text.split(",") if line)
    return ",".join(f"{outside}:{inside}:{count}" for inside, outside, count in lines)


def _in_range(line: str) -> bool:
    inside, outside, count = map(int, line.split(":"))
    return max(inside, outside) + count <= _IDS


def _shifted(one: int, text: str) -> int:
    for line in text.split(","):
        inside, outside, count = map(int, line.split(":"))
        if inside <= one < inside + count:
            return outside + one - inside
    return _OVERFLOW
