"""Load measurements of this service and of comparable ones, in one run. Start with run.sh.

Used by nothing else in the project; docs/performance.md explains.
"""


class BenchError(Exception):
    """The measurement cannot go on; the message says why and what to do."""
