"""Who runs in a container: the image's or caller's `user` looked up in the container's own files.

The files come from an image, so they are opened without following links out of the root, must be regular,
and are read up to a bound. A number too large for the kernel's signed 32 bits is refused, because runtimes
have wrapped it into root (CVE-2024-40635).
"""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from actors.runtime.errors import InvalidSpecError

OpenInRoot = Callable[[str], int]
"""Opens an absolute path of the container without leaving its root; gives a descriptor, O_PATH will do."""

_MOST_BYTES = 10 << 20
_LARGEST_ID = (1 << 31) - 1
_NUMBER = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)
_UNSIGNED = re.compile(r"[0-9]{1,20}\Z", re.ASCII)
_SHOWN = 64


@dataclass(frozen=True, slots=True)
class Identity:
    """A resolved user. `additional_gids` holds the primary group too: setgid must not lose it."""

    uid: int = 0
    gid: int = 0
    additional_gids: tuple[int, ...] = (0,)
    home: str = "/"


@dataclass(frozen=True, slots=True)
class _Account:
    name: str
    uid: int
    gid: int
    home: str


def opener(root: Path) -> OpenInRoot:
    """Opens below `root` and follows no link at all, in no component.

    Raises (when called):
        OSError: FileNotFoundError, or ELOOP and NotADirectoryError for a link on the way.
    """

    def open_in_root(path: str) -> int:
        current = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        parts = [part for part in path.split("/") if part]
        for place, part in enumerate(parts):
            final = place == len(parts) - 1
            flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if final else os.O_DIRECTORY)
            try:
                following = os.open(part, flags, dir_fd=current)
            finally:
                os.close(current)
            current = following
        return current

    return open_in_root


def resolve(user: str, open_in_root: OpenInRoot) -> Identity:
    """The identity of `user`, `uid`, `user:group`, `uid:gid`, `uid:group`, `user:gid` (image-spec config.md).

    Empty means root. A number needs no entry in the files, a name does. The supplementary groups of
    /etc/group apply only when no group is given.

    Raises:
        InvalidSpecError: an unknown name, a number out of range, or a file that is too large or not regular.
    """
    user_word, colon, group_word = user.partition(":")
    if (colon and not (user_word and group_word)) or ":" in group_word:
        raise InvalidSpecError(f"user {_shown(user)} is not of the form user[:group]")
    account = _account(user_word or "0", open_in_root)
    if colon:
        gid = _group_id(group_word, open_in_root)
        return Identity(account.uid, gid, (gid,), account.home)
    extra = [gid for gid in _supplementary(account, open_in_root) if gid != account.gid]
    return Identity(account.uid, account.gid, (account.gid, *dict.fromkeys(extra)), account.home)


def group_ids(words: Iterable[str], open_in_root: OpenInRoot) -> tuple[int, ...]:
    """The ids of further groups, by name or number. Raises InvalidSpecError."""
    return tuple(_group_id(word, open_in_root) for word in words)


def _shown(word: str) -> str:
    return repr(word if len(word) <= _SHOWN else word[:_SHOWN] + "...")


def _checked_id(word: str, what: str) -> int:
    if not _UNSIGNED.match(word) or int(word) > _LARGEST_ID:
        raise InvalidSpecError(f"{what} {_shown(word)} is not between 0 and {_LARGEST_ID}")
    return int(word)


def _account(word: str, open_in_root: OpenInRoot) -> _Account:
    number = _checked_id(word, "uid") if _NUMBER.match(word) else None
    for fields in _lines("/etc/passwd", 4, open_in_root):
        name, _, uid, gid = fields[:4]
        if (name == word) if number is None else (uid != "" and uid.lstrip("0") == word.lstrip("0")):
            home = fields[5] if len(fields) > 5 and fields[5].startswith("/") else "/"
            return _Account(name, _checked_id(uid, "uid"), _checked_id(gid, "gid"), home)
    if number is None:
        raise InvalidSpecError(f"user {_shown(word)} is not in the container's /etc/passwd")
    return _Account("", number, 0, "/")


def _group_id(word: str, open_in_root: OpenInRoot) -> int:
    if _NUMBER.match(word):
        return _checked_id(word, "gid")
    for fields in _lines("/etc/group", 3, open_in_root):
        if fields[0] == word:
            return _checked_id(fields[2], "gid")
    raise InvalidSpecError(f"group {_shown(word)} is not in the container's /etc/group")


def _supplementary(account: _Account, open_in_root: OpenInRoot) -> Iterator[int]:
    if not account.name:
        return
    for fields in _lines("/etc/group", 4, open_in_root):
        if account.name in fields[3].split(","):
            yield _checked_id(fields[2], "gid")


def _lines(path: str, least_fields: int, open_in_root: OpenInRoot) -> Iterator[list[str]]:
    """The well-formed lines of a colon-separated file; a missing file has none."""
    for line in _text(path, open_in_root).split("\n"):
        fields = line.strip().split(":")
        if len(fields) >= least_fields and fields[0] and not fields[0].startswith(("#", "+", "-")):
            yield fields


def _text(path: str, open_in_root: OpenInRoot) -> str:
    try:
        found = open_in_root(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        reason = "a link leads there" if error.errno in {errno.ELOOP, errno.ENOTDIR} else error.strerror
        raise InvalidSpecError(f"the container's {path} cannot be opened: {reason}") from error
    try:
        return _read_regular(path, found)
    finally:
        os.close(found)


def _read_regular(path: str, found: int) -> str:
    # Looked at before it is opened for reading: opening a FIFO blocks, and opening a device acts.
    if not stat.S_ISREG(os.fstat(found).st_mode):
        raise InvalidSpecError(f"the container's {path} is not a regular file")
    with Path(f"/proc/self/fd/{found}").open("rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise InvalidSpecError(f"the container's {path} exceeds {_MOST_BYTES} bytes")
    return content.decode(errors="surrogateescape")
