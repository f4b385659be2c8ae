# SPDX-License-Identifier: MPL-2.0
"""The errors' words and the exit codes that other people's scripts rely on."""

from __future__ import annotations

import inspect

import pytest

from kea_agent import control, errors
from kea_agent.errors import ConfigError, ExitCode


@pytest.mark.parametrize(
    ("line", "column", "place"),
    [
        (4, 5, "/etc/kea/kea-dhcp4.conf:4:5"),
        (4, None, "/etc/kea/kea-dhcp4.conf:4"),
        (None, None, "/etc/kea/kea-dhcp4.conf"),
    ],
)
def test_a_place_is_spelled_as_editors_do(line: int | None, column: int | None, place: str) -> None:
    error = ConfigError("got unexpected keyword", file="/etc/kea/kea-dhcp4.conf", line=line, column=column)
    assert error.place == place
    assert str(error) == f"{place}: got unexpected keyword"


def test_the_tree_in_the_docstring_is_complete() -> None:
    raised = [
        name
        for module in (errors, control)
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, errors.AgentError)
    ]
    assert [name for name in raised if name not in (errors.__doc__ or "")] == []


def test_exit_codes_do_not_change() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "BAD_CONFIG": 1,
        "USAGE": 2,
        "NOT_DONE": 3,
        "BROKEN": 4,
    }
