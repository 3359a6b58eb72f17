"""What may be asked for on the command line."""

import argparse
from pathlib import Path

from bench.adapter import HOME
from bench.workload import WORKLOADS

# Node compiles what runs often only after some seconds.
NODE_WARM_SECONDS = 8


def parse_arguments() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(prog="bench/run.sh", description="Measure sheaf and other services in one run.")
    names = "sheaf, sheaf-admin, sheaf-gunicorn, and the peers' adapters in $BENCH_PEERS"
    parser.add_argument("--services", type=_words, default=["sheaf", "fastify", "eve"], help=f"of: {names}")
    parser.add_argument("--workloads", type=_workloads, default=list(WORKLOADS), help="default: W1,...,W7")
    parser.add_argument("--connections", type=_numbers, default=[16], help="for instance 1,16,64; default: 16")
    parser.add_argument("--rounds", type=int, default=2, help="turns of all services; default: %(default)s")
    parser.add_argument("--seconds", type=int, default=4, help="of one load; default: %(default)s")
    parser.add_argument("--warm", type=int, default=NODE_WARM_SECONDS, help="seconds before each; default: 8")
    parser.add_argument("--hot", type=int, default=0, help="draw ids from the first so many documents (for a cache)")
    parser.add_argument("--check", action="store_true", help="only prove that the services do the work")
    parser.add_argument("--out", type=Path, default=HOME / "results.jsonl", help="file for the single results")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    return parser.parse_args()


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    return [int(word) for word in _words(text)]


def _workloads(text: str) -> list[str]:
    unknown = [word for word in _words(text) if word not in WORKLOADS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no workload {unknown[0]}; there are {', '.join(WORKLOADS)}")
    return _words(text)
