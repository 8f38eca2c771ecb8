import dataclasses

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.errors import InvalidArgumentError, NotFoundError
from storage.metadata import NewContainer, Task

STOPPED = Task(
    "ns",
    "c",
    5,
    "stopped",
    pid=9,
    started_at=1,
    exited_at=2,
    exit_code=137,
    exit_reason="oom",
    oom=True,
    error="e",
)


@pytest.fixture
def tasks(metadata):
    metadata.containers.create("ns", NewContainer("c"))
    return metadata.tasks


def test_record_and_get(tasks):
    assert tasks.record(STOPPED)
    assert tasks.get("ns", "c") == STOPPED
    assert tasks.get("ns", "c").oom is True


def test_repeats_and_late_reports_do_no_harm(tasks):
    running = Task("ns", "c", 4, "running", pid=9)
    assert tasks.record(running)
    assert tasks.record(STOPPED)
    assert tasks.record(STOPPED)
    assert not tasks.record(running)
    assert tasks.get("ns", "c") == STOPPED


def test_exit_code_may_be_unknown(tasks):
    lost = Task("ns", "c", 1, "unknown", exit_reason="nobody watched")
    tasks.record(lost)
    assert tasks.get("ns", "c").exit_code is None


def test_refusals(tasks):
    with pytest.raises(InvalidArgumentError):
        tasks.record(Task("ns", "c", 1, "asleep"))
    with pytest.raises(NotFoundError, match="no task recorded"):
        tasks.record(Task("ns", "gone", 1, "running"))
    with pytest.raises(NotFoundError, match='task of container "c" not found'):
        tasks.get("ns", "c")


def test_delete_leaves_the_container(tasks, metadata):
    tasks.record(STOPPED)
    assert tasks.delete("ns", "c") == STOPPED
    assert metadata.containers.get("ns", "c").id == "c"
    with pytest.raises(NotFoundError):
        tasks.delete("ns", "c")


def test_any_error_text_is_kept_readable(tasks):
    tasks.record(dataclasses.replace(STOPPED, error="bad \udcff bytes\0" + "x" * 9000))
    error = tasks.get("ns", "c").error
    assert error.startswith("bad ? bytes?xxx")
    assert len(error) == 4096


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.permutations(range(1, 6)), st.lists(st.integers(0, 4), max_size=5))
def test_the_highest_revision_wins_in_any_order(metadata, order, repeats):
    if metadata.namespaces.list():
        metadata.containers.delete("ns", "c")
    metadata.containers.create("ns", NewContainer("c"))
    reports = [Task("ns", "c", revision, "running", pid=revision * 10) for revision in order]
    for report in [*reports, *(reports[index] for index in repeats)]:
        metadata.tasks.record(report)
    assert metadata.tasks.get("ns", "c").pid == 50
