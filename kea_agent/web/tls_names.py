# SPDX-License-Identifier: MPL-2.0
"""The words of the web configuration file that are Go's, and what OpenSSL calls the same (crypto/tls, Go 1.24)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# TLS 1.0 and 1.1 are not offered: Debian's OpenSSL refuses them at its default security level.
VERSIONS: Final = ("TLS12", "TLS13")
AUTH_TYPES: Final = ("NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
# These ask for a certificate and believe whatever it says; the toolkit calls them insecure, Python cannot do them.
UNVERIFIED: Final = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")

CIPHERS_12: Final[Mapping[str, str]] = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
}
# Neither Go nor Python's ssl lets these be chosen; TLS 1.3 has all of them.
CIPHERS_13: Final[Mapping[str, str]] = {
    name: name for name in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
}
# X25519 is what OpenSSL takes by itself; Python 3.11 cannot be told to.
CURVES: Final[Mapping[str, str]] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
}
