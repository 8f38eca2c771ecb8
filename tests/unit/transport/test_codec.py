from __future__ import annotations

import math
import tracemalloc

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transport import packing
from transport.codec import MAX_BODY, MAX_DEPTH, pack, unpack
from transport.errors import ProtocolError

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text("abcé", max_size=5), inner, max_size=5)
    ),
    max_leaves=20,
)


def nested(depth, *, of=b"\x91"):
    return of * depth + b"\xc0"


@given(VALUES)
def test_every_value_of_the_profile_comes_back_as_it_was(value):
    found = unpack(pack(value))
    assert found == value
    assert type(found) is type(value)


@given(VALUES)
def test_plain_python_encodes_as_the_library_does(value):
    assert packing.pack(value) == pack(value)


def read(decode, data):
    """The value, or that there is none."""
    try:
        return repr(decode(data))  # as text, where nan is nan, and 1 is not True
    except ProtocolError:
        return ProtocolError


@given(VALUES)
def test_plain_python_decodes_what_the_library_encodes(value):
    assert repr(packing.unpack(pack(value))) == repr(unpack(pack(value)))


@given(st.binary(max_size=60))
def test_plain_python_refuses_what_the_library_refuses(data):
    assert read(packing.unpack, data) == read(unpack, data)


@given(VALUES, st.data())
def test_plain_python_reads_damaged_values_as_the_library_does(value, data):
    packed = bytearray(pack(value))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] = data.draw(st.integers(0, 255))
    cut = bytes(packed[: data.draw(st.integers(0, len(packed)))])
    for one in (bytes(packed), cut):
        assert read(packing.unpack, one) == read(unpack, one)


@pytest.mark.parametrize("depth", [1, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 4000])
def test_plain_python_goes_as_deep_as_the_library(depth):
    for of in (b"\x91", b"\x81\xa1a"):
        assert read(packing.unpack, nested(depth, of=of)) == read(unpack, nested(depth, of=of))


def test_what_is_large_is_left_to_the_library():
    value = {"rows": list(range(packing.SMALL))}
    assert packing.unpack(pack(value)) == value


@pytest.mark.parametrize("size", [15, 16, 31, 32, 255, 256, 65535, 65536])
def test_plain_python_encodes_every_length_as_the_library_does(size):
    for value in (
        "x" * size,
        b"x" * size,
        [1] * size,
        {str(number): 1 for number in range(size)},
        (1,) * size,
    ):
        assert packing.pack(value) == pack(value)


@pytest.mark.parametrize("bits", range(65))
def test_plain_python_encodes_every_width_as_the_library_does(bits):
    for value in (2**bits - 1, 2**bits, -(2**bits) + 1, -(2**bits), -(2**bits) - 1):
        if -(2**63) <= value < 2**64:
            assert packing.pack(value) == pack(value)


def test_text_and_bytes_stay_apart():
    assert unpack(pack({"t": "x", "b": b"x"})) == {"t": "x", "b": b"x"}
    assert math.isnan(unpack(pack(math.nan)))


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, object(), {1, 2}, 1j, "\ud800", [[object()]]])
@pytest.mark.parametrize("encode", [pack, packing.pack])
def test_what_the_profile_lacks_cannot_be_packed(value, encode):
    with pytest.raises(ProtocolError, match="cannot encode"):
        encode(value)


@pytest.mark.parametrize("encode", [pack, packing.pack])
def test_a_value_that_holds_itself_cannot_be_packed(encode):
    value = []
    value.append(value)
    with pytest.raises(ProtocolError):
        encode(value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_protocol_error(data):
    try:
        unpack(data)
    except ProtocolError:
        return


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xc0\xc0",  # more than one value
        b"\x91",  # cut short
        b"\xa5abc",
        b"\xa1\xff",  # not UTF-8
        b"\xd4\x01\x00",  # fixext 1
        b"\xc7\x03\x05abc",  # ext 8
        b"\xc7\x0c\xff" + bytes(12),  # a timestamp of 96 bits
        b"\xd7\xff" + bytes(8),
        b"\xd6\xff\x00\x00\x00\x00",  # a timestamp of 32 bits
        b"\x81\x01\x02",  # a map with an integer for a key
        b"\x81\xc0\x02",
        b"\x81\x90\x02",
        b"\x91\x81\xc3\x02",
        b"\x81\xc4\x01a\x01",  # and with bytes for one
    ],
)
def test_what_is_not_of_the_profile_is_refused(data):
    with pytest.raises(ProtocolError):
        unpack(data)


@pytest.mark.parametrize("of", [b"\x91", b"\x81\xa1k", b"\xdc\x00\x01", b"\xdd\x00\x00\x00\x01"])
def test_depth(of):
    unpack(nested(MAX_DEPTH, of=of))
    for depth in (MAX_DEPTH + 1, 600, 2000, 100_000):
        with pytest.raises(ProtocolError):
            unpack(nested(depth, of=of))


@pytest.mark.parametrize(
    "data",
    [
        b"\xdd\x05\xf5\xe1\x00",  # an array of 100 million
        b"\xdf\x05\xf5\xe1\x00",  # a map of as many
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",  # 4 GiB of bytes
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\x91" * 60 + b"\xdd\x05\xf5\xe1\x00",
        b"\xdd\x05\xf5\xe1\x00" * 10,
        b"\xdc\xff\xff" * 60,
    ],
)
def test_a_promise_of_much_allocates_little(data):
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            unpack(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_large_message_is_refused_unread():
    assert len(unpack(pack(bytes(MAX_BODY - 10)))) == MAX_BODY - 10
    with pytest.raises(ProtocolError, match="larger than"):
        unpack(bytes(MAX_BODY + 1))


def test_what_others_pack_is_understood():
    assert unpack(msgpack.packb({"a": [1, 2.5, None, True]})) == {"a": [1, 2.5, None, True]}
