"""Figures of control groups, both versions, under containerd's names."""

from __future__ import annotations

from actors.container_metrics import samples

FIRST = {
    "pids": {"current": 2},
    "cpu": {
        "usage": {"total": 9, "kernel": 3, "per_cpu": [4, 5]},
        "throttling": {"periods": 1, "throttled_periods": 2, "throttled_time": 3},
    },
    "memory": {
        "cache": 10,
        "total_rss_huge": 11,
        "total_pg_maj_fault": 12,
        "pg_pg_in": 13,
        "hierarchical_swap_limit": 14,
        "usage": {"usage": 15, "limit": 16, "max": 17, "failcnt": 18},
        "kernel_tcp": {"usage": 19},
        "swap": {},
    },
    "memory_oom_control": {"oom_kill": 20, "under_oom": 0},
    "blkio": {
        **dict.fromkeys(
            ("io_merged_recursive", "io_queued_recursive", "io_service_time_recursive", "io_time_recursive",
             "sectors_recursive", "io_serviced_recursive"),
            (),
        ),
        "io_service_bytes_recursive": [
            {"major": 8, "minor": 0, "op": "Read", "value": 4096, "device": "/dev/sda"}
        ],
    },
    "hugetlb": [{"pagesize": "2MB", "usage": 21, "failcnt": 22}],
}  # fmt: skip
SECOND = {
    "pids": {"current": 7, "limit": 20},
    "cpu": {"usage_usec": 1, "nr_throttled": 2},
    "memory": {"anon": 3, "usage": 4, "usage_limit": 5, "swap_limit": 6},
    "memory_events": {"oom": 7, "oom_kill": 8},
    "io": {"usage": [{"major": 254, "minor": 0, "rbytes": 9, "wios": 10}]},
    "hugetlb": [{"pagesize": "2MB", "current": 11}],
}


def named(figures: object) -> dict[str, float]:
    return {
        sample.name + "".join(f"|{key}={value}" for key, value in sample.labels): sample.value
        for sample in samples(figures)
    }


def test_names_of_version_1():
    assert named(FIRST) == {
        "pids_current": 2,
        "cpu_total_nanoseconds": 9,
        "cpu_kernel_nanoseconds": 3,
        "per_cpu_nanoseconds|cpu=0": 4,
        "per_cpu_nanoseconds|cpu=1": 5,
        "cpu_throttle_periods_total": 1,
        "cpu_throttled_periods_total": 2,
        "cpu_throttled_time_nanoseconds": 3,
        "memory_cache_bytes": 10,
        "memory_total_rss_huge_bytes": 11,
        "memory_total_pgmajfault_bytes": 12,
        "memory_pgpgin_bytes": 13,
        "memory_hierarchical_memsw_limit_bytes": 14,
        "memory_usage_usage_bytes": 15,
        "memory_usage_limit_bytes": 16,
        "memory_usage_max_bytes": 17,
        "memory_usage_failcnt_total": 18,
        "memory_kerneltcp_usage_bytes": 19,
        "memory_oom_total": 20,
        "hugetlb_usage_bytes|page=2MB": 21,
        "hugetlb_failcnt_total|page=2MB": 22,
        "blkio_io_service_bytes_recursive_bytes|op=Read|device=/dev/sda|major=8|minor=0": 4096,
    }


def test_names_of_version_2():
    assert named(SECOND) == {
        "pids_current": 7,
        "pids_limit": 20,
        "cpu_usage_usec_microseconds": 1,
        "cpu_nr_throttled_total": 2,
        "memory_anon_bytes": 3,
        "memory_usage_bytes": 4,
        "memory_usage_limit_bytes": 5,
        "memory_swap_limit_bytes": 6,
        "memory_oom_total": 7,
        "io_rbytes_bytes|major=254|minor=0": 9,
        "io_wios_total|major=254|minor=0": 10,
        "hugetlb_usage_bytes|page=2MB": 11,
    }
