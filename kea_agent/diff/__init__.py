# SPDX-License-Identifier: MPL-2.0
"""What differs between two configurations in meaning: subnets by id, reservations by identifier, options by code.

`forms` brings both to the one way of writing things that Kea's config-get has, `identity` tells what is the same thing
in two lists, `running` takes Kea's own defaults out of a config-get, `compare` finds the changes and `text` shows them.
"""

from kea_agent.diff.compare import Change, Kind, changes

__all__ = ["Change", "Kind", "changes"]
