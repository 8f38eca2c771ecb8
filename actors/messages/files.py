"""Files of one container: its actor."""

from dataclasses import dataclass

from actors.messages.declare import Number, operation


@operation("files.get", "container", streams=True)
@dataclass(frozen=True, slots=True)
class FilesGet:
    """A tar of the file or directory `path` of the container, as PART {offset} with the bytes beside it.

    Links on the way to it are followed within the container's root, the last one is not.
    """

    path: str


@operation("files.put", "container", repeatable=True)
@dataclass(frozen=True, slots=True)
class FilesPut:
    """A piece of a tar that is to be unpacked in the container; with the last one, it is.

    If `path` is a directory, it is unpacked in it; else it must have one topmost name, and takes the name of
    `path`. Answer: `offset`, how far the archive has come, and `entries` when it has been unpacked.

    Attributes:
        upload: names the archive, the same in all its pieces; chosen by the client.
        contents: leave out the topmost name.
    """

    upload: str
    path: str
    offset: Number
    data: bytes
    last: bool = False
    contents: bool = False
