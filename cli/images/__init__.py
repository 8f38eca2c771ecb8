"""actr images: the images, and what can be done with one of them."""

from cli.options import Group

GROUP = Group(
    "images",
    "List images, or look after one",
    {
        "ls": "list images",
        "inspect": "show the manifest and config of an image, as JSON",
        "check": "see whether images are whole",
        "usage": "see what the blobs of images take",
        "convert": "make an image compressed in another way, or of some platforms",
        "mount": "mount the files of an image at a directory, read-only",
        "umount": "unmount what images mount did",
    },
    default="ls",
)
