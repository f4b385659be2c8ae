# SPDX-License-Identifier: MPL-2.0
"""Command lines, configurations and running states on which keactrl and the real script must agree.

What is drawn at random is drawn from the release's number, so every run of the tests sees the same cases.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from keactrl_scripts import Generation

from unit.keactrl_sandbox import CONF, CONFIGS, DEAD, ROOT, TEMPLATE, Case

SERVERS: Final[Mapping[str, str]] = {
    "dhcp4": "kea-dhcp4",
    "dhcp6": "kea-dhcp6",
    "dhcp_ddns": "kea-dhcp-ddns",
    "ctrl_agent": "kea-ctrl-agent",
    "netconf": "kea-netconf",
}
COMMANDS: Final = ("start", "stop", "reload", "status", "version")
QUESTIONS: Final = ("-v", "--version", "-V", "-h", "--help")
LISTS: Final = (
    *("dhcp4", "dhcp6", "dhcp_ddns", "ctrl_agent", "netconf", "all", "dhcp6,dhcp4", "dhcp4,all", "dhcp4,dhcp4,dhcp_ddns"),
    *("dhcp4, dhcp6", "dhcp4 dhcp_ddns", "dhcp6\ndhcp4", "\tdhcp6 ", "dhcp4,", ",dhcp4", ",,dhcp6,,", ",", ",,", " ", " ,"),
    *("dhcp5", "DHCP4", "dhcp4,bogus,worse", "kea-dhcp4", "dhcp-ddns", "all,none", "-c", "dhcp_ddns,ctrl_agent", "netconf,dhcp4"),
    *("dhcp4\rdhcp6", "dhcp4\u00a0dhcp6", "dhcp4\v"),  # no blanks for a shell
)  # fmt: skip


def lines(generation: Generation, **changes: str | None) -> str:
    """A complete keactrl.conf; a change to None leaves the variable out. Values are what a shell reads."""
    variables: dict[str, str | None] = {"prefix": ROOT}
    for server, binary in SERVERS.items():
        if server == "ctrl_agent" and generation != "A":
            continue
        variables[f"{binary.replace('-', '_')}_config_file"] = CONFIGS[binary]
        variables[f"{server}_srv"] = f"{ROOT}/sbin/{binary}"
        variables[server] = "no" if server in ("dhcp_ddns", "netconf") else "yes"
    variables["kea_verbose"] = "no"
    known = {name: value for name, value in changes.items() if name in variables or "options" in name or "my_" in name}
    return "".join(f"{name}={value}\n" for name, value in (variables | known).items() if value is not None)


def variables(generation: Generation) -> list[str]:
    """The names of a complete keactrl.conf."""
    return [line.partition("=")[0] for line in lines(generation).splitlines()]


Change = Callable[[Generation], str]


@dataclass(frozen=True)
class Variant:
    """One way in which a keactrl.conf is written. `never`: commands for which the two differ on purpose."""

    text: Change
    never: tuple[str, ...] = ()
    no_configs: bool = False
    configs: Mapping[str, str] | None = None


def _with(**changes: str | None) -> Variant:
    return Variant(lambda generation: lines(generation, **changes))


def _edited(edit: Callable[[str], str]) -> Variant:
    return Variant(lambda generation: edit(lines(generation, dhcp_ddns="yes")))


_ALL_YES: Final = dict.fromkeys(SERVERS, "yes")
_OTHER_NAMES: Final = {
    "kea-dhcp4": f"{ROOT}/etc/plain",
    "kea-dhcp6": f"{ROOT}/etc/.conf",
    "kea-dhcp-ddns": f"{ROOT}/etc/a.b.conf.json",
    "kea-ctrl-agent": f"{ROOT}/etc/x..y",
    "kea-netconf": f"{ROOT}/etc/netconf.",
}
_OTHER_FILES: Final = {f"{binary.replace('-', '_')}_config_file": path for binary, path in _OTHER_NAMES.items()}

VARIANTS: Final[Mapping[str, Variant]] = {
    "complete": _with(),
    "all yes": _with(**_ALL_YES),
    "flags": _with(dhcp4="YES", dhcp6="no", dhcp_ddns="TRUE", ctrl_agent="yEs", netconf='"yes"'),
    "other flags": _with(dhcp4="", dhcp6="'yes '", dhcp_ddns="YeS", ctrl_agent="1", netconf="on"),
    "verbose": _with(kea_verbose="yes", **_ALL_YES),
    "nearly verbose": _with(kea_verbose="YES"),
    "quotes": _with(
        prefix=f"'{ROOT}'",
        kea_dhcp4_config_file=f"'{ROOT}'/\"etc\"/'ora''cle4'.conf\\.json",
        dhcp4_srv=f'"{ROOT}/sbin"/kea\\-dhcp4',
        dhcp6='"y"e\'s\'',
        dhcp_ddns=r'"\yes"',
        kea_dhcp6_config_file=f'"{ROOT}/etc/oracle6.con\\\nf.json"',
        my_own=r'"a \" b \\ c \$ d \` e"',
    ),
    "references": _with(
        my_bin='"${prefix}/sbin"',
        my_etc="$prefix/etc",
        dhcp4_srv='"$prefix/sbin/kea-dhcp4"',
        dhcp6_srv="${prefix}/sbin/kea-dhcp6",
        kea_dhcp4_config_file='"${prefix}"/etc/oracle4.conf.json',
        kea_dhcp6_config_file="'${prefix}'/etc/oracle6.conf.json",
        kea_dhcp_ddns_config_file='"$prefix"/etc/oracle-ddns.conf',
        my_dollar='"$ 5$"',
    ),
    "comments": _edited(lambda text: "# first\n\n   # a=$(b)\n" + text.replace("\n", "   # trailing; `x`\n") + "#last"),
    "no comments": _with(kea_dhcp6_config_file=f"{CONFIGS['kea-dhcp6']}#1", dhcp4="yes#no"),
    "indented": _edited(lambda text: "\t " + text.replace("\n", " \t\n\n  ")),
    "exported": _edited(lambda text: "".join(f"export {line}\n" for line in text.splitlines())),
    "one line": _edited(lambda text: text.replace("\n", " ")),
    "continued lines": _edited(lambda text: text.replace("/etc/", "/e\\\ntc/").replace("dhcp6=yes", "dhcp6=\\\nyes")),
    "no last newline": _edited(str.rstrip),
    "twice": _edited(lambda text: text + "dhcp4=no\ndhcp6=YES\n"),
    "options": _with(
        dhcp4_cli_options='"-F"', dhcp6_cli_options='"  -X   -F -X "', dhcp_ddns_cli_options='"-d -F"', netconf_cli_options="-W",
        dhcp_ddns="yes", netconf="yes",
    ),
    "options verbose": _with(kea_verbose="yes", dhcp4_cli_options='"-d -F"', dhcp6_cli_options="-F", netconf="yes"),
    "odd characters": _with(my_own="a\vb\fc\u00a0d\x01é{a,b}[!x]", dhcp4="yes\u00a0", kea_dhcp6_config_file=f"{ROOT}/etc/\u3000"),
    "blanks in a path": _with(kea_dhcp6_config_file=f"'{ROOT}/etc/my file'", my_own="' '"),
    "empty paths": _with(kea_dhcp4_config_file="", kea_dhcp6_config_file='""', kea_dhcp_ddns_config_file="''"),
    "no files": Variant(lines, no_configs=True),
    "file names": Variant(lambda generation: lines(generation, **_OTHER_FILES, **_ALL_YES), configs=_OTHER_NAMES),
    "other binaries": Variant(
        lambda generation: lines(generation, dhcp4_srv=f"{ROOT}/sbin/none", dhcp6_srv="/bin/false", dhcp_ddns_srv="/bin/echo"),
        never=("start",),
    ),
    "a directory for a file": _with(kea_dhcp6_config_file=f"{ROOT}/etc"),
    "installed": Variant(lambda _: TEMPLATE, never=("stop", "reload")),
    "empty": Variant(lambda _: ""),
    "comment only": Variant(lambda _: "# nothing\n"),
    "other names": Variant(lambda _: "hello=world\n"),
}  # fmt: skip

STATES: Final[Sequence[tuple[frozenset[str], Mapping[str, str]]]] = (
    *[(frozenset[str](), {})] * 3,
    *[(frozenset(SERVERS.values()), {})] * 3,
    (frozenset({"kea-dhcp4"}), {}),
    (frozenset({"kea-dhcp6", "kea-dhcp-ddns"}), {"kea-dhcp4": f"{DEAD}\n"}),
    (frozenset({"kea-ctrl-agent", "kea-netconf"}), {"kea-dhcp6": "", "kea-dhcp4": "\n"}),
    (frozenset({"kea-dhcp4"}), {"kea-dhcp6": "garbage\n", "kea-dhcp-ddns": "0\n"}),
    (frozenset({"kea-dhcp6"}), {"kea-dhcp4": "-5\n", "kea-dhcp-ddns": "99999999999999999999\n"}),
    (frozenset({"kea-dhcp-ddns"}), {"kea-dhcp4": "1 1\n", "kea-dhcp6": "1\n1\n", "kea-ctrl-agent": "1x\n"}),
)


# -- written down


def of_the_command_line(generation: Generation) -> Iterator[Case]:
    """Every command, question and error by itself."""
    conf = lines(generation)
    words: list[tuple[str, ...]] = [
        (),
        ("",),
        *((word,) for word in (*QUESTIONS, *COMMANDS, "Status", "restart", "stat")),
    ]
    words += [
        ("-c", CONF, "status"),
        ("-s", "all"),
        ("--", "status"),
        ("-v", "status"),
        ("--version", "-x"),
        ("--vers",),
    ]
    for option in (
        "-c",
        "--ctrl-config",
        "-s",
        "--server",
        "-x",
        "--",
        "extra",
        "-cs",
        f"--ctrl-config={CONF}",
        "-sall",
    ):
        words += [("start", option), ("status", "-c", CONF, option), ("version", option, "", "-c")]
    words += [
        ("status", "-c", CONF, "-c", f"{ROOT}/no"),
        ("status", "-c", f"{ROOT}/no", "-c", CONF),
        ("stop", "-c", f"{ROOT}/etc"),
    ]
    words += [("version", "-c", CONF, "-s", names) for names in LISTS]
    words += [("start", "-c", CONF, "-s", names) for names in ("dhcp_ddns", "dhcp6", "netconf,dhcp_ddns,dhcp4")]
    yield from (Case(argv, conf) for argv in words)
    for names in ("netconf", "netconf,dhcp4", "all,netconf", "dhcp6"):
        for command in ("stop", "reload", "status"):
            yield Case((command, "-s", names, "-c", CONF), conf, frozenset(SERVERS.values()))


def of_the_configuration(generation: Generation) -> Iterator[Case]:
    """Every way to write keactrl.conf, with two commands each; every variable missing, with one."""
    for number, (name, variant) in enumerate(VARIANTS.items()):
        for command in (COMMANDS[number % 5], COMMANDS[(number + 3) % 5]):
            if command not in variant.never:
                yield _case(generation, name, (command, "-c", CONF))
    for number, missing in enumerate(variables(generation)):
        command = COMMANDS[number * 3 % 5]
        yield Case((command, "-c", CONF), lines(generation, **{missing: None}), frozenset(SERVERS.values()))
    yield _case(generation, "odd characters", ("start", "-c", CONF))
    yield Case(("status",), None)
    yield Case(("start", "-c", CONF), None)


def of_the_state(generation: Generation) -> Iterator[Case]:
    """Every state, with every command that looks at it."""
    for running, pid_files in dict.fromkeys((running, tuple(files.items())) for running, files in STATES):
        for command in ("start", "stop", "status"):
            yield Case((command, "-c", CONF), lines(generation, **_ALL_YES), running, dict(pid_files))
    for where in ("", f"{ROOT}/var/log/other"):
        yield Case(("start", "-c", CONF), lines(generation), environment={"KEA_LOGGER_DESTINATION": where})
    for directory in _DIRECTORIES[1:]:
        for command in ("stop", "status"):
            yield Case((command,), lines(generation, **_ALL_YES), frozenset(SERVERS.values()), pid_directory=directory)


# -- drawn


def drawn(generation: Generation, seed: str, count: int) -> Iterator[Case]:
    """Anything with anything."""
    rng = random.Random(seed)
    for _ in range(count):
        name = rng.choice(("complete", "all yes", "verbose", *VARIANTS))
        argv = _argv(rng, generation)
        if argv[0] in VARIANTS[name].never:
            name = "all yes"
        running, pid_files = rng.choice(STATES)
        directory = rng.choice(_DIRECTORIES)
        yield replace(_case(generation, name, argv), running=running, pid_files=pid_files, pid_directory=directory)


_DIRECTORIES: Final[Sequence[Literal["set", "unset", "empty"]]] = ("set", "unset", "empty")


def _argv(rng: random.Random, generation: Generation) -> tuple[str, ...]:
    command = rng.choice((*COMMANDS, *COMMANDS, *COMMANDS, rng.choice((*QUESTIONS, "bogus"))))
    parts: list[tuple[str, ...]] = [(rng.choice(("-c", "--ctrl-config")), CONF)]
    for _ in range(rng.choice((0, 0, 1, 1, 1, 2))):
        parts.append((rng.choice(("-s", "--server")), rng.choice(LISTS)))  # noqa: PERF401
    if rng.random() < 0.1:
        parts.append(rng.choice((("-x",), ("extra",), ("-c", ""), ("-s", ""), ("-c", f"{ROOT}/no"), ("--",))))
    rng.shuffle(parts)
    words = [command, *(word for part in parts for word in part)]
    if generation == "C" and rng.random() < 0.5:
        words += [
            "--",
            *rng.choice((("-F", "-X"), ("-d",), ("-F -X",), ("-W", "-c", "x"), ("",), ("-X", "-X"), ("--",))),
        ]
    if rng.random() < 0.07:
        words.append(rng.choice(("-c", "-s", "--server")))
    return tuple(words)


def _case(generation: Generation, name: str, argv: tuple[str, ...]) -> Case:
    variant = VARIANTS[name]
    return Case(argv, variant.text(generation), no_configs=variant.no_configs, configs=variant.configs or CONFIGS)
