import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.digest import Digest
from storage.errors import InvalidArgumentError
from storage.reference import MAX_LENGTH, Reference

DIGEST = Digest.of(b"")
BUSYBOX = "docker.io/library/busybox"

components = st.from_regex(r"[a-z0-9]+((\.|_|__|-{1,3})[a-z0-9]+){0,2}", fullmatch=True)
references = st.builds(
    Reference,
    domain=st.sampled_from(
        ["docker.io", "localhost", "127.0.0.1:5000", "[::1]:5000", "Ghcr.io", "a.b-c.d:1"]
    ),
    path=st.lists(components | st.sampled_from(["library", "localhost"]), min_size=2, max_size=3).map(
        "/".join
    ),
    tag=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,9}", fullmatch=True),
    digest=st.none() | st.just(DIGEST),
)


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("busybox", f"{BUSYBOX}:latest", "busybox:latest"),
        ("busybox:1.36", f"{BUSYBOX}:1.36", "busybox:1.36"),
        ("library/busybox:1", f"{BUSYBOX}:1", "busybox:1"),
        ("docker.io/busybox", f"{BUSYBOX}:latest", "busybox:latest"),
        ("index.docker.io/library/busybox", f"{BUSYBOX}:latest", "busybox:latest"),
        ("docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"),
        ("user/app", "docker.io/user/app:latest", "user/app:latest"),
        ("a/b/c:t", "docker.io/a/b/c:t", "a/b/c:t"),
        ("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("docker.io/localhost/app", "docker.io/localhost/app:latest", "docker.io/localhost/app:latest"),
        ("docker.io/a.b/app", "docker.io/a.b/app:latest", "docker.io/a.b/app:latest"),
        ("localhost:5000/app:1", "localhost:5000/app:1", "localhost:5000/app:1"),
        ("127.0.0.1:5000/library/busybox:latest",) * 3,
        ("[::1]:5000/x:y",) * 3,
        ("[::1]/x:y",) * 3,
        ("a--b/c__d/e.f:_-.", "docker.io/a--b/c__d/e.f:_-.", "a--b/c__d/e.f:_-."),
        (f"busybox@{DIGEST}", f"{BUSYBOX}@{DIGEST}", f"busybox@{DIGEST}"),
        (f"busybox:1@{DIGEST}", f"{BUSYBOX}:1@{DIGEST}", f"busybox:1@{DIGEST}"),
        (f"host.example/name@{DIGEST}",) * 3,
    ],
)
def test_what_people_type(text, canonical, familiar):
    reference = Reference.parse(text)
    assert str(reference) == canonical
    assert reference.familiar() == familiar
    assert Reference.parse(canonical) == Reference.parse(familiar) == reference


def test_the_parts():
    reference = Reference.parse(f"127.0.0.1:5000/a/b:t@{DIGEST}")
    assert (reference.domain, reference.path, reference.tag, reference.digest) == (
        "127.0.0.1:5000",
        "a/b",
        "t",
        DIGEST,
    )
    assert reference.name == "127.0.0.1:5000/a/b"


def test_a_digest_alone_gets_no_default_tag():
    assert Reference.parse(f"busybox@{DIGEST}").tag is None


def test_pinning_keeps_the_tag():
    assert str(Reference.parse("busybox:1").with_digest(DIGEST)) == f"{BUSYBOX}:1@{DIGEST}"


@given(references)
def test_canonical_and_familiar_forms_round_trip(reference):
    assert Reference.parse(str(reference)) == reference
    assert Reference.parse(reference.familiar()) == reference
    assert len(reference.familiar()) <= len(str(reference))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a path"),
        ("Busybox", "lower-case"),
        ("Library/busybox", "lower-case"),
        ("a//b", "a path"),
        ("/a", "a path"),
        ("a/", "a path"),
        ("a..b/c", "a registry"),
        ("../etc/passwd", "a registry"),
        ("a___b", "a path"),
        ("-a", "a path"),
        ("a b", "a path"),
        ("a\n", "a path"),
        ("b\u00fcsybox", "a path"),
        ("busybox:", "a tag"),
        ("busybox:.x", "a tag"),
        ("busybox:" + "t" * 129, "a tag"),
        ("busybox:a\n", "a tag"),
        ("busybox:\u0661", "a tag"),
        ("busybox@", "a digest"),
        ("busybox@sha256:abc", "a digest"),
        (f"busybox@{DIGEST}@{DIGEST}", "a digest"),
        ("busybox@" + str(DIGEST).upper(), "a digest"),
        ("host:port/app", "a registry"),
        ("host:/app", "a registry"),
        ("host:123456/app", "a registry"),
        ("-host.example/app", "a registry"),
        ("http://host/app", "a registry"),
        ("e" * 64, "a name"),
        ("a" * 250, "at most 255"),
        ("a" * (MAX_LENGTH + 1), "at most 1024"),
    ],
)
def test_malformed_references_are_named_with_what_is_expected(text, expected):
    with pytest.raises(InvalidArgumentError, match=expected) as caught:
        Reference.parse(text)
    assert repr(text[:300]) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("docker.io", "library/busybox"), "a tag or a digest"),
        (("docker.io", "busybox", "1"), "library/"),
        (("index.docker.io", "library/busybox", "1"), "a registry"),
        (("user", "app", "1"), "a registry"),
    ],
)
def test_there_are_no_references_that_would_not_be_read_back(parts, expected):
    with pytest.raises(InvalidArgumentError, match=expected):
        Reference(*parts)


@given(st.text() | st.text("aA1.-_:/@[]", max_size=30))
def test_nothing_but_an_invalid_argument_whatever_is_typed(text):
    try:
        reference = Reference.parse(text)
    except InvalidArgumentError:
        return
    assert Reference.parse(str(reference)) == Reference.parse(reference.familiar()) == reference
