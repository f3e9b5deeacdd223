#!/usr/bin/python
"""Keep the internal certificate authorities and the certificates they have issued."""

from __future__ import annotations

import datetime
import ipaddress
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

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
short_description: Keep the internal certificate authorities and what they issued
description:
  - Keeps three authorities in O(directory), makes them when there are none, and issues the certificates asked for.
    C(fleet) signs what machines of the fleet show each other; C(balancers) signs load balancers' client certificates
    alone and C(builder) the image builder's, so that who trusts nobody else serves nobody else.
  - A certificate is kept until it comes within O(renew_days) of its end, its names, addresses or usage change, or
    its authority does.
  - One call for the whole fleet, since a call a certificate would take minutes over a few hundred hosts.
  - In check mode the certificates are made in memory and nothing is written.
options:
  directory:
    description: Folder on the controller, made with mode 0700. Private keys in it have mode 0600.
    type: path
    required: true
  common_name:
    description: What the authorities' names begin with, used when they are made.
    type: str
    required: true
  passphrase:
    description: What the private keys in O(directory) are encrypted with. Empty leaves them as they are.
    type: str
    default: ""
  may_begin:
    description: Whether authorities may be made where there are none. Else that is an error.
    type: bool
    default: true
  step:
    description:
      - A step in the replacement of the authorities. V(trust) makes new ones, which are trusted beside the old and sign
        nothing yet; V(issue) has them sign, and issues every certificate anew; V(drop) ends the trust in the old.
        A step that has been taken already changes nothing, but for V(trust) after V(drop), which begins anew.
      - V(keep) leaves them at the step they are at.
    type: str
    choices: [keep, trust, issue, drop]
    default: keep
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
      authority:
        description: Who signs it.
        type: str
        choices: [fleet, balancers, builder]
        default: fleet
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
        description: Names it is valid for.
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
authorities:
  description: By authority, the certificates to trust in PEM form; two of them while it is being replaced.
  returned: always
  type: dict
certificates:
  description: RV(certificates.certificate) and RV(certificates.private_key) (PKCS#8) in PEM form, by name.
  returned: always
  type: dict
days_left:
  description: Days until the first of the authorities that sign ends.
  returned: always
  type: int
"""

AUTHORITIES = {"fleet": "", "balancers": ", load balancers", "builder": ", image builder"}
"""What the authorities' names end with, by authority."""

AUTHORITY_DAYS = 3650
LONGEST_COMMON_NAME = 64
CERTIFICATE_DAYS = 730

Pair = tuple["x509.Certificate", "ec.EllipticCurvePrivateKey"]


class Store:
    """The files of the authorities and of what they issued; in check mode what changes is kept in memory alone."""

    def __init__(self, directory: pathlib.Path, passphrase: str = "", *, check_mode: bool = False) -> None:
        self.directory = directory
        self.check_mode = check_mode
        self.changed = False
        self._passphrase = passphrase.encode()
        # In check mode, what files would hold, and which would be gone.
        self._made: dict[str, Pair] = {}
        self._gone: set[str] = set()

    def has(self, file: str) -> bool:
        """Tell whether there is a file of this name."""
        return file not in self._gone and (
            file.rpartition(".")[0] in self._made or (self.directory / file).exists()
        )

    def certificate(self, name: str) -> x509.Certificate:
        """Return the certificate called `name`, which must be there.

        Raises:
            ValueError: when its file can't be read as one.
        """
        if name in self._made:
            return self._made[name][0]
        file = self.directory / f"{name}.crt"
        try:
            return x509.load_pem_x509_certificate(file.read_bytes())
        except ValueError as error:
            raise ValueError(
                f"{file} can't be read ({error}); remove it and its .key to have both made anew"
            ) from error

    def read(self, name: str) -> Pair | None:
        """Return the certificate and key called `name`, or None where either is missing or they don't belong together.

        A key that is not encrypted is, if there is a passphrase.

        Raises:
            ValueError: when a file is there and can't be read as what it should be.
        """
        if name in self._made:
            return self._made[name]
        if not (self.has(f"{name}.crt") and self.has(f"{name}.key")):
            return None
        certificate, key = self.certificate(name), self._key(self.directory / f"{name}.key")
        # A run that was killed between writing the one and the other.
        if certificate.public_key() != key.public_key():
            return None
        return certificate, key

    def _key(self, file: pathlib.Path) -> ec.EllipticCurvePrivateKey:
        content = file.read_bytes()
        encrypted = b"ENCRYPTED" in content
        if encrypted and not self._passphrase:
            raise ValueError(f"{file} is encrypted: set internal_ca_passphrase to what it was encrypted with")
        try:
            key = serialization.load_pem_private_key(content, self._passphrase if encrypted else None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise ValueError("not an elliptic curve key")
        except (TypeError, ValueError) as error:
            cure = (
                "set internal_ca_passphrase to what it was encrypted with"
                if encrypted
                else "remove it and its .crt to have both made anew"
            )
            raise ValueError(f"{file} can't be read ({error}); {cure}") from error
        if self._passphrase and not encrypted:
            self._write_key(file.stem, key)
        return key

    def write(self, name: str, pair: Pair) -> None:
        """Put the certificate and key called `name` in place, the key readable by its owner alone."""
        certificate, key = pair
        self._write_key(name, key)
        if self.check_mode:
            self._made[name] = pair
            self._gone -= {f"{name}.crt", f"{name}.key"}
        else:
            self._write(f"{name}.crt", 0o644, certificate_pem(certificate))

    def _write_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> None:
        self.changed = True
        if not self.check_mode:
            self._write(f"{name}.key", 0o600, key_pem(key, self._passphrase))

    def _write(self, file: str, mode: int, content: str) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = self.directory / f".{file}.{os.getpid()}"
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="ascii") as handle:
            handle.write(content)
        part.rename(self.directory / file)

    def remove(self, file: str) -> None:
        """Remove a file, if it is there."""
        if self.has(file):
            self.changed = True
            if self.check_mode:
                self._gone.add(file)
            else:
                (self.directory / file).unlink()


class Authority:
    """One authority, in one or, while it is being replaced, two generations: NAME-1.crt and NAME-1.key, NAME-2.crt …

    The files tell the step. The oldest generation that has its key signs, so the new one does from the moment that the
    old key is gone; every one that has its certificate is trusted.
    """

    def __init__(self, store: Store, name: str, common_name: str) -> None:
        self._store = store
        self._name = name
        self._common_name = common_name

    def _generations(self) -> list[int]:
        """The numbers of those that are trusted, the oldest first."""
        names = [path.stem.rpartition("-") for path in self._store.directory.glob(f"{self._name}-*.crt")]
        written = {int(number) for name, _, number in names if name == self._name and number.isdigit()}
        newest = max(written, default=0)
        return [
            number
            for number in sorted(written | {newest + 1})
            if self._store.has(f"{self._name}-{number}.crt")
        ]

    def _signing(self) -> int:
        """The number of the one that signs, 0 where none does."""
        having_key = [
            number for number in self._generations() if self._store.has(f"{self._name}-{number}.key")
        ]
        return min(having_key, default=0)

    def exists(self) -> bool:
        """Tell whether there is one that signs."""
        return self._signing() > 0

    def begin(self) -> None:
        """Make a new generation."""
        number = max(self._generations(), default=0) + 1
        self._store.write(
            f"{self._name}-{number}",
            make_authority(f"{self._common_name}{AUTHORITIES[self._name]}, {number}"),
        )

    def take(self, step: str) -> None:
        """Take a step of the replacement, unless it has been taken."""
        *old, _ = self._generations()
        if step == "trust" and not old:
            self.begin()
        for number in old:
            if step in ("issue", "drop"):
                self._store.remove(f"{self._name}-{number}.key")
            if step == "drop":
                self._store.remove(f"{self._name}-{number}.crt")

    def signing(self) -> Pair:
        """Return the certificate and key that sign.

        Raises:
            ValueError: when the key is not that of the certificate.
        """
        name = f"{self._name}-{self._signing()}"
        pair = self._store.read(name)
        if pair is None:
            raise ValueError(
                f"{self._store.directory / name}.key is not the key of its .crt; restore both from a copy"
            )
        return pair

    def trusted(self) -> str:
        """Return the certificates to trust in PEM form, the newest first."""
        names = [f"{self._name}-{number}" for number in reversed(self._generations())]
        return "".join(certificate_pem(self._store.certificate(name)) for name in names)


def certificate_pem(certificate: x509.Certificate) -> str:
    """Return `certificate` in PEM form."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> str:
    """Return `key` in PEM form, as PKCS#8, encrypted if there is a passphrase."""
    encryption = (
        serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    )
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    ).decode()


def _builder(
    common_name: str, key: ec.EllipticCurvePrivateKey, end: datetime.datetime
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    # The hosts' clocks may run behind; a test's certificate may have ended even before that.
    begin = min(now, end) - datetime.timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _in_days(days: int) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=days)


def _days_left(certificate: x509.Certificate) -> int:
    return (certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)).days


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


def make_authority(common_name: str) -> Pair:
    """Return a new authority, valid for ten years, that can sign end certificates only."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(common_name, key, _in_days(AUTHORITY_DAYS))
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


def _alternative_names(addresses: Sequence[str], names: Sequence[str]) -> x509.SubjectAlternativeName:
    by_address = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    return x509.SubjectAlternativeName([*by_address, *map(x509.DNSName, names)])


def issue(
    authority: Pair,
    name: str,
    usage: str,
    addresses: Sequence[str] = (),
    names: Sequence[str] = (),
    days: int = CERTIFICATE_DAYS,
) -> Pair:
    """Return a certificate called `name` for `usage` ("client" or "server"), valid for `days`.

    It ends with its authority if that is sooner.

    Raises:
        ValueError: when an address is no IP address.
    """
    issuer, issuer_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        _builder(name[:LONGEST_COMMON_NAME], key, min(_in_days(days), issuer.not_valid_after_utc))
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
    """Tell whether `certificate` is as wanted, the authority's own, and lasts `renew_days` more days."""
    try:
        certificate.verify_directly_issued_by(authority)
        found: list[Any] = list(
            certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        )
    except x509.ExtensionNotFound:
        found = []
    except Exception:
        return False
    purpose = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    return (
        # One that ends with its authority would be no younger if it were issued anew.
        _days_left(certificate) >= min(renew_days, _days_left(authority))
        and purpose == _extended_usage(usage)
        and found == list(_alternative_names(addresses, names))
    )


def hold(
    store: Store, authorities: Mapping[str, Pair], wanted: Mapping[str, Any], renew_days: int
) -> dict[str, str]:
    """Return a certificate and its key as RETURN has them, issued anew where that in the store won't do."""
    name, authority = wanted["name"], authorities[wanted["authority"]]
    description = wanted["usage"], wanted["addresses"], wanted["names"]
    pair = store.read(name)
    if pair is None or not still_good(pair[0], authority[0], *description, renew_days):
        pair = issue(authority, name, *description)
        store.write(name, pair)
    return {"certificate": certificate_pem(pair[0]), "private_key": key_pem(pair[1])}


def keep(module: AnsibleModule, store: Store) -> dict[str, Any]:
    """Do what the module is asked for and return its result.

    Raises:
        ValueError: when a file can't be read, or there are no authorities and may be none.
    """
    wanted = module.params
    authorities = {name: Authority(store, name, wanted["common_name"]) for name in AUTHORITIES}
    for authority in authorities.values():
        if not authority.exists():
            if not wanted["may_begin"]:
                raise ValueError(
                    f"{store.directory} holds no authority, but the fleet's machines have certificates of one: copy "
                    "this folder from the controller that has it. If it is lost, -e internal_ca_lost=true makes a new "
                    "one, and requests fail until that run is over"
                )
            authority.begin()
        if wanted["step"] != "keep":
            authority.take(wanted["step"])
    signing = {name: authority.signing() for name, authority in authorities.items()}
    return {
        "authorities": {name: authority.trusted() for name, authority in authorities.items()},
        "certificates": {
            entry["name"]: hold(store, signing, entry, wanted["renew_days"])
            for entry in wanted["certificates"]
        },
        "days_left": min(_days_left(certificate) for certificate, _ in signing.values()),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "path", "required": True},
            "common_name": {"type": "str", "required": True},
            "passphrase": {"type": "str", "default": "", "no_log": True},
            "may_begin": {"type": "bool", "default": True},
            "step": {"type": "str", "choices": ["keep", "trust", "issue", "drop"], "default": "keep"},
            "certificates": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "authority": {"type": "str", "choices": list(AUTHORITIES), "default": "fleet"},
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
    directory, passphrase = pathlib.Path(module.params["directory"]), module.params["passphrase"]
    store = Store(directory, passphrase, check_mode=module.check_mode)
    try:
        result = keep(module, store)
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=store.changed, **result)


if __name__ == "__main__":
    main()
