# SPDX-License-Identifier: MPL-2.0
"""A `TlsConfig` as Python's ssl has it, and whether a client's certificate has one of the names that are let in."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
from collections.abc import Iterator
from pathlib import Path

from kea_agent.web.config import Pem, TlsConfig, read_bytes
from kea_agent.web.tls_names import CIPHERS_12

MAX_PEM_BYTES = 4 * 1024 * 1024  # a bundle with every public authority has 0.3 MB
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_VERIFY = {"VerifyClientCertIfGiven": ssl.CERT_OPTIONAL, "RequireAndVerifyClientCert": ssl.CERT_REQUIRED}


def context(tls: TlsConfig) -> ssl.SSLContext:
    """A server's context; ValueError is `key: what is wrong`, the key as in the web configuration file."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = _VERSIONS[tls.min_version]
    made.maximum_version = _VERSIONS[tls.max_version]
    _choose_ciphers(made, tls)
    if tls.curve:
        made.set_ecdh_curve(tls.curve)
    _load_own(made, tls)
    if tls.client_ca:
        made.verify_mode = _VERIFY[tls.client_auth]
        _load_authorities(made, tls.client_ca)
    return made


def names(certificate: dict[str, object]) -> set[str]:
    """The subject alternative names in what SSLSocket.getpeercert() returns: DNS, addresses, e-mail and URIs."""
    found = certificate.get("subjectAltName", ())
    assert isinstance(found, tuple)
    return {_address(value) if kind == "IP Address" else value for kind, value in found}


def _address(text: str) -> str:
    """OpenSSL spells IPv6 in full and in capitals."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text


def _choose_ciphers(made: ssl.SSLContext, tls: TlsConfig) -> None:
    if tls.prefer_server:
        made.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        made.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    old = [name for name in tls.ciphers if name in CIPHERS_12.values()]
    if old:
        made.set_ciphers(":".join(old))
    elif tls.ciphers:  # nothing that TLS 1.2 could use
        made.minimum_version = ssl.TLSVersion.TLSv1_3


def _load_own(made: ssl.SSLContext, tls: TlsConfig) -> None:
    cert, key = _content("cert", tls.cert), _content("key", tls.key)
    if b"-----BEGIN CERTIFICATE-----" not in cert:
        raise ValueError(f"{_spelt('cert', tls.cert)}: is not a certificate in PEM")
    if b"PRIVATE KEY-----" not in key:
        raise ValueError(f"{_spelt('key', tls.key)}: is not a private key in PEM")
    with _as_file(cert) as cert_file, _as_file(key) as key_file:
        try:
            made.load_cert_chain(cert_file, key_file, password=_no_passphrase)
        except ssl.SSLError as error:
            raise ValueError(f"{_spelt('key', tls.key)}: {_reason(error)}") from error


def _no_passphrase() -> str:
    """Asked for an encrypted key; without this OpenSSL asks on the terminal, and waits."""
    raise ValueError("tls_server_config.key_file: is encrypted, and there is nobody to ask for the passphrase")


def _reason(error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return "does not belong to the certificate"
    return f"certificate and key cannot be used: {error.reason or error}"


def _load_authorities(made: ssl.SSLContext, source: Pem) -> None:
    content = _content("client_ca", source)
    try:
        made.load_verify_locations(cadata=content.decode("ascii", "replace"))
    except ssl.SSLError as error:
        raise ValueError(f"{_spelt('client_ca', source)}: is not certificates in PEM") from error


def _content(key: str, source: Pem) -> bytes:
    if isinstance(source, str):
        return source.encode()
    try:
        return read_bytes(source, MAX_PEM_BYTES)
    except OSError as error:
        raise ValueError(f"{_spelt(key, source)}: cannot be read: {error.strerror}") from error


def _spelt(key: str, source: Pem) -> str:
    return f"tls_server_config.{key}_file: {source}" if isinstance(source, Path) else f"tls_server_config.{key}"


@contextlib.contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A name to open `content` by, in memory alone: ssl takes certificates and keys only as files."""
    descriptor = os.memfd_create("kea-agent-tls")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
