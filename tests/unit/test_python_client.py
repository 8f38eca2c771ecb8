"""The client in Python, without a daemon: what it does not let leave."""

from __future__ import annotations

from pathlib import Path

import pytest

CLIENT = Path(__file__).parents[2] / "clients/python"


@pytest.fixture
def wire(monkeypatch):
    monkeypatch.syspath_prepend(CLIENT)
    from actord_client import wire  # noqa: PLC0415  # found only here

    return wire


@pytest.mark.parametrize(
    ("more", "buffers"),
    [({"to": "x" * 257}, ()), ({"tr": "x" * 257}, ()), ({"dl": -1}, ()), ({"tr": 1}, ()), ({}, [b""] * 17)],
)
def test_what_a_router_would_refuse_without_saying_whose_it_was_does_not_leave(wire, more, buffers):
    """Whoever had asked would wait for his whole limit, or with a stream for ever."""
    asked = {"t": "REQ", "id": wire.new_id(), "to": "x" * 256, "m": "x.y"}
    assert wire.decode(wire.encode(asked, {}, [b""] * 16)).header == asked
    with pytest.raises(wire.ProtocolError):
        wire.encode({**asked, **more}, {}, buffers)
