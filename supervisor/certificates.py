"""The development authority of one instance, and a short-lived certificate for each identity, made and renewed by it.

For one machine, and for a mesh without a service mesh around it. A certificate carries the SPIFFE ID that the same service has
on a cluster, and the names under which it is dialled here.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from meshkit.spiffe import SpiffeNames
from supervisor.certificate_files import CertificateFiles
from supervisor.keys import UnsafeKey, require_private, write_new

AUTHORITY_LIFE = timedelta(days=3650)
LIFE = timedelta(hours=24)
RENEW_BELOW = LIFE / 2
# A clock that was set back a little does not make a new certificate unusable.
_BEFORE = timedelta(minutes=5)
_LOOPBACK = ("127.0.0.1", "::1")


def ensure_certificates(
    files: CertificateFiles, identities: Sequence[str], names: SpiffeNames, now: datetime
) -> list[str]:
    """All certificates, made where they are missing, of another authority, or past half of their life; gives whose were made.

    Raises `UnsafeKey` for a file or folder that others could have read or changed.
    """
    files.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_private(files.folder)
    authority, key = _authority(files, now)
    made = []
    for identity in identities:
        path = files.certificate(identity)
        if not _is_good(path, authority, names.id_of(identity), now):
            write_new(path, _issue(authority, key, identity, names.id_of(identity), now))
            made.append(identity)
    return made


def remove_certificates(files: CertificateFiles, identities: Sequence[str]) -> None:
    """What an earlier start made for them: who proves itself otherwise now must not be taken for one that uses them."""
    for identity in identities:
        files.certificate(identity).unlink(missing_ok=True)


def _authority(files: CertificateFiles, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    if not files.authority_key.is_symlink() and not files.authority_key.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        files.authority.unlink(missing_ok=True)  # of a key that is gone
        write_new(files.authority_key, _pem(key))
    require_private(files.authority_key)
    found = _private_key(files.authority_key)
    if not files.authority.exists():
        write_new(files.authority, _self_signed(found, now).public_bytes(Encoding.PEM))
    require_private(files.authority)
    certificate = _certificate(files.authority.read_bytes())
    if certificate is None or certificate.public_key() != found.public_key():
        raise UnsafeKey(
            f"{files.authority} is not the certificate of {files.authority_key}; delete both and start again"
        )
    if certificate.not_valid_after_utc < now + LIFE:
        raise UnsafeKey(
            f"{files.authority} ends at {certificate.not_valid_after_utc:%Y-%m-%d}; delete it and {files.authority_key} and "
            "start again"
        )
    return certificate, found


def _self_signed(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trading mesh development authority")])
    return (
        _begun(name, name, key.public_key(), now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _issue(
    authority: x509.Certificate, signer: ec.EllipticCurvePrivateKey, identity: str, spiffe_id: str, now: datetime
) -> bytes:
    """A key of its own and the certificate for it, as PEM. No subject: the names are the alternative ones."""
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = [
        x509.UniformResourceIdentifier(spiffe_id),
        x509.DNSName(identity),
        x509.DNSName("localhost"),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in _LOOPBACK),
    ]
    usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
    issued = (
        _begun(x509.Name([]), authority.subject, key.public_key(), now, LIFE)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(usages, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return _pem(key) + issued.public_bytes(Encoding.PEM)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    """An authority signs certificates, everybody else handshakes."""
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


def _begun(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + life)
    )


def _is_good(path: Path, authority: x509.Certificate, spiffe_id: str, now: datetime) -> bool:
    """Whether a file holds a certificate that can still be used for a while."""
    if path.is_symlink() or path.exists():
        require_private(path)
    else:
        return False
    found = _certificate(path.read_bytes())
    if found is None or found.not_valid_before_utc > now or found.not_valid_after_utc - now < RENEW_BELOW:
        return False
    try:
        found.verify_directly_issued_by(authority)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return names.get_values_for_type(x509.UniformResourceIdentifier) == [spiffe_id]


def _certificate(pem: bytes) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        return None


def _private_key(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise UnsafeKey(f"{path} is not a readable EC private key; delete it to have a new authority made")
    return key


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
