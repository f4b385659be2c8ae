# SPDX-License-Identifier: MPL-2.0
"""Authorities, certificates and keys for the tests, made by openssl(1)."""

from __future__ import annotations

import os
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Pair:
    """A certificate and its key, in PEM."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority in a directory of its own."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        own = self._request(name)
        self.pair = Pair(directory / f"{name}.pem", own)
        _openssl("req", "-x509", "-key", own, "-subj", f"/CN={name}", "-days", "2", "-out", self.pair.cert)

    def issue(self, name: str, sans: str = "DNS:localhost,IP:127.0.0.1,IP:::1") -> Pair:
        """A certificate with these names, for servers and clients alike."""
        key, request, cert = self._request(name), self.directory / f"{name}.csr", self.directory / f"{name}.pem"
        _openssl(
            "req", "-new", "-key", key, "-subj", f"/CN={name}", "-addext", f"subjectAltName={sans}", "-out", request
        )
        authority = ("-CA", self.pair.cert, "-CAkey", self.pair.key, "-CAcreateserial")
        _openssl("x509", "-req", "-in", request, *authority, "-days", "2", "-copy_extensions", "copy", "-out", cert)
        return Pair(cert, key)

    def client(self, pair: Pair | None = None) -> ssl.SSLContext:
        """What a client needs that trusts this authority, and perhaps has a certificate."""
        context = ssl.create_default_context(cafile=self.pair.cert)
        # An authority of openssl's defaults lacks what newer Pythons are strict about.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if pair:
            context.load_cert_chain(pair.cert, pair.key)
        return context

    def _request(self, name: str) -> Path:
        key = self.directory / f"{name}.key"
        _openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
        return key


def replace(old: Pair, new: Pair) -> None:
    """Put `new` in the place of `old`, as a renewal does: each file by itself, the key first."""
    for target, source in ((old.key, new.key), (old.cert, new.cert)):
        fresh = target.with_suffix(".new")
        fresh.write_bytes(source.read_bytes())
        fresh.replace(target)


def _openssl(*words: str | Path) -> None:
    # Debian's openssl.cnf is good enough; a home without one is fine too
    environ = {"PATH": os.environ["PATH"]}
    subprocess.run(["openssl", *words], check=True, capture_output=True, env=environ)
