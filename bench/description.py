"""The first record of a run's results: when, where and how it was made, and what a reader must know to judge it."""

import argparse
import datetime
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from typing import Any

import psutil

from bench import dataset
from bench.adapter import FOLDER
from bench.options import NODE_WARM_SECONDS


def describe(
    options: argparse.Namespace, skipped: Mapping[str, str], *, mongod_version: str, load_average: float
) -> dict[str, Any]:
    """The record; `skipped` has the reason for each service left out, `load_average` is from before the run."""
    memory_gb = round(psutil.virtual_memory().total / 2**30)
    machine = f"{os.cpu_count()} cores ({platform.machine()}), {memory_gb} GB, Python {platform.python_version()}"
    notes = [
        "Services, load generator (wrk, one thread) and mongod share the machine's cores; 2 worker processes each.",
        f"{dataset.DOCUMENTS:,} documents of about 480 bytes; rounds: {options.rounds} (medians are shown); seconds "
        f"per load: {options.seconds} (up to 20 for a slow service), after {options.warm} of warm-up.",
        "sheaf authenticates every request, enforces the owner rule, stamps documents with their owner and writes its "
        "request log; the other services authenticate nobody, check no rule and log no requests. sheaf-admin, where it "
        "is listed, is asked with an admin's token, for which the owner rule adds no filter.",
        f"Load average of the machine before the run: {load_average:.1f}.",
        *_describe_exceptions(options, skipped),
    ]
    return {
        "date": f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        "machine": f"{machine}, mongod {mongod_version}",
        "command": shlex.join(["bench/run.sh", *sys.argv[1:]]),
        "notes": notes,
    }


def _describe_exceptions(options: argparse.Namespace, skipped: Mapping[str, str]) -> list[str]:
    """What made this run other than a reader would expect."""
    notes = [f"Skipped: {name} ({reason})." for name, reason in skipped.items()]
    if options.warm < NODE_WARM_SECONDS:
        notes.append("The warm-up was short: figures of services on Node are too low, and ratios to them too high.")
    if options.hot:
        notes.append(f"Ids were drawn from the first {options.hot} documents only.")
    extra = _find_extra_settings()
    return notes + ([f"sheaf ran with further settings: {', '.join(extra)}."] if extra else [])


def _find_extra_settings() -> list[str]:
    """The names of settings that the adapter did not choose, and that our service takes all the same."""
    names = [name for name in os.environ if name.startswith("SHEAF_")]
    return sorted(names) + (["those in .env"] if (FOLDER.parent / ".env").is_file() else [])
