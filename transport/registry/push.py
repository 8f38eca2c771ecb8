"""Sending blobs and manifests to one repository at one endpoint (distribution-spec, Pushing).

A blob goes up in one request, or in chunks that can be taken up again where they broke off. Each answer names
the address for the next step; it is used as it stands, whatever it looks like.
"""

import contextlib
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from transport.registry.connections import Answer, redirect_target
from transport.registry.endpoint import Endpoint
from transport.registry.errors import (
    BadContentError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    RegistryError,
    UnavailableError,
)
from transport.registry.exchange import Exchange, Question
from transport.registry.manifest import (
    LARGEST_MANIFEST,
    check_digest,
    check_reference,
    check_repository,
    digest_of,
    is_digest,
)
from transport.registry.retry import persist

SMALL = 16 << 10  # bytes; blobs up to here are tried in a single POST
LARGEST_CHUNK = 1 << 30
MOST_SETBACKS = 4  # in a row, without a byte more at the registry
DELETED = frozenset({200, 202, 204})

Content = Callable[[int], Iterable[bytes]]

_RANGE = re.compile(r"(?:bytes[= ])?0-([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class PutManifest:
    """What became of a manifest; `subject` is the digest whose referrers the registry now lists it under.

    With a `subject` in the manifest and None here, the registry has no referrers API.
    """

    digest: str
    subject: str | None


class _Part:
    """The bytes `start` to `end` of some content, as a request body of known length.

    It begins anew each time it is iterated over, so a request with it may be sent once more.
    """

    replayable = True

    def __init__(self, content: Content, start: int, end: int) -> None:
        self._content = content
        self._start = start
        self._end = end

    def __len__(self) -> int:
        return self._end - self._start

    def __iter__(self) -> Iterator[bytes]:
        left = len(self)
        for piece in self._content(self._start):
            if not left:
                return
            yield piece[:left]
            left -= min(left, len(piece))
        if left:
            raise FailedPreconditionError(
                f"the content to push is {left} bytes shorter than its descriptor says"
            )


class Destination:
    """One repository that is pushed to."""

    def __init__(
        self,
        exchange: Exchange,
        endpoint: Endpoint,
        repository: str,
    ) -> None:
        check_repository(repository)
        self._exchange = exchange
        self._endpoint = endpoint
        self._repository = repository
        self._scopes = (f"repository:{repository}:pull,push",)

    def has_blob(self, digest: str) -> bool:
        """Whether the repository has the blob already."""
        check_digest(digest)
        return self._exists(f"/{self._repository}/blobs/{digest}", f"blob {digest}")

    def has_manifest(self, reference: str) -> bool:
        """Whether the repository has the tag or manifest already."""
        check_reference(reference)
        return self._exists(f"/{self._repository}/manifests/{reference}", f"manifest {reference}")

    def put_blob(
        self,
        digest: str,
        size: int,
        content: Content,
        *,
        mount_from: str | None = None,
        chunk: int | None = None,
    ) -> bool:
        """Make the repository have a blob; False if it was mounted from another one and nothing was sent.

        `content(offset)` gives the bytes from an offset on. `mount_from` names a repository of the same
        registry that should have the blob. With `chunk` it goes up in parts of so many bytes, or as many as
        the registry wants at least, and a part that fails is taken up where the registry says it broke off.

        Raises:
            BadContentError: the registry's answers make no sense.
            RegistryError: it refused, or cannot be reached.
        """
        check_digest(digest)
        started = self._mount(digest, mount_from) if mount_from is not None else None
        if started is not None and started.status == 201:
            return False
        started = started or self._begin(digest, size, content)
        if started.status == 201:
            return True
        upload = _location(started)
        try:
            if chunk is not None:
                upload = self._put_chunks(upload, digest, size, content, _chunk_size(started, chunk))
                self._finish(upload, digest, _Part(content, size, size))
            else:
                self._finish(upload, digest, _Part(content, 0, size))
        except Exception:
            self._cancel(upload, digest)
            raise
        return True

    def put_manifest(self, reference: str, media_type: str, body: bytes) -> PutManifest:
        """Store a manifest or index under a tag or its digest; the same again changes nothing.

        Raises:
            InvalidArgumentError: it is larger than 4 MiB, or `reference` is another content's digest.
            BadContentError: the registry stored something else.
        """
        check_reference(reference)
        digest = digest_of(body, reference if is_digest(reference) else "sha256:")
        if len(body) > LARGEST_MANIFEST or (is_digest(reference) and digest != reference):
            raise InvalidArgumentError(
                f"manifest {reference} cannot be pushed: more than 4 MiB, or another content"
            )
        path = f"/{self._repository}/manifests/{reference}"
        answer = self._ask(
            "PUT", f"manifest {reference}", path=path, headers={"Content-Type": media_type}, body=body,
            welcome={201},
        )  # fmt: skip
        answer.close()
        stored = answer.headers.get("Docker-Content-Digest", digest).strip()
        if stored.startswith(digest.partition(":")[0]) and stored != digest:
            raise BadContentError(f"manifest {reference} was stored as {stored} instead of {digest}")
        subject = answer.headers.get("OCI-Subject", "").strip()
        return PutManifest(digest, subject if is_digest(subject) else None)

    def delete_manifest(self, reference: str) -> None:
        """Delete a manifest by its digest, or only a tag where the registry can.

        Raises:
            NotFoundError: it is not there.
            FailedPreconditionError: the registry does not delete.
        """
        check_reference(reference)
        path = f"/{self._repository}/manifests/{reference}"
        self._ask("DELETE", f"manifest {reference}", path=path, welcome=DELETED).close()

    def delete_blob(self, digest: str) -> None:
        """Delete a blob; errors as `delete_manifest`."""
        check_digest(digest)
        path = f"/{self._repository}/blobs/{digest}"
        self._ask("DELETE", f"blob {digest}", path=path, welcome=DELETED).close()

    def _exists(self, path: str, what: str) -> bool:
        try:
            self._ask("HEAD", what, path=path, welcome={200}).close()
        except NotFoundError:
            return False
        return True

    def _mount(self, digest: str, source: str) -> Answer | None:
        """Have it from another repository (201), or an upload opened (202); None where that is refused.

        That the other one has it, and that we may read there, is a guess: no reason not to push.
        """
        check_repository(source)
        query = {"mount": digest, "from": source}
        try:
            answer = self._ask(
                "POST", f"blob {digest}", path=f"/{self._repository}/blobs/uploads/", query=query,
                welcome={201, 202}, source=source,
            )  # fmt: skip
        except RegistryError as error:
            if error.retryable:
                raise
            return None
        answer.close()
        return answer

    def _begin(self, digest: str, size: int, content: Content) -> Answer:
        """Open an upload (202), or be done at once (201)."""
        query: dict[str, str] = {}
        body: bytes | None = None
        if size <= SMALL:
            query = {"digest": digest}
            body = b"".join(_Part(content, 0, size))
        answer = self._ask(
            "POST", f"blob {digest}", path=f"/{self._repository}/blobs/uploads/", query=query, body=body,
            headers=_OCTETS if body is not None else {}, welcome={201, 202},
        )  # fmt: skip
        answer.close()
        return answer

    def _put_chunks(self, upload: str, digest: str, size: int, content: Content, chunk: int) -> str:
        """Send everything in PATCH requests; the address for the step after them."""
        offset = setbacks = furthest = 0
        while offset < size:
            end = min(offset + chunk, size)
            try:
                upload, reached = self._put_chunk(upload, digest, _Part(content, offset, end), offset, end)
            except UnavailableError:
                if setbacks >= MOST_SETBACKS:
                    raise
                upload, reached = self._status(upload, digest)
            if reached > size:
                raise BadContentError(f"blob {digest}: the registry claims {reached} of {size} bytes")
            setbacks = 0 if reached > furthest else setbacks + 1
            if setbacks > MOST_SETBACKS:
                raise UnavailableError(f"blob {digest}: the registry takes no more than {offset} bytes")
            offset, furthest = reached, max(furthest, reached)
        return upload

    def _put_chunk(self, upload: str, digest: str, part: _Part, offset: int, end: int) -> tuple[str, int]:
        headers = {**_OCTETS, "Content-Range": f"{offset}-{end - 1}"}
        answer = self._ask(
            "PATCH", f"blob {digest}", url=upload, headers=headers, body=part, welcome={201, 202, 204, 416}
        )
        answer.close()
        if answer.status == 416:  # it has another idea of where we are
            upload, reached = self._status(upload, digest)
            # `0-0` is said of one byte, too: it is that, where the registry does not go on from none.
            return upload, int(offset == 0) if reached == 0 else reached
        return _location(answer), _reached(answer, end)

    def _status(self, upload: str, digest: str) -> tuple[str, int]:
        """Where an upload goes on, and how many bytes the registry has; asked again if it cannot answer."""
        answer = persist(
            lambda: self._ask("GET", f"blob {digest}", url=upload, welcome={200, 204}), time.sleep
        )
        answer.close()
        return (_location(answer) if answer.headers.get("Location") else upload), _reached(answer, 0)

    def _finish(self, upload: str, digest: str, part: _Part) -> None:
        """Close an upload with what is left of its content."""
        url = f"{upload}{'&' if '?' in upload else '?'}digest={quote(digest, safe=':')}"
        body = part if len(part) else b""
        answer = self._ask("PUT", f"blob {digest}", url=url, headers=_OCTETS, body=body, welcome={201, 204})
        answer.close()

    def _cancel(self, upload: str, digest: str) -> None:
        """Tell the registry that an upload will not go on; it forgets it some day in any case."""
        with contextlib.suppress(RegistryError):
            self._ask("DELETE", f"blob {digest}", url=upload, welcome=DELETED).close()

    def _ask(
        self,
        method: str,
        what: str,
        *,
        welcome: Collection[int],
        path: str = "",
        url: str = "",
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: bytes | _Part | None = None,
        source: str | None = None,
    ) -> Answer:
        scopes = (*self._scopes, f"repository:{source}:pull") if source else self._scopes
        where = f"{what} of {self._repository} at {self._endpoint.authority}"
        question = Question(where, method, path, url, scopes, query or {}, headers or {}, body)
        return self._exchange.ask(self._endpoint, question, welcome=welcome)


_OCTETS = {"Content-Type": "application/octet-stream"}


def _location(answer: Answer) -> str:
    """The address of the next step: absolute, relative, with or without a query."""
    location: str = answer.headers.get("Location", "")
    return redirect_target(answer.url, location)


def _reached(answer: Answer, otherwise: int) -> int:
    """How many bytes the registry has, by its Range header; `0-0` stands for none."""
    claim = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
    if claim is None:
        return otherwise
    last = int(claim[1])
    return last + 1 if last else 0


def _chunk_size(answer: Answer, wanted: int) -> int:
    """The size of chunks: what we want, but not below what the registry wants at least."""
    text = answer.headers.get("OCI-Chunk-Min-Length", "").strip()
    least = int(text) if re.fullmatch("[0-9]{1,18}", text) else 0
    if least > LARGEST_CHUNK:
        raise BadContentError(f"registry {answer.authority} wants chunks of {least} bytes, which is refused")
    return max(wanted, least, 1)
