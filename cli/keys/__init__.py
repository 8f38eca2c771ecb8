"""actr keys: who on other hosts may work with this daemon."""

from __future__ import annotations

from cli.options import Group

GROUP = Group(
    "keys",
    "Say who on other hosts may work with the daemon",
    {
        "new": "make a key, let its holder in, and write a connection file",
        "allow": "let the holder of a key in",
        "revoke": "let the holder of a key in no more",
        "ls": "list the keys that are let in",
    },
)
