"""What the runner makes of what it has seen: violations, excuses, leaks, figures, the picture."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import threading
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos import crashes, probing, processes, report, residue, scenarios, timeline
from chaos.findings import Findings, Outage, Struck, Window
from chaos.runs import Run, counted, sha256
from chaos.scene import chain_ids
from cli.session import RefusedError
from storage.digest import Digest
from storage.image.chain import chain_ids as of_the_store
from transport.errors import RemoteError


def test_a_check_that_does_not_hold_is_a_violation(capsys):
    findings = Findings()
    findings.step = 7
    assert findings.check("numbers add up", holds=True)
    assert not findings.check("numbers add up", holds=False, text="2 + 2 = 5")
    assert (findings.checked.total(), findings.broken.total()) == (2, 1)
    assert (findings.violations[0].step, findings.violations[0].text) == (7, "2 + 2 = 5")
    assert "BROKEN at step 7" in capsys.readouterr().out


def test_an_exit_may_be_unknown_only_where_nothing_watched_and_it_ended():
    findings = Findings()
    findings.unwatched.append(Window(1.0, 2.0, {"a", "b"}, {"b"}))
    assert findings.may_be_unknown("a")
    assert not findings.may_be_unknown("b")  # it was alive when it was watched again
    assert not findings.may_be_unknown("c")


@pytest.mark.parametrize(
    ("began", "ended", "expected"), [(0, 1, False), (1, 3, True), (3, 3.5, True), (5, 6, False)]
)
def test_a_window_excuses_only_what_it_meets(began: float, ended: float, expected: bool):
    findings = Findings()
    findings.starved.append(Window(2.0, 4.0))
    assert findings.was_starved(began, ended) is expected


def test_a_window_that_is_open_has_no_end():
    assert Window(2.0).meets(100, 200)
    assert not Window(2.0).meets(0, 1)


@pytest.mark.parametrize("starved", [True, False])
def test_what_a_failed_scenario_left_is_removed_once_there_is_what_that_takes(monkeypatch, tmp_path, starved):
    findings, refusals = Findings(), ["too many open files", "still too many", ""]
    scene = SimpleNamespace(socket=tmp_path / "socket", findings=findings, runs=None)
    worker = scenarios.Worker(scene, 1, 1, threading.Event())
    run = Run("1", "one", 0)
    worker._mine.append(run)
    if starved:
        findings.starved.append(Window(0.0))

    def remove(_):
        if why := refusals.pop(0):
            raise RefusedError(RemoteError("internal", why), "containers.remove", {})

    monkeypatch.setattr(worker, "remove", remove)
    worker._clear()
    assert (run.over, findings.broken.total()) == ((True, 0) if starved else (False, 1))


@given(st.lists(st.floats(0, 100), min_size=1))
def test_quantiles_are_values_that_were_seen(values: list[float]):
    assert report.quantile(values, 1.0) == max(values)
    assert report.quantile(values, 0.5) in values
    below = sum(value <= report.quantile(values, 0.99) for value in values)
    assert below >= 0.99 * len(values)


def _holdings(**changes: object) -> dict[str, object]:
    return {"descriptors": {"router": 20}, "processes": ["router"], "mounts": ["/a"], **changes}


def test_what_is_new_is_leaked_and_what_is_gone_is_not():
    before = _holdings()
    assert residue.leaked(before, _holdings(descriptors={"router": 19}, mounts=[])) == []
    found = residue.leaked(
        before, _holdings(descriptors={"router": 22, "container/c/x": 9}, mounts=["/a", "/b"])
    )
    assert found == ["2 descriptors of router (20 before)", "actor container/c/x", "mounts: /b"]
    assert residue.leaked(before, _holdings(processes=["router", "router"]))


def test_what_is_there_once_more_is_leaked_too():
    """A mount over a mount; and descriptors and directories that are listed by their number."""
    before = _holdings(mounts=["/a"], kept=["one"])
    found = residue.leaked(before, _holdings(mounts=["/a", "/a"], kept=["one", "one", "one"]))
    assert found == ["mounts: /a", "kept: one", "kept: one"]


def test_a_thread_that_ends_by_an_exception_breaks_something(monkeypatch, capsys):
    """Else a client of the load to whom nonsense was said would just be gone."""
    findings = Findings()
    monkeypatch.setattr(threading, "excepthook", findings.uncaught)
    thread = threading.Thread(target={}.__getitem__, args=("exit_code",), name="load-2")
    thread.start()
    thread.join()
    assert "load-2: KeyError: 'exit_code'" in findings.violations[0].text
    assert "Traceback" in capsys.readouterr().out


def test_an_actor_that_is_silent_to_the_end_was_silent(monkeypatch):
    findings, stop = Findings(), threading.Event()

    def gone(*_):
        stop.set()
        raise probing.GoneError

    monkeypatch.setattr(probing, "Client", lambda _: None)
    monkeypatch.setattr(probing, "answers", gone)
    monkeypatch.setattr(probing, "EVERY", 0)
    probing.Prober(Path("/nowhere"), findings, "metadata", stop).run()
    assert [one.actor for one in findings.outages] == ["metadata"]


def _killed(actor: str, at: float, **more: float) -> Struck:
    return Struck(1, "kill", actor, at, **more)


@pytest.mark.parametrize(
    ("struck", "silent"),
    [
        ([], 60.0),
        ([_killed("events", 0.2)], 57.8),
        ([_killed("events", 20.0)], 38.0),
        ([_killed("router", 20.0, seconds=30.0)], 19.5),
        ([_killed("events", 20.0), _killed("events", 40.0), _killed("events", 20.5)], 19.5),
        ([_killed("events", -9.0), _killed("events", 70.0)], 60.0),
        ([Struck(1, "everything", "everything", 0.0, recovered=55.0)], 3.0),
        ([_killed("events", 0.0, recovered=55.0)], 58.0),
    ],
)
def test_a_silence_is_explained_as_long_as_somebody_may_be_on_the_way_back(struck, silent):
    outage = Outage("events", 0.0, 60.0)
    assert outage.unexplained(struck, 2.0) == pytest.approx(silent)


LOG = """\
{0} WARNING zygote/1[7] metadata (pid 9) ended with status 256 KeyError: 'x'
{0} WARNING zygote/1[7] metadata (pid 9) ended with status 9\x20
{0} WARNING zygote/1[7] supervisor (pid 9) ended with status 256\x20
{0} INFO    zygote/1[7] metadata (pid 9) ended with status 0 KeyError: 'x'
{0} ERROR   metadata/1[9] said: zygote/1[7] metadata (pid 9) ended with status 256 KeyError: 'y'
"""


@pytest.mark.parametrize(("starved", "broken"), [([], 1), ([Window(2.0, 4.0)], 0), ([Window(5.0, 6.0)], 1)])
def test_an_actor_that_ends_by_an_exception_has_a_reason(tmp_path, starved, broken):
    findings, log = Findings(), tmp_path / "log"
    at = datetime.fromtimestamp(time.time() - findings.now() + 3.0).astimezone()
    log.write_text(LOG.format(at.strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]))
    assert [(one.actor, one.why) for one in crashes.crashes(log.read_text())] == [
        ("metadata", "KeyError: 'x'")
    ]
    findings.starved += starved
    crashes.check(SimpleNamespace(daemon=SimpleNamespace(log=log)), findings)
    assert findings.broken.total() == broken


def test_what_was_before_the_run_is_none_of_it(tmp_path):
    log = tmp_path / "log"
    log.write_text(LOG.format("2026-01-01 00:00:00,000"))
    findings = Findings()
    crashes.check(SimpleNamespace(daemon=SimpleNamespace(log=log)), findings)
    assert not findings.broken


def test_two_processes_of_one_name_are_seen():
    def seen(pid: int, comm: str) -> processes.Seen:
        return processes.Seen(pid, 1, comm, 1, "S", leads=True)

    assert processes.twice([seen(1, "router"), seen(2, "events")]) == {}
    assert processes.twice([seen(3, "router"), seen(1, "router")]) == {"router": [1, 3]}


def test_the_kernel_cuts_a_name_and_a_container_is_called_by_its_id():
    assert processes.comm_of("metadata") == "metadata"
    assert processes.comm_of("container/c/" + "ab" * 32) == "ab" * 7 + "a"
    assert processes.comm_of("puller/c/0123456789ab") == "puller/c/012345"


def test_this_process_runs_and_a_later_one_of_its_pid_does_not():
    me = processes.look(os.getpid())
    assert me is not None
    assert processes.runs(me.pid, me.start)
    assert not processes.runs(me.pid, me.start + 1)


WITH_A_HOLE = """
import os
first, _ = [os.open(os.devnull, os.O_RDONLY) for _ in range(2)]
os.close(first)
print("open", flush=True)
input()
try:
    os.open(os.devnull, os.O_RDONLY)
except OSError as error:
    print(error.strerror)
"""


def test_at_the_lowest_number_that_is_free_nothing_can_be_opened():
    """What is open has holes: as many as are open would leave room in them."""
    with subprocess.Popen(
        [sys.executable, "-c", WITH_A_HOLE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "open\n"
        most = resource.prlimit(other.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(other.pid, resource.RLIMIT_NOFILE, (processes.free_descriptor(other.pid), most))
        assert other.communicate("go\n", timeout=30)[0] == "Too many open files\n"


def test_a_run_whose_process_has_gone_is_touched_unless_it_may_end():
    run = Run("id", "name", 0, init=(2**22, 1))  # above any pid
    assert not run.untouched()
    run.may_end = True
    assert run.untouched()


def test_output_is_compared_by_what_seq_prints():
    assert counted(3) == b"1\n2\n3\n"
    assert sha256(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_chain_ids_follow_the_image_specification():
    diffs = ["sha256:" + char * 64 for char in "abc"]
    assert chain_ids(diffs) == tuple(map(str, of_the_store([Digest.parse(one) for one in diffs])))


def _findings() -> Findings:
    findings = Findings()
    findings.struck += [
        Struck(1, "kill", "metadata", 0.1, recovered=0.05),
        Struck(1, "kill", "container/c/abc", 0.2, recovered=0.5),
        Struck(2, "everything", "everything", 0.3, recovered=0.7),
        Struck(3, "pause", "<router>", 0.4, seconds=0.2),
    ]
    findings.outages.append(Outage("metadata", 0.1, 0.2))
    findings.request("tasks.exec", "done")
    findings.check("numbers add up", holds=False, text="a | b")
    return findings


def test_the_report_counts_by_actor_and_kind(tmp_path):
    report.write(tmp_path, _findings(), {"seed": 3, "replay": "bin/chaos --replay x"})
    assert {path.name for path in tmp_path.iterdir()} == {
        report.JSON_NAME,
        report.MARKDOWN_NAME,
        report.PICTURE_NAME,
    }
    found = report.summary(_findings(), {"seed": 3, "replay": ""})
    assert found["faults"] == {
        "everything everything": 1,
        "kill container": 1,
        "kill metadata": 1,
        "pause <router>": 1,
    }
    assert found["recovery_ms"]["container"] == {"count": 1, "median": 500, "p99": 500, "max": 500}
    assert found["recovery_ms"][report.ALL] == {"count": 3, "median": 500, "p99": 700, "max": 700}
    text = report.text(found)
    assert "tasks.exec" in text
    assert "numbers add up" in text


def test_the_timeline_is_a_picture_with_a_mark_for_each_fault():
    root = ET.fromstring(timeline.draw(_findings()))  # noqa: S314  # our own text
    assert root.tag.endswith("svg")
    titles = [one.text for one in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(titles) == 4
    assert "pause <router>" in str(titles[3])
