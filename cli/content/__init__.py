"""actr content: blobs and ingests."""

from cli.options import Group

GROUP = Group(
    "content",
    "Look at blobs and ingests",
    {
        "ls": "list the blobs that the namespace knows",
        "info": "show what is known of a blob, as JSON",
        "label": "set and take away labels of a blob",
        "rm": "have the namespace forget blobs",
        "ingests": "list what is on its way in",
        "abort": "drop what is on its way in",
    },
    default="ls",
)
