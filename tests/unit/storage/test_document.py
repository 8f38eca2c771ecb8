import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import InvalidArgumentError
from storage.image.document import MAX_DEPTH, MAX_DOCUMENT_SIZE, MAX_VALUES, parse_document

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), values, max_size=4), st.booleans())
def test_a_document_is_read_as_json_reads_it(document, ascii_only):
    content = json.dumps(document, ensure_ascii=ascii_only).encode()
    assert parse_document(content, "document") == document


def nested(depth):
    """An object, and arrays in it, that are `depth` deep with the innermost value."""
    return b'{"a":' + b"[" * (depth - 2) + b"1" + b"]" * (depth - 2) + b"}"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not valid json"),
        (b"{", "not valid json"),
        (b"{} {}", "not valid json"),
        (b"[]", "not an object"),
        (b"null", "not an object"),
        (b'{"a":1,"a":1}', "occurs twice"),
        (b'{"x":[{"a":1,"b":2,"a":3}]}', "occurs twice"),
        (b'{"a":1,"\\u0061":2}', "occurs twice"),
        (b'{"a":NaN}', "no json value"),
        (b'{"a":-Infinity}', "no json value"),
        (b'{"a":"\xff"}', "not valid json"),
        (b'\xef\xbb\xbf{"a":1}', "not valid json"),
        ('{"a":1}'.encode("utf-16"), "not valid json"),
        ('{"a":1}'.encode("utf-32"), "not valid json"),
        (b'{"a":"\\ud800"}', "not valid json"),
        (b'{"\\udfff":1}', "not valid json"),
        (b'{"a":"\x01"}', "not valid json"),
        (b'{"a":' + b"1" * 5000 + b"}", "not valid json"),
        (nested(MAX_DEPTH + 1), "deeper"),
        (nested(100_000), "deeper"),
        (b'{"a":' * 50_000, "deeper"),
        (b'{"a":"' + b" " * MAX_DOCUMENT_SIZE + b'"}', "larger than"),
        (b'{"a":[' + b"[]," * MAX_VALUES + b"[]]}", "more than"),
    ],
    ids=range(23),
)
def test_anything_else_is_refused_and_named(content, reason):
    with pytest.raises(InvalidArgumentError, match=rf"^the thing .*{reason}") as caught:
        parse_document(content, "the thing")
    assert "\n" not in str(caught.value)


def test_the_limits_themselves_are_allowed():
    assert parse_document(nested(MAX_DEPTH), "document")
    filler = MAX_DOCUMENT_SIZE - len(b'{"a":""}')
    assert parse_document(b'{"a":"' + b" " * filler + b'"}', "document")
