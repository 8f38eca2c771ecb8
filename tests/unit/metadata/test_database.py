import os
import resource
import signal
import sqlite3

import pytest

from storage.database import Database
from storage.errors import FailedPreconditionError, StorageError, UnavailableError

SCHEMA = ("CREATE TABLE things (name TEXT PRIMARY KEY, parent TEXT REFERENCES things(name));",)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "things.db"


@pytest.fixture
def database(path):
    opened = Database(path, SCHEMA)
    yield opened
    opened.close()


def add(database, name):
    database.execute("INSERT INTO things VALUES (?, NULL)", (name,))


def fail(database, *added):
    """A block that adds names, each in a block of its own, and then fails."""
    with database.transaction():
        for name in added:
            with database.transaction():
                add(database, name)
        raise KeyError


def names(database):
    return [row[0] for row in database.rows("SELECT name FROM things ORDER BY name")]


def test_opens_durable_and_checked(database):
    assert database.one("PRAGMA journal_mode") == ("wal",)
    assert database.one("PRAGMA synchronous") == (2,)
    assert database.one("PRAGMA foreign_keys") == (1,)
    assert database.version == 1
    assert database.check() == ()


def test_commits_write_over_what_the_log_has_and_a_crash_loses_none(database, path, tmp_path):
    log = path.with_name(f"{path.name}-wal")
    length = log.stat().st_size
    for number in range(600):  # each is a commit: the log begins anew several times
        add(database, f"{number:03}")
    assert log.stat().st_size == length >= 1 << 20
    crashed = tmp_path / "crashed.db"
    for ending in ("", "-wal"):
        crashed.with_name(crashed.name + ending).write_bytes(path.with_name(path.name + ending).read_bytes())
    found = Database(crashed, SCHEMA)
    assert names(found) == [f"{number:03}" for number in range(600)]
    assert found.check() == ()
    found.close()


def test_migrations_run_once_and_in_order(path):
    Database(path, SCHEMA).close()
    later = (*SCHEMA, "ALTER TABLE things ADD COLUMN a INTEGER; ALTER TABLE things ADD COLUMN b INTEGER;")
    for _ in range(2):
        database = Database(path, later)
        assert database.version == 2
        assert database.rows("SELECT name, a, b FROM things") == ()
        database.close()


def test_failing_migration_leaves_the_version_before(path):
    Database(path, SCHEMA).close()
    with pytest.raises(StorageError, match="syntax"):
        Database(path, (*SCHEMA, "ALTER TABLE things ADD COLUMN a INTEGER; NONSENSE;"))
    database = Database(path, SCHEMA)
    assert database.version == 1
    assert len(database.rows("PRAGMA table_info(things)")) == 2
    database.close()


def test_newer_version_is_refused(path):
    Database(path, (*SCHEMA, "CREATE TABLE more (a);")).close()
    with pytest.raises(
        FailedPreconditionError, match=r"version 2 but .* only up to 1: .* restore a backup made before"
    ):
        Database(path, SCHEMA)


def test_a_migrated_file_is_kept_as_it_was_for_the_way_back(path):
    before = Database(path, SCHEMA)
    add(before, "old")
    before.close()
    later = Database(path, (*SCHEMA, "DROP TABLE things;"))
    later.close()
    kept = path.with_name("things.db.schema-1")
    with pytest.raises(FailedPreconditionError, match=f"restore {kept}, from before the upgrade"):
        Database(path, SCHEMA)
    kept.replace(path)
    back = Database(path, SCHEMA)
    assert names(back) == ["old"]
    back.close()


def test_what_cannot_be_kept_is_not_migrated(path):
    Database(path, SCHEMA).close()
    path.with_name(".things.db.schema-1.partial").mkdir()
    with pytest.raises(UnavailableError):
        Database(path, (*SCHEMA, "DROP TABLE things;"))
    found = Database(path, SCHEMA)
    assert (found.version, names(found)) == (1, [])
    found.close()


def test_transaction_is_all_or_nothing(database):
    with database.transaction():
        add(database, "a")
        assert database.in_transaction
    with pytest.raises(KeyError):
        fail(database, "b")
    assert names(database) == ["a"]
    assert not database.in_transaction


def test_inner_failure_undoes_the_inner_block_alone(database):
    with database.transaction():
        add(database, "a")
        with pytest.raises(KeyError):
            fail(database, "b")
        with database.transaction():
            add(database, "c")
    assert names(database) == ["a", "c"]


def test_after_sqlite_rolled_back_nothing_slips_through_alone(database):
    def lose():
        with database.transaction():
            add(database, "a")
            database._connection.rollback()
            add(database, "b")

    with pytest.raises(UnavailableError, match="rolled back, try again"):
        lose()
    assert names(database) == []
    add(database, "works again")
    assert names(database) == ["works again"]


def test_constraints_hold(database):
    with pytest.raises(sqlite3.IntegrityError):
        database.execute("INSERT INTO things VALUES ('a', 'missing')")


def test_locked_by_another_process_is_unavailable(path, database):
    other = Database(path, SCHEMA, busy_seconds=0)
    with database.transaction(), pytest.raises(UnavailableError, match="locked"), other.transaction():
        pass
    other.close()


def test_damaged_file_is_named(path):
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StorageError, match="is damaged") as caught:
        Database(path, SCHEMA)
    assert str(path) in str(caught.value)


def test_what_may_be_a_failing_disk_can_be_tried_again(path):
    database = Database(path, SCHEMA)
    with database.transaction():
        for number in range(2000):
            add(database, f"name {number:0100}")
    database.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(bytes(path.stat().st_size - 4096))
    database = Database(path, SCHEMA)
    with pytest.raises(UnavailableError, match="restore a backup") as caught:
        names(database)
    assert str(path) in str(caught.value)
    database.close()


def test_check_finds_broken_references(path, database):
    with sqlite3.connect(path) as raw:
        raw.execute("INSERT INTO things VALUES ('child', 'missing')")
    raw.close()
    (problem,) = database.check()
    assert problem.endswith("of things names a missing row of things")


def test_check_finds_damage(path):
    database = Database(path, SCHEMA)
    with database.transaction():
        for number in range(2000):
            add(database, f"name {number:0100}")
    database.close()
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(os.urandom(4096))
    database = Database(path, SCHEMA)
    assert database.check()
    database.close()


def test_backup_is_whole_and_in_one_file(path, tmp_path, database):
    add(database, "a")
    target = tmp_path / "backups" / "copy.db"
    target.parent.mkdir()
    database.backup(target)
    add(database, "b")
    assert [entry.name for entry in target.parent.iterdir()] == ["copy.db"]
    copy = Database(target, SCHEMA)
    assert names(copy) == ["a"]
    copy.close()


def test_backup_replaces_an_older_one_and_a_partial_one(tmp_path, database):
    target = tmp_path / "copy.db"
    target.write_text("older")
    (tmp_path / ".copy.db.partial").write_text("left by a crash")
    add(database, "a")
    database.backup(target)
    with sqlite3.connect(target) as raw:
        assert raw.execute("SELECT name FROM things").fetchall() == [("a",)]
    raw.close()


def test_no_backup_in_a_transaction_or_without_room(tmp_path, database):
    with database.transaction(), pytest.raises(FailedPreconditionError):
        database.backup(tmp_path / "copy.db")
    with pytest.raises(UnavailableError):
        database.backup(tmp_path / "missing" / "copy.db")


def test_full_disk_is_unavailable_and_passes(path):
    """A file size limit stands in for a full disk; it is set in a child, since it cannot be raised again."""
    database = Database(path, SCHEMA)
    add(database, "before")
    database.close()
    pid = os.fork()
    if pid == 0:
        os._exit(_write_until_full(path))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    database = Database(path, SCHEMA)
    assert database.check() == ()
    assert names(database)[-1] == "room again"
    assert "before" in names(database)
    database.close()


def _write_until_full(path):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    database = Database(path, SCHEMA)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + (64 << 10), hard))
    try:
        for number in range(200):
            with database.transaction():
                add(database, f"{number}" + "x" * 4000)
    except UnavailableError:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        add(database, "room again")
        return 0
    return 1
