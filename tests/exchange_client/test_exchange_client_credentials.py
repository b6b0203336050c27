"""Key files in every form that the exchange hands out."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from exchange_client.coinbase.credentials import load_key
from meshkit.errors import Misconfigured


def test_key_files_of_every_documented_form(tmp_path: Path) -> None:
    def loaded(secret: str, name: str = "name") -> Any:
        file = tmp_path / "k.json"
        file.write_text(json.dumps({name: "n", "privateKey": secret}))
        return load_key(file)

    curve = generate_private_key(SECP256R1())
    for form in (PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8):
        pem = curve.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
        assert loaded(pem).algorithm == "ES256"
        assert loaded(pem.replace("\n", "\\n"), "id").algorithm == "ES256"
    raw = Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    key = loaded(base64.b64encode(raw).decode())
    assert key.algorithm == "EdDSA"
    assert base64.b64encode(raw).decode() not in repr(key)
    for bad in ("", "secret words", base64.b64encode(b"short").decode()):
        with pytest.raises(Misconfigured) as caught:
            loaded(bad)
        assert "secret words" not in str(caught.value)
