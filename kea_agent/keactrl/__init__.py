# SPDX-License-Identifier: MPL-2.0
"""keactrl: the command of Kea's manual, chapter 6, with its arguments, output and exit codes, on packaged Kea.

What the script says stands in Kea's src/bin/keactrl/keactrl.in, in three generations: A up to 3.1.7 (with the Control
Agent), B from 3.1.8, C from 3.3.0 (server options, --help). The generation of the installed Kea is followed. Where this
command differs on purpose, the man page keactrl(8) lists it and tests/unit/test_keactrl_oracle.py asserts it.
"""
