"""actr keys: who on other hosts may work with this daemon."""

from __future__ import annotations

from cli.options import Group

GROUP = Group(
    "keys",
    "Keys of clients on other hosts",
    {
        "new": "make a key, allow it, and write its connection file",
        "allow": "let the holder of a key in",
        "revoke": "let the holder of a key in no more",
        "ls": "list the keys that are let in",
    },
)
