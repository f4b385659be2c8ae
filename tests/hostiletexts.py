# SPDX-License-Identifier: MPL-2.0
"""Configurations made to cost as much as possible, by kind and size: a file and those that it includes.

`size` is about how many of a kind's pieces there are; time should grow as it does. `INC` stands for the files' directory.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from pathlib import Path

from kea_agent import keaconf, lint, redact
from kea_agent.errors import ConfigError

Files = dict[str, str]
Kind = Callable[[random.Random, int], Files]

MAIN = "main"
_GAPS = ("/* a */", "/**/", "// b\n", "# c\n", "#\n", '/* " */', "# \" ' \\\n", "/*" + "/" * 9 + "*/", " ", "\n", "\t")
_SIGNS = ("#", "/*", "//", '"', '\\"', "'", "`", "@", ":", "=", "{", "]", "password", "kea-agent: ignore=", "a", "\xe9")


def _whole(body: str, top: str = "") -> str:
    return f'{{ "Dhcp4": {{ {top} "interfaces-config": {{ "interfaces": [ ] }}, {body} }} }}\n'


def _rows(rows: Iterable[str]) -> str:
    return ", ".join(rows)


def _comments(rng: random.Random, size: int) -> Files:
    """Gaps of every kind between any two tokens, and behind what looks like a key."""
    is_one, is_secret = rng.random() < 0.5, rng.random() < 0.5
    gaps = iter([rng.choice(_GAPS)] * size if is_one else rng.choices(_GAPS, k=size))
    share = max(size // 4, 1)
    parts = ("".join(next(gaps, "") for _ in range(share)) for _ in range(4))
    before, after, inside, last = parts
    if is_secret:
        return {MAIN: _whole(f'"user-context": {{ "password" {before} : {after} "x" {inside} }} {last}')}
    return {MAIN: _whole(f'"client-classes": [ {{ "name": "x" {before} }} {after} ], {inside} "rogue": {last} 1')}


def _signs(rng: random.Random, size: int) -> Files:
    """One sign again and again, in a comment or in a string, beside something that a rule speaks of."""
    sign = rng.choice(_SIGNS)
    comment = sign.replace("*/", "") * size
    text = comment.replace("\\", "\\\\").replace('"', '\\"')
    where = rng.choice(
        (f'"rogue": 1, # {comment}\n "rogue2": 2', f'"rogue": 1, /* {comment} */ "rogue2": 2', f'"rogue": "{text}"')
    )
    return {MAIN: _whole(where)}


def _broken(rng: random.Random, size: int) -> Files:
    """Text that ends in the middle of something, or is nothing at all."""
    sign = "".join(rng.choices(_SIGNS, k=rng.randrange(1, 4)))
    return {
        MAIN: rng.choice(('{ "Dhcp4": {"secret": ', '{ "Dhcp4": { "a": "', "", '{ "Dhcp4": { <?include ')) + sign * size
    }


def _nesting(rng: random.Random, size: int) -> Files:
    way = rng.choice(("[", '{"a":', '{"a":[', "[ ,", '[{"b":1},'))
    closing = "".join({"[": "]", "{": "}"}[sign] for sign in reversed(way) if sign in "[{")
    if way.endswith(",") and rng.random() < 0.5:
        closing = closing.replace("]", " 1]")
    return {MAIN: _whole(f'"user-context": {{ "deep": {way * size} 1 {closing * size} }}')}


def _deep_and_wide(rng: random.Random, size: int) -> Files:
    """As deep as may be, again and again."""
    depth = rng.randrange(90, 190)
    one = "[" * depth + "]" * depth
    return {MAIN: _whole(f'"user-context": {{ "deep": [ {_rows([one] * (size // 16 + 1))} ] }}')}


def _lines(rng: random.Random, size: int) -> Files:
    """Many findings in one line, or one in each of many."""
    end = rng.choice(("", "\n", "# x\n"))
    return {MAIN: _whole(f'"subnet4": [ {f", {end}".join(_subnet(number % 9, number) for number in range(size))} ]')}


def _subnet(number: int, site: int) -> str:
    return f'{{ "id": {number}, "subnet": "10.{number}.1.1/16", "site": "{site}", "pools": [ {{ "pool": "10.99.0.1-10.99.0.9" }} ] }}'


def _numbers(rng: random.Random, size: int) -> Files:
    sign, digit = rng.choice(("", "-", "+")), rng.choice("0193")
    form = rng.choice(("{}", "{}.{}", "{}e{}", ".{}", "{}.", "0{}", "1e-{}")).replace("{}", digit * size)
    return {MAIN: _whole(f'"valid-lifetime": {sign}{form}, "user-context": {{ "n": {sign}{form} }}')}


def _many_numbers(_: random.Random, size: int) -> Files:
    return {MAIN: _whole(f'"user-context": {{ "n": [ {_rows(str(10**18 + number) for number in range(size))} ] }}')}


def _strings(rng: random.Random, size: int) -> Files:
    unit = rng.choice(
        (
            "a",
            '\\"',
            "\\\\",
            "\\n",
            "\\u00e9",
            "00:",
            "0 ",
            "\xe9",
            "1,",
            ",",
            "x-",
            "/",
            "10.0.0.1, ",
            "password=",
            "a@",
            "://",
            "'",
        )
    )
    text = unit * size
    key = rng.choice(("hw-address", "client-id", "flex-id", "duid", "hostname"))
    return {
        MAIN: _whole(
            f'"option-data": [ {{ "name": "domain-name-servers", "data": "{text}" }}, {{ "name": "{text}" }} ], "{text}": 1,'
            f' "subnet4": [ {{ "id": 1, "subnet": "{text}", "pools": [ {{ "pool": "{text}" }} ],'
            f' "reservations": [ {{ "{key}": "{text}", "ip-address": "{text}" }} ] }} ],'
            f' "hooks-libraries": [ {{ "library": "/libdhcp_ha.so", "parameters": {{ "high-availability": [ {{'
            f' "this-server-name": "{text}", "mode": "{text}", "peers": [ {{ "name": "{text}", "url": "http://{text}" }} ] }} ] }} }} ],'
            f' "lease-database": {{ "type": "mysql", "host": "{text}", "password": "{text}" }}'
        )
    }


def _unicode(rng: random.Random, size: int) -> Files:
    units = ("\u00fc", "\u4e2d", "\U0001f40d", "\u202e", "\ufeff", "\x7f", "\x85", "\u2028", "e\u0301")
    text = "".join(rng.choices(units, k=size))
    return {
        MAIN: _whole(
            f'"{text}": "{text}", "client-classes": [ {{ "name": "{text}" }}, {{ "name": "{text}" }} ] # {text}\n'
        )
    }


def _duplicates(rng: random.Random, size: int) -> Files:
    names = [f"k{number}" for number in range(size)]
    if rng.random() < 0.5:
        names.append(rng.choice(names))
    inside = _rows(f'"{name}": 1' for name in names)
    same = _rows('{ "id": 1, "subnet": "192.0.2.0/24" }' for _ in range(size))
    return {MAIN: _whole(f'"user-context": {{ {inside} }}, "subnet4": [ {same} ]')}


def _unknown(rng: random.Random, size: int) -> Files:
    """Keywords that there are not, each near to one that there is."""
    stem = rng.choice(("valid-lifetim", "pasword", "subnet", "secre"))
    return {MAIN: _whole(_rows(f'"{stem}{number}": {number}' for number in range(size)))}


def _commas(rng: random.Random, size: int) -> Files:
    gap = rng.choice(("", " ", "\n", "/**/"))
    return {MAIN: _whole(f'"user-context": {{ "a": [ 1{f"{gap}," * size} ] }}')}


def _includes(rng: random.Random, size: int) -> Files:
    """The same file again and again, or each another, or in circles, or nested as deep as may be."""
    way = rng.randrange(4)
    directives = "\n".join(f'<?include "INC/{"one" if way else number}"?>' for number in range(size))
    files = {MAIN: _whole(f'"user-context": {{ {directives} }}')}
    if way == 0:
        return files | {str(number): f'"k{number}": {number},' for number in range(size)}
    if way == 1:
        return files | {"one": "# nothing\n"}
    if way == 2:
        return files | {"one": '<?include "INC/two"?>', "two": '<?include "INC/one"?>'}
    nested = {f"n{level}": f'<?include "INC/n{level + 1}"?>' for level in range(9)} | {"n9": " "}
    return {MAIN: _whole("\n".join(['<?include "INC/n0"?>'] * max(size // 10, 1)) + '"user-context": { }'), **nested}


def _pools(rng: random.Random, size: int) -> Files:
    """Of one subnet, overlapping or not, with reservations outside of all of them."""
    is_same = rng.random() < 0.5
    pools = _rows(
        f'{{ "pool": "10.{0 if is_same else number >> 8 & 255}.{number & 255}.1-10.200.0.255" }}'
        for number in range(size)
    )
    hosts = _rows(
        f'{{ "hw-address": "00:00:00:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}",'
        f' "ip-address": "10.250.{number >> 8 & 255}.{number & 255}" }}'
        for number in range(size)
    )
    return {
        MAIN: _whole(
            f'"subnet4": [ {{ "id": 1, "subnet": "10.0.0.0/8", "pools": [ {pools} ], "reservations": [ {hosts} ] }} ]'
        )
    }


def _classes(_: random.Random, size: int) -> Files:
    classes = _rows(f'{{ "name": "c{number}" }}' for number in range(size))
    subnets = _rows(
        f'{{ "id": {number + 1}, "subnet": "10.{number >> 8 & 255}.{number & 255}.0/24", "client-class": "d{number}" }}'
        for number in range(size)
    )
    return {MAIN: _whole(f'"client-classes": [ {classes} ], "subnet4": [ {subnets} ]')}


def _hooks(_: random.Random, size: int) -> Files:
    hooks = _rows(f'{{ "library": "/usr/lib/kea/hooks/libdhcp_{number}.so" }}' for number in range(size))
    databases = _rows(f'{{ "type": "mysql", "name": "k{number}", "password": "p{number}" }}' for number in range(size))
    return {MAIN: _whole(f'"hooks-libraries": [ {hooks} ], "hosts-databases": [ {databases} ]')}


def _networks(_: random.Random, size: int) -> Files:
    """Subnets inside each other, in shared networks of the same name."""
    networks = _rows(
        f'{{ "name": "n", "subnet4": [ {{ "id": {number}, "subnet": "10.0.0.0/{8 + number % 24}" }} ] }}'
        for number in range(size)
    )
    return {MAIN: _whole(f'"shared-networks": [ {networks} ]')}


KINDS: dict[str, Kind] = {
    "comments": _comments, "signs": _signs, "broken": _broken, "nesting": _nesting, "wide": _deep_and_wide, "lines": _lines,
    "numbers": _numbers, "many-numbers": _many_numbers, "strings": _strings, "unicode": _unicode, "duplicates": _duplicates,
    "unknown": _unknown, "commas": _commas, "includes": _includes, "pools": _pools, "classes": _classes, "hooks": _hooks,
    "networks": _networks,
}  # fmt: skip


def made(kind: str, rng: random.Random, size: int) -> Files:
    """The files of a kind, or of a mixture of two: "a+b" has the text of one inside a comment or string of the other's."""
    if "+" not in kind:
        return KINDS[kind](rng, size)
    one, other = (KINDS[name](rng, size // 2) for name in kind.split("+"))
    text = other[MAIN].rstrip("\n")
    gap = rng.choice((f"/* {text.replace('*/', '* /')} */", "".join(f"# {line}\n" for line in text.splitlines())))
    at = one[MAIN].find(",") + 1
    return {**other, **one, MAIN: one[MAIN][:at] + gap + one[MAIN][at:]}


def take(path: Path) -> None:
    """All that is done with a file before Kea is asked: a tree and its findings, or an error and its line."""
    keaconf.file_set(str(path))
    try:
        document = keaconf.read(str(path), "Dhcp4")
    except ConfigError as error:
        lint.source_line(error)
        return
    clean = redact.cleaner(document.tree)
    for words in document.warnings[:3]:
        clean(words)
    lint.run("dhcp4", document, lint.Setup())
    redact.redacted(document.tree)
