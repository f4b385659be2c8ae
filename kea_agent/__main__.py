# SPDX-License-Identifier: MPL-2.0
"""`python3 -m kea_agent` is kea-agent."""

import sys

from kea_agent.cli import main

sys.exit(main())
