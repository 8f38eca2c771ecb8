"""The tables of the metadata database, as a list of migrations.

A migration is never changed once released: a new one is added at the end. Times are integer nanoseconds
since the epoch; labels, options and targets are JSON. Nobody reads or writes the table `idempotency`.
"""

_FIRST = """
CREATE TABLE namespaces (
    name TEXT PRIMARY KEY,
    labels TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE images (
    namespace TEXT NOT NULL REFERENCES namespaces(name),
    name TEXT NOT NULL,
    target TEXT NOT NULL,
    labels TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;
CREATE INDEX images_by_name ON images(name);

CREATE TABLE containers (
    namespace TEXT NOT NULL REFERENCES namespaces(name),
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    image TEXT NOT NULL,
    image_digest TEXT NOT NULL,
    runtime TEXT NOT NULL,
    snapshotter TEXT NOT NULL,
    snapshot_key TEXT NOT NULL,
    options TEXT NOT NULL,
    labels TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    wanted TEXT NOT NULL CHECK (wanted IN ('running', 'stopped', 'removed')),
    auto_remove INTEGER NOT NULL CHECK (auto_remove IN (0, 1)),
    PRIMARY KEY (namespace, id),
    UNIQUE (namespace, name)
) WITHOUT ROWID;
CREATE INDEX containers_by_id ON containers(id);
CREATE INDEX containers_by_name ON containers(name);

CREATE TABLE tasks (
    namespace TEXT NOT NULL,
    container TEXT NOT NULL,
    revision INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('created', 'running', 'paused', 'stopped', 'unknown')),
    pid INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    exited_at INTEGER NOT NULL,
    exit_code INTEGER,
    exit_reason TEXT NOT NULL,
    oom INTEGER NOT NULL CHECK (oom IN (0, 1)),
    error TEXT NOT NULL,
    PRIMARY KEY (namespace, container),
    FOREIGN KEY (namespace, container) REFERENCES containers(namespace, id) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE idempotency (
    key TEXT PRIMARY KEY,
    operation TEXT NOT NULL,
    result TEXT,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX idempotency_by_time ON idempotency(at);

CREATE TABLE leases (
    namespace TEXT NOT NULL REFERENCES namespaces(name),
    id TEXT NOT NULL,
    labels TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (namespace, id)
) WITHOUT ROWID;

CREATE TABLE lease_resources (
    namespace TEXT NOT NULL,
    lease TEXT NOT NULL,
    type TEXT NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (namespace, lease, type, id),
    FOREIGN KEY (namespace, lease) REFERENCES leases(namespace, id) ON DELETE CASCADE
) WITHOUT ROWID;

CREATE TABLE content_labels (
    namespace TEXT NOT NULL REFERENCES namespaces(name),
    digest TEXT NOT NULL,
    labels TEXT NOT NULL,
    PRIMARY KEY (namespace, digest)
) WITHOUT ROWID;
"""

_HEALTH = """
ALTER TABLE tasks ADD COLUMN health TEXT NOT NULL DEFAULT '';
ALTER TABLE tasks ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
"""

# Leases that go with their actor; when a namespace came to know a blob.
_COLLECTION = """
ALTER TABLE leases ADD COLUMN holder TEXT NOT NULL DEFAULT '';
ALTER TABLE leases ADD COLUMN instance TEXT NOT NULL DEFAULT '';
ALTER TABLE leases ADD COLUMN incarnation INTEGER NOT NULL DEFAULT 0;
CREATE INDEX lease_resources_by_id ON lease_resources(type, id);
ALTER TABLE content_labels ADD COLUMN created_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE content_labels ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX content_labels_by_digest ON content_labels(digest);
"""

# Events of images and namespaces, until it is sure that they have been told.
_ANNOUNCEMENTS = """
CREATE TABLE announcements (
    key TEXT PRIMARY KEY,
    namespace TEXT NOT NULL,
    topic TEXT NOT NULL,
    body TEXT NOT NULL,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX announcements_by_time ON announcements(at);
"""

MIGRATIONS = (_FIRST, _HEALTH, _COLLECTION, _ANNOUNCEMENTS)
