"""Manifests as a registry sends them: named, bounded, verified.

Only what a transfer needs is read here: the digest and the media type. What is inside belongs to the stores.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from transport.registry.errors import BadContentError, InvalidArgumentError

LARGEST_MANIFEST = 4 << 20  # distribution-spec, Pushing Manifests
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
ACCEPT = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_LIST}, {DOCKER_MANIFEST}, */*;q=0.1"

_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"
_GENERIC = frozenset({"", "application/json", "application/octet-stream", "text/plain"})
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index whose bytes have the digest `digest`."""

    digest: str
    media_type: str
    size: int  # bytes
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a tag or digest stands for at a registry; `body` where it had to be fetched to find out."""

    digest: str
    media_type: str
    size: int  # bytes
    body: bytes | None = field(default=None, repr=False)


def is_digest(text: str) -> bool:
    """Whether this is a digest that can be verified: sha256 or sha512 in lower case."""
    return _DIGEST.fullmatch(text) is not None


def is_tag(text: str) -> bool:
    """Whether this can be a tag (distribution-spec, Pulling Manifests)."""
    return _TAG.fullmatch(text) is not None


def check_repository(repository: str) -> None:
    """Raise InvalidArgumentError unless this can be a repository's name (distribution-spec)."""
    if len(repository) > 255 or not _REPOSITORY.fullmatch(repository):
        raise InvalidArgumentError(f"repository name {repository[:80]!r} is malformed")


def check_digest(digest: str) -> None:
    """Raise InvalidArgumentError unless this is a digest that can be verified."""
    if not is_digest(digest):
        raise InvalidArgumentError(f"digest {digest[:80]!r} is malformed or of an unsupported algorithm")


def check_reference(reference: str) -> None:
    """Raise InvalidArgumentError unless this is a tag or a digest that can be verified."""
    if not is_digest(reference) and not is_tag(reference):
        raise InvalidArgumentError(f"{reference[:80]!r} is neither a tag nor a digest of a supported kind")


def digest_of(body: bytes, like: str = "sha256:") -> str:
    """The digest of `body` by the algorithm of the digest `like`."""
    algorithm = like.partition(":")[0]
    return f"{algorithm}:{hashlib.new(algorithm, body).hexdigest()}"


def bare_type(content_type: str | None) -> str:
    """A Content-Type without its parameters, in lower case; empty when there is none."""
    return (content_type or "").partition(";")[0].strip().lower()


def described(headers: Mapping[str, str], length: int | None) -> Resolved | None:
    """What the headers of a successful HEAD say, if they say everything: digest, type, length."""
    digest = headers.get("Docker-Content-Digest", "").strip()
    media_type = bare_type(headers.get("Content-Type"))
    if not is_digest(digest) or length is None or media_type in _GENERIC:
        return None
    if length > LARGEST_MANIFEST:
        raise BadContentError(f"manifest {digest} of {length} bytes is larger than the 4 MiB allowed")
    return Resolved(digest, media_type, length)


def verified(
    body: bytes, content_type: str | None, digest: str | None, expected: str | None, what: str
) -> Manifest:
    """The manifest in `body`.

    With `digest` its content is beyond doubt, and `expected`, the media type in the descriptor that named it,
    wins over the server's Content-Type. Without, server and document must agree (CVE-2021-41190).

    Raises:
        BadContentError: wrong digest, contradicting media types, no JSON object, or Docker's schema 1.
    """
    actual = digest_of(body, digest or "sha256:")
    if digest is not None and actual != digest:
        raise BadContentError(f"{what}: the registry sent content with digest {actual} instead")
    document = load_object(body, what)
    named = document.get("mediaType", "")
    claimed = expected or bare_type(content_type)
    if not isinstance(named, str) or (named and claimed not in _GENERIC and named.lower() != claimed.lower()):
        raise BadContentError(
            f"{what}: it says that it is {str(named)[:100]!r}, but was announced as {claimed[:100]!r}"
        )
    media_type = claimed if claimed not in _GENERIC else named
    if media_type.lower().startswith(_SCHEMA_1) or document.get("schemaVersion") == 1:
        raise BadContentError(f"{what} is of Docker's schema 1, which is not supported; push it again as OCI")
    if not media_type:
        raise BadContentError(f"{what}: neither the registry nor the document names a media type")
    return Manifest(actual, media_type, len(body), body)


def load_object(body: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `body`; names that occur twice are refused, as two readers may differ on them."""
    try:
        document = json.loads(body.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        raise BadContentError(f"{what}: the registry sent no valid JSON") from None
    if not isinstance(document, dict):
        raise BadContentError(f"{what}: the registry sent JSON that is no object")
    return document


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name occurs twice")
    return document
