"""actr node: other nodes that are reached by name, from any command: actr --node NAME ..."""

from __future__ import annotations

from cli.options import Group

GROUP = Group(
    "node",
    "Reach other nodes by name",
    {
        "join": "learn how to reach a node",
        "leave": "forget nodes",
        "ls": "list the nodes, and how they are: up, suspect or down",
    },
)
