"""Writes the compiled modules of the command line into one file (cli/kept.py), for the tree of a package.

packaging/kept.py TREE PLACE    of the tree at TREE, that will be at PLACE
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cli.kept import FUTURE, source_of, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType

    from cli.kept import Learned

WANTED = ("actors/__init__.py", "cli/**/*.py", "storage/__init__.py", "storage/errors.py", "transport/*.py")


def learned(tree: Path, place: Path) -> Iterator[Learned]:
    """The modules that a command may import; what is larger stays where it is."""
    library = Path(source_of("", FUTURE, is_package=False))
    yield FUTURE, None, False, compiled(library, library)
    for pattern in WANTED:
        for source in sorted(tree.glob(pattern)):
            inner = source.relative_to(tree)
            is_package = inner.name == "__init__.py"
            parts = inner.parent.parts if is_package else inner.with_suffix("").parts
            yield ".".join(parts), None, is_package, compiled(source, place / inner)


def compiled(source: Path, place: Path) -> CodeType:
    """The code of a source that will be at `place`."""
    code: CodeType = compile(source.read_bytes(), str(place), "exec", dont_inherit=True)
    return code


if __name__ == "__main__":
    tree, place = map(Path, sys.argv[1:])
    found = list(learned(tree, place))
    own = next(code for name, _, _, code in found if name == "cli.kept")
    write(str(tree), own, found, checked=False)
