"""Image references as people type them, and the one canonical form that is stored and sent.

The grammar is that of Docker's and OCI's references: `[domain/]path[:tag][@digest]`.
"""

import re
from dataclasses import dataclass, replace
from typing import Final, Self

from storage.digest import Digest
from storage.errors import InvalidArgumentError

DEFAULT_DOMAIN: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
OFFICIAL_PREFIX: Final = "library/"
MAX_NAME_LENGTH: Final = 255
MAX_LENGTH: Final = 1024

_LEGACY_DOMAIN: Final = "index.docker.io"
_LABEL: Final = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:.]+\])(?::[0-9]{{1,5}})?")
_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_BARE_ID: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Reference:
    """Where an image is, with the defaults filled in. It always has a tag, a digest, or both.

    Raises:
        InvalidArgumentError: A part breaks the grammar, or neither tag nor digest is given.
    """

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        """Refuse what breaks the grammar, so that no malformed reference exists."""
        expected = _expectation(self.domain, self.path, self.tag)
        if expected or (self.tag is None and self.digest is None):
            raise _malformed(str(self), expected or "a tag or a digest")

    @property
    def name(self) -> str:
        """Domain and path: the repository, without the version."""
        return f"{self.domain}/{self.path}"

    def __str__(self) -> str:
        return self.name + self._version()

    def familiar(self) -> str:
        """The shortest text that `parse` reads as this reference (the tag stays)."""
        path = self.path
        if self.domain != DEFAULT_DOMAIN:
            return str(self)
        if path.startswith(OFFICIAL_PREFIX) and path.count("/") == 1:
            path = path.removeprefix(OFFICIAL_PREFIX)
        elif _is_domain(path.partition("/")[0]):
            path = self.name
        return path + self._version()

    def with_digest(self, digest: Digest) -> "Reference":
        """The same image, pinned."""
        return replace(self, digest=digest)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what somebody typed: `busybox`, `host:5000/a/b:1`, `name@sha256:...`, `name:tag@digest`.

        docker.io, `library/` and the tag `latest` are what is meant when left out.

        Raises:
            InvalidArgumentError: The text breaks the grammar; the error names it and what is expected.
        """
        if len(text) > MAX_LENGTH:
            raise _malformed(text, f"at most {MAX_LENGTH} characters")
        if _BARE_ID.fullmatch(text):
            raise _malformed(text, "a name, but this is a digest without one")
        rest, at, digest_text = text.partition("@")
        digest = _parse_digest(text, digest_text) if at else None
        rest, tag = _split_tag(rest)
        domain, path = _split_domain(rest)
        expected = _expectation(domain, path, tag)
        if expected:
            raise _malformed(text, expected)  # with what was typed, before the defaults
        if tag is None and digest is None:
            tag = DEFAULT_TAG
        return cls(domain, path, tag, digest)

    def _version(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        return tag if self.digest is None else f"{tag}@{self.digest}"


def _is_domain(text: str) -> bool:
    """Whether the first component of a reference is a registry and not a user of docker.io."""
    return "." in text or ":" in text or text == "localhost"


def _parse_digest(reference: str, text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidArgumentError as error:
        raise _malformed(
            reference, "a digest as sha256:<64 lower-case hexadecimal digits> after @"
        ) from error


def _split_tag(text: str) -> tuple[str, str | None]:
    name, colon, tag = text.rpartition(":")
    if not colon or "/" in tag:
        return text, None  # the colon, if any, stands before a port
    return name, tag


def _split_domain(name: str) -> tuple[str, str]:
    domain, slash, path = name.partition("/")
    if not slash or not _is_domain(domain):
        domain, path = DEFAULT_DOMAIN, name
    if domain == _LEGACY_DOMAIN:
        domain = DEFAULT_DOMAIN
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = OFFICIAL_PREFIX + path
    return domain, path


def _expectation(domain: str, path: str, tag: str | None) -> str | None:
    """What the first broken part should have been; None when nothing is broken."""
    if not _is_domain(domain) or not _DOMAIN.fullmatch(domain) or domain == _LEGACY_DOMAIN:
        return "a registry as host.domain, host:port or localhost"
    if len(domain) + 1 + len(path) > MAX_NAME_LENGTH:
        return f"a name of at most {MAX_NAME_LENGTH} characters"
    if not _PATH.fullmatch(path):
        return "a path of lower-case letters, digits and single separators . _ -"
    if domain == DEFAULT_DOMAIN and "/" not in path:
        return f"a path with {OFFICIAL_PREFIX} before it"
    if tag is not None and not _TAG.fullmatch(tag):
        return "a tag of at most 128 letters, digits and . _ -"
    return None


def _malformed(text: str, expected: str) -> InvalidArgumentError:
    return InvalidArgumentError(f"image reference {text[:300]!r} is malformed: expected {expected}")
