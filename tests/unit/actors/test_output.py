from __future__ import annotations

import hashlib
import os
import random
import select
import struct
from types import SimpleNamespace

import pytest
from forked import Forked
from hypothesis import given
from hypothesis import strategies as st

from actors.linux.process import descriptor_count
from actors.messages import TasksOutput
from actors.runtime.cutting import CUT, Cut, Limits, note
from actors.runtime.output import (
    INDEX,
    NAMES,
    ONE_COPY,
    STDERR,
    STDOUT,
    Chunk,
    Output,
    Reader,
    last_bytes,
    touch,
)
from actors.streams import Streams
from transport.errors import RemoteError

RECORD = struct.Struct("=QQII")
KILLS = 30
SIZE = 20 << 20


@pytest.fixture
def place(tmp):
    return tmp / "pipes", tmp / "files"


@pytest.fixture
def output(place):
    one = Output(*place)
    yield one
    one.close()


def write(output, place, *pieces):
    """Pieces of (stream, bytes), each copied before the next is written."""
    ends = output.writing_ends(place[0])
    for stream, content in pieces:
        os.write(ends[stream], content)
        assert output.copy(stream) == len(content)
    for end in ends.values():
        os.close(end)


def read_all(files, offsets=None, limit=1 << 16):
    reader = Reader(files, offsets or dict.fromkeys(NAMES, 0))
    found = list(iter(lambda: reader.next(limit), None))
    reader.close()
    return found


def content_of(found, stream):
    return b"".join(content for chunk, content in found if chunk.stream == stream)


def index(files):
    raw = (files / INDEX).read_bytes()
    return [(stream, end) for _, end, stream, _ in RECORD.iter_unpack(raw)]


def test_what_a_failed_start_has_written_is_found_by_nobody(output, place):
    ends = output.writing_ends(place[0])  # held open, as the zygote does
    for stream in NAMES:
        os.write(ends[stream], b"runc: no such program")
    output.empty()
    output.empty()  # of empty ones
    output.drain()
    assert read_all(place[1]) == []
    for end in ends.values():
        os.close(end)


def test_bytes_go_to_the_file_and_the_reader_in_order(output, place):
    write(output, place, (STDOUT, b"one\0"), (STDERR, b"\xff"), (STDOUT, b"two"), (STDERR, b"three"))
    found = read_all(place[1])
    assert [(chunk.stream, content) for chunk, content in found] == [
        (STDOUT, b"one\0"),
        (STDERR, b"\xff"),
        (STDOUT, b"two"),
        (STDERR, b"three"),
    ]
    assert [chunk.start for chunk, _ in found] == [0, 0, 4, 1]
    assert sorted(chunk.at for chunk, _ in found) == [chunk.at for chunk, _ in found]
    assert (place[1] / "stdout").read_bytes() == b"one\0two"


def test_an_empty_pipe_gives_nothing_and_has_no_end(output, place):
    assert output.copy(STDOUT) == 0
    write(output, place, (STDOUT, b"x"))  # the writer has closed both its ends by now
    assert output.copy(STDOUT) == 0
    assert not select.select(list(output.descriptors.values()), [], [], 0)[0]
    assert index(place[1]) == [(STDOUT, 1)]


def test_the_writer_does_not_notice_that_nobody_reads(place):
    first = Output(*place)
    ends = first.writing_ends(place[0])
    first.close()
    assert os.write(ends[STDOUT], b"nobody is there") == 15  # no SIGPIPE
    second = Output(*place)
    second.drain()
    assert content_of(read_all(place[1]), STDOUT) == b"nobody is there"
    for end in (*ends.values(),):
        os.close(end)
    second.close()


def test_drain_moves_more_than_one_copy(output, place):
    content = random.Random(1).randbytes(3 * ONE_COPY + 17)  # noqa: S311  # reproducible
    ends = output.writing_ends(place[0])
    with Forked(
        lambda: [os.write(ends[STDERR], content[at : at + 5000]) for at in range(0, len(content), 5000)]
    ) as one:
        while os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            output.drain()
        assert one.wait() == 0
    output.drain()
    assert content_of(read_all(place[1]), STDERR) == content
    for end in ends.values():
        os.close(end)


@pytest.mark.parametrize("torn", [0, 1, 23])
def test_the_index_is_completed_after_a_crash_between_bytes_and_entry(place, torn):
    first = Output(*place)
    write(first, place, (STDOUT, b"entered"))
    first.close()
    with (place[1] / "stdout").open("ab") as file:
        file.write(b" and not")
    with (place[1] / INDEX).open("ab") as file:
        file.write(bytes(torn))
    Output(*place).close()
    assert index(place[1]) == [(STDOUT, 7), (STDOUT, 15)]
    Output(*place).close()
    assert len(index(place[1])) == 2, "once"
    assert content_of(read_all(place[1]), STDOUT) == b"entered and not"


def test_zeros_in_the_index_do_not_stop_a_reader(place):
    first = Output(*place)
    write(first, place, (STDOUT, b"before"))
    first.close()
    with (place[1] / INDEX).open("ab") as file:
        file.write(bytes(RECORD.size * 3))
    second = Output(*place)
    write(second, place, (STDOUT, b" after"))
    second.close()
    assert content_of(read_all(place[1]), STDOUT) == b"before after"


def test_an_index_that_promises_more_than_the_file_has(place):
    first = Output(*place)
    write(first, place, (STDOUT, b"0123456789"), (STDERR, b"err"))
    first.close()
    os.truncate(place[1] / "stdout", 4)
    found = read_all(place[1])
    assert (content_of(found, STDOUT), content_of(found, STDERR)) == (b"0123", b"err")


def test_files_can_be_read_before_there_is_output(tmp):
    touch(tmp / "files")
    reader = Reader(tmp / "files", {STDOUT: 0, STDERR: 0})
    assert reader.next(10) is None
    touch(tmp / "files")
    reader.close()


def test_a_reader_follows_what_grows(output, place):
    reader = Reader(place[1], {STDOUT: 0, STDERR: 0})
    for piece in (b"a", b"bc", b"def"):
        assert reader.next(100) is None
        write(output, place, (STDOUT, piece))
        assert reader.next(100)[1] == piece
    reader.close()


PIECES = st.lists(
    st.tuples(st.sampled_from([STDOUT, STDERR]), st.binary(min_size=1, max_size=40)), max_size=12
)


@given(PIECES, st.integers(0, 300), st.integers(0, 300), st.integers(1, 50))
def test_a_reader_resumes_from_any_offset(tmp_path_factory, pieces, stdout, stderr, limit):
    place = (directory := tmp_path_factory.mktemp("o")) / "pipes", directory / "files"
    output = Output(*place)
    write(output, place, *pieces)
    output.close()
    whole = {stream: b"".join(content for number, content in pieces if number == stream) for stream in NAMES}
    offsets = {STDOUT: stdout, STDERR: stderr}
    found = read_all(place[1], offsets, limit)
    for stream in NAMES:
        assert content_of(found, stream) == whole[stream][offsets[stream] :]
        at = offsets[stream]
        for chunk, content in found:
            if chunk.stream == stream:
                assert (chunk.start, chunk.end) == (at, at + len(content))
                assert 0 < len(content) <= limit
                at = chunk.end


@given(PIECES, st.integers(0, 400))
def test_reading_in_two_goes_gives_the_same_as_in_one(tmp_path_factory, pieces, first):
    place = (directory := tmp_path_factory.mktemp("o")) / "pipes", directory / "files"
    output = Output(*place)
    write(output, place, *pieces)
    output.close()
    whole = read_all(place[1], limit=7)
    head = whole[:first]
    offsets = {stream: len(content_of(head, stream)) for stream in NAMES}
    tail = read_all(place[1], offsets, limit=7)
    for stream in NAMES:
        assert content_of(head, stream) + content_of(tail, stream) == content_of(whole, stream)


def test_chunks_are_plain_values():
    assert Chunk(1, 2, 3, 4) == Chunk(1, 2, 3, 4)


def _copy_for_ever(place):
    output = Output(*place)
    poll = select.poll()
    streams = {descriptor: stream for stream, descriptor in output.descriptors.items()}
    for descriptor in streams:
        poll.register(descriptor, select.POLLIN)
    while True:
        for descriptor, _ in poll.poll():
            output.copy(streams[descriptor])


def _write_all(ends, contents):
    dice = random.Random(5)  # noqa: S311  # reproducible
    at = dict.fromkeys(ends, 0)
    while left := [stream for stream in ends if at[stream] < len(contents[stream])]:
        stream = dice.choice(left)
        size = dice.choice((1, 100, 4096, 65536, 200_000))
        at[stream] += os.write(ends[stream], contents[stream][at[stream] : at[stream] + size])


def test_no_byte_is_lost_or_doubled_however_often_the_copier_is_killed(place):
    dice = random.Random()  # noqa: S311  # any moment will do
    contents = {STDOUT: os.urandom(SIZE), STDERR: os.urandom(SIZE // 10)}
    keep = Output(*place)  # as the zygote does, so that what is in the FIFOs outlives the copier
    ends = keep.writing_ends(place[0])
    files = [place[1] / name for name in NAMES.values()]
    with Forked(lambda: _write_all(ends, contents)) as writer:
        for kill in range(KILLS):
            goal = SIZE * (kill + 1) // (KILLS + 1) + dice.randrange(100_000)
            with Forked(lambda: _copy_for_ever(place)):
                while files[0].stat().st_size < goal:
                    os.sched_yield()
        with Forked(lambda: _copy_for_ever(place)):
            assert writer.wait() == 0
    last = Output(*place)
    last.drain()
    found = read_all(place[1])
    for stream, content in contents.items():
        assert hashlib.sha256(files[stream - 1].read_bytes()).digest() == hashlib.sha256(content).digest()
        assert content_of(found, stream) == content
    for one in (keep, last):
        one.close()
    for end in ends.values():
        os.close(end)


# Logs with limits

LIMITS = Limits(1 << 16, 3)


def kept_within(place, count, *, stream=STDOUT):
    """An output with limits, after so many pieces of 10,000 bytes: all that was written."""
    output = Output(*place, LIMITS)
    contents = [bytes([number % 251 + 1]) * 10000 for number in range(count)]
    write(output, place, *((stream, content) for content in contents))
    output.close()
    return b"".join(contents)


def test_a_log_within_limits_keeps_its_offsets_and_says_what_was_cut(place):
    written = kept_within(place, 50)
    (cut, none), *found = read_all(place[1])
    assert (cut.stream, cut.start, cut.cut, none) == (STDOUT, cut.cut, cut.start, b"")
    assert content_of(found, STDOUT) == written[cut.start :]
    assert found[0][0].start == cut.start
    assert LIMITS.kept - 10000 <= len(written) - cut.start <= LIMITS.most
    assert (place[1] / "stdout").stat().st_size == len(written)
    assert (place[1] / "stdout").stat().st_blocks * 512 <= LIMITS.most + (1 << 14)


def test_a_reader_that_was_overtaken_goes_on_behind_the_cut(place):
    output = Output(*place, LIMITS)
    write(output, place, (STDOUT, b"first"), (STDERR, b"error"))
    reader = Reader(place[1], dict.fromkeys(NAMES, 0))
    assert reader.next(100)[1] == b"first"
    output.close()
    written = b"first" + kept_within(place, 50)
    found = list(iter(lambda: reader.next(1 << 16), None))
    reader.close()
    cuts = {chunk.stream: chunk.cut for chunk, _ in found if chunk.cut}
    assert cuts[STDERR] == len(b"error")
    assert content_of(found, STDOUT) == written[len(b"first") + cuts[STDOUT] :]


@pytest.mark.parametrize("punched", [False, True])
def test_killed_behind_the_note_or_behind_the_holes(place, punched, monkeypatch):
    """The note is what counts: before it all is there, behind it the next to open punches the holes."""
    if not punched:
        monkeypatch.setattr("actors.linux.holes.punch", lambda _descriptor, _end: None)
    written = kept_within(place, 50)
    before = read_all(place[1])
    assert ((place[1] / "stdout").stat().st_blocks * 512 >= len(written)) is not punched
    monkeypatch.undo()
    Output(*place, LIMITS).close()
    assert read_all(place[1]) == before
    assert (place[1] / "stdout").stat().st_blocks * 512 <= LIMITS.most + (1 << 14)
    assert last_bytes(place[1], 1 << 30) == {STDOUT: before[0][0].start, STDERR: 0}


def test_a_note_of_more_than_there_is_is_not_believed(place):
    written = kept_within(place, 3)
    descriptor = os.open(place[1] / CUT, os.O_RDWR)
    note(descriptor, Cut(24, 1 << 40, 0))
    os.close(descriptor)
    Output(*place, LIMITS).close()
    assert content_of(read_all(place[1]), STDOUT) == written


@pytest.mark.parametrize("made", [Output, lambda _, files: Reader(files, {})], ids=["copier", "reader"])
@pytest.mark.parametrize("missing", [*NAMES.values(), INDEX, CUT])
def test_what_cannot_be_opened_leaves_nothing_open(place, made, missing):
    """Each attempt of a start on a full disk, say, left some."""
    pipes, files = place
    touch(files)
    (files / missing).unlink()
    (files / missing).symlink_to("/nonexistent/file")
    before = descriptor_count(os.getpid())
    with pytest.raises(FileNotFoundError):
        made(pipes, files)
    assert descriptor_count(os.getpid()) == before


@pytest.mark.parametrize("recent", [None, 10])
def test_output_that_cannot_be_read_is_an_answer(tmp, recent):
    """To ask for it on a full disk would have ended the container's actor."""
    (tmp / "logs").write_text("in the way")
    actor = SimpleNamespace(namespace="n", id="c", settings=SimpleNamespace(logs=lambda *_: tmp / "logs"))
    with pytest.raises(RemoteError, match="the output cannot be read: File exists") as refused:
        Streams(actor).add(TasksOutput(recent=recent), None)
    assert refused.value.code == "failed_precondition"
