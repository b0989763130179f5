"""How long a call takes; what the benchmarks have in common."""

import statistics
import time
from collections.abc import Callable


def milliseconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    call()
    return (clock() - start) * 1000


def median(call: Callable[[], object], calls: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the median time of a call in milliseconds; a first one does not count."""
    call()
    return statistics.median(milliseconds(call, clock) for _ in range(calls))
