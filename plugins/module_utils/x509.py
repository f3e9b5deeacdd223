"""Runs on the controller: keys, certificates and authorities of the internal CA, in memory. Needs cryptography."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 730
LONGEST_COMMON_NAME = 64  # characters, RFC 5280, appendix A.1 (ub-common-name, ub-organization-name)

Pair = tuple["x509.Certificate", "ec.EllipticCurvePrivateKey"]
"""A certificate and its private key."""


def certificate_pem(certificate: x509.Certificate) -> str:
    """Return `certificate` in PEM form."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> str:
    """Return `key` in PEM form, as PKCS#8 (RFC 5208), encrypted if there is a passphrase."""
    encryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    ).decode()


def load_certificate(content: bytes) -> x509.Certificate:
    """Return the certificate whose PEM form is `content`.

    Raises:
        ValueError: when `content` is no certificate.
    """
    return x509.load_pem_x509_certificate(content)


def load_certificates(bundle: str) -> list[x509.Certificate]:
    """Return the certificates in `bundle`, one after another in PEM form.

    Raises:
        ValueError: when `bundle` holds none.
    """
    return x509.load_pem_x509_certificates(bundle.encode())


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Tell whether `authority` has signed `certificate`."""
    try:
        certificate.verify_directly_issued_by(authority)
    except Exception:
        return False
    return True


def load_key(content: bytes, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    """Return the private key whose PEM form is `content`, encrypted with `passphrase` unless that is None.

    Raises:
        ValueError: when `content` is no elliptic curve key, or has another passphrase.
    """
    try:
        key = serialization.load_pem_private_key(content, passphrase)
    except TypeError as error:  # a passphrase for a key that has none, or the other way round
        raise ValueError(str(error)) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic curve key")
    return key


def days_left(certificate: x509.Certificate) -> int:
    """Return how many whole days are left until `certificate` expires."""
    return (certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days


def fingerprint(der: bytes) -> str:
    """Return what tells a certificate, given in DER form, from every other."""
    return hashlib.sha256(der).hexdigest()[:32]


@dataclass(frozen=True)
class Identity:
    """Whose an authority is."""

    lineage: str
    """The fingerprint of the first authority in the line that this one continues."""
    described: str
    """The fleet that it belongs to, and its age, in words."""


def identify(pem: str) -> Identity:
    """Return whose the authority is whose certificate is `pem`. Versions up to 0.2.0 wrote no fleet's name into it."""
    try:
        certificate = load_certificate(pem.encode())
    except ValueError:
        return Identity("", "an authority that can't be read")
    names = {name.oid: str(name.value) for name in certificate.subject}
    since = certificate.not_valid_before_utc.date().isoformat()
    fleet = names.get(NameOID.ORGANIZATION_NAME)
    whose = f"the fleet “{fleet}”" if fleet else f"“{names.get(NameOID.COMMON_NAME, '')}”"
    return Identity(lineage(certificate), f"{whose} (an authority of {since})")


def lineage(certificate: x509.Certificate) -> str:
    """Return the fingerprint of the first authority in the line of `certificate`: its own, if it continues none."""
    units = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    return str(units[0].value) if units else fingerprint(certificate.public_bytes(serialization.Encoding.DER))


def make_authority(common_name: str, fleet: str = "", continues: str = "") -> Pair:
    """Return a new authority, valid for ten years, that can sign end certificates only.

    Args:
        common_name: Its name.
        fleet: The name of the fleet it belongs to.
        continues: The lineage of the authority that it replaces.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    names = {
        NameOID.COMMON_NAME: common_name,
        NameOID.ORGANIZATION_NAME: fleet[:LONGEST_COMMON_NAME],
        NameOID.ORGANIZATIONAL_UNIT_NAME: continues,
    }
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names.items() if value])
    certificate = (
        _builder(subject, key, _in_days(AUTHORITY_DAYS))
        .issuer_name(subject)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def issue(
    authority: Pair,
    name: str,
    usage: str,
    addresses: Sequence[str] = (),
    names: Sequence[str] = (),
    days: int = CERTIFICATE_DAYS,
) -> Pair:
    """Return a new certificate and its key, signed by `authority`.

    Args:
        authority: The authority's certificate and key.
        name: The common name, of which 64 characters are used.
        usage: What the certificate may be used for, "client" or "server".
        addresses: IP addresses the certificate is valid for.
        names: DNS names the certificate is valid for.
        days: How long the certificate is valid. It expires with its authority if that is sooner.

    Raises:
        ValueError: when one of `addresses` is no IP address.
    """
    issuer, issuer_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(
            _common_name(name[:LONGEST_COMMON_NAME]), key, min(_in_days(days), issuer.not_valid_after_utc)
        )
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(_extended_usage(usage), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if addresses or names:
        builder = builder.add_extension(_alternative_names(addresses, names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256()), key


def still_good(
    certificate: x509.Certificate,
    authority: x509.Certificate,
    usage: str,
    addresses: Sequence[str] = (),
    names: Sequence[str] = (),
    renew_days: int = 90,
) -> bool:
    """Tell whether `certificate` is signed by `authority`, is as wanted and is valid for `renew_days` more days."""
    if not is_issued_by(certificate, authority):
        return False
    try:
        found: list[Any] = list(
            certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        )
    except x509.ExtensionNotFound:
        found = []
    purpose = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return (
        # A certificate that expires with its authority would expire no later if it were issued again.
        days_left(certificate) >= min(renew_days, days_left(authority))
        and purpose == _extended_usage(usage)
        and found == list(_alternative_names(addresses, names))
    )


def _in_days(days: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, end: datetime.datetime
) -> x509.CertificateBuilder:
    # The hosts' clocks may be behind; a certificate of a test may have expired before today.
    begin = min(_in_days(0), end) - datetime.timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _extended_usage(usage: str) -> x509.ExtendedKeyUsage:
    purposes = {"client": ExtendedKeyUsageOID.CLIENT_AUTH, "server": ExtendedKeyUsageOID.SERVER_AUTH}
    return x509.ExtendedKeyUsage([purposes[usage]])


def _alternative_names(addresses: Sequence[str], names: Sequence[str]) -> x509.SubjectAlternativeName:
    by_address = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    return x509.SubjectAlternativeName([*by_address, *map(x509.DNSName, names)])
