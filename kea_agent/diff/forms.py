# SPDX-License-Identifier: MPL-2.0
"""One way of writing what Kea lets people write in several: the newest one, as config-get has it.

Read off config-get of 2.2.0, 2.6.3 and 3.0.4 for the example configurations of Kea (tests/lab/test_diff.py).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

Tree = dict[str, Any]

# Old names of keys, and the names that replaced them.
_RENAMED = {
    "output_options": "output-options",
    "only-if-required": "only-in-additional-list",
    "require-client-classes": "evaluate-additional-classes",
}
# Keys that held one thing and hold a list of things today.
_LISTED = {
    "client-class": "client-classes",
    "control-socket": "control-sockets",
    "lease-database": "lease-databases",
    "hosts-database": "hosts-databases",
}
_RESERVATION_MODES = {
    "disabled": (False, False, False),
    "off": (False, False, False),
    "out-of-pool": (False, True, True),
    "global": (True, False, False),
    "all": (False, True, False),
}
_HEX_KEYS = ("hw-address", "duid", "circuit-id", "client-id", "flex-id")
_SEPARATORS = re.compile(r"[\s:.-]")


def normal(node: Any) -> Any:
    """The same configuration in its newest spelling; what is given stays as it is."""
    if isinstance(node, list):
        return [normal(item) for item in node]
    if not isinstance(node, dict):
        return node
    written: Tree = {str(_RENAMED.get(key, key)): _inside(key, value) for key, value in node.items()}
    for change in _CHANGES:
        change(written)
    return {key: _VALUES.get(key, _as_is)(value) for key, value in written.items()}


def _inside(key: str, value: Any) -> Any:
    """What people put into user-context is their own language."""
    return value if key == "user-context" else normal(value)


def _listed(node: Tree) -> None:
    for one, many in _LISTED.items():
        # The Control Agent's control-sockets are a map by server, and stay so.
        if isinstance(node.get(one), (str, dict)) and many not in node:
            node[many] = [value] if (value := node.pop(one)) else []


def _reservation_mode(node: Tree) -> None:
    if flags := _RESERVATION_MODES.get(str(node.get("reservation-mode"))):
        del node["reservation-mode"]
        names = ("reservations-global", "reservations-in-subnet", "reservations-out-of-pool")
        node.update(zip(names, flags, strict=True))


def _relay(node: Tree) -> None:
    relay = node.get("relay")
    if isinstance(relay, dict) and isinstance(relay.get("ip-address"), str):
        node["relay"] = {"ip-addresses": [relay["ip-address"]]}


def _comment(node: Tree) -> None:
    """`comment` is short for a member of user-context."""
    if isinstance(node.get("comment"), str):
        context = node.get("user-context")
        node["user-context"] = {"comment": node.pop("comment"), **(context if isinstance(context, dict) else {})}


def _option(node: Tree) -> None:
    if isinstance(node.get("data"), str) and ("code" in node or "name" in node):
        node["data"] = _option_data(node["data"], is_text=node.get("csv-format", True) is not False)


def _option_data(data: str, *, is_text: bool) -> str:
    if is_text:
        return ", ".join(part.strip() for part in data.split(","))
    return _SEPARATORS.sub("", data.strip().removeprefix("0x").removeprefix("0X")).lower()


def _relay_supplied(node: Tree) -> None:
    """Kea always takes option 65 from a relay, named or not."""
    if isinstance(options := node.get("relay-supplied-options"), list):
        node["relay-supplied-options"] = [option for option in options if option != "65"]


def _queue(node: Tree) -> None:
    """With threads there is no queue, whatever is written (dhcp_queue_control_parser.cc)."""
    threads, queue = node.get("multi-threading"), node.get("dhcp-queue-control")
    if isinstance(threads, dict) and threads.get("enable-multi-threading") is True and isinstance(queue, dict):
        node["dhcp-queue-control"] = queue | {"enable-queue": False}


def _ddns(node: Tree) -> None:
    """What `dhcp-ddns` held until 1.8 stands beside it."""
    ddns = node.get("dhcp-ddns")
    if isinstance(ddns, dict):
        moved = {new: ddns.pop(old) for old, new in _MOVED_OUT_OF_DDNS.items() if old in ddns}
        node.update(moved | node)


_MOVED_OUT_OF_DDNS = {
    "generated-prefix": "ddns-generated-prefix",
    "qualifying-suffix": "ddns-qualifying-suffix",
    "override-client-update": "ddns-override-client-update",
    "override-no-update": "ddns-override-no-update",
    "replace-client-name": "ddns-replace-client-name",
    "hostname-char-set": "hostname-char-set",
    "hostname-char-replacement": "hostname-char-replacement",
}
_CHANGES: tuple[Callable[[Tree], None], ...] = (
    _listed, _reservation_mode, _relay, _comment, _option, _relay_supplied, _queue, _ddns,
)  # fmt: skip


def _range(text: Any) -> Any:
    """`192.0.2.0/28` and `192.0.2.1 - 192.0.2.9` as first and last address."""
    if not isinstance(text, str):
        return text
    try:
        if "/" in text:
            network = ipaddress.ip_network(text.replace(" ", ""), strict=False)
            return f"{network[0]}-{network[-1]}"
        return "-".join(str(ipaddress.ip_address(part.strip())) for part in text.split("-"))
    except ValueError:
        return text


def _prefix(text: Any) -> Any:
    try:
        return str(ipaddress.ip_network(text, strict=False)) if isinstance(text, str) else text
    except ValueError:
        return text


def _address(text: Any) -> Any:
    try:
        return str(ipaddress.ip_address(text)) if isinstance(text, str) else text
    except ValueError:
        return text


def _addresses(value: Any) -> Any:
    return [_address(item) for item in value] if isinstance(value, list) else value


def _identifier(text: Any) -> Any:
    """`1A:1b:..`, `1a1b..` and `'text'` (Kea's way of writing an identifier as a string) as `1a:1b:..`."""
    if not isinstance(text, str):
        return text
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].encode(errors="surrogateescape").hex(":")
    digits = _SEPARATORS.sub("", text.removeprefix("0x"))
    is_hex = re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", digits)
    return bytes.fromhex(digits).hex(":") if is_hex else text


def _as_is(value: Any) -> Any:
    return value


_VALUES: dict[str, Callable[[Any], Any]] = {
    "pool": _range,
    "subnet": _prefix,
    "prefix": _address,
    "excluded-prefix": _address,
    "ip-address": _address,
    "next-server": _address,
    "ip-addresses": _addresses,
    **dict.fromkeys(_HEX_KEYS, _identifier),
}
