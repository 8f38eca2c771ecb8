"""actr network: networks, and who is on them."""

from cli.options import Group

GROUP = Group(
    "network",
    "Networks, and who is on them",
    {
        "create": "make a network",
        "ls": "list networks",
        "inspect": "show everything about networks",
        "rm": "remove networks that nobody is on",
        "prune": "remove all networks that nobody is on",
        "connect": "put a running container on a network",
        "disconnect": "take a running container off a network",
        "check": "compare what is wanted with what the kernel has, and mend it",
    },
)
