# SPDX-License-Identifier: MPL-2.0
"""The metrics, the status page and health over HTTP: read only, GET and HEAD, nothing that changes anything."""

from kea_agent.web.site import Site

__all__ = ["Site"]
