"""Databases of earlier schemas are opened and migrated, once; SIGKILL at any step of that costs nothing."""

import contextlib
import sqlite3

import pytest
from dying import deaths

from storage.metadata import Content, Image, Lease, Metadata, Resource
from storage.metadata.schema import MIGRATIONS

NOW = len(MIGRATIONS)
ROWS = """
INSERT INTO namespaces VALUES ('ns', '{"k":"v"}');
INSERT INTO images VALUES ('ns', 'docker.io/library/x:1', '{"digest":"sha256:00"}', '{}', 5, 6);
INSERT INTO containers VALUES ('ns', 'c1', 'web', 'x', 'sha256:00', 'runc', 'overlayfs', 'c1',
    '{"args":["sh"]}', '{}', 7, 8, 'running', 0);
INSERT INTO tasks (namespace, container, revision, status, pid, started_at, exited_at, exit_code,
    exit_reason, oom, error) VALUES ('ns', 'c1', 3, 'stopped', 0, 9, 10, 7, '', 1, '');
INSERT INTO idempotency VALUES ('key', 'containers.create', '{"id":"c1"}', 11);
INSERT INTO leases (namespace, id, labels, created_at, expires_at) VALUES ('ns', 'l', '{}', 12, NULL);
INSERT INTO lease_resources VALUES ('ns', 'l', 'content', 'sha256:00');
INSERT INTO content_labels (namespace, digest, labels) VALUES ('ns', 'sha256:00', '{"a":"b"}');
"""


def earlier(path, version):
    """A database as an actord of that schema has left it."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute("PRAGMA journal_mode=WAL")
        made.executescript("".join(MIGRATIONS[:version]) + ROWS + f"PRAGMA user_version={version};")


def dump(path):
    with contextlib.closing(sqlite3.connect(path)) as raw:
        version = raw.execute("PRAGMA user_version").fetchone()[0]
        return version, list(raw.iterdump())


def all_is_there(path):
    metadata = Metadata(path)
    assert metadata.check() == ()
    assert metadata.namespaces.get("ns").labels == {"k": "v"}
    assert metadata.images.list("ns") == (
        Image("ns", "docker.io/library/x:1", {"digest": "sha256:00"}, {}, 5, 6),
    )
    ((container, task),) = metadata.containers.list_with_tasks(None)
    assert (container.id, container.name, container.options, container.wanted) == (
        "c1", "web", {"args": ["sh"]}, "running",
    )  # fmt: skip
    assert (task.exit_code, task.oom, task.health, task.restarts) == (7, True, "", 0)
    assert metadata.leases.list() == (Lease("ns", "l", {}, 12, None),)
    assert metadata.leases.resources("ns", "l") == (Resource("content", "sha256:00"),)
    assert metadata.contents.list() == (Content("ns", "sha256:00", {"a": "b"}, 0, 0),)
    metadata.close()


@pytest.mark.parametrize("version", range(1, NOW))
def test_each_earlier_schema_is_migrated_once_wherever_it_is_killed(tmp_path, version):
    path = tmp_path / "metadata.db"
    kept = path.with_name(f"metadata.db.schema-{version}")
    earlier(path, version)
    before = dump(path)
    seen = []
    for _ in deaths(lambda: Metadata(path).close()):
        left = dump(path)
        assert left == before or left[0] == NOW
        assert left == before or dump(kept) == before
        seen.append(left[0])
        all_is_there(path)
        assert dump(kept) == before
        for one in tmp_path.iterdir():
            one.unlink()
        earlier(path, version)
    assert (seen[0], seen[-1]) == (version, NOW)
    assert seen == sorted(seen)
    assert len(seen) > 5


def test_one_of_this_schema_is_neither_copied_nor_changed(tmp_path):
    path = tmp_path / "metadata.db"
    earlier(path, NOW)
    before = dump(path)
    all_is_there(path)
    assert dump(path) == before
    assert [one.name for one in tmp_path.iterdir() if "schema" in one.name] == []


@pytest.mark.parametrize("version", range(1, NOW))
def test_the_copy_from_before_the_upgrade_is_what_an_earlier_actord_takes_up_again(tmp_path, version):
    path = tmp_path / "metadata.db"
    earlier(path, version)
    all_is_there(path)
    path.with_name(f"metadata.db.schema-{version}").replace(path)
    assert dump(path)[0] == version
    all_is_there(path)
