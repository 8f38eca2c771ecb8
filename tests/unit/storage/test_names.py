"""Values in the database come back as they went in."""

from __future__ import annotations

import json

from hypothesis import example, given
from hypothesis import strategies as st

from storage.names import decode, encode

TEXTS = st.text(st.characters(exclude_categories=()))
SINGLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(SINGLE, lambda one: st.lists(one) | st.dictionaries(TEXTS, one), max_leaves=20)


@given(VALUES)
@example({"half a pair": "\ud800"})
@example([1 << 64, -(1 << 63) - 1, 1 << 200])
def test_what_is_stored_comes_back(value):
    found = decode(encode(value))
    assert found == value
    assert type(found) is type(value)
    assert decode(encode(value).encode()) == json.loads(encode(value))
