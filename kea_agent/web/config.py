# SPDX-License-Identifier: MPL-2.0
"""The web configuration file that Prometheus's exporters share: YAML -> one frozen `WebConfig`; the only importer of yaml.

The format is that of prometheus/exporter-toolkit, docs/web-configuration.md, as of July 2026. What Python's TLS cannot
do is an error here, never a silence. Every problem is told at once, each with the path of its key.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kea_agent.errors import SettingsError
from kea_agent.settings_kinds import quote
from kea_agent.web.config_table import Table
from kea_agent.web.tls_names import AUTH_TYPES, CIPHERS_12, CIPHERS_13, CURVES, UNVERIFIED, VERSIONS

MAX_FILE_BYTES = 256 * 1024
# bcrypt doubles its time with each step: 10 takes about 70 ms, 16 about 5 s. Hashes beyond would stop every scrape.
MAX_COST = 16
_HASH = re.compile(r"\$2[aby]?\$(\d\d)\$[./A-Za-z0-9]{53}")
# Those that the toolkit lets be set, and what it lets them be (None: anything).
_HEADERS: Mapping[str, tuple[str, ...] | None] = {
    "Content-Security-Policy": None,
    "Strict-Transport-Security": None,
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": None,
}
_TLS_KEYS = (
    *("cert_file", "key_file", "client_ca_file", "cert", "key", "client_ca", "client_auth_type", "client_allowed_sans"),
    *("min_version", "max_version", "cipher_suites", "prefer_server_cipher_suites", "curve_preferences"),
)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}

Pem = Path | str  # the file that has it, or itself


@dataclass(frozen=True, kw_only=True)
class TlsConfig:
    """tls_server_config; `ciphers` by OpenSSL's names (empty: OpenSSL's own choice), `curve` too."""

    cert: Pem
    key: Pem
    client_ca: Pem | None = None
    client_auth: str = "NoClientCert"
    allowed_sans: frozenset[str] = frozenset()
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    ciphers: tuple[str, ...] = ()
    prefer_server: bool = True
    curve: str | None = None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it names."""
        return tuple(each for each in (self.cert, self.key, self.client_ca) if isinstance(each, Path))


@dataclass(frozen=True)
class RateLimit:
    """One request each `interval` seconds on average, and up to `burst` at once."""

    interval: float
    burst: int


@dataclass(frozen=True, kw_only=True)
class WebConfig:
    """What the file says; without a file there is no TLS and everybody is let in."""

    tls: TlsConfig | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    users: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    rate_limit: RateLimit | None = None


def read(path: Path) -> WebConfig:
    """The configuration in `path`; SettingsError has every problem, one a line, each with the file and the key."""
    problems: list[str] = []
    config = _config(_document(path, _text(path)), path.parent, problems)
    if problems:
        raise SettingsError("\n".join(f"{path}: {problem}" for problem in problems))
    return config


def read_bytes(path: Path, limit: int) -> bytes:
    """The first `limit` bytes of a file; a FIFO is empty and not waited for. Raises OSError."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        return file.read(limit)


def _text(path: Path) -> str:
    try:
        content = read_bytes(path, MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise SettingsError(f"{path}: is larger than {MAX_FILE_BYTES} bytes, so not a web configuration")
        return content.decode()
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path}: is not UTF-8 at byte {error.start + 1}") from error


def _document(path: Path, text: str) -> dict[str, Any]:
    """The file's mapping, with every scalar as the text that stands there."""
    try:
        import yaml  # noqa: PLC0415 - who has no web configuration file needs no YAML
    except ImportError as error:
        raise SettingsError(f"{path}: reading it needs the package python3-yaml") from error
    try:
        twice = list(_twice(yaml.compose(text, Loader=yaml.BaseLoader), "", set()))
        document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes texts, lists and mappings only
    except (yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    # Whoever truncates the file to write it anew must not switch the passwords off for that moment.
    if not isinstance(document, dict) or not document:
        raise SettingsError(f"{path}: says nothing; to serve without TLS and passwords, do not name a file")
    if twice:
        raise SettingsError("\n".join(f"{path}: {key}: stands there twice" for key in twice))
    return document


def _twice(node: Any, where: str, visited: set[int]) -> Iterator[str]:
    """The keys that a mapping has more than once; YAML forbids it and PyYAML takes the last one."""
    if node is None or node.id != "mapping" or id(node) in visited:  # an alias may lead back
        return
    visited.add(id(node))
    seen: set[str] = set()
    for key, value in node.value:
        name = f"{where}{key.value}"
        if name in seen:
            yield name
        seen.add(name)
        yield from _twice(value, f"{name}.", visited)


def _config(document: dict[str, Any], directory: Path, problems: list[str]) -> WebConfig:
    sections = ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
    top = Table("", document, sections, problems)
    return WebConfig(
        tls=_tls(top.table("tls_server_config", _TLS_KEYS), directory),
        headers=_headers(top.table("http_server_config", ("http2", "headers"))),
        users=_users(top.table("basic_auth_users", None)),
        rate_limit=_rate_limit(top.table("rate_limit", ("interval", "burst"))),
    )


def _tls(table: Table, directory: Path) -> TlsConfig | None:
    if not table.content:
        return None
    found = TlsConfig(
        cert=_pem(table, "cert", directory) or _missing(table, "cert"),
        key=_pem(table, "key", directory) or _missing(table, "key"),
        client_ca=_pem(table, "client_ca", directory),
        client_auth=_client_auth(table),
        allowed_sans=frozenset(table.words("client_allowed_sans") or ()),
        min_version=table.choice("min_version", VERSIONS, "TLS12"),
        max_version=table.choice("max_version", VERSIONS, "TLS13"),
        ciphers=_ciphers(table),
        prefer_server=table.flag("prefer_server_cipher_suites", True),
        curve=_curve(table),
    )
    _compare(table, found)
    return found


def _pem(table: Table, key: str, directory: Path) -> Pem | None:
    """`KEY_file`, relative to the configuration's own directory, or `KEY`, which has the text itself."""
    file, inline = table.text(f"{key}_file"), table.text(key)
    if file and inline:
        table.blame(key, f"stands beside {key}_file, allowed: one of them")
    return directory / file if file else inline or None


def _missing(table: Table, key: str) -> str:
    table.blame(f"{key}_file", "is missing")
    return ""


def _client_auth(table: Table) -> str:
    word = table.text("client_auth_type")
    if word in UNVERIFIED:
        table.blame("client_auth_type", f"{quote(word)} would let any certificate in, allowed: {', '.join(AUTH_TYPES)}")
        return "NoClientCert"
    return table.choice("client_auth_type", AUTH_TYPES, "NoClientCert")


def _ciphers(table: Table) -> tuple[str, ...]:
    known = {**CIPHERS_12, **CIPHERS_13}
    words = [word for word in table.words("cipher_suites") or () if table.is_known("cipher_suites", word, known)]
    return tuple(known[word] for word in words)


def _curve(table: Table) -> str | None:
    words = [
        word for word in table.words("curve_preferences") or () if table.is_known("curve_preferences", word, CURVES)
    ]
    if len(words) > 1:
        table.blame("curve_preferences", "Python's TLS takes one curve or its own choice, allowed: one curve")
    return CURVES[words[0]] if words else None


def _compare(table: Table, tls: TlsConfig) -> None:
    """What only shows when all keys are read."""
    if tls.min_version > tls.max_version:
        table.blame("min_version", f"{tls.min_version} is above max_version {tls.max_version}")
    if tls.max_version == "TLS12" and tls.ciphers and not set(tls.ciphers) & set(CIPHERS_12.values()):
        table.blame("cipher_suites", "none of them is for TLS 1.2, which is the max_version")
    verifies = tls.client_auth != "NoClientCert"
    if tls.client_ca and not verifies:
        table.blame("client_ca_file", "means nothing without client_auth_type: RequireAndVerifyClientCert")
    if verifies and not tls.client_ca:
        table.blame("client_ca_file", f"is missing, and client_auth_type is {tls.client_auth}")
    if "client_allowed_sans" in table.content and tls.client_auth != "RequireAndVerifyClientCert":
        table.blame("client_allowed_sans", "needs client_auth_type: RequireAndVerifyClientCert")


def _headers(http: Table) -> Mapping[str, str]:
    http.flag("http2", True)  # HTTP/2 is negotiated, and who does not offer it is asked in HTTP/1
    table = http.table("headers", tuple(_HEADERS))
    found = {key: table.text(key) for key in table.content if key in _HEADERS}
    for key, value in found.items():
        allowed = _HEADERS[key]
        if allowed and value and value not in allowed:
            table.blame(key, f"{quote(value)} is not one of them, allowed: {', '.join(allowed)}")
        elif not re.fullmatch(r"[\x20-\x7e]*", value):
            table.blame(key, f"{quote(value)} cannot be in a header, allowed: printable ASCII on one line")
    return MappingProxyType(found)


def _users(table: Table) -> Mapping[str, str]:
    users = {name: table.text(name) for name in table.content}
    for name, hashed in users.items():
        match = _HASH.fullmatch(hashed)
        if match is None:
            table.blame(name, "is not a bcrypt hash, allowed: what `htpasswd -nBC 10 NAME` prints after the colon")
        elif not 4 <= int(match[1]) <= MAX_COST:
            table.blame(name, f"bcrypt cost {match[1]} is out of range, allowed: 4 to {MAX_COST}")
        if ":" in name:
            table.blame(name, "a name with a colon cannot be sent")
    return MappingProxyType(users)


def _rate_limit(table: Table) -> RateLimit | None:
    if not table.content:
        return None
    interval, burst = _seconds(table, "interval"), table.text("burst") or "0"
    if not burst.isdecimal() or (interval and int(burst) == 0):
        table.blame("burst", f"{quote(burst)} would let nobody in, allowed: a whole number from 1")
        return None
    return RateLimit(interval, int(burst)) if interval else None


def _seconds(table: Table, key: str) -> float:
    """A span as Go writes it: "1m30s"."""
    text = table.text(key) or "0"
    parts = re.findall(r"(\d{1,12}(?:\.\d{0,12})?)(ns|us|µs|ms|s|m|h)", text)
    if text != "0" and "".join(map("".join, parts)) != text:
        table.blame(key, f"{quote(text)} is not a span of time, allowed: such as 500ms, 1s, 1m30s, or 0 for no limit")
        return 0.0
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
