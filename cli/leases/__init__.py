"""actr leases: what keeps things from being collected."""

from cli.options import Group

GROUP = Group(
    "leases",
    "Keep things from being collected",
    {
        "ls": "list leases",
        "create": "make a lease, and print its id",
        "rm": "remove leases",
        "add": "have a lease hold something",
        "resources": "list what a lease holds",
    },
    default="ls",
)
