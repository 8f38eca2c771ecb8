"""The tables of the network database, as a list of migrations; a released one is never changed."""

_FIRST = """
CREATE TABLE networks (
    name TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    interface TEXT NOT NULL,
    spec TEXT NOT NULL,
    labels TEXT NOT NULL,
    created_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE endpoints (
    network TEXT NOT NULL REFERENCES networks(name),
    namespace TEXT NOT NULL,
    container TEXT NOT NULL,
    number INTEGER NOT NULL,
    mac TEXT NOT NULL,
    name TEXT NOT NULL,
    aliases TEXT NOT NULL,
    rate INTEGER NOT NULL,
    removing INTEGER NOT NULL CHECK (removing IN (0, 1)),
    PRIMARY KEY (network, namespace, container),
    UNIQUE (namespace, container, number)
) WITHOUT ROWID;
CREATE INDEX endpoints_by_container ON endpoints(namespace, container);

CREATE TABLE addresses (
    network TEXT NOT NULL,
    address TEXT NOT NULL,
    prefix INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    container TEXT NOT NULL,
    PRIMARY KEY (network, address),
    FOREIGN KEY (network, namespace, container)
        REFERENCES endpoints(network, namespace, container) ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX addresses_by_endpoint ON addresses(network, namespace, container);

CREATE TABLE last_addresses (
    network TEXT NOT NULL REFERENCES networks(name) ON DELETE CASCADE,
    subnet TEXT NOT NULL,
    address TEXT NOT NULL,
    PRIMARY KEY (network, subnet)
) WITHOUT ROWID;

CREATE TABLE ports (
    protocol TEXT NOT NULL,
    host TEXT NOT NULL,
    host_port INTEGER NOT NULL,
    namespace TEXT NOT NULL,
    container TEXT NOT NULL,
    container_port INTEGER NOT NULL,
    PRIMARY KEY (protocol, host, host_port)
) WITHOUT ROWID;
CREATE INDEX ports_by_container ON ports(namespace, container);
"""

MIGRATIONS = (_FIRST,)
