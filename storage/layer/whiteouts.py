"""Whiteouts: what a layer takes away from the layers below it.

They concern the layers below only, wherever they stand in the tar (image-spec layer.md, "Whiteouts"). In
overlay form a removed name is therefore only noted at first, which hides it from the entries that follow;
what is still missing when the layer has been written becomes a character device 0:0. In native form the
names are removed at once, and what the layer made itself is spared.
"""

import os
import stat
from typing import Protocol

from storage.errors import InvalidArgumentError
from storage.layer.header import shown
from storage.layer.tree import Directory, Tree, join


class Whiteouts(Protocol):
    """Takes names away from a tree; paths are those of the layer, components joined by "/"."""

    def hide(self, path: bytes, name: bytes) -> None:
        """Take away `name` of the directory `path`. Nothing there is no error."""

    def hide_all(self, path: bytes) -> None:
        """Take away all that the directory `path` has; the directory is made when it is missing."""

    def finish(self) -> None:
        """To be called when all entries have been placed."""


def for_tree(tree: Tree) -> Whiteouts:
    """The whiteouts of the form that the tree has."""
    return _OverlayWhiteouts(tree) if tree.overlay else _NativeWhiteouts(tree)


def _made(tree: Tree, path: bytes) -> Directory:
    directory = tree.resolve(path, create=True)
    if directory is None:
        raise InvalidArgumentError(f"layer path {shown(path)}: cannot be made")
    return directory


class _OverlayWhiteouts:
    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._noted: list[bytes] = []
        self._all_hidden = False

    def hide(self, path: bytes, name: bytes) -> None:
        tree = self._tree
        directory = tree.resolve(path, create=False)
        found = directory and tree.below(directory.path, name)
        if directory is None or found is None:
            return  # a whiteout of nothing would show in listings
        place = join(directory.path, name)
        status = tree.status(directory, name)
        if status is None:
            self._noted.append(place)
            tree.hide(place)
        elif stat.S_ISDIR(status.st_mode):
            tree.set_opaque(_made(tree, place))

    def hide_all(self, path: bytes) -> None:
        tree = self._tree
        directory = _made(tree, path)
        if directory.path:
            tree.set_opaque(directory)
        elif not self._all_hidden:  # overlayfs merges the roots whatever their attributes say
            self._all_hidden = True
            for name in sorted(tree.lowers.names(b"", tree.lowers.all)):
                self.hide(b"", name)

    def finish(self) -> None:
        for place in self._noted:
            self._mark(*place.rpartition(b"/")[::2])

    def _mark(self, parent: bytes, name: bytes) -> None:
        """Make the device, unless something has taken the place, or the parent hides it already."""
        tree = self._tree
        directory = tree.resolve(parent, create=False)
        if directory is None or directory.path != parent or tree.status(directory, name) is not None:
            return
        if tree.beneath.layers_of(parent):
            fd = _made(tree, parent).fd
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=fd)
            os.utime(name, (0, 0), dir_fd=fd, follow_symlinks=False)


class _NativeWhiteouts:
    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._swept: set[bytes] = (
            set()
        )  # what holds only this layer's own by now, not to be gone through again

    def hide(self, path: bytes, name: bytes) -> None:
        tree = self._tree
        directory = tree.resolve(path, create=False)
        if directory is None or tree.status(directory, name) is None:
            return
        place = join(directory.path, name)
        if place not in self._swept:
            tree.remove(directory, name, tree.own)
            self._swept.add(place)

    def hide_all(self, path: bytes) -> None:
        directory = _made(self._tree, path)
        self._tree.own.add(directory.path)
        if directory.path not in self._swept:
            self._tree.prune(directory.path, self._tree.own)
            self._swept.add(directory.path)

    def finish(self) -> None:
        """Nothing is left to do."""
