# SPDX-License-Identifier: MPL-2.0
"""One rehearsal, from the inside: what kea-agent-rehearse@.service runs for each connection to its socket.

launcher    takes the request, sets the namespaces up, supervises
request     what came over the socket, hostile until checked
identity    how the real unit runs the daemon
network     interfaces like the host's
plan        what the daemon writes and reads, from its configuration
files       the same paths with nothing of the host behind those that are written
kernel      system calls that Python has no name for
trial       the daemon started, watched and asked
"""
