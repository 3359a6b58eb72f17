"""The Markdown that results become: `python -m bench.table results.jsonl`."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from bench import BenchError
from bench.workload import WORKLOADS

Record = dict[str, Any]
BASE = "sheaf"
NOT_OFFERED = "not offered yet"
NO_SUCH_NUMBER = "-"
COLUMNS = (
    "service",
    "connections",
    "req/s",
    "lowest to highest",
    "p50 ms",
    "p99 ms",
    "server CPU µs/req",
    "mongod CPU µs/req",
    "memory MB",
    "errors",
)
SPEED_TEXT = "requests per second, above 1 = sheaf answers more (median over the rounds of the ratio within a round)."
COST_TEXT = "above 1 = sheaf needs less per request."
SECTION = re.compile(r"(<!-- results -->\n).*?(<!-- end of results -->)", re.DOTALL)


def render(records: list[Record]) -> str:
    """Everything a reader of one run wants: how it was made, a table per workload, and the ratios."""
    run, loads = records[0], records[1:]
    services = list(dict.fromkeys(load["service"] for load in loads))
    parts = [_render_run(run)]
    parts += [_render_workload(name, loads, services) for name in WORKLOADS if _of(loads, workload=name)]
    connections = _connections_to_compare(loads)
    if BASE in services and len(services) > 1:
        speeds = _render_ratios(loads, services, connections, _speed_ratio)
        parts.append(f"**Ratios** of {BASE} to each service at {connections} connections: {SPEED_TEXT}\n\n{speeds}")
        costs = _render_ratios(loads, services, connections, _cpu_ratio)
        parts.append(f"The same of server CPU time: {COST_TEXT}\n\n{costs}")
    return "\n\n".join(parts) + "\n"


def write_document(path: Path, text: str) -> None:
    """Replace the results in a document between its two marks."""
    old = path.read_text(encoding="utf-8")
    if not SECTION.search(old):
        raise BenchError(f"{path.name} has no marks for the results.")
    path.write_text(SECTION.sub(lambda found: f"{found[1]}\n{text}\n{found[2]}", old), encoding="utf-8")


def read_records(path: Path) -> list[Record]:
    """The records of one run."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as failure:
        raise BenchError(f"{path} holds no results: {failure}.") from failure


def _render_run(run: Record) -> str:
    lines = [f"{run['date']}, {run['machine']}. Command: `{run['command']}`."]
    lines += [f"- {note}" for note in run["notes"]]
    return "\n".join(lines)


def _render_workload(workload: str, loads: list[Record], services: list[str]) -> str:
    rows = []
    for service in services:
        found = _of(loads, workload=workload, service=service)
        if any(not load["offered"] for load in found):
            rows.append([service, NOT_OFFERED, *[""] * (len(COLUMNS) - 2)])
            continue
        used = sorted({load["connections"] for load in found})
        rows += [_summarise(service, connections, _of(found, connections=connections)) for connections in used]
    return f"**{workload}** {WORKLOADS[workload]}\n\n" + _render_table(COLUMNS, rows)


def _summarise(service: str, connections: int, loads: list[Record]) -> list[str]:
    """One row: medians over the rounds."""
    speeds = [load["requests_per_second"] for load in loads]
    return [
        service,
        str(connections),
        _number(median(speeds)),
        f"{_number(min(speeds))} to {_number(max(speeds))}",
        f"{_median(loads, 'p50_ms'):.2f}",
        f"{_median(loads, 'p99_ms'):.1f}",
        f"{_median(loads, 'server_cpu_us'):,.0f}",
        f"{_median(loads, 'mongod_cpu_us'):,.0f}" if loads[0]["mongod_cpu_us"] is not None else NO_SUCH_NUMBER,
        f"{_median(loads, 'memory_mb'):,.0f}",
        str(sum(load["errors"] for load in loads)),
    ]


def _render_ratios(
    loads: list[Record], services: list[str], connections: int, ratio: Callable[[Record, Record], float | None]
) -> str:
    workloads = [name for name in WORKLOADS if _of(loads, workload=name)]
    rows = [
        [service, *(_median_ratio(loads, name, connections, service, ratio) for name in workloads)]
        for service in services
        if service != BASE
    ]
    return _render_table(("to", *workloads), rows)


def _median_ratio(
    loads: list[Record], workload: str, connections: int, service: str, ratio: Callable[[Record, Record], float | None]
) -> str:
    """The ratio over rounds, each compared within itself: the machine may be slower in one of them."""
    measured = _of(loads, workload=workload, connections=connections, offered=True)
    ours = {load["round"]: load for load in _of(measured, service=BASE)}
    theirs = {load["round"]: load for load in _of(measured, service=service)}
    found = [ratio(ours[number], theirs[number]) for number in ours.keys() & theirs.keys()]
    numbers = [number for number in found if number is not None]
    return f"{median(numbers):.2f}" if numbers else NO_SUCH_NUMBER


def _speed_ratio(ours: Record, theirs: Record) -> float | None:
    other: float = theirs["requests_per_second"]
    return ours["requests_per_second"] / other if other else None


def _cpu_ratio(ours: Record, theirs: Record) -> float | None:
    own: float = ours["server_cpu_us"]
    return theirs["server_cpu_us"] / own if own else None


def _connections_to_compare(loads: list[Record]) -> int:
    used = {load["connections"] for load in loads if load["offered"]}
    return 16 if 16 in used or not used else max(used)


def _of(records: list[Record], **wanted: Any) -> list[Record]:
    return [record for record in records if all(record.get(name) == value for name, value in wanted.items())]


def _median(loads: list[Record], name: str) -> float:
    return float(median(load[name] for load in loads))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _render_table(columns: tuple[str, ...], rows: list[list[str]]) -> str:
    lines = [columns, ("---", *["---:"] * (len(columns) - 1)), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    print(render(read_records(Path(sys.argv[1]))))
