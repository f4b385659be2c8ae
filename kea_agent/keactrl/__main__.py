# SPDX-License-Identifier: MPL-2.0
"""`python3 -m kea_agent.keactrl`."""

import sys

from kea_agent.keactrl.main import main

sys.exit(main())
