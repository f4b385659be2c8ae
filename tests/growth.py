# SPDX-License-Identifier: MPL-2.0
"""How work grows with its size: by what factor the time does when the size does by four, whatever the machine and its load."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Input = TypeVar("Input")

# Four where time is linear, sixteen where it is quadratic.
MOST = 9.0
_ENOUGH_SECONDS = 0.004
_ROUNDS = 3
_AGAIN = 4


def growth(make: Callable[[int], Input], work: Callable[[Input], object], *, largest: int = 1 << 16) -> float:
    """The factor, from a size on that decides about the time; the best of some rounds, in the thread's own time."""
    size = 32
    least = max(_ENOUGH_SECONDS, 10 * _best(make(size), work))
    while (few := _best(make(size), work)) < least:
        size *= 2
        if size > largest:
            return 1.0  # nothing to speak of
    found = _best(make(4 * size), work) / few
    for _ in range(_AGAIN):  # other work shares the caches: only what stays so is so
        if found < MOST:
            break
        found = min(found, _best(make(4 * size), work) / _best(make(size), work))
    return found


def _best(given: Input, work: Callable[[Input], object]) -> float:
    times = []
    for _ in range(_ROUNDS):
        began = time.thread_time()
        work(given)
        times.append(time.thread_time() - began)
        if times[-1] > 1.0:  # long enough for a good measure
            break
    return min(times)
