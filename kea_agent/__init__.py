# SPDX-License-Identifier: MPL-2.0
"""kea-agent: whatever you save under /etc/kea, DHCP keeps being served, and you are told the truth about it."""

__version__ = "0.1.0"
