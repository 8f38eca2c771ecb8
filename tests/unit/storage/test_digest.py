import hashlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from storage.digest import MAX_LENGTH, Digest, Hasher, Verifier
from storage.errors import InvalidArgumentError, StorageError

EMPTY_SHA256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_a_digest_is_written_as_it_was_read():
    digest = Digest.parse(EMPTY_SHA256)
    assert (digest.algorithm, digest.hex) == ("sha256", EMPTY_SHA256[7:])
    assert str(digest) == EMPTY_SHA256
    assert digest == Digest.of(b"")


@given(st.binary(), st.sampled_from(["sha256", "sha512"]))
def test_computed_digests_round_trip_and_agree_with_hashlib(content, algorithm):
    digest = Digest.of(content, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert digest.hex == hashlib.new(algorithm, content).hexdigest()
    assert digest.verifiable


@pytest.mark.parametrize(
    "text",
    [
        "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
        "sha256+b64u:LCa0a2j_xo_5m0U8",
        "x:y=_-",
    ],
)
def test_unknown_algorithms_are_valid_but_cannot_be_verified(text):
    digest = Digest.parse(text)
    assert str(digest) == text
    assert not digest.verifiable
    with pytest.raises(InvalidArgumentError, match="cannot be verified"):
        Verifier(digest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "sha256",
        "sha256:",
        ":abc",
        EMPTY_SHA256.upper(),
        "sha256:" + "E" * 64,
        "sha256:" + "e" * 63,
        "sha256:" + "e" * 65,
        "sha512:" + "e" * 64,
        "sha256:" + "g" * 64,
        EMPTY_SHA256 + "\n",
        "\n" + EMPTY_SHA256,
        "SHA256:" + "e" * 64,
        "sha256:../../etc/passwd",
        "a..b:c",
        "+a:c",
        "a+:c",
        "x:\u0660\u0661",
        "\u0661:a",
        "x:a/b",
        "x:" + "a" * MAX_LENGTH,
    ],
)
def test_malformed_digests_are_refused_on_one_line(text):
    with pytest.raises(InvalidArgumentError, match="digest") as caught:
        Digest.parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@given(st.text())
@example("sha256:" + "a" * 64)
def test_parsing_gives_the_same_text_back_or_refuses(text):
    try:
        digest = Digest.parse(text)
    except InvalidArgumentError:
        return
    assert str(digest) == text


@given(st.lists(st.binary(max_size=50)))
def test_a_hasher_counts_and_is_indifferent_to_pieces(chunks):
    hasher = Hasher()
    for chunk in chunks:
        hasher.update(memoryview(chunk))
    assert hasher.size == sum(map(len, chunks))
    assert hasher.digest() == Digest.of(b"".join(chunks))


def test_a_verifier_accepts_exactly_what_was_promised():
    verifier = Verifier(Digest.of(b"hello"), 5)
    verifier.update(b"hel")
    verifier.update(b"lo")
    verifier.check()
    assert verifier.size == 5


def test_a_verifier_stops_at_the_size_before_the_end():
    verifier = Verifier(Digest.of(b"hello"), 5)
    with pytest.raises(StorageError, match="longer than the 5 bytes"):
        verifier.update(b"hello!")
    assert verifier.size == 0


def test_a_verifier_names_both_digests():
    verifier = Verifier(Digest.of(b"hello"))
    verifier.update(b"jello")
    with pytest.raises(InvalidArgumentError) as caught:
        verifier.check()
    assert str(Digest.of(b"hello")) in str(caught.value)
    assert str(Digest.of(b"jello")) in str(caught.value)


def test_a_verifier_refuses_a_stream_that_ends_early():
    verifier = Verifier(Digest.of(b"hello"), 5)
    verifier.update(b"hell")
    with pytest.raises(StorageError, match="4 bytes instead of 5"):
        verifier.check()
