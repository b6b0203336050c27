"""The least that any exchange of this kind has to do for an order, in the same server, as the limit beside it: TLS, one request,
a token whose signature is checked, one durable row, one answer. It knows no market, no balances and no rules.
"""

import json
import sqlite3
import ssl
import sys
from pathlib import Path

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.serialization import load_pem_private_key


def main(port: int, key_file: str, certificate: str, private: str, folder: str) -> None:
    """Serves until it is ended."""
    key = load_pem_private_key(json.loads(Path(key_file).read_text())["privateKey"].encode(), None).public_key()
    database = sqlite3.connect(f"{folder}/peer.sqlite", isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE IF NOT EXISTS orders (client_order_id TEXT PRIMARY KEY, body TEXT)")

    async def create(request: web.Request) -> web.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        jwt.decode(token, key, algorithms=["ES256"], options={"verify_aud": False})  # type: ignore[arg-type]
        body = await request.text()
        name = json.loads(body)["client_order_id"]
        database.execute("INSERT INTO orders VALUES (?, ?)", (name, body))
        return web.json_response({"success": True, "success_response": {"order_id": name, "client_order_id": name}})

    app = web.Application()
    app.router.add_post("/api/v3/brokerage/orders", create)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    web.run_app(app, host="127.0.0.1", port=port, ssl_context=context, print=None, access_log=None)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:6])
