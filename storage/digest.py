"""Digests: the names of blobs, and the only way a byte from outside becomes trusted.

A `Digest` that exists is well formed (OCI image-spec, "Digests"); whether this build can also compute it
is a second question, asked with `verifiable`.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

from storage.errors import InvalidArgumentError

SHA256: Final = "sha256"
SHA512: Final = "sha512"

# Length of the lower-case hexadecimal text, for each algorithm that this build computes.
HEX_LENGTHS: Final = {SHA256: 64, SHA512: 128}

# Nothing in use is longer than sha512's 135; the rest leaves room for algorithms to come.
MAX_LENGTH: Final = 512

_ALGORITHM: Final = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*")
_ENCODED: Final = re.compile(r"[a-zA-Z0-9=_-]+")
_LOWER_HEX: Final = re.compile(r"[0-9a-f]+")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """The name of some bytes: an algorithm and what it makes of them.

    Raises:
        InvalidArgumentError: The parts break the grammar of OCI image-spec, "Digests".
    """

    algorithm: str
    hex: str

    def __post_init__(self) -> None:
        """Refuse what breaks the grammar, so that no malformed digest exists."""
        expected_length = HEX_LENGTHS.get(self.algorithm)
        if len(self.algorithm) + 1 + len(self.hex) > MAX_LENGTH:
            raise InvalidArgumentError(f"digest is longer than {MAX_LENGTH} characters")
        if not _ALGORITHM.fullmatch(self.algorithm) or not _ENCODED.fullmatch(self.hex):
            raise InvalidArgumentError(f"digest {str(self)!r} is malformed: expected algorithm:hex")
        if expected_length and (len(self.hex) != expected_length or not _LOWER_HEX.fullmatch(self.hex)):
            raise InvalidArgumentError(
                f"digest {str(self)!r} is malformed: "
                f"expected {expected_length} lower-case hexadecimal digits after {self.algorithm}:"
            )

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `algorithm:encoded`.

        Raises:
            InvalidArgumentError: `text` breaks the grammar.
        """
        algorithm, colon, encoded = text[: MAX_LENGTH + 1].partition(":")
        if not colon:
            raise InvalidArgumentError(f"digest {text[:80]!r} is malformed: expected algorithm:hex")
        return cls(algorithm, encoded)

    @classmethod
    def of(cls, content: bytes, algorithm: str = SHA256) -> Self:
        """Compute the digest of bytes that are in memory already."""
        hasher = Hasher(algorithm)
        hasher.update(content)
        return cls(algorithm, hasher.digest().hex)

    @property
    def verifiable(self) -> bool:
        """Whether this build computes the algorithm."""
        return self.algorithm in HEX_LENGTHS


class Hasher:
    """A running digest that also counts.

    Raises:
        InvalidArgumentError: The algorithm is not one that this build computes.
    """

    def __init__(self, algorithm: str = SHA256) -> None:
        if algorithm not in HEX_LENGTHS:
            raise InvalidArgumentError(
                f"digest algorithm {algorithm!r} cannot be verified: use {' or '.join(HEX_LENGTHS)}"
            )
        self.algorithm = algorithm
        self.size = 0
        self._hash = hashlib.new(algorithm)

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take in the next bytes."""
        self._hash.update(chunk)
        self.size += len(chunk)

    def digest(self) -> Digest:
        """The digest of everything so far; more may follow."""
        return Digest(self.algorithm, self._hash.hexdigest())


class Verifier:
    """Compares a stream with the digest, and the size if known, that it was promised to have.

    Raises:
        InvalidArgumentError: The digest's algorithm is not one that this build computes.
    """

    def __init__(self, digest: Digest, size: int | None = None) -> None:
        self.expected = digest
        self.expected_size = size
        self._hasher = Hasher(digest.algorithm)

    @property
    def size(self) -> int:
        """Bytes taken in so far."""
        return self._hasher.size

    def update(self, chunk: bytes | bytearray | memoryview) -> None:
        """Take in the next bytes; size comes before hashing, so an endless stream costs nothing.

        Raises:
            InvalidArgumentError: There are more bytes than promised.
        """
        if self.expected_size is not None and self.size + len(chunk) > self.expected_size:
            raise InvalidArgumentError(
                f"{self.expected} is longer than the {self.expected_size} bytes promised"
            )
        self._hasher.update(chunk)

    def check(self) -> None:
        """Settle it: everything has been taken in.

        Raises:
            InvalidArgumentError: Size or digest differ from what was promised; both are named.
        """
        if self.expected_size is not None and self.size != self.expected_size:
            raise InvalidArgumentError(
                f"{self.expected} has {self.size} bytes instead of {self.expected_size}"
            )
        actual = self._hasher.digest()
        if actual != self.expected:
            raise InvalidArgumentError(f"content has digest {actual} instead of {self.expected}")
