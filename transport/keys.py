"""Who may come in over TCP: the daemon's own CURVE key pair, and the public keys of its clients.

A directory with the pair and one small file for each client; the router reads it, metadata writes it. Keys
are written as ZeroMQ writes them, in Z85 (https://rfc.zeromq.org/spec/32/).
"""

import contextlib
import errno
import json
import os
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from storage.content.disk import private_directory, reported
from storage.durable import sync_directory
from storage.errors import InvalidArgumentError, NotFoundError, StorageError
from storage.names import check_identifier

ROLES: Final = ("observer", "operator", "admin")
"""What a key may do, each what the one before may and more (actors/roles.py)."""
KEY_LENGTH: Final = 40
_SHORT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # of what passes, and says nothing about a file
SETTLED_AFTER: Final = 10**9  # nanoseconds; file systems tell times apart by a hundredth of that at worst


@dataclass(frozen=True, slots=True)
class Pair:
    """A key pair: `public` may be shown, `secret` may not."""

    public: str
    secret: str


@dataclass(frozen=True, slots=True)
class Key:
    """A client's key: its public half, in Z85, and what it may do. `created_at` in nanoseconds."""

    name: str
    public: str
    role: str
    created_at: int


def new_pair() -> Pair:
    """A fresh key pair."""
    import zmq  # noqa: PLC0415  # a library of megabytes, for few daemons and seldom

    public, secret = zmq.curve_keypair()
    while public.startswith(b"-"):  # people name it on command lines
        public, secret = zmq.curve_keypair()
    return Pair(public.decode(), secret.decode())


class KeyRing:
    """The directory. Several may read it while one writes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._clients = directory / "clients"
        self._seen = -1
        self._known: dict[str, Key] = {}

    def server(self) -> Pair:
        """The daemon's own pair, made when it is first wanted, and durable when this returns.

        Raises StorageError: it cannot be made, or read, or is damaged.
        """
        path = self._directory / "server.json"
        with reported("have keys of our own"):
            private_directory(self._directory)
            if not path.exists():  # router and metadata may both come for it: whoever is first has made it
                self._make(path)
            said = path.read_text()
        try:
            pair = Pair(**json.loads(said))
            right = len(pair.public) == len(pair.secret) == KEY_LENGTH
        except (ValueError, TypeError):
            right = False
        if not right:
            text = f"{path} is no pair of keys: restore it, or remove it and give each client the new key"
            raise StorageError(text)
        return pair

    def _make(self, path: Path) -> None:
        fresh = path.with_suffix(f".{os.getpid()}")
        write_private(fresh, asdict(new_pair()))
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(fresh)
        fresh.unlink()
        sync_directory(self._directory)

    def allow(self, key: Key) -> None:
        """Let a client in from now on; its name's earlier key no longer is.

        Raises:
            InvalidArgumentError: name, key or role is not one, or another client has this key.
            StorageError: it could not be written; then nobody is let in by it.
        """
        check_identifier("key name", key.name)
        if key.role not in ROLES:
            raise InvalidArgumentError(f"role {key.role[:40]!a} is none of {', '.join(ROLES)}")
        check_public(key.public)
        for other in self.keys().values():
            if other.public == key.public and other.name != key.name:
                raise InvalidArgumentError(f"this key is {other.name}'s already: revoke that first")
        with reported(f"enter key {key.name}"):
            private_directory(self._clients)
            write_private(self._clients / f"{key.name}.json", asdict(key))

    def revoke(self, name: str) -> None:
        """Let a client in no more, and take nothing more from one that is in.

        Raises NotFoundError, StorageError.
        """
        check_identifier("key name", name)
        with reported(f"revoke key {name}"):
            try:
                (self._clients / f"{name}.json").unlink()
            except FileNotFoundError:
                raise NotFoundError(f"no key is named {name}: see actr keys ls") from None
            sync_directory(self._clients)

    def keys(self) -> Mapping[str, Key]:
        """Every client's key, by its public half; read again when the directory has changed.

        A change within the same tick of the kernel's clock leaves the same time behind, and may take a key
        away: what has changed only just now is read again each time.

        Raises UnavailableError: without descriptors nobody can say; what was read before may be revoked.
        """
        try:
            changed = self._clients.stat().st_mtime_ns
        except FileNotFoundError:
            return {}
        if changed != self._seen:
            with reported("read who may come in"):
                found = [_read(path) for path in whole(self._clients)]
            self._known = {key.public: key for key in found if key is not None}
            self._seen = changed if time.time_ns() - changed > SETTLED_AFTER else -1
        return self._known


def check_public(public: str) -> None:
    """Refuse what is no public key. Raises InvalidArgumentError."""
    from zmq.utils import z85  # noqa: PLC0415  # as above

    try:
        right = len(public) == KEY_LENGTH and len(z85.decode(public.encode())) == 32
    except (ValueError, KeyError, struct.error):  # five characters may say more than four bytes hold
        right = False
    if not right:
        raise InvalidArgumentError("a public key has 40 characters, as actr keys new prints it")


def _read(path: Path) -> Key | None:
    """None for one that went this moment, and for one that says what no key says: it lets nobody in.

    Raises OSError: for want of something it could not even be opened.
    """
    try:
        key = Key(**json.loads(path.read_text()))
    except OSError as error:
        if error.errno in _SHORT:
            raise
        return None
    except (ValueError, TypeError):
        return None
    return key if key.role in ROLES else None


def whole(directory: Path) -> Iterator[Path]:
    """What `write_private` has written there, without what a crash left of an attempt."""
    return directory.glob("[!.]*.json")


def write_private(path: Path, fields: Mapping[str, Any]) -> None:
    """Whole or not at all, for us alone, and durable when it returns."""
    temporary = path.with_name(f".{path.name}")  # what a crash leaves, the next attempt writes over
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:  # which writes all, or fails
        file.write(json.dumps(fields))
        file.flush()
        os.fsync(descriptor)
    temporary.rename(path)
    sync_directory(path.parent)
