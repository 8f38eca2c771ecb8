"""actr images: the images, and what can be done with one of them."""

from cli.options import Group

GROUP = Group(
    "images",
    "List images, or look after one",
    {
        "ls": "list images",
    },
    default="ls",
)
