# SPDX-License-Identifier: MPL-2.0
"""What the agent remembers of each daemon across its own restarts: the last configuration proven to run.

The configurations themselves are in `history`.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kea_agent.files import write_atomically
from kea_agent.plain import is_time
from kea_agent.reading import read_regular

logger = logging.getLogger(__name__)

_MOST_BYTES = 1 << 16  # a few hundred are written


@dataclass(frozen=True)
class Remembered:
    """The last file proven to run. `digest` and `meaning` are keaconf's, `hash` Kea's own (2.4 and later).

    `pid` is the process that ran it. `changed_at`, `committed_at` and `reloaded_at` are Unix times: of the last change of the files,
    of the server's commit, and of the agent's last success. `harmful` is the digest of a file that passed every check
    after that and hurt the server.
    """

    digest: str
    meaning: str
    hash: str | None
    pid: int
    committed_at: float
    reloaded_at: float | None = None
    changed_at: float | None = None
    harmful: str = ""


class Store:
    """One small file a daemon below the state directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, daemon: str) -> Remembered | None:
        """What is remembered; a file that is gone or damaged is as good as none (the world is read again)."""
        path = self._path(daemon)
        try:
            return _checked(json.loads(read_regular(path, _MOST_BYTES)))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, RecursionError) as error:
            logger.warning("%s: what was remembered of %s cannot be read and is forgotten: %s", path, daemon, error)
            return None

    def save(self, daemon: str, remembered: Remembered) -> None:
        """Remember; a failure is told and costs at most one needless look after a restart."""
        try:
            write_atomically(self._path(daemon), json.dumps(asdict(remembered)) + "\n", 0o640)
        except OSError as error:
            logger.warning("%s: cannot remember what %s runs: %s", self._path(daemon), daemon, error.strerror)

    def _path(self, daemon: str) -> Path:
        return self._directory / f"{daemon}.json"


def _checked(fields: dict[str, Any]) -> Remembered:
    remembered = Remembered(**fields)
    texts = (
        remembered.digest,
        remembered.meaning,
        remembered.harmful,
        "" if remembered.hash is None else remembered.hash,
    )
    times = (remembered.reloaded_at, remembered.changed_at)
    are_times = is_time(remembered.committed_at) and all(time is None or is_time(time) for time in times)
    if not all(isinstance(text, str) for text in texts) or not are_times or type(remembered.pid) is not int:
        raise TypeError("wrong types")
    return remembered
