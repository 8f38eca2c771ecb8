"""Where a backup may be written."""

from pathlib import Path

from storage.errors import AlreadyExistsError, InvalidArgumentError


def backup_path(text: str) -> Path:
    """The path of a copy to be made.

    Raises:
        InvalidArgumentError: it is not absolute, or its directory is not there.
        AlreadyExistsError: something is there already.
    """
    path = Path(text)
    if not path.is_absolute() or not path.parent.is_dir():
        raise InvalidArgumentError(f"backup {text[:200]!a} is not in a directory that exists: make it first")
    if path.exists() or path.is_symlink():
        raise AlreadyExistsError(f"backup {path} exists already: choose another name")
    return path
