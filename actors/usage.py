"""What a running container uses now, as the kernel tells it to whoever asks; its actor need not be awake."""

import os
import time
from dataclasses import asdict
from typing import Any

from actors.linux import cgroups, proc_table
from actors.linux.cgroup_statistics import block_io, statistics


def usage(layout: cgroups.Layout, cgroup: str, pid: int) -> dict[str, Any]:
    """Memory, processor time, processes, bytes of disks and network; None where the kernel does not tell."""
    found = statistics(layout, cgroup)
    read, written = block_io(layout, cgroup)
    received, sent = proc_table.network_bytes(pid)
    return {
        **(asdict(found) if found else {}),
        "block_read_bytes": read,
        "block_written_bytes": written,
        "network_received_bytes": received,
        "network_sent_bytes": sent,
        "cpus": os.cpu_count() or 1,
        "at": time.time_ns(),
    }
