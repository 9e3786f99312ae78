"""How a server of the demo's world lives in its process: until whoever started it lets it go."""

from __future__ import annotations

import socketserver
import sys
import threading

__all__ = ["serve_until_stdin_closes"]


def serve_until_stdin_closes(server: socketserver.TCPServer) -> None:
    """Print its port on stdout, and serve until stdin is closed."""
    with server:
        sys.stdout.write(f"{server.server_address[1]}\n")
        sys.stdout.flush()
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        sys.stdin.read()
        server.shutdown()
