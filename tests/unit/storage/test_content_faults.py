"""ENOSPC and EIO at every call that changes something: one clean error, nothing corrupt, and then it works.

The scripts are those of the kills. The owner lives on, so nothing is recovered in between.
"""

import errno

import pytest
from test_content_crash import CONTENT, DIGEST, SCRIPTS, check_invariants, fetch_or_find, recover

from storage.content import ContentStore, IngestWriter
from storage.errors import FailedPreconditionError, StorageError, UnavailableError
from tests.faulty import Faulty

MOST_STEPS = 200


def failure_of(script, root, step, number):
    """The error that call `step` failing with `number` leads to, if any; whether there was such a call."""
    with pytest.MonkeyPatch.context() as patch:
        faulty = Faulty(patch, step, number)
        try:
            script(root)
        except StorageError as error:
            return error, faulty.reached
        return None, faulty.reached


def whole_or_absent(root):
    """What a reader and the next caller see of the store right after the failure."""
    store = ContentStore(root)
    for info in store.blobs():
        assert store.read(info.digest, info.size) == CONTENT
    for status in store.statuses():
        data = store._ingest(status.ref) / "data"
        assert status.committed or CONTENT.startswith(data.read_bytes())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
@pytest.mark.parametrize(
    "script", [one for one in SCRIPTS if one is not recover], ids=lambda script: script.__name__
)
def test_the_disk_fails_at_any_step(tmp_path, script, number):
    failures = 0
    for step in range(1, MOST_STEPS):
        root = tmp_path / str(step)
        error, reached = failure_of(script, root, step, number)
        if not reached:
            break
        if error is not None:
            failures += 1
            assert "\n" not in str(error)
            lost = isinstance(error, FailedPreconditionError)
            assert lost or isinstance(error, UnavailableError) == (number == errno.ENOSPC)
            assert not lost or "discarded, begin again" in str(error)
        whole_or_absent(root)
        fetch_or_find(root)
        store = ContentStore(root)
        store.clear_remains()
        assert list(store._ingests.glob(".*")) == []
        assert store.read(DIGEST, 1000) == CONTENT
        check_invariants(root)
    assert failures >= 10


def recover_again(root):
    ContentStore(root).recover()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["ENOSPC", "EIO"])
def test_a_recovery_that_the_disk_cuts_off_is_done_by_the_next(tmp_path, number):
    failures = 0
    for step in range(1, MOST_STEPS):
        store = ContentStore(tmp_path / str(step))
        store.open_ingest("kept")
        with IngestWriter(store.open_ingest("sealed").path, limit=None) as writer:
            writer.finish()
        (store._ingests / ".new-remains").mkdir()
        (store._ingests / ".new-remains" / "ref").write_text("x")
        error, reached = failure_of(recover_again, tmp_path / str(step), step, number)
        if not reached:
            break
        failures += error is not None  # not when a directory cannot be made that is there
        assert store.recover().resumable == ("kept", "sealed")
        assert set(store._ingests.iterdir()) == {store._ingest("kept"), store._ingest("sealed")}
    assert failures >= 5
