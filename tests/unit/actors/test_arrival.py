import os
import threading

import pytest

from actors.transfers.arrival import Arrival
from storage.content import ContentStore
from storage.digest import Digest
from storage.errors import InvalidArgumentError, UnavailableError

CONTENT = b"0123456789" * 1000


@pytest.fixture
def arrival(tmp_path):
    store = ContentStore(tmp_path / "content")
    return Arrival(store, Digest.of(CONTENT), len(CONTENT), lambda: None)


@pytest.fixture
def poured():
    """What a file gives at its next step."""
    reading, writing = os.pipe2(os.O_NONBLOCK)

    def pour(file):
        return os.read(reading, len(CONTENT)) if file.pour(writing) else b""

    yield pour
    os.close(reading)
    os.close(writing)


def test_bytes_are_read_as_they_come_and_the_end_is_the_end(arrival, tmp_path, poured):
    data = tmp_path / "data"
    data.write_bytes(b"")
    opened = threading.Event()  # once all of it is there, it is read from the store, which is another matter

    def bring():
        arrival.began(data)
        with data.open("ab", buffering=0) as file:
            for start in range(0, len(CONTENT), 777):
                file.write(CONTENT[start : start + 777])
                arrival.advance(file.tell())
        assert opened.wait(20)
        arrival.end()

    bringing = threading.Thread(target=bring)
    bringing.start()
    gathered = bytearray()
    with arrival.open() as file:
        opened.set()
        while piece := poured(file):
            gathered += piece
    bringing.join()
    assert gathered == CONTENT
    assert arrival.taken == len(CONTENT)
    arrival.wait()


def test_a_failure_reaches_the_reader_and_those_who_wait(arrival, tmp_path, poured):
    (tmp_path / "data").write_bytes(b"half")
    arrival.began(tmp_path / "data")
    arrival.advance(4)
    with arrival.open() as file:
        assert poured(file) == b"half"
        arrival.end(InvalidArgumentError("wrong digest"))
        with pytest.raises(InvalidArgumentError, match="wrong digest"):
            poured(file)
    with pytest.raises(InvalidArgumentError, match="wrong digest"):
        arrival.wait()


def test_a_file_that_was_begun_anew_is_noticed(arrival, tmp_path, poured):
    (tmp_path / "data").write_bytes(b"half")
    arrival.began(tmp_path / "data")
    arrival.advance(4)
    with arrival.open() as file:
        poured(file)
        arrival.advance(8)  # in another file
        with pytest.raises(UnavailableError, match="begun anew"):
            poured(file)


def test_whoever_waits_can_be_called_off(tmp_path):
    def check():
        raise UnavailableError("cancelled")

    stuck = Arrival(ContentStore(tmp_path / "content"), Digest.of(CONTENT), len(CONTENT), check)
    with pytest.raises(UnavailableError, match="cancelled"):
        stuck.open()
