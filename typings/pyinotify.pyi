# SPDX-License-Identifier: MPL-2.0
# Only what kea_agent/watch.py uses of pyinotify 0.9.6.

IN_MODIFY: int
IN_ATTRIB: int
IN_CLOSE_WRITE: int
IN_MOVED_FROM: int
IN_MOVED_TO: int
IN_CREATE: int
IN_DELETE: int
IN_DELETE_SELF: int
IN_MOVE_SELF: int
IN_Q_OVERFLOW: int
IN_IGNORED: int
IN_ONLYDIR: int
IN_EXCL_UNLINK: int

class PyinotifyError(Exception): ...
class WatchManagerError(Exception): ...

class WatchManager:
    @property
    def watches(self) -> dict[int, object]: ...
    def get_fd(self) -> int: ...
    def add_watch(self, path: str, mask: int, *, quiet: bool = True) -> dict[str, int]: ...
    def rm_watch(self, wd: int, *, quiet: bool = True) -> dict[int, bool]: ...
    def close(self) -> None: ...
