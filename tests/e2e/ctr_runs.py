"""What people run by ctr, and how: a table as in ctr_steps.py."""

from __future__ import annotations

from typing import Final

from ctr_client import attached, beside, events_of

from session import Step, typed

SLEEP: Final = "sleep 1000"
CHATTY: Final = "trap 'echo bye; exit 4' TERM; while :; do echo tick; sleep 0.1; done"

IS_SIZED: Final = (("# ", "until stty size | grep 33; do :; done\n"), ("33 77", "exit 6\n"))

STEPS: Final = (
    Step("run -t", typed("run --rm -t IMAGE ID.t1 sh", *IS_SIZED)),
    Step("run --null-io", "run --rm --null-io IMAGE ID.t2 echo nothing"),
    Step("run --log-uri", "run -d --log-uri file://DIR/log IMAGE ID.t3 echo logged"),
    Step("run --log-uri: it has ended", "tasks ls", until="STOPPED"),
    Step("run --log-uri: what was logged", beside("cat DIR/log")),
    Step("tasks rm: of what was logged", "tasks rm ID.t3"),
    Step("containers rm: of what was logged", "containers rm ID.t3"),
    Step("run --log-uri: in a directory that is not there",
         "run -d --log-uri file://DIR/logs/of%20one/log IMAGE ID.t29 echo logged"),
    Step("run --log-uri: in a directory: it has ended", "tasks ls", until="STOPPED"),
    Step("run --log-uri: in a directory: what was logged", beside("cat 'DIR/logs/of one/log'")),
    Step("tasks rm: of what was logged in a directory", "tasks rm ID.t29"),
    Step("containers rm: of what was logged in a directory", "containers rm ID.t29"),
    Step("run --fifo-dir", "run --rm --fifo-dir DIR/fifos IMAGE ID.t4 echo hello"),
    Step("run --cgroup", "run --rm --cgroup /ID.own IMAGE ID.t5 grep -c ID.own /proc/self/cgroup"),
    Step("run --platform", "run --rm --platform linux/amd64 IMAGE ID.t6 uname -m"),
    Step("run --cpus", "run --rm --cpus 0.5 IMAGE ID.t7 true"),
    Step("run --cpu-shares", "run --rm --cpu-shares 512 IMAGE ID.t8 true"),
    Step("run --cpu-quota", "run --rm --cpu-quota 50000 --cpu-period 100000 IMAGE ID.t9 true"),
    Step("run --snapshotter", "run --rm --snapshotter native --snapshotter-label k=v IMAGE ID.t10 echo hello",
         code=None),
    Step("run --env-file", beside("printf 'a=1\\nb=2\\n' > DIR/env")),
    Step("run --env-file: read", "run --rm --env-file DIR/env IMAGE ID.t11 sh -c 'echo $a $b'"),
    Step("run --annotation", "run --rm --annotation a=b IMAGE ID.t12 true"),
    Step("run --with-ns", "run --rm --with-ns ipc:/proc/1/ns/ipc IMAGE ID.t13 true", code=None),
    Step("run --pid-file", "run --rm --pid-file DIR/pid IMAGE ID.t14 true"),
    Step("run --pid-file: written", beside("test -s DIR/pid && echo there")),
    Step("run --allow-new-privs", "run --rm --allow-new-privs IMAGE ID.t15 grep NoNewPrivs /proc/1/status"),
    Step("run --device", "run --rm --device /dev/loop-control IMAGE ID.t16 ls /dev/loop-control", code=None),
    Step("run --cap-add", "run --rm --cap-add CAP_SYS_TIME IMAGE ID.t17 grep CapEff /proc/1/status"),
    Step("run --cap-drop", "run --rm --cap-drop CAP_CHOWN IMAGE ID.t18 grep CapEff /proc/1/status"),
    Step("run --seccomp", "run --rm --seccomp IMAGE ID.t19 grep Seccomp: /proc/1/status", code=None),
    Step("run --rootfs", "run --rm --rootfs DIR/none ID.t20 true", code=None),
    Step("run --no-pivot", "run --rm --no-pivot IMAGE ID.t21 echo hello", code=None),
    Step("run --rootfs-propagation", "run --rm --rootfs-propagation private IMAGE ID.t22 echo hello",
         code=None),
    Step("run --runc-systemd-cgroup", "run --rm --runc-systemd-cgroup IMAGE ID.t23 true", code=None,
         differs="actord's cgroups are made by the runtime; systemd's are refused by name"),
    Step("run --uidmap", "run --rm --uidmap 0:100000:65536 --gidmap 0:100000:65536 IMAGE ID.t24 id -u",
         code=None),
    Step("run --apparmor-profile", "run --rm --apparmor-profile nothing IMAGE ID.t25 true", code=None),
    Step("run --runtime: another than runc", "run --rm --runtime io.containerd.runsc.v1 IMAGE ID.t27 true",
         code=1, differs="each says what it has"),
    Step("run: the runtime of before", "run --rm --runtime io.containerd.runc.v1 IMAGE ID.t28 echo hello"),
    Step("run --config", beside("ctr oci spec > DIR/spec.json")),
    Step("run --config: read", "run --rm --config DIR/spec.json ID.t26", code=None),
    Step("oci spec", "oci spec"),
    Step("run -d: chatty", f'run -d IMAGE ID.chatty sh -c "{CHATTY}"',
         differs="how much of the first output ctr still shows is chance"),
    Step("tasks attach", attached("ID.chatty", "TERM")),
    Step("tasks ls: it has ended", "tasks ls"),
    Step("tasks rm: ctr has done it", "tasks rm ID.chatty", code=1),
    Step("containers rm: the chatty one", "containers rm ID.chatty"),
    Step("containers create: with much", "containers create --label k=v --env a=b --cwd /tmp "
         f"--annotation c=d --read-only --cap-drop CAP_CHOWN IMAGE ID.made {SLEEP}"),
    Step("containers info --spec", "containers info --spec ID.made"),
    Step("containers ls -q", "containers ls -q"),
    Step("containers label: cleared", "containers label ID.made k="),
    Step("containers info: cleared", "containers info ID.made"),
    Step("containers label: not there", "containers label ID.nobody k=v", code=1),
    Step("tasks start", "tasks start -d --null-io --pid-file DIR/task.pid ID.made"),
    Step("tasks start: twice", "tasks start -d ID.made", code=1),
    Step("tasks start: not there", "tasks start -d ID.nobody", code=1),
    Step("tasks ps: not there", "tasks ps ID.nobody", code=1),
    Step("tasks exec -t", typed("tasks exec -t --exec-id e1 ID.made sh", *IS_SIZED)),
    Step("tasks exec -d", f"tasks exec -d --exec-id e2 ID.made {SLEEP}"),
    Step("tasks exec: an id that is taken", f"tasks exec --exec-id e2 ID.made {SLEEP}", code=1),
    Step("tasks kill --exec-id", "tasks kill --exec-id e2 -s KILL ID.made"),
    Step("tasks rm --exec-id", "tasks rm --exec-id e2 ID.made", until="137", code=None),
    Step("tasks kill: no such exec", "tasks kill --exec-id none ID.made", code=1),
    Step("tasks kill: not there", "tasks kill ID.nobody", code=1),
    Step("tasks pause: not there", "tasks pause ID.nobody", code=1),
    Step("tasks resume: not paused", "tasks resume ID.made", code=None),
    Step("tasks rm: not there", "tasks rm ID.nobody", code=None),
    Step("tasks rm -f", "tasks rm -f ID.made", code=None),
    Step("containers rm --keep-snapshot", "containers rm --keep-snapshot ID.made"),
    Step("containers rm: not there", "containers rm ID.nobody", code=None),
    Step("events: of a run", events_of("run --rm IMAGE ID.ev1 true", last="/containers/delete")),
    Step("events: of an exec", events_of(
        f"run -d IMAGE ID.ev2 {SLEEP}", "tasks exec --exec-id e1 ID.ev2 true", "tasks pause ID.ev2",
        "tasks resume ID.ev2", "tasks rm -f ID.ev2", "containers label ID.ev2 k=v", "containers rm ID.ev2",
        last="/containers/delete")),
    Step("events: of images", events_of(
        "images tag IMAGE example.org/told:1", "images label example.org/told:1 k=v",
        "images rm example.org/told:1", last="/images/delete")),
    Step("events: of snapshots", events_of(
        "snapshots prepare told", "snapshots commit told2 told", "snapshots rm told2",
        last="/snapshot/remove")),
    Step("nothing is left", "containers ls -q"),
)  # fmt: skip
"""`ID.` begins the ids of a daemon, since both have their cgroups on one host."""
