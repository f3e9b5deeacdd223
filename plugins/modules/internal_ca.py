#!/usr/bin/python
"""Keep an internal certificate authority and the certificates it has issued."""

from __future__ import annotations

import datetime
import ipaddress
import os
import pathlib

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    HAS_CRYPTOGRAPHY = False
else:
    HAS_CRYPTOGRAPHY = True

DOCUMENTATION = r"""
module: internal_ca
short_description: Keep an internal certificate authority and what it issued
description:
  - Makes a certificate authority in O(directory) when there is none, and issues the certificates asked for.
    A certificate is kept until it comes within O(renew_days) of its end, its addresses, names or usage change, or
    the authority does.
  - One call for the whole fleet, since a call a certificate would take minutes over a few hundred hosts.
  - In check mode the certificates are made in memory and nothing is written.
options:
  directory:
    description: Folder on the controller, made with mode 0700. Private keys in it have mode 0600.
    type: path
    required: true
  common_name:
    description: The authority's name, used when it is made.
    type: str
    required: true
  certificates:
    description: The certificates to hold ready.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: File name of the certificate, and its common name.
        type: str
        required: true
      usage:
        description: What it may be used for.
        type: str
        choices: [client, server]
        required: true
      addresses:
        description: IP addresses it is valid for.
        type: list
        elements: str
        default: []
      names:
        description: DNS names it is valid for.
        type: list
        elements: str
        default: []
  renew_days:
    description: How long before its end a certificate is issued anew, in days.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Issue the registry's certificate
  internal_ca:
    directory: ~/ca
    common_name: Flotilla internal CA
    certificates:
      - name: registry
        usage: server
        addresses: [10.0.0.10]
  register: internal_ca
  no_log: true
"""

RETURN = r"""
authority:
  description: The authority's certificate, in PEM form.
  returned: always
  type: str
certificates:
  description: RV(certificates.certificate) and RV(certificates.private_key) (PKCS#8) in PEM form, by name.
  returned: always
  type: dict
"""

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 730


class Store:
    """The files of the authority; in check mode they are kept in memory alone."""

    def __init__(self, directory: pathlib.Path, *, check_mode: bool) -> None:
        self.directory = directory
        self.check_mode = check_mode
        self.changed = False

    def read(self, name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
        """Return the certificate and key called `name`, or None where either is missing.

        Raises:
            ValueError: when a file is there and can't be read as what it should be.
        """
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        if not (certificate.exists() and key.exists()):
            return None
        try:
            private_key = serialization.load_pem_private_key(key.read_bytes(), None)
            if not isinstance(private_key, ec.EllipticCurvePrivateKey):
                raise ValueError("not an elliptic curve key")
            return x509.load_pem_x509_certificate(certificate.read_bytes()), private_key
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{certificate} or its .key can't be read ({error}); remove both to have them made anew"
            ) from error

    def write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        """Put the certificate and key called `name` in place, the key readable by its owner alone."""
        self.changed = True
        if self.check_mode:
            return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for suffix, mode, content in (
            ("key", 0o600, key_pem(key)),
            ("crt", 0o644, certificate_pem(certificate)),
        ):
            part = self.directory / f".{name}.{suffix}.{os.getpid()}"
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(content)
            part.rename(self.directory / f"{name}.{suffix}")


def certificate_pem(certificate: x509.Certificate) -> str:
    """Return `certificate` in PEM form."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """Return `key` in PEM form, as PKCS#8."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _builder(common_name: str, key: ec.EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # the hosts' clocks may run behind
        .not_valid_after(now + datetime.timedelta(days=days))
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


def make_authority(common_name: str) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return a new authority, valid for ten years, that can sign end certificates only."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(common_name, key, AUTHORITY_DAYS)
    certificate = (
        builder.issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _extended_usage(usage: str) -> x509.ExtendedKeyUsage:
    purposes = {"client": ExtendedKeyUsageOID.CLIENT_AUTH, "server": ExtendedKeyUsageOID.SERVER_AUTH}
    return x509.ExtendedKeyUsage([purposes[usage]])


def _subjects(addresses: list[str], names: list[str]) -> list[x509.GeneralName]:
    """What a certificate is valid for, as it says so; raises ValueError when an address is no IP address."""
    return [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses] + [
        x509.DNSName(name) for name in names
    ]


def issue(
    authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey],
    name: str,
    usage: str,
    addresses: list[str],
    names: list[str],
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """Return a certificate called `name` for `usage` ("client" or "server"), valid for two years.

    Raises:
        ValueError: when an address is no IP address.
    """
    issuer, issuer_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(name, key, CERTIFICATE_DAYS)
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(_extended_usage(usage), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False
        )
    )
    if subjects := _subjects(addresses, names):
        builder = builder.add_extension(x509.SubjectAlternativeName(subjects), critical=False)
    return builder.sign(issuer_key, hashes.SHA256()), key


def still_good(
    certificate: x509.Certificate,
    authority: x509.Certificate,
    usage: str,
    addresses: list[str],
    names: list[str],
    renew_days: int,
) -> bool:
    """Tell whether `certificate` is as wanted, the authority's own, and lasts `renew_days` more days."""
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    try:
        certificate.verify_directly_issued_by(authority)
        subjects = list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        subjects = []
    except Exception:
        return False
    purpose = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return (
        left > datetime.timedelta(days=renew_days)
        and purpose == _extended_usage(usage)
        and set(subjects) == set(_subjects(addresses, names))
    )


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "common_name": {"type": "str", "required": True},
            "certificates": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "usage": {"type": "str", "choices": ["client", "server"], "required": True},
                    "addresses": {"type": "list", "elements": "str", "default": []},
                    "names": {"type": "list", "elements": "str", "default": []},
                },
            },
            "renew_days": {"type": "int", "default": 90},
        },
        supports_check_mode=True,
    )
    if not HAS_CRYPTOGRAPHY:
        module.fail_json(msg=missing_required_lib("cryptography"))
    renew_days = module.params["renew_days"]
    store = Store(pathlib.Path(module.params["directory"]), check_mode=module.check_mode)
    try:
        authority = store.read("ca")
        if authority is None:
            authority = make_authority(module.params["common_name"])
            store.write("ca", *authority)
        issued = {}
        for wanted in module.params["certificates"]:
            name, purpose = wanted["name"], (wanted["usage"], wanted["addresses"], wanted["names"])
            pair = store.read(name)
            if pair is None or not still_good(pair[0], authority[0], *purpose, renew_days):
                pair = issue(authority, name, *purpose)
                store.write(name, *pair)
            issued[name] = {"certificate": certificate_pem(pair[0]), "private_key": key_pem(pair[1])}
        result = {"authority": certificate_pem(authority[0]), "certificates": issued}
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=store.changed, **result)


if __name__ == "__main__":
    main()
