"""What becomes of work that fails."""

from __future__ import annotations

import errno
import logging
import os
from types import SimpleNamespace

import pytest

from actors.inflight import ATTEMPTS, InFlight
from storage.errors import NotFoundError, StorageError, UnavailableError


class Work(InFlight):
    """Work of some incarnation, with one client; not started."""

    log = logging.getLogger("work")

    def __init__(self, inc):
        self.birth = SimpleNamespace(inc=inc)
        self.told, self.planned, self.ended = [], [], False
        self.hold_work()
        self._attached = [SimpleNamespace(settle=self.told.append)]

    def later(self, seconds, then):
        del seconds
        self.planned.append(then)

    def finish(self):
        self.ended = True


@pytest.mark.parametrize("inc", range(1, ATTEMPTS))
def test_a_mistake_of_ours_is_tried_again_by_the_next_process(inc):
    work = Work(inc)
    with pytest.raises(KeyError):
        work._done(KeyError("x"))
    assert not work.told


@pytest.mark.parametrize(("inc", "error"), [(1, NotFoundError("gone")), (ATTEMPTS, KeyError("x"))])
def test_what_is_expected_and_what_does_not_pass_is_told_and_that_is_the_end(inc, error):
    work = Work(inc)
    work._done(error)
    assert work.told == [error]
    [end] = work.planned
    end()
    assert work.ended


@pytest.mark.parametrize(("number", "kind"), [(errno.ENOSPC, UnavailableError), (errno.EIO, StorageError)])
def test_a_disk_that_fails_is_no_mistake_of_ours(number, kind):
    """That of a client, say, who has lent us a file."""
    work = Work(1)
    work.about = "export"

    def perform():
        raise OSError(number, os.strerror(number))

    work.perform = perform
    with pytest.raises(kind, match="cannot finish export: "):
        work._perform_held()
