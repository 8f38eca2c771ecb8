"""Lists that come in pages: tags, repositories, referrers.

A registry continues a list with a Link header (distribution-spec, Listing Tags). Pages, entries and bytes are
bounded, and a list that leads back to itself or to another server is refused.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urljoin

from transport.registry.connections import Answer, origin
from transport.registry.endpoint import Endpoint
from transport.registry.errors import BadContentError, NotFoundError
from transport.registry.exchange import Exchange, Question
from transport.registry.manifest import (
    ACCEPT,
    LARGEST_MANIFEST,
    OCI_INDEX,
    bare_type,
    check_digest,
    check_repository,
    is_digest,
    is_tag,
    load_object,
)

MOST_PAGES = 1000
MOST_ENTRIES = 200_000
LARGEST_PAGE = LARGEST_MANIFEST

_LINK = re.compile(r"<([^<>]{1,8192})>([^<]*)")
_NEXT = re.compile(r';\s*rel\s*=\s*"?next"?\s*(?:[;,]|$)', re.IGNORECASE)

Document = dict[str, Any]


def tags(exchange: Exchange, endpoint: Endpoint, repository: str) -> list[str]:
    """All tags of a repository, in the registry's order, each once.

    Raises:
        NotFoundError: there is no such repository.
        BadContentError: the list is malformed or without end.
    """
    check_repository(repository)
    question = Question(
        f"tags of {repository} at {endpoint.authority}",
        "GET",
        f"/{repository}/tags/list",
        scopes=(f"repository:{repository}:pull",),
    )
    return _texts(exchange, endpoint, question, "tags", is_tag)


def catalog(exchange: Exchange, endpoint: Endpoint) -> list[str]:
    """All repositories, where the registry tells (no part of the specification, but widespread)."""
    question = Question(
        f"catalogue of {endpoint.authority}", "GET", "/_catalog", scopes=("registry:catalog:*",)
    )
    return _texts(exchange, endpoint, question, "repositories", lambda name: 0 < len(name) < 256)


def referrers(
    exchange: Exchange, endpoint: Endpoint, repository: str, digest: str, artifact_type: str | None
) -> list[Document]:
    """The descriptors of the manifests whose subject is `digest`, of one artifact type or of all.

    A registry without the referrers API is asked for the tag that clients keep instead.
    """
    check_repository(repository)
    check_digest(digest)
    question = Question(
        f"referrers of {digest} in {repository} at {endpoint.authority}",
        "GET",
        f"/{repository}/referrers/{digest}",
        scopes=(f"repository:{repository}:pull",),
        query={"artifactType": artifact_type} if artifact_type else {},
        headers={"Accept": OCI_INDEX},
    )
    try:
        found = [
            entry for page in _pages(exchange, endpoint, question, OCI_INDEX) for entry in _entries(page)
        ]
    except NotFoundError:
        found = _tagged_referrers(exchange, endpoint, question, repository, digest)
    # Filtering again does no harm where OCI-Filters-Applied says that the registry has done it.
    unique = {entry["digest"]: entry for entry in found}
    return [
        entry for entry in unique.values() if not artifact_type or entry.get("artifactType") == artifact_type
    ]


def fallback_tag(digest: str) -> str:
    """The tag under which clients list referrers of `digest` (distribution-spec, Referrers Tag Schema)."""
    algorithm, _, encoded = digest.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"


def _tagged_referrers(
    exchange: Exchange, endpoint: Endpoint, question: Question, repository: str, digest: str
) -> list[Document]:
    path = f"/{repository}/manifests/{fallback_tag(digest)}"
    tagged = replace(question, path=path, query={}, headers={"Accept": ACCEPT})
    try:
        answer = exchange.ask(endpoint, tagged)
    except NotFoundError:
        return []
    body = answer.document(LARGEST_MANIFEST, question.what)
    return _entries(load_object(body, question.what))


def _entries(page: Document) -> list[Document]:
    """The usable descriptors of an index; anybody may have pushed it, so the rest is left out."""
    entries = page.get("manifests")
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, dict) and is_digest(str(entry.get("digest", "")))]


def _texts(exchange: Exchange, endpoint: Endpoint, question: Question, key: str, fits: Any) -> list[str]:
    texts: dict[str, None] = {}
    for page in _pages(exchange, endpoint, question):
        entries = page.get(key) or []
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise BadContentError(f"{question.what}: the registry sent something else than a list")
        texts.update(dict.fromkeys(entry for entry in entries if fits(entry)))
        if len(texts) > MOST_ENTRIES:
            raise BadContentError(f"{question.what}: more than {MOST_ENTRIES} entries")
    return list(texts)


def _pages(
    exchange: Exchange, endpoint: Endpoint, question: Question, media_type: str | None = None
) -> Iterator[Document]:
    """The documents of all pages; NotFoundError if the first is not of `media_type` where one is named."""
    seen: set[str] = set()
    for _ in range(MOST_PAGES):
        answer = exchange.ask(endpoint, question)
        body = answer.document(LARGEST_PAGE, question.what)
        if media_type and bare_type(answer.headers.get("Content-Type")) != media_type:
            raise NotFoundError(f"{question.what}: not known to the registry")
        yield load_object(body, question.what)
        following = _next_page(answer, endpoint, question.what)
        if following is None:
            return
        if following in seen:
            raise BadContentError(f"{question.what}: the list leads back to itself")
        seen.add(following)
        question = replace(question, url=following)
    raise BadContentError(f"{question.what}: more than {MOST_PAGES} pages")


def _next_page(answer: Answer, endpoint: Endpoint, what: str) -> str | None:
    """The address of the next page by the Link header (RFC 8288)."""
    for line in answer.headers.getlist("Link"):
        for target, parameters in _LINK.findall(line):
            if not _NEXT.search(parameters):
                continue
            address: str = urljoin(answer.url, target)
            if origin(address) != origin(endpoint.base):
                raise BadContentError(f"{what}: the list continues at another server, which is refused")
            return address
    return None
