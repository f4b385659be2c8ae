# SPDX-License-Identifier: MPL-2.0
"""The agent's own settings: kea-agent.toml and kea-agent.d/*.toml in /etc/kea-agent -> one frozen `Settings`.

The drop-ins come after the main file, in the order of their names, and win key by key; a file that is not there is
an empty one. Each field says its default, what is allowed (with the unit) and, in one sentence, what it does; the
same sentence stands in packaging/kea-agent.toml and docs/usage/settings.md, and a test holds the three together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from kea_agent.daemons import DAEMONS
from kea_agent.errors import SettingsError
from kea_agent.settings_files import Draft, read_draft
from kea_agent.settings_kinds import (
    Kind,
    absolute_path,
    addresses,
    count,
    keys,
    one_of,
    path_or_none,
    quote,
    rule_ids,
    seconds,
    service,
    size,
    some_of,
)

T = TypeVar("T")
_NAMES = tuple(daemon.name for daemon in DAEMONS)


def _setting(default: T, kind: Kind, doc: str) -> T:
    return field(default=default, metadata={"kind": kind, "doc": doc})


@dataclass(frozen=True, kw_only=True)
class AgentSettings:
    """[agent]: what it says and whom it looks after."""

    log_level: str = _setting(
        "info", one_of("debug", "info", "warning", "error"), "The least important message that is logged."
    )
    daemons: tuple[str, ...] = _setting(
        _NAMES, some_of(*_NAMES), "The Kea daemons to look after; one that is not installed is left alone."
    )


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """[watch]: noticing that something changed."""

    poll_seconds: float = _setting(
        60.0, seconds(1, 86400), "How often everything is read again even though nothing seemed to happen."
    )


@dataclass(frozen=True, kw_only=True)
class SettleSettings:
    """[settle]: waiting until an editor, a copy or a deployment is done with the files."""

    quiet_seconds: float = _setting(
        0.02, seconds(0, 60), "How long the files must have been left alone before they are read."
    )
    unfinished_seconds: float = _setting(
        10.0, seconds(0, 3600), "How long a file that is still being written may rest before it is read as it is."
    )
    at_most_seconds: float = _setting(
        5.0, seconds(0, 3600), "How long further changes may put off the reading of a file that is finished."
    )


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """[check]: judging a configuration before Kea gets it."""

    timeout_seconds: float = _setting(60.0, seconds(0.1, 3600), "How long Kea's own check of a configuration may take.")
    output_bytes: int = _setting(
        65536, size(1024, 16777216), "How much of what Kea's own check prints is kept for the reason."
    )
    max_config_bytes: int = _setting(
        67108864, size(1024, 1073741824), "How large a configuration with all its included files may be."
    )
    rules: str = _setting(
        "block",
        one_of("block", "tell", "off"),
        "Whether a rule of severity error rejects a file, is only told, or no rule is asked.",
    )
    disable: tuple[str, ...] = _setting((), rule_ids(), "The rules that are not asked.")
    rehearsal: str = _setting(
        "prefer",
        one_of("prefer", "require", "off"),
        "Whether a file that could not be rehearsed goes on, waits until it could be, or no file is rehearsed.",
    )
    rehearsal_seconds: float = _setting(
        60.0, seconds(1, 600), "How long the daemon may take in a rehearsal until it serves."
    )


@dataclass(frozen=True, kw_only=True)
class GateSettings:
    """[gate]: the right moment for a reload."""

    ha: str = _setting(
        "hold",
        one_of("hold", "ignore"),
        "Whether a reload waits while the high-availability partner could not take over.",
    )
    retry_seconds: float = _setting(5.0, seconds(0.1, 3600), "How often a deferred reload is considered again.")
    give_up_seconds: float = _setting(
        3600.0, seconds(1, 604800), "How long a deferred reload is tried again by itself."
    )
    longest_silence_seconds: float = _setting(
        10.0,
        seconds(0, 3600),
        "How many seconds of CPU time Kea may need to load a file; one that silences it longer waits for --force. 0: any.",
    )


@dataclass(frozen=True, kw_only=True)
class ReloadSettings:
    """[reload]: the reload through systemd."""

    timeout_seconds: float = _setting(60.0, seconds(0.1, 3600), "How long systemd may take for the reload job.")
    start_timeout_seconds: float = _setting(
        30.0, seconds(0.1, 3600), "How long a daemon that is still starting is waited for before it is reloaded."
    )


@dataclass(frozen=True, kw_only=True)
class VerifySettings:
    """[verify]: the proof that the daemon serves."""

    timeout_seconds: float = _setting(
        60.0, seconds(0.1, 3600), "How long a reloaded daemon may take until it is proven to serve."
    )
    ha_timeout_seconds: float = _setting(
        90.0, seconds(0.1, 3600), "How long the high-availability pair may take until it is back to normal."
    )


@dataclass(frozen=True, kw_only=True)
class ControlSettings:
    """[control]: Kea's control channel."""

    timeout_seconds: float = _setting(5.0, seconds(0.1, 600), "How long a Kea daemon may take to answer one command.")


@dataclass(frozen=True, kw_only=True)
class WebSettings:
    """[web]: the metrics and the status page."""

    listen: tuple[str, ...] = _setting(
        ("127.0.0.1:9673",), addresses(), "Where metrics, status page and health are served."
    )
    config_file: str = _setting(
        "", path_or_none(), "The file with TLS and passwords, in the format that Prometheus's exporters share."
    )
    scrape_timeout_seconds: float = _setting(
        5.0, seconds(0.1, 60), "How long a scrape waits for Kea's statistics before it answers without them."
    )


@dataclass(frozen=True, kw_only=True)
class MetricsSettings:
    """[metrics]: what a scrape has of Kea."""

    subnet_context_labels: tuple[str, ...] = _setting(
        ("name",),
        keys(),
        "The fields of a subnet's user context that become labels, with `subnet_` before their names.",
    )


@dataclass(frozen=True, kw_only=True)
class HistorySettings:
    """[history]: the configurations that were proven to run."""

    revisions: int = _setting(50, count(1, 10000), "How many configurations of each daemon are kept.")
    max_bytes: int = _setting(
        268435456,
        size(1048576, 1099511627776),
        "How much of the disk those of each daemon may take; the newest is always kept.",
    )


@dataclass(frozen=True, kw_only=True)
class DaemonSettings:
    """[daemon.NAME]: only where the packages' own names are not used; None is "look for it"."""

    unit: str | None = _setting(None, service(), "The systemd unit, where it is not one that the packages have.")
    config_file: str | None = _setting(None, absolute_path(), "The configuration file, where the unit does not say it.")


_TABLES: dict[str, type[Any]] = {
    "agent": AgentSettings,
    "watch": WatchSettings,
    "settle": SettleSettings,
    "check": CheckSettings,
    "gate": GateSettings,
    "reload": ReloadSettings,
    "verify": VerifySettings,
    "control": ControlSettings,
    "web": WebSettings,
    "metrics": MetricsSettings,
    "history": HistorySettings,
}
_DAEMON_TABLES = {f"daemon.{name}": DaemonSettings for name in _NAMES}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that can be set; `daemon` has an entry for every daemon name."""

    agent: AgentSettings = AgentSettings()
    watch: WatchSettings = WatchSettings()
    settle: SettleSettings = SettleSettings()
    check: CheckSettings = CheckSettings()
    gate: GateSettings = GateSettings()
    reload: ReloadSettings = ReloadSettings()
    verify: VerifySettings = VerifySettings()
    control: ControlSettings = ControlSettings()
    web: WebSettings = WebSettings()
    metrics: MetricsSettings = MetricsSettings()
    history: HistorySettings = HistorySettings()
    daemon: Mapping[str, DaemonSettings] = field(
        default_factory=lambda: MappingProxyType({name: DaemonSettings() for name in _NAMES})
    )


@dataclass(frozen=True)
class Setting:
    """One setting by itself, for documentation and reading; `default` None means that nothing is set."""

    table: str
    key: str
    default: Any
    kind: Kind
    doc: str


def catalogue() -> Iterator[Setting]:
    """Every setting there is, in order; the [daemon.NAME] tables one by one."""
    for table, kind in {**_TABLES, **_DAEMON_TABLES}.items():
        for each in fields(kind):
            yield Setting(table, each.name, each.default, each.metadata["kind"], each.metadata["doc"])


def load(directory: Path) -> Settings:
    """The settings under `directory` (/etc/kea-agent); SettingsError has every problem, one a line."""
    known: dict[str, dict[str, Kind]] = {}
    for each in catalogue():
        known.setdefault(each.table, {})[each.key] = each.kind
    draft = read_draft(directory, known)
    _compare(draft)
    if draft.problems:
        raise SettingsError("\n".join(draft.problems))
    return _settings(draft)


def _settings(draft: Draft) -> Settings:
    tables = {name: kind(**draft.values.get(name, {})) for name, kind in _TABLES.items()}
    daemon = {name: DaemonSettings(**draft.values.get(f"daemon.{name}", {})) for name in _NAMES}
    return Settings(**tables, daemon=MappingProxyType(daemon))


def _compare(draft: Draft) -> None:
    """What only shows when all files are read: values that are right by themselves and wrong together."""
    default = {(each.table, each.key): each.default for each in catalogue()}
    for table, low, high in (
        ("settle", "quiet_seconds", "at_most_seconds"),
        ("gate", "retry_seconds", "give_up_seconds"),
    ):
        floor = draft.values.get(table, {}).get(low, default[table, low])
        ceiling = draft.values.get(table, {}).get(high, default[table, high])
        if floor > ceiling:
            culprit = high if (table, high) in draft.origin else low
            draft.blame(
                table, culprit, f"{low} = {floor:g} is more than {high} = {ceiling:g}, allowed: at most as much"
            )
    for key in ("unit", "config_file"):
        _one_daemon_each(draft, key)


def _one_daemon_each(draft: Draft, key: str) -> None:
    owner: dict[str, str] = {}
    for table in _DAEMON_TABLES:
        value = draft.values.get(table, {}).get(key)
        if value in owner:
            draft.blame(table, key, f"{quote(value)} is already in [{owner[value]}], allowed: one daemon each")
        elif value is not None:
            owner[value] = table
