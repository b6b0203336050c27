"""An API server of Secrets alone, over TLS, as a pod sees it: answers who shows the token, and keeps what it is given."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from exchange_sim.tls import ensure_tls, server_context

TOKEN = "the-account-of-this-pod"


@contextmanager
def api_server(folder: Path) -> Iterator[tuple[str, Path, dict[str, Any]]]:
    """Its address, the folder that a pod has of its account, and the Secrets by their paths."""
    account, kept = folder / "account", dict[str, Any]()
    account.mkdir()
    files = ensure_tls(folder / "tls")
    (account / "ca.crt").write_bytes(files.ca.read_bytes())
    (account / "namespace").write_text("crypto-trading\n")
    (account / "token").write_text(TOKEN)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = kept.get(self.path)
            self._answer(200 if found else 404, found or {"message": "not found"})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            path = f"{self.path}/{body['metadata']['name']}"
            status = 409 if path in kept else 201
            self._answer(status, kept.setdefault(path, body))

        def _answer(self, status: int, body: object) -> None:
            if self.headers["Authorization"] != f"Bearer {TOKEN}":
                status, body = 403, {"message": "secrets is forbidden"}
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = server_context(files).wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}", account, kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
