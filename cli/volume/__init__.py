"""actr volume: directories that outlive containers."""

from __future__ import annotations

from cli.options import Group

GROUP = Group(
    "volume",
    "Make, list and remove named volumes",
    {
        "create": "make a volume",
        "ls": "list volumes",
        "inspect": "show everything about volumes, as JSON",
        "rm": "remove volumes",
        "prune": "remove every volume that no container mounts",
    },
)
