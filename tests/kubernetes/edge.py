"""What stands outside of a gateway: an authority with a certificate for its hosts, an issuer with its keys, and callers."""

import json
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from jwt.algorithms import RSAAlgorithm

from tests.kubernetes.cluster import HOME, NAMESPACE, ROOT, Cluster, CommandFailed, ended

ISSUER, AUDIENCE = "https://issuer.example.com", "trading-mesh"
GRPC_HOST, PAGE_HOST = "api.trading.example.com", "trading.example.com"
_KEY_ID = "first"


class Issuer:
    """Signs tokens with a key that the gateway knows by its public half."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwks(self) -> str:
        """The public half, as an issuer publishes it."""
        known = json.loads(RSAAlgorithm.to_jwk(self._key.public_key()))
        return json.dumps({"keys": [known | {"kid": _KEY_ID, "use": "sig", "alg": "RS256"}]})

    def token(self, **changed: Any) -> str:
        """A token that reads, for five minutes; claims may be changed."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "a reader", "iat": now - 600, "exp": now + 300} | changed
        return jwt.encode(claims, self._key, algorithm="RS256", headers={"kid": _KEY_ID})


@dataclass(frozen=True, slots=True)
class Certified:
    """An authority's certificate, and a certificate of both hosts with its key, as PEM."""

    authority: str
    certificate: str
    key: str


def certified() -> Certified:
    """Made anew, for a day."""
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
    authority = (
        _certificate(issuer, issuer, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    names = x509.SubjectAlternativeName([x509.DNSName(host) for host in (GRPC_HOST, PAGE_HOST)])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, PAGE_HOST)])
    own = (_certificate(subject, issuer, key.public_key()).add_extension(names, critical=False)).sign(
        authority_key, hashes.SHA256()
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem = serialization.Encoding.PEM
    return Certified(authority.public_bytes(pem).decode(), own.public_bytes(pem).decode(), secret.decode())


def _certificate(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
    )


def ensure_gateway_api(place: Cluster) -> None:
    """The kinds of the Gateway API, where the cluster lacks them: from the Go module that Istio was built with."""
    kinds = ("gatewayclasses", "gateways", "grpcroutes", "httproutes", "referencegrants", "backendtlspolicies")
    names = [f"customresourcedefinition/{kind}.gateway.networking.k8s.io" for kind in kinds]
    try:
        place.run("kubectl", "get", *names[:4])
        return
    except CommandFailed:
        modules = Path(os.environ.get("GOMODCACHE") or HOME / "gomod")
    folders = sorted(modules.glob("sigs.k8s.io/gateway-api@*/config/crd/standard"))
    assert folders, f"the cluster lacks the Gateway API, and {modules} has no module of it"
    for kind in kinds:
        place.run("kubectl", "apply", "--server-side", "-f", folders[-1] / f"gateway.networking.k8s.io_{kind}.yaml")
    place.run("kubectl", "wait", "--for=condition=Established", *names, "--timeout=60s")


def with_issuer(text: str, jwks: str) -> str:
    """Manifests of which the gateway is given the issuer's keys: no address of it is reached from here."""
    documents = [one for one in yaml.safe_load_all(text) if one]
    for document in documents:
        if document["kind"] == "RequestAuthentication":
            (rule,) = document["spec"]["jwtRules"]
            assert (rule["issuer"], rule["audiences"]) == (ISSUER, [AUDIENCE])
            del rule["jwksUri"]
            rule["jwks"] = jwks
    return yaml.safe_dump_all(documents)


def secret_of(certificate: Certified) -> str:
    """What the gateway proves itself by."""
    data = {"tls.crt": certificate.certificate, "tls.key": certificate.key}
    metadata = {"name": "gateway-certificate", "namespace": NAMESPACE}
    kind = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls"}
    return json.dumps({**kind, "metadata": metadata, "stringData": data})


@contextmanager
def forwarded(place: Cluster) -> Iterator[int]:
    """A port of the loopback address that leads to the gateway, from where its callers run."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = place.begin("kubectl", "-n", NAMESPACE, "port-forward", "service/gateway", f"{port}:443")
    try:
        yield port
    finally:
        ended(process)


@dataclass(frozen=True, slots=True)
class Outside:
    """A caller from outside, who trusts the authority."""

    place: Cluster
    port: int
    authority: Path

    def grpc(self, path: str, request: dict[str, Any], token: str = "") -> str:
        """The status that grpcurl tells of a call, OK or a word such as PermissionDenied, and after it what was said."""
        package = re.fullmatch(r"trading\.(\w+)\.v1\.\w+/\w+", path)
        assert package
        with_token = ("-H", f"authorization: Bearer {token}") if token else ()
        contract = f"trading/{package[1]}/v1/{package[1]}_service.proto"
        done = self.place.done(
            *(
                ROOT / ".venv" / "bin" / "grpcurl",
                "-cacert",
                self.authority,
                "-authority",
                GRPC_HOST,
                "-max-time",
                "20",
            ),
            *("-import-path", ROOT / "proto", "-proto", contract, *with_token, "-d", json.dumps(request)),
            *(f"127.0.0.1:{self.port}", path),
        )
        code = re.search(r"Code: (\w+)", done.stderr)
        return "OK" if done.returncode == 0 else f"{code[1] if code else 'none'} {done.stderr[-600:]}"

    def page(self, path: str, token: str = "") -> str:
        """The HTTP status of a page and its first characters; why there is none."""
        with_token = ("-H", f"authorization: Bearer {token}") if token else ()
        done = self.place.done(
            *("curl", "-sS", "--max-time", "20", "--cacert", self.authority, "-w", "\n%{http_code}", *with_token),
            *("--resolve", f"{PAGE_HOST}:{self.port}:127.0.0.1", f"https://{PAGE_HOST}:{self.port}{path}"),
        )
        body, _, status = done.stdout.rpartition("\n")
        return f"{status} {done.stderr[-400:]}{body[:400]}"


def outside(place: Cluster, port: int, certificate: Certified) -> Outside:
    """With the authority as a file."""
    file = place.folder / f"authority-{uuid.uuid4()}.pem"
    file.write_text(certificate.authority)
    return Outside(place, port, file)
