"""SQLite, opened one way for every store: durable, checked, versioned, with one writer.

Each storage actor owns one file and is its only writer, so there are no threads and no pools here. What
is shared is how a file is opened, migrated, grouped into transactions, checked and backed up.
"""

import contextlib
import errno
import os
import sqlite3
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from storage.durable import sync_directory, sync_file, sync_names
from storage.errors import FailedPreconditionError, StorageError, UnavailableError
from storage.reserve import Reserve
from storage.room import FULL, no_room

Parameters = Sequence[Any] | Mapping[str, Any]

_LOG_BYTES = 1 << 20
_LOG_PAGES = 250  # of 4 KiB, and what stands before each, in those bytes: then they are written over

# I/O error, lock held, out of memory: the same call may succeed later.
_PASSING = frozenset({"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_NOMEM", "SQLITE_CANTOPEN"})


class Database:
    """One SQLite file in WAL mode, with foreign keys, explicit transactions and a schema version.

    `migrations` are SQL scripts; the n-th one (from 1) leads to schema version n, kept in
    `PRAGMA user_version`. All that are missing run in one transaction, so a crash leaves the file as it was,
    or at the last version. Beforehand it is copied to `PATH.schema-VERSION`, for the way back.

    A `reader` looks at a file that another process owns: what is committed, and nothing half done, whatever
    becomes of the owner. It waits for nobody and keeps nobody waiting, changes nothing, and may be used in
    any thread, in one at a time.

    Raises:
        FailedPreconditionError: the file was written by a newer version; for a reader, by another one.
        UnavailableError: the file cannot be opened, or is held by another process.
        StorageError: the file is damaged.
    """

    def __init__(
        self,
        path: Path,
        migrations: Sequence[str],
        *,
        busy_seconds: float = 5.0,
        reader: bool = False,
    ) -> None:
        self.path = path
        self._depth = 0
        self._reserve: Reserve | None = None
        if reader:
            self._open_to_read(len(migrations))
            return
        self._reserve = Reserve(path.with_name(f"{path.name}.reserve"))
        with self._errors():
            # check_same_thread stays on: the owner is one thread, and a second one is a bug.
            self._connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None)
        try:
            self._configure()
            self._migrate(migrations)
            self._extend_log()
            with self._errors():
                sync_names(path.parent)
        except BaseException:
            self._connection.close()
            raise

    def _open_to_read(self, version: int) -> None:
        place = f"file:{quote(str(self.path))}?mode=ro"
        with self._errors():
            self._connection = sqlite3.connect(
                place, timeout=0, isolation_level=None, check_same_thread=False, uri=True
            )
        try:
            self._refuse_other(version)
        except BaseException:
            self._connection.close()
            raise

    def _refuse_other(self, version: int) -> None:
        found = self.version
        if found != version:
            raise FailedPreconditionError(f"database {self.path} has schema version {found}, not {version}")

    def _configure(self) -> None:
        log = f"wal_autocheckpoint={_LOG_PAGES}"
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", log):
            self.execute(f"PRAGMA {pragma}")

    def _extend_log(self) -> None:
        """Let the write-ahead log have its full length from the start, in zeros, which SQLite passes over.

        A commit that writes over what is there waits for its own bytes alone. One that makes the file longer
        waits for the filesystem's journal, and with it for all that others, such as an unpacking, write.
        """
        log = self.path.with_name(f"{self.path.name}-wal")
        with contextlib.suppress(OSError), log.open("ab") as file:  # it would be quicker, no more
            file.write(bytes(max(0, _LOG_BYTES - file.tell())))
            os.fsync(file.fileno())

    def _migrate(self, migrations: Sequence[str]) -> None:
        known, found = len(migrations), self.version
        if found > known:
            raise _too_new(self.path, found, known)
        if found == known:
            return
        if found:
            self.backup(_before_migration(self.path, found))
        script = ";".join(("BEGIN IMMEDIATE", *migrations[found:], f"PRAGMA user_version={known}", "COMMIT;"))
        with self._errors():
            self._connection.executescript(script)

    @property
    def version(self) -> int:
        """The schema version of the file."""
        return int(self.execute("PRAGMA user_version").fetchone()[0])

    @property
    def in_transaction(self) -> bool:
        """Whether a `transaction()` block is open."""
        return self._depth > 0

    @property
    def changes(self) -> int:
        """How many rows were changed since the file was opened."""
        return self._connection.total_changes

    def execute(self, sql: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        """Run one statement.

        Raises:
            FullError: the disk is full; a little room, kept for this moment, is there for what makes more.
            UnavailableError: file locked, or the transaction around it was lost to such an error.
            sqlite3.IntegrityError: a constraint of the schema; callers test their preconditions first.
        """
        # A full disk makes SQLite roll back by itself; later statements must not slip through alone.
        if self._depth and not self._connection.in_transaction:
            raise UnavailableError(f"database {self.path}: the transaction was rolled back, try again")
        with self._errors():
            return self._connection.execute(sql, parameters)

    def one(self, sql: str, parameters: Parameters = ()) -> tuple[Any, ...] | None:
        """The first row, or None."""
        row: tuple[Any, ...] | None = self.execute(sql, parameters).fetchone()
        return row

    def rows(self, sql: str, parameters: Parameters = ()) -> tuple[tuple[Any, ...], ...]:
        """All rows."""
        with self._errors():
            return tuple(self.execute(sql, parameters).fetchall())

    def each(self, sql: str, parameters: Parameters = ()) -> Generator[tuple[Any, ...]]:
        """Row by row, of which no more are read than are asked for; nothing is to be written meanwhile."""
        with contextlib.closing(self.execute(sql, parameters)) as cursor, self._errors():
            yield from cursor

    @contextlib.contextmanager
    def transaction(self) -> Generator[None]:
        """All of the block is committed, durably, or nothing of it is.

        Inside another transaction the block joins it: it becomes durable with the outermost one. An
        exception undoes the inner block alone, so an owner may group many requests in one commit and let
        one of them fail.
        """
        begin, commit, undo = self._boundaries()
        self.execute(begin)
        self._depth += 1
        try:
            yield
            self.execute(commit)
            if self._depth == 1 and self._reserve:
                self._reserve.renew()
        except BaseException:
            self._undo(undo)
            raise
        finally:
            self._depth -= 1

    def _boundaries(self) -> tuple[str, str, tuple[str, ...]]:
        if not self._depth:
            return "BEGIN IMMEDIATE", "COMMIT", ("ROLLBACK",)
        name = f"level_{self._depth}"
        return f"SAVEPOINT {name}", f"RELEASE {name}", (f"ROLLBACK TO {name}", f"RELEASE {name}")

    def _undo(self, statements: tuple[str, ...]) -> None:
        if self._connection.in_transaction:
            for statement in statements:
                self._connection.execute(statement)

    def check(self) -> tuple[str, ...]:
        """What is wrong with the file: one line per problem, empty when it is sound."""
        try:
            found = [str(row[0]) for row in self.rows("PRAGMA integrity_check(100)")]
            orphans = self.rows("PRAGMA foreign_key_check")
        except StorageError as error:
            return (str(error),)
        lines = [line for line in found if line != "ok"]
        return (*lines, *(f"row {row[1]} of {row[0]} names a missing row of {row[2]}" for row in orphans))

    def backup(self, target: Path) -> None:
        """Write a consistent copy to `target` while in use: whole and durable, or not there at all."""
        if self._depth:
            raise FailedPreconditionError(f"database {self.path}: no backup inside a transaction")
        temporary = target.with_name(f".{target.name}.partial")
        with self._errors():
            temporary.unlink(missing_ok=True)
            try:
                self._copy_to(temporary)
                temporary.replace(target)
            except (sqlite3.DatabaseError, OSError) as error:
                with contextlib.suppress(OSError):
                    temporary.unlink()
                if _is_full(error):
                    action = f"cannot copy database {self.path} to {target}"
                    raise no_room(action, _no_space(), target) from error
                raise
            sync_directory(target.parent)

    def _copy_to(self, path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as copy:
            self._connection.backup(copy)
            # One file on its own: a copy in WAL mode would want a -wal file beside it.
            copy.execute("PRAGMA journal_mode=DELETE")
        sync_file(path)

    def close(self) -> None:
        """Close the file; committed work is durable already."""
        self._connection.close()

    @contextlib.contextmanager
    def _errors(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise
        except sqlite3.DatabaseError as error:
            raise self._translated(error) from error
        except OSError as error:
            raise UnavailableError(f"database {self.path}: {error.strerror}") from error

    def _translated(self, error: sqlite3.DatabaseError) -> StorageError:
        name = str(getattr(error, "sqlite_errorname", ""))
        if name == "SQLITE_FULL" and self._reserve:
            self._reserve.spend()
            return no_room(f"database {self.path}", _no_space(), self.path)
        if name in _PASSING or name.startswith(("SQLITE_IOERR", "SQLITE_BUSY", "SQLITE_READONLY")):
            return UnavailableError(f"database {self.path}: {error}")
        if name.startswith("SQLITE_CORRUPT"):  # also what SQLite makes of a read that the disk refused
            text = f"database {self.path}: {error}: its disk fails, or if this lasts, restore a backup"
            return UnavailableError(text)
        if name == "SQLITE_NOTADB":
            return StorageError(f"database {self.path} is damaged ({error}): restore a backup")
        return StorageError(f"database {self.path}: {error}")


def refuse_newer(path: Path, known: int) -> None:
    """Look, before anybody opens it, whether a file is of a schema above `known`; there need be none.

    Raises:
        FailedPreconditionError: it is, and no retry mends that. Of all else its owner tells.
    """
    place = f"file:{quote(str(path))}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(place, timeout=0, uri=True)) as connection:
            found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    except sqlite3.DatabaseError:
        return
    if found > known:
        raise _too_new(path, found, known)


def _too_new(path: Path, found: int, known: int) -> FailedPreconditionError:
    """What an actord that knows no more than this version could go on with."""
    copies = [copy for number in range(known, 0, -1) if (copy := _before_migration(path, number)).exists()]
    restore = f"{copies[0]}, from before the upgrade" if copies else "a backup made before the upgrade"
    return FailedPreconditionError(
        f"database {path} has schema version {found} but this actord knows only up to {known}: "
        f"start the newer actord again or restore {restore}"
    )


def _before_migration(path: Path, version: int) -> Path:
    return path.with_name(f"{path.name}.schema-{version}")


def _no_space() -> OSError:
    """As the system would have said it, of whose words SQLite leaves none."""
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _is_full(error: sqlite3.DatabaseError | OSError) -> bool:
    if isinstance(error, OSError):
        return error.errno in FULL
    return getattr(error, "sqlite_errorname", "") == "SQLITE_FULL"
