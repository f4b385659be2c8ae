# SPDX-License-Identifier: MPL-2.0
"""Files made to cost as much as possible: what they cost grows as they do (tests/bench/hostile.py has large ones)."""

from __future__ import annotations

import random
import resource
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from growth import MOST, growth
from hostiletexts import KINDS, MAIN, made, take

_CPU_SECONDS = 120
_VARIOUS = ("comments", "signs", "broken", "nesting", "numbers", "strings", "includes")
_MIXTURES = (
    "comments+strings",
    "signs+comments",
    "strings+signs",
    "lines+comments",
    "nesting+commas",
    "unknown+unicode",
)


def alone(work: Callable[[], float]) -> float | None:
    """In a process that is ended when it takes for ever: no signal reaches a regular expression. None if it was."""
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def run(sender: Connection) -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (_CPU_SECONDS, _CPU_SECONDS))
        sender.send(work())

    child = context.Process(target=run, args=(sender,))
    child.start()
    sender.close()
    try:
        return float(receiver.recv())
    except EOFError:
        return None
    finally:
        child.join()


@pytest.mark.parametrize(
    ("kind", "seed"), [(kind, seed) for kind in (*KINDS, *_MIXTURES) for seed in range(4 if kind in _VARIOUS else 1)]
)
def test_time_grows_as_the_file_does(tmp_path: Path, kind: str, seed: int) -> None:
    def make(size: int) -> Path:
        directory = tmp_path / str(size)
        directory.mkdir(exist_ok=True)
        for name, text in made(kind, random.Random(seed), size).items():
            (directory / name).write_text(text.replace("INC", str(directory)), encoding="utf-8")
        return directory / MAIN

    found = alone(lambda: growth(make, take, largest=1 << 14))
    assert found is not None, f"{kind} {seed}: more than {_CPU_SECONDS} s"
    assert found < MOST
