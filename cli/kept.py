"""The modules of the command line, compiled, in one file: looked for one by one they are 1 ms of each start.

`Kept` stands before the interpreter's own finders, which import whatever it does not have. In a checkout it
learns: modules that they had to import are added when the command is over. A module counts only while its
source has the size and the time of change that it had then, as with the interpreter's `.pyc`; the file lies
beside those, so nobody can have code run by it who could not by them. In the package nothing is compared,
with `.pyc` neither: dpkg replaces all of it at once.

The file has 32 KiB for the interpreter's magic number and, in marshal's format, this module and the places
of the others; then these. Whoever opens it runs this module first, so it imports none that lies in a file.
"""

import marshal
import posix
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import MAGIC_NUMBER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import CodeType, ModuleType
    from typing import Any

    Stamp = tuple[int, int]  # of a source: its size, and when it was changed in nanoseconds
    Entry = tuple[Stamp | None, bool, int, int]  # stamp, whether it is a package; where it begins, its size
    Learned = tuple[str, Stamp | None, bool, CodeType]

HEAD = 1 << 15  # bytes
PACKAGES = ("actors", "cli", "storage", "transport")
FUTURE = "__future__"  # which all modules import
ERRORS = (OSError, EOFError, TypeError, ValueError)  # of a file that is damaged or none of ours


class Kept:
    """Finds and loads modules (https://docs.python.org/3/library/sys.html#sys.meta_path)."""

    def __init__(
        self,
        root: str,
        file: int = -1,
        entries: "dict[str, Entry] | None" = None,
        own: "CodeType | None" = None,
    ) -> None:
        """Of the checkout at `root`, from an open file with these entries and this module's code, if any."""
        self._root = root
        self._file = file
        self._entries = entries or {}
        self._own = own
        self._missed = False  # whether somebody wanted one of ours that we do not have

    def find_spec(
        self, name: str, _path: "Sequence[str] | None" = None, _target: "ModuleType | None" = None
    ) -> ModuleSpec | None:
        """None for what is not in the file, or no longer what it was."""
        spec = self._spec(name, self._entries[name]) if name in self._entries else None
        if spec is None and is_ours(name):
            self._missed = True
        return spec

    def _spec(self, name: str, entry: "Entry") -> ModuleSpec | None:
        stamp, is_package, start, size = entry
        source = source_of(self._root, name, is_package=is_package)
        try:
            if stamp is not None and stamp_of(source) != stamp:
                return None
            code = marshal.loads(posix.pread(self._file, size, start))  # noqa: S302  # as a .pyc
        except ERRORS:
            return None
        loader: Any = self
        spec = ModuleSpec(name, loader, origin=source, loader_state=code, is_package=is_package)
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(source.rpartition("/")[0])
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        """An ordinary one."""

    def exec_module(self, module: "ModuleType") -> None:
        """Run its code."""
        spec: Any = module.__spec__
        exec(spec.loader_state, module.__dict__)  # noqa: S102  # it is a loader

    def keep(self) -> None:
        """Add the modules that others had to import. That it cannot be written is no failure."""
        if not self._missed or sys.dont_write_bytecode or not _is_writable(self._root):
            return
        try:
            learned = list(self._learned())
            own = self._own or next((code for name, _, _, code in learned if name == "cli.kept"), None)
            before = {name: (entry, self._read(entry)) for name, entry in self._entries.items()}
            if learned and own is not None:
                write(self._root, own, learned, before)
        except (OSError, KeyboardInterrupt):  # the command itself is over
            return

    def _read(self, entry: "Entry") -> bytes:
        return posix.pread(self._file, entry[3], entry[2])

    def _learned(self) -> "Iterable[Learned]":
        for name, module in list(sys.modules.items()):
            spec: Any = module.__spec__ if is_ours(name) else None
            if spec is None or spec.loader is self:
                continue
            is_package = spec.submodule_search_locations is not None
            try:
                stamp = stamp_of(source_of(self._root, name, is_package=is_package))  # before it is read
                code = spec.loader.get_code(name)
            except (*ERRORS, AttributeError, ImportError):
                continue
            if code is not None:
                yield name, stamp, is_package, code


def is_ours(name: str) -> bool:
    """Whether the module is one to be kept."""
    return name == FUTURE or name.partition(".")[0] in PACKAGES


def file_of(root: str) -> str:
    """Where it lies: among what the interpreter keeps of its own."""
    return f"{root}/cli/__pycache__/actr.{sys.implementation.cache_tag}"


def source_of(root: str, name: str, *, is_package: bool) -> str:
    """The path of a module's source."""
    base = getattr(sys, "_stdlib_dir", "") if name == FUTURE else root
    return f"{base}/{name.replace('.', '/')}{'/__init__' if is_package else ''}.py"


def stamp_of(path: str) -> "Stamp":
    """By which a source is known again. Raises OSError."""
    status = posix.stat(path)
    return status.st_size, status.st_mtime_ns


def write(
    root: str,
    own: "CodeType",
    learned: "Iterable[Learned]",
    before: "dict[str, tuple[Entry, bytes]] | None" = None,
    *,
    checked: bool = True,
) -> None:
    """Write the file anew: what was in it, and what was learned. Raises OSError.

    It appears whole or not at all, for whoever starts meanwhile. Not `checked`: for good.
    """
    entries: dict[str, Entry] = {}
    contents = {name: (entry[0], entry[1], content) for name, (entry, content) in (before or {}).items()}
    contents |= {name: (stamp, package, marshal.dumps(code)) for name, stamp, package, code in learned}
    at, pieces = HEAD, []
    for name, (stamp, is_package, content) in contents.items():
        entries[name] = (stamp, is_package, at, len(content))
        at += len(content)
        pieces.append(content)
    stamp = stamp_of(source_of(root, "cli.kept", is_package=False)) if checked else None
    head = MAGIC_NUMBER + marshal.dumps((stamp, own, entries))
    if len(head) <= HEAD:
        _replace(file_of(root), b"".join([head.ljust(HEAD, b"\0"), *pieces]))


def _is_writable(root: str) -> bool:
    return posix.access(file_of(root).rpartition("/")[0], posix.W_OK)


def _replace(path: str, content: bytes) -> None:
    passing = f"{path}.{posix.getpid()}"
    file = posix.open(passing, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL, 0o644)
    try:
        written = posix.write(file, content)
    except OSError:
        written = 0
    posix.close(file)
    if written == len(content):
        posix.rename(passing, path)
    else:
        posix.unlink(passing)
