"""The registry client: one call for each thing that can be asked, over all endpoints that may answer it.

Nothing is tried twice at the same endpoint here: `retry` says when to, the caller decides. Errors are those
of `errors`; of several endpoints the last one's is raised, which is the registry's own after its mirrors.
"""

from collections.abc import Callable, Collection
from typing import TypeVar

from transport.registry import listing
from transport.registry.auth import Authorizer
from transport.registry.blob import BlobStream, Pace, Span, open_blob
from transport.registry.connections import Connections, check_url
from transport.registry.credentials import Credentials, NoCredentials
from transport.registry.endpoint import PULL, PUSH, RESOLVE, Endpoint, repository_path
from transport.registry.errors import (
    BadContentError,
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    RegistryError,
)
from transport.registry.exchange import Exchange, Question
from transport.registry.hosts import Hosts
from transport.registry.manifest import (
    ACCEPT,
    LARGEST_MANIFEST,
    Manifest,
    Resolved,
    check_digest,
    check_reference,
    check_repository,
    described,
    is_digest,
    verified,
)
from transport.registry.push import Destination

Result = TypeVar("Result")


class RegistryClient:
    """Asks registries. May be used by several threads; keeps connections and tokens until closed."""

    def __init__(
        self,
        hosts: Hosts,
        credentials: Credentials,
        user_agent: str,
        *,
        connections: Connections | None = None,
        pace: Pace | None = None,
    ) -> None:
        self._hosts = hosts
        self._connections = connections or Connections(user_agent)
        self._exchange = Exchange(self._connections, Authorizer(self._connections, credentials))
        self._pace = pace or Pace()

    @property
    def warnings(self) -> list[str]:
        """What registries warned of, each text once; to be shown, never to be acted on."""
        return self._exchange.warnings

    def close(self) -> None:
        """End idle connections."""
        self._connections.close()

    def ping(self, host: str) -> None:
        """Return if the registry answers and accepts the login, if there is one (end-1)."""
        question = Question(f"registry {host}", "GET", "/")
        self._first(host, PUSH, lambda endpoint: self._exchange.ask(endpoint, question).close())

    def resolve(self, host: str, repository: str, reference: str) -> Resolved:
        """What a tag or digest stands for: digest, media type and size (end-3).

        Raises:
            NotFoundError: no such repository, tag or manifest.
            BadContentError: the registry contradicts itself.
        """
        path = _repository(host, repository)
        check_reference(reference)
        return self._first(
            host,
            PULL if is_digest(reference) else RESOLVE,
            lambda endpoint: self._resolve(endpoint, path, reference),
        )

    def fetch_manifest(
        self, host: str, repository: str, reference: str, media_type: str | None = None
    ) -> Manifest:
        """The manifest or index of a tag or digest, verified (end-3).

        `media_type` is that of the descriptor that named the digest.

        Raises:
            NotFoundError: no such repository, tag or manifest.
            BadContentError: more than 4 MiB, wrong digest, contradicting media types or Docker's schema 1.
        """
        path = _repository(host, repository)
        check_reference(reference)
        return self._first(
            host,
            PULL if is_digest(reference) else RESOLVE,
            lambda endpoint: self._manifest(endpoint, path, reference, media_type),
        )

    def fetch_blob(
        self,
        host: str,
        repository: str,
        digest: str,
        size: int,
        offset: int = 0,
        *,
        end: int | None = None,
        avoid: Collection[str] = (),
    ) -> BlobStream:
        """The bytes of a blob of `size` bytes from `offset` up to `end` (end-2).

        `avoid` names endpoints (host:port) that have failed before: they are asked last. The digest is not
        verified here.

        Raises:
            NotFoundError: no such blob.
            BadContentError: the registry's idea of size or range is another.
        """
        path = _repository(host, repository)
        check_digest(digest)
        question = Question(
            f"blob {digest} of {path} at {host}",
            "GET",
            f"/{path}/blobs/{digest}",
            scopes=_pull_scope(path),
        )
        span = Span(offset, size if end is None else end, size)
        return self._first(
            host,
            PULL,
            lambda endpoint: open_blob(self._exchange, endpoint, question, span, self._pace),
            avoid,
        )

    def fetch_url(self, url: str, digest: str, size: int, offset: int = 0) -> BlobStream:
        """A blob from an address that its descriptor names: without credentials, whatever host it is."""
        check_url(url)
        scheme, _, rest = url.partition("://")
        endpoint = Endpoint(rest.partition("/")[0], scheme, rest.partition("/")[0])
        anonymous = Exchange(self._connections, Authorizer(self._connections, NoCredentials()))
        question = Question(f"blob {digest} at {endpoint.authority}", "GET", url=url)
        return open_blob(anonymous, endpoint, question, Span(offset, size, size), self._pace)

    def tags(self, host: str, repository: str) -> list[str]:
        """All tags of a repository, in the registry's order (end-8)."""
        path = _repository(host, repository)
        return self._first(host, RESOLVE, lambda endpoint: listing.tags(self._exchange, endpoint, path))

    def catalog(self, host: str) -> list[str]:
        """All repositories of a registry, where it tells."""
        return self._first(host, RESOLVE, lambda endpoint: listing.catalog(self._exchange, endpoint))

    def referrers(
        self, host: str, repository: str, digest: str, artifact_type: str | None = None
    ) -> list[listing.Document]:
        """Descriptors of the manifests that refer to `digest` as their subject (end-12)."""
        path = _repository(host, repository)
        return self._first(
            host,
            RESOLVE,
            lambda endpoint: listing.referrers(self._exchange, endpoint, path, digest, artifact_type),
        )

    def destination(self, host: str, repository: str) -> Destination:
        """The repository to push to, at the first endpoint that takes pushes for `host`.

        Raises:
            FailedPreconditionError: none does.
        """
        path = _repository(host, repository)
        return self._first(host, PUSH, lambda endpoint: Destination(self._exchange, endpoint, path))

    def _resolve(self, endpoint: Endpoint, path: str, reference: str) -> Resolved:
        question = _manifest_question("HEAD", endpoint, path, reference)
        try:
            answer = self._exchange.ask(endpoint, question)
        except (NotFoundError, FailedPreconditionError, InvalidArgumentError) as error:
            if isinstance(error, BadContentError):
                raise
            found = None  # some know no HEAD, and say so in many ways: GET decides
        else:
            answer.close()
            found = described(answer.headers, answer.length)
        if found is None:
            manifest = self._manifest(endpoint, path, reference, None)
            return Resolved(manifest.digest, manifest.media_type, manifest.size, manifest.body)
        if is_digest(reference) and found.digest != reference:
            raise BadContentError(f"{question.what}: the registry answered with digest {found.digest}")
        return found

    def _manifest(self, endpoint: Endpoint, path: str, reference: str, media_type: str | None) -> Manifest:
        question = _manifest_question("GET", endpoint, path, reference)
        answer = self._exchange.ask(endpoint, question)
        body = answer.document(LARGEST_MANIFEST, question.what)
        stated = answer.headers.get("Docker-Content-Digest", "").strip()
        digest = reference if is_digest(reference) else stated if is_digest(stated) else None
        return verified(body, answer.headers.get("Content-Type"), digest, media_type, question.what)

    def _first(
        self,
        host: str,
        capability: str,
        operation: Callable[[Endpoint], Result],
        avoid: Collection[str] = (),
    ) -> Result:
        """The result of the first endpoint that has one."""
        endpoints = self._hosts.serving(host, capability)
        last: RegistryError = FailedPreconditionError(
            f"no server may be used to {capability} from {host}; see its hosts.toml"
        )
        for endpoint in sorted(endpoints, key=lambda endpoint: endpoint.authority in avoid):
            try:
                return operation(endpoint)
            except RegistryError as error:
                last = error
        raise last


def _manifest_question(method: str, endpoint: Endpoint, path: str, reference: str) -> Question:
    return Question(
        f"manifest {reference} of {path} at {endpoint.authority}",
        method,
        f"/{path}/manifests/{reference}",
        scopes=_pull_scope(path),
        headers={"Accept": ACCEPT},
    )


def _repository(host: str, repository: str) -> str:
    path = repository_path(host, repository)
    check_repository(path)
    return path


def _pull_scope(path: str) -> tuple[str, ...]:
    return (f"repository:{path}:pull",)
