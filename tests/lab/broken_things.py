# SPDX-License-Identifier: MPL-2.0
"""The broken things: each is the lab's own file with one thing wrong in it, or a host with one thing wrong and a harmless edit.

What the `-t` of a Kea says of them, and what became of the server, is in docs/usage/broken-files.md.
"""

from __future__ import annotations

from typing import Final

from broken import Act, Broken, Edit, add, as_it_is, change, foreign_library, half, script, thief
from labkit.spec import Daemon

HOOK: Final = r"libdhcp_stat_cmds\.so"
INTERFACES: Final = r'"interfaces": \[ "host0" \]'
SOCKET: Final = r'"socket-name": "/run/kea/[^"]*"'
OUTPUT: Final = r'"output": "stdout"'
LEASES: Final = r'"name": "/var/lib/kea/'
NOWHERE: Final = "/nonexistent"
DATABASE: Final = '"type": "mysql", "name": "kea", "user": "kea", "password": "kea", "host": "127.0.0.1", "port": 3'
NO_THIEF: Final = script("systemctl stop thief 2>/dev/null || true")


def files(daemon: Daemon, *named: tuple[str, str, Edit]) -> tuple[Broken, ...]:
    """Things that are wrong in the file alone."""
    return tuple(Broken(f"{daemon}-{name}", title, edit, daemon) for name, title, edit in named)


# What the DHCPv4 and the DHCPv6 server have in common.

POOLS: Final = {
    "dhcp4": (r'"pool": "198\.18\.16\.0 - 198', '"pool": "198.18.16.0 - 199'),
    "dhcp6": (r'"pool": "2001:db8:18:', '"pool": "2001:db8:19:'),
}
LEASE_FILES: Final = {"dhcp4": "/var/lib/kea/kea-leases4.csv", "dhcp6": "/var/lib/kea/kea-leases6.csv"}
PORTS: Final = {"dhcp4": ("198.18.0.11", 67), "dhcp6": ("::", 547)}


def both(daemon: Daemon) -> tuple[Broken, ...]:
    """A file, or a host, that is broken in the same way for both."""
    lease_file = LEASE_FILES[daemon]
    return (
        *files(
            daemon,
            ("interface", "interface that does not exist", change(INTERFACES, '"interfaces": [ "nope0" ]')),
            ("hook-missing", "hook library missing", change(HOOK, "libdhcp_missing.so")),
            ("hosts-database", "hosts-database unreachable", add(f'"hosts-database": {{ {DATABASE} }}')),
            ("control-socket", "control socket in a directory that Kea may not use", change(SOCKET, f'"socket-name": "{NOWHERE}/kea"')),
            ("lease-path", "lease file in a directory that Kea may not use", change(LEASES, f'"name": "{NOWHERE}/')),
            ("log-path", "log file in a directory that Kea may not use", change(OUTPUT, f'"output": "{NOWHERE}/kea.log"')),
            ("pool", "pool outside its subnet", change(*POOLS[daemon])),
            ("syntax", "a comma missing", change(r'("renew-timer": \d+),', r"\1")),
        ),
        Broken(
            f"{daemon}-lease-owner",
            "lease file owned by root, mode 0600",
            as_it_is,
            daemon,
            script(f"chown root:root {lease_file}; chmod 0600 {lease_file}"),
            script(f"chown _kea:_kea {lease_file}; chmod 0640 {lease_file}"),
        ),
        Broken(
            f"{daemon}-port",
            f"UDP port {PORTS[daemon][1]} taken by another process while the server restarts",
            as_it_is,
            daemon,
            thief("udp", *PORTS[daemon], first="systemctl stop $UNIT"),
            NO_THIEF,
            moment="restart",
            passes=True,
        ),
        Broken(
            f"{daemon}-restart",
            "`systemctl restart` with a harmful file on disk (interface that does not exist)",
            change(INTERFACES, '"interfaces": [ "nope0" ]'),
            daemon,
            moment="restart",
        ),
    )  # fmt: skip


# The network of the host is the same for both; it is shown with the first.

LINK_UP: Final = script(
    "ip link set host0 up; ip -6 address replace 2001:db8:18::11/64 dev host0 nodad; "
    "until grep -qx 1 /sys/class/net/host0/carrier; do sleep 0.02; done"
)
FOREIGN: Final = script("rm -f $HOOKS/libdhcp_foreign.so")
FLQ: Final = change(
    r'"subnet4": \[',
    r'\g<0> { "id": 9, "subnet": "10.0.0.0/10", "allocator": "flq", "pools": [ { "pool": "10.0.0.0/10" } ] },',
)
# The process that runs now gets the soft limit, which its user may take away again; the next one gets it from the unit.
LIMIT: Final = "runuser -u _kea -- prlimit --data={}:unlimited --pid $(systemctl show --property=MainPID --value $UNIT)"
LIMITED: Final = script(
    "mkdir -p /run/systemd/system/$UNIT.d; printf '[Service]\\nLimitDATA=300M\\n' > /run/systemd/system/$UNIT.d/lab.conf; "
    f"systemctl daemon-reload; {LIMIT.format(300 << 20)}"
)
UNLIMITED: Final = script(
    "rm -f /run/systemd/system/$UNIT.d/lab.conf; systemctl daemon-reload; "
    f"{LIMIT.format('unlimited')} 2>/dev/null || true"
)
# The host's own disk, which its journal writes to meanwhile: so the last of it is written until there is no more.
FULL: Final = script(
    "fallocate --length $(($(df --output=avail -B1 / | tail -n 1) - 4194304)) /var/filler; "
    "! dd if=/dev/zero of=/var/filler-rest bs=64k 2>/dev/null"
)

DHCP4: Final = (
    *both("dhcp4"),
    *files("dhcp4", ("half", "half of a file (an upload that was cut off)", half)),
    Broken(
        "dhcp4-unreadable",
        "file that only root may read",
        as_it_is,
        breaks=script("chown root:root $NEXT; chmod 0600 $NEXT"),
    ),
    Broken(
        "dhcp4-fifo",
        "include of a FIFO",
        add('<?include "/etc/kea/lab.inc"?>'),
        breaks=script("mkfifo -m 0644 /etc/kea/lab.inc"),
        mends=script("rm -f /etc/kea/lab.inc"),
    ),
    Broken(
        "dhcp4-hook-foreign",
        "hook library of another Kea version",
        change(HOOK, "libdhcp_foreign.so"),
        breaks=foreign_library,
        mends=FOREIGN,
    ),
    Broken(
        "dhcp4-hook-text",
        "hook library that is no library",
        change(HOOK, "libdhcp_foreign.so"),
        breaks=script("echo no library > $HOOKS/libdhcp_foreign.so"),
        mends=FOREIGN,
    ),
    Broken("dhcp4-memory", "pool of 4 million addresses with the `flq` allocator: 470 MB", FLQ),
    Broken(
        "dhcp4-memory-limit",
        "the same where the unit allows 300 MB (`LimitDATA=`)",
        FLQ,
        breaks=LIMITED,
        mends=UNLIMITED,
    ),
    Broken(
        "dhcp4-lease-database",
        "lease-database unreachable",
        change(r'"lease-database": \{[^}]*\}', f'"lease-database": {{ {DATABASE} }}'),
    ),
    Broken(
        "dhcp4-socket-mode",
        "/run/kea with mode 0777",
        as_it_is,
        breaks=script("stat -c %a /run/kea > /run/lab-mode; chmod 0777 /run/kea"),
        mends=script("chmod $(cat /run/lab-mode) /run/kea"),
    ),
    Broken(
        "dhcp4-link",
        "interface down during the reload, up again later",
        as_it_is,
        breaks=script("ip link set host0 down"),
        mends=LINK_UP,
        passes=True,
    ),
    Broken(
        "dhcp4-address",
        "interface without its address during the reload, there again later",
        as_it_is,
        breaks=script("ip address delete 198.18.0.11/16 dev host0"),
        mends=script("ip address replace 198.18.0.11/16 dev host0"),
        passes=True,
    ),
    Broken(
        "dhcp4-read-only",
        "/var/lib/kea read-only during the reload, writable again later",
        as_it_is,
        breaks=script("mount --bind /var/lib/kea /var/lib/kea; mount -o remount,bind,ro /var/lib/kea"),
        mends=script("umount --lazy /var/lib/kea 2>/dev/null || true"),
        passes=True,
    ),
    Broken(
        "dhcp4-full",
        "disk full during the reload, space again later",
        as_it_is,
        breaks=FULL,
        mends=script("rm -f /var/filler /var/filler-rest"),
        passes=True,
    ),
    Broken(
        "dhcp4-boot",
        "power cut with a harmful file on disk (interface that does not exist)",
        change(INTERFACES, '"interfaces": [ "nope0" ]'),
        moment="boot",
    ),
)

DHCP6: Final = both("dhcp6")


# High Availability: the first server of a pair.

CERTIFICATE: Final = (
    "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=lab -keyout /etc/kea/lab.key -out /etc/kea/lab.pem 2>/dev/null; "
    "chmod 0644 /etc/kea/lab.pem; chmod 0600 /etc/kea/lab.key"
)


def tls(name: str) -> str:
    """A certificate that is its own authority, and its key."""
    return (
        f'"trust-anchor": "/etc/kea/{name}.pem", "cert-file": "/etc/kea/{name}.pem", "key-file": "/etc/kea/{name}.key"'
    )


def ha(daemon: Daemon, *named: tuple[str, str, Edit, Act | None, Act | None]) -> tuple[Broken, ...]:
    """Things that are wrong with the HA of one server of a pair."""
    return tuple(
        Broken(f"{daemon}-ha-{name}", title, edit, daemon, breaks, mends, needs_pair=True)
        for name, title, edit, breaks, mends in named
    )


def ha_files(daemon: Daemon, port: int) -> tuple[Broken, ...]:
    """What is wrong with the file for DHCPv4 and DHCPv6 alike; `port` is where the server's own listener is."""
    return ha(
        daemon,
        ("name", "HA: `this-server-name` names no peer", change('"server1",', '"server9",'), None, None),
        ("mode", "HA: mode and roles disagree", change('"hot-standby"', '"load-balancing"'), None, None),
        ("address", "HA: listener address not on this host", change(rf"198\.18\.0\.11:{port}", f"198.18.0.99:{port}"), None, None),
        ("lease-cmds", "HA without the lease_cmds hook", change(r'\{ "library": "[^"]*libdhcp_lease_cmds\.so" \},', ""), None, None),
    )  # fmt: skip


TLS_URL: Final = change("http://198.18.0.11", "https://198.18.0.11")


def with_tls(name: str) -> Edit:
    """HA over TLS on this server's side."""
    return lambda text: change('"this-server-name"', rf"{tls(name)}, \g<0>")(TLS_URL(text))


PAIR: Final = (
    *ha_files("dhcp4", 8010),
    *ha(
        "dhcp4",
        ("port", "HA: TCP port of the listener taken", change("11:8010", "11:8020"), thief("tcp", "198.18.0.11", 8020), NO_THIEF),
        ("certificate", "HA: certificate missing", with_tls("missing"), None, None),
        ("key", "HA: key of the certificate unreadable for Kea", with_tls("lab"), script(CERTIFICATE), script("rm -f /etc/kea/lab.key /etc/kea/lab.pem")),
    ),
    *ha_files("dhcp6", 8011),
)  # fmt: skip


# The DDNS daemon and the Control Agent.

D2_PORT: Final = r'"port": 53001'
CA_PORT: Final = r'"http-port": 8000'
D2_HOOK: Final = '"hooks-libraries": [ { "library": "/usr/lib/x86_64-linux-gnu/kea/hooks/libddns_missing.so" } ]'

DDNS: Final = (
    *files(
        "ddns",
        ("address", "`ip-address` not on this host", change(r'"ip-address": "127\.0\.0\.1"', '"ip-address": "198.18.0.99"')),
        ("hook-missing", "hook library missing", add(D2_HOOK)),
        ("control-socket", "control socket in a directory that Kea may not use", change(SOCKET, f'"socket-name": "{NOWHERE}/kea"')),
        ("log-path", "log file in a directory that Kea may not use", change(OUTPUT, f'"output": "{NOWHERE}/kea.log"')),
        ("key", "`key-name` of a zone that names no key", change(r'"forward-ddns": \{ "ddns-domains": \[', r'\g<0> { "name": "lab.example.", "key-name": "nobody", "dns-servers": [ { "ip-address": "127.0.0.1" } ] }')),
        ("secret", "TSIG secret that is no base64", change(r'"tsig-keys": \[', r'\g<0> { "name": "key", "algorithm": "HMAC-SHA256", "secret": "***" }')),
        ("syntax", "a comma missing", change(r'"port": 53001,', '"port": 53001')),
    ),
    Broken("ddns-port", "UDP port taken by another process", change(D2_PORT, '"port": 53002'), "ddns", thief("udp", "127.0.0.1", 53002), NO_THIEF),
    Broken("ddns-restart", "`systemctl restart` with a harmful file on disk (key that is not there)", change(r'"tsig-keys": \[', r'\g<0> { "name": "key", "algorithm": "none", "secret": "aaaa" }'), "ddns", moment="restart"),
)  # fmt: skip

CTRL_AGENT: Final = (
    *files(
        "ctrl-agent",
        ("address", "`http-host` not on this host", change(r'"http-host": "127\.0\.0\.1"', '"http-host": "198.18.0.99"')),
        ("hook-missing", "hook library missing", add(D2_HOOK.replace("libddns", "libca"))),
        ("log-path", "log file in a directory that Kea may not use", change(OUTPUT, f'"output": "{NOWHERE}/kea.log"')),
        ("password", "password file missing", change('"kea-api-password"', '"missing-password"')),
        ("certificate", "certificate missing", add(tls("missing"))),
        ("syntax", "a comma missing", change(r'"http-port": 8000,', '"http-port": 8000')),
    ),
    Broken("ctrl-agent-key", "key of the certificate unreadable for Kea", add(tls("lab")), "ctrl-agent", script(CERTIFICATE), script("rm -f /etc/kea/lab.key /etc/kea/lab.pem")),
    Broken("ctrl-agent-port", "TCP port taken by another process", change(CA_PORT, '"http-port": 8001'), "ctrl-agent", thief("tcp", "127.0.0.1", 8001), NO_THIEF),
    Broken("ctrl-agent-restart", "`systemctl restart` with a harmful file on disk (password file missing)", change('"kea-api-password"', '"missing-password"'), "ctrl-agent", moment="restart"),
)  # fmt: skip

ALONE: Final = (*DHCP4, *DHCP6, *DDNS, *CTRL_AGENT)
# Kea itself needs long for these, and a rehearsal much longer.
MINUTES: Final = tuple(thing for thing in ALONE if thing.edit is FLQ)
