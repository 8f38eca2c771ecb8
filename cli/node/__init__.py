"""actr node: other nodes that are reached by name, from any command: actr --node NAME ..."""

from __future__ import annotations

from cli.options import Group

GROUP = Group(
    "node",
    "Other nodes, reached by name: actr --node NAME ...",
    {
        "join": "learn how to reach a node",
        "leave": "forget a node",
        "ls": "list the nodes, and how they are",
    },
)
