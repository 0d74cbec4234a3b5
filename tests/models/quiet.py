"""The HTTP server under tests/models/serving.py: silent about broken connections, and able to hang up."""

from __future__ import annotations

import socket
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import Any


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.connections = [c for c in getattr(self, "connections", []) if c.fileno() >= 0] + [connection]
        return connection, address

    def hang_up(self) -> None:
        """End the connections that clients keep, as the end of a process does."""
        for connection in getattr(self, "connections", []):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are this server's business."""
