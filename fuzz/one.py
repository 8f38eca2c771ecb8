"""One target in a process of its own, with atheris: it steers by the code that an input reaches."""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["storage", "transport", "actord_client"]):
    from fuzz.targets import TARGETS, harmless


def main() -> None:
    """Arguments: target, seconds, directory for the corpus and findings."""
    name, seconds, directory = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    target, seeds = TARGETS[name]
    corpus = directory / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    options = [
        f"-max_total_time={seconds}", "-print_final_stats=1", "-timeout=10", "-rss_limit_mb=1024",
        "-max_len=16384", "-verbosity=0", f"-artifact_prefix={directory}/{name}.finding-",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: harmless(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
