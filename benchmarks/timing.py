"""How long a call takes; what the benchmarks have in common."""

import statistics
import time
from collections.abc import Callable


def milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def median(call: Callable[[], object], calls: int) -> float:
    """Return the median time of a call in milliseconds; a first one does not count."""
    call()
    return statistics.median(milliseconds(call) for _ in range(calls))
