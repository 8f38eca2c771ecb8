import json

import pytest

from tests.scripted_registry import OCI_INDEX, OCI_MANIFEST, Answer, digest_of
from transport.registry import listing
from transport.registry.errors import BadContentError, NotFoundError, UnavailableError
from transport.registry.listing import fallback_tag

TAGS = "/v2/a/b/tags/list"
SUBJECT = digest_of(b"subject")
REFERRERS = f"/v2/a/b/referrers/{SUBJECT}"
FALLBACK = f"/v2/a/b/manifests/{fallback_tag(SUBJECT)}"


def page(tags, link=None):
    headers = {"Link": link} if link else {}
    return Answer(200, json.dumps({"name": "a/b", "tags": tags}).encode(), headers)


def descriptor(name, artifact_type="text/sbom"):
    return {
        "mediaType": OCI_MANIFEST,
        "digest": digest_of(name.encode()),
        "size": 5,
        "artifactType": artifact_type,
    }


def index(*entries, content_type=OCI_INDEX, **headers):
    body = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": list(entries)})
    return Answer(200, body.encode(), {"Content-Type": content_type, **headers})


def test_tags_of_all_pages_each_once(registry, client):
    registry.on(
        "GET",
        TAGS,
        page(["b", "a"], '</v2/a/b/tags/list?last=a&n=2>; rel="next"'),
        page(["a", "c"], f'<{registry.url}/v2/a/b/tags/list?last=c&n=2>; n="1"; rel=next'),
        page(["d"], "</v2/a/b/tags/list?x>; rel=prev"),
    )
    assert client.tags(registry.host, "a/b") == ["b", "a", "c", "d"]
    queries = [asked.path.partition("?")[2] for asked in registry.asked]
    assert queries == ["", "last=a&n=2", "last=c&n=2"]


def test_several_links_in_one_line(registry, client):
    link = '</first>; rel="first", <list?last=a>; rel="next"'
    registry.on("GET", TAGS, page(["a"], link), page(["b"]))
    assert client.tags(registry.host, "a/b") == ["a", "b"]


@pytest.mark.parametrize("tags", [None, []])
def test_a_repository_without_tags(registry, client, tags):
    registry.on("GET", TAGS, page(tags))
    assert client.tags(registry.host, "a/b") == []


def test_a_repository_that_is_missing(registry, client):
    with pytest.raises(NotFoundError, match="tags of a/b"):
        client.tags(registry.host, "a/b")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"tags": "a"}', b'{"tags": [1]}', b'{"tags": {"a": 1}}'])
def test_nonsense_is_refused(registry, client, body):
    registry.on("GET", TAGS, Answer(200, body))
    with pytest.raises(BadContentError):
        client.tags(registry.host, "a/b")


def test_impossible_tags_are_left_out(registry, client):
    registry.on("GET", TAGS, page(["fine", "\x1b[31m", "../x", ""]))
    assert client.tags(registry.host, "a/b") == ["fine"]


def test_a_list_that_leads_back_to_itself_is_refused(registry, client):
    registry.on("GET", TAGS, page(["a"], "</v2/a/b/tags/list?n=1>; rel=next"))
    with pytest.raises(BadContentError, match="back to itself"):
        client.tags(registry.host, "a/b")
    assert len(registry.asked) == 2


def test_a_list_without_end_is_refused(registry, client, monkeypatch):
    monkeypatch.setattr(listing, "MOST_PAGES", 20)
    count = iter(range(1000))
    registry.on("GET", TAGS, lambda _: page(["a"], f"</v2/a/b/tags/list?n={next(count)}>; rel=next"))
    with pytest.raises(BadContentError, match="more than 20 pages"):
        client.tags(registry.host, "a/b")


def test_too_many_entries_are_refused(registry, client, monkeypatch):
    monkeypatch.setattr(listing, "MOST_ENTRIES", 100)
    registry.on("GET", TAGS, page([f"t{number}" for number in range(101)]))
    with pytest.raises(BadContentError, match="more than 100 entries"):
        client.tags(registry.host, "a/b")


def test_a_page_that_is_too_large_is_refused(registry, client):
    registry.on("GET", TAGS, Answer(200, b" " * (1 << 20), endless=True))
    with pytest.raises(BadContentError, match="larger than"):
        client.tags(registry.host, "a/b")


def test_a_list_that_goes_on_elsewhere_is_refused(registry, other, logged_in):
    registry.on("GET", TAGS, page(["a"], f"<{other.url}{TAGS}>; rel=next"))
    with pytest.raises(BadContentError, match="another server"):
        logged_in.tags(registry.host, "a/b")
    assert not other.asked


def test_a_failure_on_a_later_page_is_an_error(registry, client):
    registry.on("GET", TAGS, page(["a"], "</v2/a/b/tags/list?n=1>; rel=next"), Answer(503))
    with pytest.raises(UnavailableError):
        client.tags(registry.host, "a/b")


def test_the_catalogue(registry, client):
    registry.on("GET", "/v2/_catalog", Answer(200, b'{"repositories": ["a/b", "c"]}'))
    assert client.catalog(registry.host) == ["a/b", "c"]


def test_referrers_of_all_pages(registry, client):
    registry.on(
        "GET",
        REFERRERS,
        index(descriptor("one"), descriptor("two"), Link=f"<{REFERRERS}?n=2>; rel=next"),
        index(descriptor("three"), descriptor("one")),
    )
    found = client.referrers(registry.host, "a/b", SUBJECT)
    assert found == [descriptor("one"), descriptor("two"), descriptor("three")]


@pytest.mark.parametrize("headers", [{}, {"OCI-Filters-Applied": "artifactType"}])
def test_referrers_of_one_type_whether_or_not_the_registry_filters(registry, client, headers):
    registry.on("GET", REFERRERS, index(descriptor("one"), descriptor("two", "text/other"), **headers))
    assert client.referrers(registry.host, "a/b", SUBJECT, "text/sbom") == [descriptor("one")]
    assert registry.asked[0].path.endswith("?artifactType=text%2Fsbom")


@pytest.mark.parametrize("missing", [Answer(404), index(content_type="text/html"), Answer(200, b"<html>")])
def test_without_the_api_the_tag_is_asked(registry, client, missing):
    registry.on("GET", REFERRERS, missing)
    registry.on("GET", FALLBACK, index(descriptor("one"), descriptor("two", "text/other")))
    assert client.referrers(registry.host, "a/b", SUBJECT, "text/sbom") == [descriptor("one")]


def test_without_api_and_tag_there_are_none(registry, client):
    assert client.referrers(registry.host, "a/b", SUBJECT) == []
    assert [asked.path for asked in registry.asked] == [REFERRERS, FALLBACK]


def test_a_registry_in_trouble_is_not_mistaken_for_one_without_the_api(registry, client):
    registry.on("GET", REFERRERS, Answer(503))
    with pytest.raises(UnavailableError):
        client.referrers(registry.host, "a/b", SUBJECT)


def test_entries_that_are_no_descriptors_are_left_out(registry, client):
    registry.on("GET", REFERRERS, index(descriptor("one"), 5, {}, {"digest": "x"}, {"digest": [1]}))
    assert client.referrers(registry.host, "a/b", SUBJECT) == [descriptor("one")]


def test_warnings_are_collected_once(registry, client):
    answer = page(["a"])
    answer.repeated = [
        ("Warning", '299 - "going away \x07soon"'),
        ("Warning", '299 - "second"'),
        ("Warning", '110 - "stale"'),
        ("Warning", "299"),
    ]
    registry.on("GET", TAGS, answer)
    client.tags(registry.host, "a/b")
    client.tags(registry.host, "a/b")
    assert client.warnings == ["going away  soon", "second"]
