"""Examples of commands, for help, manual page and reference. A test reads each as the command would."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "run": (
        "run --rm busybox echo hello",
        "run -d --name web -p 8080:80 --net bridge --restart always nginx",
        "run -it --rm -v data:/data -m 256m --cpus 0.5 busybox sh",
    ),
    "create": ("create --name web -e MODE=test busybox sleep 60",),
    "spec": ("spec --read-only busybox",),
    "start": ("start web", "start -a web"),
    "stop": ("stop web", "stop -t 30 web db"),
    "update": ("update -m 512m web", "update --restart on-failure:5 web"),
    "top": ("top", "top web", "top --no-stream"),
    "tree": ("tree -p",),
    "stats": ("stats", "stats --no-stream web"),
    "cp": ("cp web:/etc/hosts .", "cp page.html web:/srv/"),
    "kill": ("kill -s HUP web",),
    "rm": ("rm web", "rm -f web db"),
    "exec": ("exec web ps", "exec -it web sh"),
    "wait": ("wait web",),
    "logs": ("logs --tail 20 -f web", "logs --since 10m -t web"),
    "ps": ("ps -a", "ps --format '{{.Name}} {{.Task.Pid}}'", "ps -A"),
    "inspect": (
        "inspect web",
        "inspect --format '{{.Task.ExitCode}}' web",
        "inspect --remote busybox:latest",
    ),
    "volume create": ("volume create data",),
    "pull": ("pull busybox", "pull --platform linux/arm64 registry.example/app:1.2"),
    "push": ("push app:1.2 registry.example/app:1.2",),
    "copy": ("copy busybox:latest registry.example/busybox:latest",),
    "tags": ("tags registry.example/app",),
    "login": ("login -u me registry.example",),
    "images ls": ("images", "images -q"),
    "images convert": ("images convert --compression zstd app:1.2 app:1.2-zstd",),
    "save": ("save -o app.tar app:1.2", "save -d layout app:1.2"),
    "load": ("load -i app.tar",),
    "commit": ("commit -m 'with tools' web app:debug",),
    "export": ("export -o web.tar web",),
    "import": ("import root.tar base:1",),
    "leases create": ("leases create --ttl 3600 build",),
    "system prune": ("system prune --containers", "system prune -a"),
    "system backup": ("system backup /backup/today",),
    "events": ("events", "events --since 10m --no-follow --container web", "events -A --topic /actors/"),
    "network create": ("network create --subnet 10.20.0.0/24 front",),
    "network connect": ("network connect front web",),
    "network check": ("network check --mend",),
    "keys new": ("keys new laptop --role operator -o laptop.json",),
    "node join": ("node join h2.json",),
    "doctor": ("doctor", "doctor -q"),
    "completion": ("completion bash",),
}


def examples_of(name: str) -> list[str]:
    """Whole lines, for a command by its words."""
    return [f"actr {line}" for line in EXAMPLES.get(name, ())]
