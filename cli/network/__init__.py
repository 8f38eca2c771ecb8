"""actr network: networks, and who is on them."""

from cli.options import Group

GROUP = Group(
    "network",
    "Make networks, and put containers on them",
    {
        "create": "make a network",
        "ls": "list networks",
        "inspect": "show everything about networks, as JSON",
        "rm": "remove networks that nobody is on",
        "prune": "remove all networks that nobody is on, but the default one",
        "connect": "put a running container on a network",
        "disconnect": "take a running container off a network",
        "check": "compare what is wanted with what the kernel has",
    },
)
