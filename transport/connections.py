"""Connection files: how a daemon on another host is reached, as `actr keys new` writes it."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from transport.errors import ProtocolError


@dataclass(frozen=True, slots=True)
class Connection:
    """A connection file: whom to call, and who calls. Keys in Z85; `secret` is why the file has mode 0600."""

    endpoint: str
    server: str
    public: str
    secret: str
    name: str = ""
    role: str = ""
    node: str = ""


def read_connection(path: str) -> Connection:
    """Read a connection file. Raises ProtocolError, OSError."""
    try:
        return connection(json.loads(Path(path).read_bytes()[:65536]))
    except (ValueError, TypeError, AttributeError) as error:
        raise ProtocolError(f"{path} is no connection file: actr keys new makes one") from error


def connection(found: Any) -> Connection:
    """From a connection file's content. Raises TypeError, AttributeError for anything else."""
    known = {field.name for field in fields(Connection)}
    return Connection(**{key: str(value) for key, value in found.items() if key in known})
