"""What a load costs: requests per second and latency from wrk, CPU time and memory from the system."""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from bench import BenchError

SCRIPT = Path(__file__).resolve().with_name("replay.lua")
QUIET_SECONDS = 25
# CPU time in 0.3 s that counts as doing nothing.
QUIET_CPU_SECONDS = 0.03
RESULT_MARK = "RESULT "


@dataclasses.dataclass(frozen=True, slots=True)
class Load:
    """What wrk reports of one load; wrk sends the next request when the answer is there (a closed loop)."""

    seconds: float
    requests: int
    p50_ms: float
    p99_ms: float
    errors: int
    """Answers of status 400 and up, broken connections and timeouts."""


def require_wrk() -> None:
    """Raise BenchError when the load generator is missing."""
    if shutil.which("wrk") is None:
        raise BenchError("wrk is missing: install the Debian package with `apt-get install wrk`.")


def run_wrk(base_url: str, requests: Path, connections: int, seconds: int) -> Load:
    """Replay the requests in the file for some seconds over that many connections."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(SCRIPT), base_url]
    done = subprocess.run(
        command,
        env={**os.environ, "REQUESTS": str(requests)},
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith(RESULT_MARK)]
    if not lines:
        raise BenchError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
    found = json.loads(lines[0].removeprefix(RESULT_MARK))
    return Load(
        seconds=found["microseconds"] / 1e6,
        requests=found["requests"],
        p50_ms=found["p50"] / 1000,
        p99_ms=found["p99"] / 1000,
        errors=found["errors"],
    )


def cpu_seconds(processes: Iterable[psutil.Process]) -> float:
    """User and system time that these processes have used so far."""
    total = 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system
    return total


def memory_mb(processes: Iterable[psutil.Process]) -> float:
    """Memory of these processes, with what they share counted once (PSS) where the system tells."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            found = process.memory_full_info()
            total += getattr(found, "pss", 0) or found.rss
    return total / 2**20


def wait_until_quiet(processes: list[psutil.Process]) -> None:
    """Return when a service has finished what a load left in flight, lest the next load be charged with it."""
    deadline = time.monotonic() + QUIET_SECONDS
    before = cpu_seconds(processes)
    while time.monotonic() < deadline:
        time.sleep(0.3)
        now = cpu_seconds(processes)
        if now - before <= QUIET_CPU_SECONDS:
            return
        before = now
