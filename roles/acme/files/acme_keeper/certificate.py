"""Runs in the keeper's container: reads certificates."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

FIRST = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n?", re.DOTALL)


@dataclass(frozen=True)
class Certificate:
    """A certificate with its issuers and its key, one text in PEM form, the key first."""

    pem: str
    names: frozenset[str]
    begin: float
    end: float

    @property
    def lifetime(self) -> float:
        return self.end - self.begin

    @property
    def der(self) -> bytes:
        """The certificate itself, as TLS shows it."""
        return x509.load_pem_x509_certificates(self.pem.encode())[0].public_bytes(Encoding.DER)


def read_certificate(pem: str) -> Certificate:
    """Return what `pem` holds, the private key of the first certificate in it included.

    Raises:
        ValueError: when it is no certificate, or has not its key.
    """
    shown = x509.load_pem_x509_certificates(pem.encode())[0]
    if shown.public_key() != load_pem_private_key(pem.encode(), None).public_key():
        raise ValueError("the key is not that of the certificate")
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return Certificate(
        pem,
        frozenset(name.lower() for name in names.get_values_for_type(x509.DNSName)),
        shown.not_valid_before_utc.timestamp(),
        shown.not_valid_after_utc.timestamp(),
    )


def is_for(certificate: Certificate, names: Sequence[str]) -> bool:
    """Tell whether `certificate` is valid for these names, and for no other."""
    return certificate.names == {name.lower() for name in names}
