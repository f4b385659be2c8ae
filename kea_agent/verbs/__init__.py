# SPDX-License-Identifier: MPL-2.0
"""One module a verb of kea-agent, each with `main(arguments) -> exit code`."""
