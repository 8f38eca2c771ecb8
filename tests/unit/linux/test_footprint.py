"""What a process has written to since its fork, and what that saves the next one."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource

import pytest

from actors.linux import footprint

PAGES = 64
PAGE = mmap.PAGESIZE


def in_child(work):
    """What `work` gives in a forked child, as JSON."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(write, json.dumps(work()).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        found = json.loads(answer.read())
    assert os.waitpid(pid, 0)[1] == 0
    return found


def shared_memory():
    """Private anonymous memory, all of it written to; its first page's number."""
    memory = mmap.mmap(-1, PAGES * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(PAGES):
        memory[page * PAGE] = 1
    return memory, ctypes.addressof(ctypes.c_char.from_buffer(memory)) // PAGE


def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def test_a_child_tells_what_it_has_written_to():
    memory, first = shared_memory()

    def write():
        memory[9 * PAGE] = 2  # before it was looked at
        found = footprint.Footprint()
        for page in (3, 5, 9, 20, 21, 22):
            memory[page * PAGE] = 2
        return [one for one in found.pages() if first <= one[0] < first + PAGES]

    assert in_child(write) == [[first + 3, 1], [first + 5, 1], [first + 20, 3]]
    assert in_child(lambda: footprint.Footprint().pages() and memory[0]) == 1


def faults_of_writing(memory, ranges):
    """How many a child takes to write to all of it, once it has made these ranges its own."""

    def write():
        footprint.make_own(ranges)
        before = faults()
        for page in range(PAGES):
            memory[page * PAGE] = 2
        return faults() - before

    return in_child(write)


def test_what_was_made_own_takes_no_faults_any_more():
    memory, first = shared_memory()
    assert faults_of_writing(memory, []) >= PAGES
    assert faults_of_writing(memory, [(first, PAGES)]) < PAGES // 4


@pytest.mark.parametrize("at_once", [1024, 16], ids=["one call", "several"])
def test_what_is_not_mapped_keeps_nothing_else_from_being_made_own(at_once, monkeypatch):
    monkeypatch.setattr(footprint, "_MOST_AT_ONCE", at_once)
    memory, first = shared_memory()
    every = [(first + page, 1) for page in range(PAGES)]
    assert faults_of_writing(memory, [(1, 2), *every[:40], (1 << 40, 3), *every[40:]]) < PAGES // 4


def test_on_an_older_kernel_it_takes_a_call_for_each(monkeypatch):
    monkeypatch.setattr(footprint, "_SYS_PROCESS_MADVISE", 100_000)  # no such call
    memory, first = shared_memory()
    assert faults_of_writing(memory, [(first + page, 1) for page in range(PAGES)]) < PAGES // 4


def test_the_writable_mappings_are_those_of_this_process():
    memory, first = shared_memory()
    assert any(start <= first and first + PAGES <= start + count for start, count in footprint.writable())
    assert memory[0] == 1
