"""What every test shares: order and workers, the root marker, short directories, and the search for leaks."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

if TYPE_CHECKING:
    from collections.abc import Iterator

# Quick tests first: a mistake that a unit test shows should not wait for containers.
ORDER = ("unit", "contract", "test_linters.py", "e2e")
# Never two of these at once: what they test, or look for afterwards, this machine has once. The networks of
# the host, Docker, systemd's journal, a package that is installed; cgroups by the names that clients choose;
# mounts, cgroups and processes of everybody, counted.
ALONE = (
    "test_chaos", "test_counts", "test_ctr", "test_ctr_compared", "test_docker", "test_docker_archives",
    "test_docs_typed",
    "test_far_commands", "test_flags", "test_formats", "test_full_disk", "test_grpc_events",
    "test_grpc_tasks", "test_grpc_terminals", "test_leaks", "test_log_drivers", "test_main_job",
    "test_metrics", "test_missing_tools", "test_network", "test_network_beside_others", "test_network_hosts",
    "test_network_plugins", "test_operations", "test_package", "test_quickstart", "test_runtime",
    "test_siege", "test_sleep_grpc", "test_traces", "test_userns",
)  # fmt: skip
SECOND_TRIES = 2  # tests with daemons that one run may try again, each with its first failure printed
SETTLE_SECONDS = 30.0  # how long an end that is under way may take before it counts as a leak

# No deadline, since a loaded machine is not a bug. In CI the same examples each time, to repeat a red run.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_configure() -> None:
    """Started in the background, a shell lets us and all that we start ignore Ctrl-C, which tests type."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tests = config.rootpath / "tests"
    items.sort(key=lambda item: _rank(item.path.relative_to(tests)))
    for item in items:
        if item.path.is_relative_to(tests / "e2e"):
            item.add_marker(pytest.mark.flaky(reruns=1))
    if os.geteuid() != 0:
        skip = pytest.mark.skip(reason="needs root: run it through sudo bin/test")
        for item in items:
            if item.get_closest_marker("root") is not None:
                item.add_marker(skip)


def _rank(path: Path) -> tuple[int, bool]:
    return ORDER.index(path.parts[0]) if path.parts[0] in ORDER else len(ORDER), path.stem not in ALONE


class _Modules(LoadFileScheduling):
    """A module is one worker's, and so are together all that have the machine to themselves."""

    def _split_scope(self, nodeid: str) -> str:
        path = str(super()._split_scope(nodeid))
        return "alone" if Path(path).stem in ALONE else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Modules:
    """With -n: CONTRIBUTING.md, "Two workers"."""
    return _Modules(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """First failures; the time since bin/test began, with the installing, which the last line has not."""
    for first in terminalreporter.getreports("rerun"):
        terminalreporter.write_sep("_", f"failed, and was tried again: {first.nodeid}")
        terminalreporter.write_line(str(first.longrepr))
    began = os.environ.get("ACTORD_TEST_BEGAN")
    if began is not None:
        terminalreporter.write_line(f"bin/test took {time.time() - float(began):.1f} s in all")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """More than a few second tries are a failure: CONTRIBUTING.md, "Rare failures"."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and len(reporter.getreports("rerun")) > SECOND_TRIES and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def short_root() -> Iterator[Path]:
    """The parent of every `tmp` of this run."""
    path = Path(tempfile.mkdtemp(prefix="at-", dir="/tmp"))
    yield path
    _remove(path)


@pytest.fixture
def tmp(short_root: Path) -> Iterator[Path]:
    """A directory with a path short enough for unix sockets (107 bytes), which pytest's tmp_path is not."""
    path = Path(tempfile.mkdtemp(dir=short_root))
    yield path
    _remove(path)


def _remove(path: Path) -> None:
    """Remove the tree, unless a leaked mount in it could lead the removal to files of the machine."""
    if not _mounts((path,)):
        shutil.rmtree(path, ignore_errors=True)


@dataclass(frozen=True)
class Holdings:
    """What this process holds, and what is mounted below the temporary directories of this run."""

    children: frozenset[str]
    descriptors: frozenset[str]
    mounts: frozenset[str]  # bind-mounted network namespaces are among them, with the type nsfs
    threads: frozenset[str]

    @classmethod
    def now(cls, *below: Path) -> Holdings:
        return cls(_children(), _descriptors(), _mounts(below), _threads())

    def since(self, before: Holdings) -> dict[str, list[str]]:
        """What is there and was not, by kind; kinds without anything new are left out."""
        new = {
            kind.name: sorted(getattr(self, kind.name) - getattr(before, kind.name)) for kind in fields(self)
        }
        return {kind: names for kind, names in new.items() if names}


def _children() -> frozenset[str]:
    tasks = Path("/proc/self/task").glob("*/children")
    pids = {pid for task in tasks for pid in _text(task).split()}
    return frozenset(f"{pid} ({_text(Path('/proc', pid, 'comm')).strip()})" for pid in pids)


def _descriptors() -> frozenset[str]:
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{link.name} -> {link.readlink()}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return frozenset(found)


def _mounts(below: tuple[Path, ...]) -> frozenset[str]:
    prefixes = tuple(f"{path}/" for path in below)
    lines = (line.split() for line in _text(Path("/proc/self/mountinfo")).splitlines())
    return frozenset(
        f"{line[4]} ({line[line.index('-') + 1]})" for line in lines if line[4].startswith(prefixes)
    )


def _threads() -> frozenset[str]:
    return frozenset(f"{thread.name} ({thread.ident})" for thread in threading.enumerate())


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # a process or thread that has just ended
        return ""


@pytest.fixture
def no_leaks(short_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Fails a test after which a child, descriptor, mount, network namespace or thread is left over."""
    roots = (short_root, tmp_path_factory.getbasetemp())
    gc.collect()
    before = Holdings.now(*roots)
    yield
    gc.collect()
    end = time.monotonic() + SETTLE_SECONDS
    while (left := Holdings.now(*roots).since(before)) and time.monotonic() < end:
        time.sleep(0.02)  # a kernel or a thread may still be finishing what the test has asked for
    assert not left, f"left behind: {left}"


@pytest.fixture(autouse=True)
def _root_tests_leave_nothing(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("root") is not None:
        request.getfixturevalue("no_leaks")
