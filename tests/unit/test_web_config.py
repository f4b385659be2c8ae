# SPDX-License-Identifier: MPL-2.0
"""The web configuration file: what is read from it, and in which words it is refused."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kea_agent.errors import SettingsError
from kea_agent.web.config import RateLimit, WebConfig, read
from kea_agent.web.live import LiveConfig

HASH = "$2y$04$" + "a" * 53
CERT = "tls_server_config: {cert_file: c.pem, key_file: k.pem"
FULL = f"""
# a comment
tls_server_config:
  cert_file: c.pem
  key_file: /keys/k.pem
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
  client_allowed_sans:
    - scraper.example
    - 192.0.2.1
  min_version: TLS12
  max_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: no
  curve_preferences: [CurveP384]
http_server_config:
  http2: false
  headers:
    X-Frame-Options: deny
    Strict-Transport-Security: max-age=1
basic_auth_users:
  alice: {HASH}
  4711: "{HASH}"
rate_limit: {{interval: 1m30s, burst: 5}}
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "web.yml"
    path.write_text(text)
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        read(path)
    return [line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines()]


def test_everything_is_read(tmp_path: Path) -> None:
    config = read(write(tmp_path, FULL))
    tls = config.tls
    assert tls
    assert tls.files == (tmp_path / "c.pem", Path("/keys/k.pem"), tmp_path / "ca.pem")
    assert tls.client_auth == "RequireAndVerifyClientCert"
    assert tls.allowed_sans == {"scraper.example", "192.0.2.1"}
    assert tls.ciphers == ("ECDHE-RSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256")
    assert (tls.prefer_server, tls.curve) == (False, "secp384r1")
    assert config.headers == {"X-Frame-Options": "deny", "Strict-Transport-Security": "max-age=1"}
    assert config.users == {"alice": HASH, "4711": HASH}
    assert config.rate_limit == RateLimit(90.0, 5)


def test_the_defaults_are_those_of_the_toolkit(tmp_path: Path) -> None:
    tls = read(write(tmp_path, f"{CERT}}}")).tls
    assert tls
    assert (tls.client_auth, tls.min_version, tls.max_version) == ("NoClientCert", "TLS12", "TLS13")
    assert (tls.prefer_server, tls.ciphers, tls.curve, tls.client_ca) == (True, (), None, None)


@pytest.mark.parametrize(
    "text",
    [
        "tls_server_config:\n",
        "basic_auth_users: {}",
        "http_server_config: ~",
        "rate_limit: {interval: 0}",
        "http_server_config: {http2: true, headers: }",
    ],
)
def test_a_section_may_be_empty(tmp_path: Path, text: str) -> None:
    assert read(write(tmp_path, text)) == WebConfig()


def test_certificates_may_stand_in_the_file(tmp_path: Path) -> None:
    tls = read(write(tmp_path, "tls_server_config:\n  cert: |\n    PEM\n  key: KEY\n")).tls
    assert tls
    assert (tls.cert, tls.key, tls.files) == ("PEM\n", "KEY", ())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tls_server_confg: {}", 'tls_server_confg: unknown key (did you mean "tls_server_config"?), allowed: tls_server_config, http_server_config, basic_auth_users, rate_limit'),
        (f"{CERT}, cert_fil: x}}", 'tls_server_config.cert_fil: unknown key (did you mean "cert_file"?), allowed: cert_file, '),
        ("http_server_config: {headers: {Server: x}}", "http_server_config.headers.Server: unknown key, allowed: Content-Security-Policy, "),
        ("http_server_config: {headers: {X-Frame-Options: allow}}", 'http_server_config.headers.X-Frame-Options: "allow" is not one of them, allowed: deny, sameorigin'),
        ('http_server_config: {headers: {X-XSS-Protection: "1\\r\\nx: y"}}', 'http_server_config.headers.X-XSS-Protection: "1\\r\\nx: y" cannot be in a header'),
        ("http_server_config: {http2: maybe}", 'http_server_config.http2: "maybe" is not one of them'),
        ("tls_server_config: {cert_file: x}", "tls_server_config.key_file: is missing"),
        ("tls_server_config: {key: x}", "tls_server_config.cert_file: is missing"),
        (f"{CERT}, cert: x}}", "tls_server_config.cert: stands beside cert_file, allowed: one of them"),
        (f"{CERT}, client_auth_type: Require}}", 'tls_server_config.client_auth_type: "Require" is not one of them'),
        (f"{CERT}, client_auth_type: RequireAnyClientCert}}", 'tls_server_config.client_auth_type: "RequireAnyClientCert" would let any certificate in, allowed: '),
        (f"{CERT}, client_auth_type: RequireAndVerifyClientCert}}", "tls_server_config.client_ca_file: is missing, and client_auth_type is RequireAndVerifyClientCert"),
        (f"{CERT}, client_ca_file: x}}", "tls_server_config.client_ca_file: means nothing without client_auth_type: "),
        (f"{CERT}, client_allowed_sans: [x]}}", "tls_server_config.client_allowed_sans: needs client_auth_type: RequireAndVerifyClientCert"),
        (f"{CERT}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: x, client_allowed_sans: []}}", "tls_server_config.client_allowed_sans: [] is not a list of at least one text"),
        (f"{CERT}, client_auth_type: RequireAndVerifyClientCert, client_ca_file: x, client_allowed_sans: a}}", 'tls_server_config.client_allowed_sans: "a" is not a list of at least one text'),
        (f"{CERT}, min_version: TLS10}}", 'tls_server_config.min_version: "TLS10" is not one of them (did you mean "TLS13"?), allowed: TLS12, TLS13'),
        (f"{CERT}, min_version: TLS13, max_version: TLS12}}", "tls_server_config.min_version: TLS13 is above max_version TLS12"),
        (f"{CERT}, cipher_suites: [RC4]}}", 'tls_server_config.cipher_suites: "RC4" is not one of them, allowed: TLS_'),
        (f"{CERT}, cipher_suites: [TLS_AES_128_GCM_SHA256], max_version: TLS12}}", "tls_server_config.cipher_suites: none of them is for TLS 1.2"),
        (f"{CERT}, curve_preferences: [P256]}}", 'tls_server_config.curve_preferences: "P256" is not one of them (did you mean "CurveP256"?)'),
        (f"{CERT}, curve_preferences: [CurveP384, CurveP256]}}", "tls_server_config.curve_preferences: Python's TLS takes one curve"),
        (f"{CERT}, cert_file: y}}", "tls_server_config.cert_file: stands there twice"),
        ("tls_server_config: [1]", 'tls_server_config: ["1"] is not a mapping'),
        ("tls_server_config: {cert_file: [1], key_file: k}", 'tls_server_config.cert_file: ["1"] is not a text'),
        ("basic_auth_users: {a: secret}", "basic_auth_users.a: is not a bcrypt hash, allowed: what `htpasswd -nBC 10 NAME` prints"),
        (f"basic_auth_users: {{a: {HASH.replace('04', '17')}}}", "basic_auth_users.a: bcrypt cost 17 is out of range, allowed: 4 to 16"),
        (f'basic_auth_users: {{"a:b": {HASH}}}', "basic_auth_users.a:b: a name with a colon cannot be sent"),
        ("rate_limit: {interval: 1s}", 'rate_limit.burst: "0" would let nobody in'),
        ("rate_limit: {interval: 1 s, burst: 1}", 'rate_limit.interval: "1 s" is not a span of time'),
        ("", "says nothing; to serve without TLS and passwords, do not name a file"),
        ("just words", "says nothing"),
        ("a: [", "is not YAML: while parsing"),
        ("a: !!python/object/apply:os.system [x]", "a: unknown key"),
        ("tls_server_config: &a {cert_file: x, key_file: y, b: *a}", "is not YAML: found unconstructable recursive node"),
        ("x: " + "[" * 5000, "is not YAML: "),
        ("#" * 300_000, "is larger than 262144 bytes"),
    ],
)  # fmt: skip
def test_a_problem_begins_with_the_path_of_its_key(tmp_path: Path, text: str, words: str) -> None:
    told = problems(write(tmp_path, text))
    assert any(line.startswith(words) for line in told), told


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, "tls_server_config: {min_version: 1}\nbasic_auth_users: {a: b, c: d}\nnope: 1\n")
    assert [line.split(": ")[0] for line in problems(path)] == [
        "nope",
        "tls_server_config.cert_file",
        "tls_server_config.key_file",
        "tls_server_config.min_version",
        "basic_auth_users.a",
        "basic_auth_users.c",
    ]


def test_a_password_is_never_told(tmp_path: Path) -> None:
    assert "secret" not in str(problems(write(tmp_path, "basic_auth_users: {a: secret}")))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert problems(tmp_path) == ["cannot be read: Is a directory"]
    assert problems(tmp_path / "absent") == ["cannot be read: No such file or directory"]
    os.mkfifo(tmp_path / "fifo")
    assert problems(tmp_path / "fifo")[0].startswith("says nothing")
    path = tmp_path / "web.yml"
    path.write_bytes(b"a: \xff")
    assert problems(path) == ["is not UTF-8 at byte 4"]


@pytest.mark.parametrize(
    ("library", "words"),
    [
        ("yaml", "web.yml: reading it needs the package python3-yaml"),
        ("bcrypt", "web.yml: basic_auth_users: needs the package python3-bcrypt"),
    ],
)
def test_a_missing_library_is_named_by_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: str, words: str
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == library:
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingsError, match=words):
        LiveConfig().use(write(tmp_path, f"basic_auth_users: {{a: {HASH}}}"))


def test_nobody_pays_for_what_is_not_used() -> None:
    script = "import sys; import kea_agent.web; print({'yaml', 'bcrypt'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
