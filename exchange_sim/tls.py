"""The exchange's own certificate authority and server certificate, made once per state folder.

Clients trust `ca.pem`; the server certificate names localhost and both loopback addresses, because the official client always
speaks HTTPS and checks the name; and further names where clients that cannot be pointed elsewhere are led here by theirs.
"""

import logging
import os
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = timedelta(days=3650)
_BACKDATED = timedelta(days=1)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class TlsFiles:
    ca: Path
    certificate: Path
    key: Path


def ensure_tls(folder: Path, names: Collection[str] = ()) -> TlsFiles:
    """The folder's certificates; made on first use and kept afterwards, unless one of the further `names` is not among theirs."""
    files = TlsFiles(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    # The key is written last, so its presence means the set is complete.
    complete = files.key.exists()
    if complete and set(names) <= _named(files):
        return files
    if complete:
        log.warning("new certificates for %s: clients must trust the new %s", ", ".join(names), files.ca)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.key.unlink(missing_ok=True)
    _make(files, names)
    return files


def _named(files: TlsFiles) -> set[str]:
    """The names that the server certificate is for; none where it cannot be read."""
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return set(known.get_values_for_type(x509.DNSName))
    except (OSError, ValueError, x509.ExtensionNotFound):
        return set()


def server_context(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files.certificate, files.key)
    return context


def _make(files: TlsFiles, further: Collection[str]) -> None:
    now = datetime.now(UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("Simulated exchange CA")
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in ("localhost", *further)]
    names += [x509.IPAddress(ip_address(address)) for address in ("127.0.0.1", "::1")]
    server = (
        _certificate(_name("Simulated exchange"), ca_name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    files.ca.write_bytes(ca.public_bytes(pem))
    files.certificate.write_bytes(server.public_bytes(pem))
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_secret(files.key, secret)


def _write_secret(path: Path, secret: bytes) -> None:
    """Never readable by others, not even for a moment, and never half there."""
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secret)
    unfinished.replace(path)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return x509.CertificateBuilder(
        issuer_name=issuer,
        subject_name=subject,
        public_key=key,
        serial_number=x509.random_serial_number(),
        not_valid_before=now - _BACKDATED,
        not_valid_after=now + _LIFETIME,
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
