# SPDX-License-Identifier: MPL-2.0
"""How the demo is told: a heading, the commands as typed with what they really print, and what was checked."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable, Sequence

from labkit import Node
from labkit.host import wait_for

WIDTH = 100
_BOLD, _CYAN, _GREEN, _RED = "1", "36", "32", "31"


class NotHeldError(Exception):
    """A step did not do what it says."""


class Stage:
    """Prints, and remembers how far the story is."""

    def __init__(self) -> None:
        self.steps = 0
        self._has_color = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
        self._title = "the hosts boot"

    def step(self, title: str, told: str) -> None:
        """Begin a step: its name, and in a sentence or two what is done and why it matters."""
        self.steps += 1
        self._title = f"{self.steps}. {title}"
        self._say("")
        self._say(self._paint(self._title, _BOLD))
        self.tell(told)

    def tell(self, words: str) -> None:
        """A sentence of the story."""
        self._say(textwrap.fill(words, WIDTH, initial_indent="   ", subsequent_indent="   "))

    def show(self, where: str, command: str) -> None:
        """A command as typed; a long one goes on in the next line."""
        lines = textwrap.wrap(command, WIDTH - len(where) - 4, break_long_words=False, break_on_hyphens=False)
        self._say(self._paint(f"{where}# " + " \\\n    ".join(lines), _CYAN))

    def type(self, node: Node, command: str, *, code: int = 0) -> str:
        """Type a command on a node; what it printed, which is shown too. Its exit code must be `code`."""
        self.show(node.name, command)
        done = node.run(["sh", "-c", f"exec 2>&1; {command}"], check=False)
        self.output(done.stdout)
        if code:
            self.output(f"[exit code {done.returncode}]")
        self.expect(done.returncode == code, f"exit code {code} of `{command}`", f"exit code {done.returncode}")
        return done.stdout

    def output(self, text: str) -> None:
        """What a command printed; nothing is left out, long lines are folded."""
        fold = textwrap.TextWrapper(
            WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False, replace_whitespace=False
        )
        for line in text.splitlines():
            self._say(fold.fill(line))

    def expect(self, is_so: bool, expected: str, found: object) -> None:
        """Hold the story to its word."""
        if not is_so:
            raise NotHeldError(f"expected: {expected}\nfound:    {found}")

    def wait(self, is_so: Callable[[], bool], expected: str, found: Callable[[], object], seconds: float = 60) -> None:
        """The same for what takes a moment."""
        for _ in wait_for(seconds, every=0.1):
            if is_so():
                return
        self.expect(False, f"{expected}, within {seconds:g} s", found())

    def held(self, words: str) -> None:
        """What was checked, and came out right."""
        mark = self._paint("=>", _GREEN)
        self._say(textwrap.fill(words, WIDTH, initial_indent="=> ", subsequent_indent="   ").replace("=>", mark, 1))

    def failed(self, why: str, journals: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Which step did not hold, and what the agents said last."""
        self._say("")
        self._say(self._paint(f"FAILED at step {self._title}", _RED))
        self._say(textwrap.indent(why, "   "))
        for name, lines in journals:
            self._say(f"The last journal lines of kea-agent on {name}:")
            self.output("\n".join(lines))

    def _say(self, text: str) -> None:
        print(text, flush=True)

    def _paint(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._has_color else text
