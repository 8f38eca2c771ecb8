"""The JSON schema of the runtime specification, from the distribution: an oracle that we did not write."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator
from referencing import Registry
from referencing.jsonschema import DRAFT4

SCHEMAS = Path("/usr/share/gocode/src/github.com/opencontainers/runtime-spec/schema")


@cache
def _validator() -> Draft4Validator:
    documents = {path: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    registry: Registry[Any] = Registry()
    for path, document in documents.items():
        document.pop("id", None)  # by the file's own name, as the others refer to it
        registry = registry.with_resource(path.name, DRAFT4.create_resource(document))
    main = {**documents[SCHEMAS / "config-schema.json"], "id": "config-schema.json"}
    return Draft4Validator(main, registry=registry)


def violations(spec: dict[str, Any]) -> list[str]:
    """What the schema has against a config.json."""
    return [
        f"{'/'.join(map(str, error.path))}: {error.message[:200]}" for error in _validator().iter_errors(spec)
    ]


_seen: set[str] = set()  # what has been looked at in this session, but for the containers' ids


def violations_in(directory: Path) -> list[str]:
    """The same for every specification that a daemon has kept; one like another is looked at once."""
    found = []
    for path in sorted(directory.glob("*.json")):
        identity, text = path.name.split("+")[1], path.read_text()
        alike = text.replace(identity, "").replace(identity[:12], "")
        if alike not in _seen:
            _seen.add(alike)
            found += [f"{path.name}: {one}" for one in violations(json.loads(text))]
    return found
