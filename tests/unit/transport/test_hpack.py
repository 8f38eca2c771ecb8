"""Headers as HTTP/2 packs them."""

import pytest

from transport.errors import ProtocolError
from transport.grpc import hpack
from transport.grpc.hpack import Decoder, encoded, unpacked


def coded(text: bytes) -> bytes:
    """A string in the code, padded as it has to be."""
    words = {symbol: f"{word:b}"[1:] for word, symbol in hpack._WORDS.items()}
    bits = "".join(words[byte] for byte in text)
    bits += "1" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def test_three_requests_of_the_rfc_are_read_with_what_they_leave_in_the_table():
    decoder = Decoder()  # RFC 7541, C.4
    first = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")]
    assert decoder.decode(bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff")) == first
    assert decoder.decode(bytes.fromhex("828684be5886a8eb10649cbf")) == [
        *first,
        ("cache-control", "no-cache"),
    ]
    assert decoder.decode(bytes.fromhex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf")) == [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ]


def test_the_table_that_everybody_has_is_that_of_the_rfc():
    assert len(hpack.STATIC) == 61
    known = {2: (":method", "GET"), 7: (":scheme", "https"), 16: ("accept-encoding", "gzip, deflate")}
    known |= {14: (":status", "500"), 31: ("content-type", ""), 61: ("www-authenticate", "")}
    assert {index: hpack.STATIC[index - 1] for index in known} == known


def test_every_byte_can_be_in_a_string_of_the_code():
    for byte in range(128):
        assert unpacked(coded(bytes([byte]) * 3)) == chr(byte) * 3
    assert unpacked(coded("ä€😀".encode())) == "ä€😀"
    assert unpacked(coded(bytes(range(256)))) == bytes(range(256)).decode(errors="replace")


def test_what_we_write_is_read_again():
    fields = [(b"a", b"v" * length) for length in (0, 1, 126, 127, 128, 254, 255, 256, 5000)]
    assert Decoder().decode(encoded(fields)) == [(name.decode(), value.decode()) for name, value in fields]


def test_the_table_forgets_the_oldest_and_follows_its_size():
    decoder = Decoder()
    for number in range(200):
        decoder.decode(b"\x40\x01a\x28" + b"%040d" % number)
    assert decoder.decode(b"\xbe") == [("a", f"{199:040}")]
    with pytest.raises(ProtocolError, match="not in the table"):
        decoder.decode(bytes([0x80 | 0x7F, 61]))  # the 127th after the static ones
    assert decoder.decode(b"\x20") == []  # no table at all
    with pytest.raises(ProtocolError, match="not in the table"):
        decoder.decode(b"\xbe")


@pytest.mark.parametrize(
    ("block", "text"),
    [
        (b"\x80", "not in the table"),
        (b"\x40", "too early"),
        (b"\x00\x05ab", "too early"),
        (b"\xff\xff\xff\xff\xff\xff", "too large"),
        (b"\x3f\xe2\x1f", "a table of 4097 bytes"),
        (b"\x00\x01a\x84\xff\xff\xff\xff", "an end in it"),
        (b"\x00\x01a\x82\xff\xff", "does not end as it should"),
        (b"\x00\x01a\x81\x18", "does not end as it should"),  # padded with zeros
    ],
)
def test_what_cannot_be_is_refused(block, text):
    with pytest.raises(ProtocolError, match=text):
        Decoder().decode(block)


def test_a_short_block_cannot_stand_for_very_much():
    decoder = Decoder()
    decoder.decode(b"\x40\x01a\x7f\xc9\x1e" + b"x" * 4040)
    with pytest.raises(ProtocolError, match="more than 16384 bytes"):
        decoder.decode(b"\xbe" * 1000)
