"""actr system: the stores as a whole."""

from cli.options import Group

GROUP = Group(
    "system",
    "Look after the stores: space, garbage, checks, backups",
    {
        "df": "see what takes how much space",
        "gc": "collect what nothing refers to, now",
        "prune": "remove what is not used, and collect",
        "check": "compare records, blobs and directories",
        "repair": "check, and put right what can be",
        "backup": "copy the databases into a new directory",
    },
)
