"""What was said last of each node: so that a crash neither says it again nor hides a change.

In the state directory.

A node that was up when its watcher died is taken to be up, and found out about; a change that comes meanwhile
is told as late as it is seen, and not never. Lost with the state directory, at a reboot: then all is new.
"""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors.nodes.vitals import State

log = logging.getLogger("nodes")
Known = tuple[str, str, State]  # key, empty for one that is joined; name; state
_STATES: Mapping[str, State] = {"up": "up", "suspect": "suspect", "down": "down"}


class Memory:
    """One file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._said: dict[tuple[str, str], str] = {(key, name): state for key, name, state in self.known()}

    def known(self) -> list[Known]:
        """What was said; nothing, where that cannot be read: it would be said again."""
        try:
            found = json.loads(self._path.read_bytes())
            return [(str(key), str(name), _STATES[state]) for key, name, state in found]
        except (OSError, ValueError, TypeError, KeyError):
            return []

    def said(self, key: str, name: str, state: str) -> None:
        """It has been published. A stranger that is down is nobody."""
        self._said[key, name] = state
        if key and state == "down":
            del self._said[key, name]
        self._write()

    def forget(self, name: str) -> None:
        """A node that is joined no more."""
        if self._said.pop(("", name), None):
            self._write()

    def _write(self) -> None:
        """Without room the next incarnation says something again; that is no reason to end the links."""
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_text(json.dumps([[*who, state] for who, state in self._said.items()]))
            os.replace(fresh, self._path)  # noqa: PTH105  # whole or not at all
        except OSError as error:
            log.warning("what was said of other nodes is not kept: %s", error)


def entry(node: Mapping[str, Any]) -> tuple[str, str, str]:
    """Of what is announced of a node."""
    return str(node.get("key", "")), str(node["name"]), str(node["state"])
