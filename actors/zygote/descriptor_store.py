"""The descriptor store: what actors have the zygote keep, so that what is in a FIFO outlives who reads it.

Each actor has shelves, by key. While it sleeps they are in the keeper's hands, too (keeper.py).
"""

from collections.abc import Iterable

from actors.linux import descriptors
from actors.zygote.control import Control, Message
from actors.zygote.keeper import Keeper, Shelves


class DescriptorStore:
    """Of all actors."""

    def __init__(self, kept: Shelves, keeper: Keeper) -> None:
        """`kept` is where the keeper puts what it has of an earlier zygote."""
        self._kept = kept
        self._keeper = keeper

    def heed(self, name: str, control: Control | None, message: Message, received: list[int]) -> None:
        """Do what the actor of this name says with `keep`, `drop` or `fetch`; all else gives nothing away.

        Raises KeyError, ValueError, TypeError.
        """
        shelves, key = self._kept.get(name, {}), str(message.get("key", ""))
        if message["op"] in ("keep", "drop"):
            descriptors.close_all(shelves.pop(key, ()))
        if message["op"] == "fetch" and control is not None:
            control.send_with(shelves.get(key, ()), op="kept", key=key)
        if message["op"] == "keep":
            self._kept.setdefault(name, {})[key] = received
        else:
            descriptors.close_all(received)
        if message["op"] in ("keep", "drop"):  # who says so has it itself, but for what is said to be `alone`
            self._keeper.drop(name, key)
        if message.get("alone"):
            self._keeper.hold(name, [key])

    def lend(self, name: str) -> bool:
        """It is about to sleep: have the keeper hold all of it, too. Whether it does."""
        return self._keeper.hold(name, self._kept.get(name, ()))

    def take_back(self, name: str) -> None:
        """It stays awake."""
        self._keeper.forget(name)

    def keys(self, name: str) -> list[str]:
        """Of what it has had kept."""
        return list(self._kept.get(name, ()))

    def wakers(self, name: str, keys: Iterable[str]) -> list[int]:
        """What is to wake it; -1, which nobody can watch, for a key that has nothing."""
        kept = self._kept.get(name, {})
        return [descriptor for key in keys for descriptor in kept.get(key) or [-1]]

    def clear(self, name: str) -> list[str]:
        """Close all that it had kept: it will not be back for it. Gives the keys."""
        shelves = self._kept.pop(name, {})
        for shelf in shelves.values():
            descriptors.close_all(shelf)
        self._keeper.forget(name)
        return list(shelves)
