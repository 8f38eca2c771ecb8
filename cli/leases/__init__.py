"""actr leases: what keeps things from being collected."""

from cli.options import Group

GROUP = Group(
    "leases",
    "Look after leases",
    {
        "ls": "list leases",
        "create": "make one; print its id",
        "rm": "delete leases",
        "add": "have a lease hold something",
        "resources": "list what a lease holds",
    },
    default="ls",
)
