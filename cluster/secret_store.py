"""Secrets of the own namespace at the Kubernetes API server, as the account of this pod: read one, make one.

Two requests need no client library. What exists is never changed here.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_SECONDS = 10.0
_NOT_FOUND, _CONFLICT = 404, 409

Files = Mapping[str, bytes]
"""Content of a Secret by the name of each of its entries."""


class StoreFailed(Exception):
    """The API server refused, or cannot be asked; the text says what it said."""


class SecretStore(Protocol):
    """Where Secrets are kept."""

    def read(self, name: str) -> Files | None:
        """What a Secret holds, None where there is none of that name. StoreFailed."""

    def create(self, name: str, files: Files) -> None:
        """Makes a Secret; one that somebody else made meanwhile stays as it is. StoreFailed."""


class KubernetesSecrets:
    """The namespace of this pod, by the token that its service account has here."""

    def __init__(self, account: Path = ACCOUNT, server: str | None = None) -> None:
        host, port = os.environ.get("KUBERNETES_SERVICE_HOST", ""), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
        server = server or f"https://{f'[{host}]' if ':' in host else host}:{port}"
        try:
            namespace = (account / "namespace").read_text().strip()
            self._tls = ssl.create_default_context(cafile=account / "ca.crt")
        except OSError as error:
            raise StoreFailed(f"this is no pod with a service account's token: {error}") from None
        self._token = account / "token"
        self._url = f"{server}/api/v1/namespaces/{namespace}/secrets"

    def read(self, name: str) -> Files | None:
        found = self._ask("GET", f"{self._url}/{name}", None, _NOT_FOUND)
        if found is None:
            return None
        return {entry: base64.b64decode(text) for entry, text in (found.get("data") or {}).items()}

    def create(self, name: str, files: Files) -> None:
        data = {entry: base64.b64encode(content).decode("ascii") for entry, content in files.items()}
        metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "trading-mesh"}}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}
        self._ask("POST", self._url, body, _CONFLICT)

    def _ask(self, method: str, url: str, body: object, accepted: int) -> Any:
        """The answer; None for the one status that is no failure."""
        # Read each time: it is replaced while the pod lives.
        headers = {"Authorization": f"Bearer {self._token.read_text().strip()}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS, context=self._tls) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            if error.code == accepted:
                return None
            said = error.read(2000).decode(errors="replace")
            raise StoreFailed(f"{method} {url}: {error.code} {said}") from None
        except (OSError, ValueError) as error:
            raise StoreFailed(f"{method} {url}: {error}") from None
