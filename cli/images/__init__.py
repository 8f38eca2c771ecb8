"""actr images: the images, and what can be done with one of them."""

from cli.options import Group

GROUP = Group(
    "images",
    "List images, or look after one",
    {
        "ls": "list images",
        "inspect": "show manifest and config",
        "check": "see whether images are whole",
        "usage": "see what images take",
        "convert": "compress layers in another way, or take some platforms",
        "mount": "mount an image's files at a directory",
        "umount": "unmount them",
    },
    default="ls",
)
