"""Runs on the controller: the folder of the internal CA, that is its authorities and what they issued."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from ansible_collections.flotilla.fleet.plugins.module_utils.atomic_write import write_file
from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import (
    Pair,
    certificate_pem,
    key_pem,
    lineage,
    load_certificate,
    load_key,
    make_authority,
)

if TYPE_CHECKING:  # a controller without cryptography gets as far as the module's own error
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

AUTHORITIES = {
    "fleet": "",
    "balancers": ", load balancers",
    "builder": ", image builder",
    "monitoring": ", monitoring",
}
"""The end of each authority's common name, by authority."""

OPTIONAL = frozenset({"monitoring"})
"""The authorities that a fleet has only once a certificate of theirs was wanted."""

ENCRYPTED_FIX = "set internal_ca_passphrase to what it was encrypted with"


class Store:
    """The files of the authorities and of what they issued. In check mode, changes are kept in memory only."""

    def __init__(self, directory: pathlib.Path, passphrase: str = "", *, check_mode: bool = False) -> None:
        self.directory = directory
        self.check_mode = check_mode
        self.changed = False
        self._passphrase = passphrase.encode()
        # In check mode: what files would hold, and which files would be removed.
        self._made: dict[str, Pair] = {}
        self._removed: set[str] = set()

    def has(self, file: str) -> bool:
        """Tell whether there is a file of this name."""
        return file not in self._removed and (
            file.rpartition(".")[0] in self._made or (self.directory / file).exists()
        )

    def certificate(self, name: str) -> x509.Certificate:
        """Return the certificate called `name`, which must be there.

        Raises:
            ValueError: when its file can't be read as a certificate.
        """
        if name in self._made:
            return self._made[name][0]
        file = self.directory / f"{name}.crt"
        try:
            return load_certificate(file.read_bytes())
        except ValueError as error:
            raise ValueError(
                f"{file} can't be read ({error}); remove it and its .key to have both made again"
            ) from error

    def read(self, name: str) -> Pair | None:
        """Return the certificate and key called `name`, or None where either is missing or the two don't match.

        If the store has a passphrase, a key that is not encrypted becomes encrypted.

        Raises:
            ValueError: when a file is there and can't be read as what it should be.
        """
        if name in self._made:
            return self._made[name]
        if not (self.has(f"{name}.crt") and self.has(f"{name}.key")):
            return None
        certificate, key = self.certificate(name), self._key(self.directory / f"{name}.key")
        # A run may have been killed after it wrote the one and before it wrote the other.
        if certificate.public_key() != key.public_key():
            return None
        return certificate, key

    def _key(self, file: pathlib.Path) -> ec.EllipticCurvePrivateKey:
        content = file.read_bytes()
        encrypted = b"ENCRYPTED" in content
        if encrypted and not self._passphrase:
            raise ValueError(f"{file} is encrypted: {ENCRYPTED_FIX}")
        try:
            key = load_key(content, self._passphrase if encrypted else None)
        except ValueError as error:
            fix = ENCRYPTED_FIX if encrypted else "remove it and its .crt to have both made again"
            raise ValueError(f"{file} can't be read ({error}); {fix}") from error
        if self._passphrase and not encrypted:
            self._write_key(file.stem, key)
        return key

    def write(self, name: str, pair: Pair) -> None:
        """Write the certificate and key called `name`, the key readable by its owner only."""
        certificate, key = pair
        self._write_key(name, key)
        if self.check_mode:
            self._made[name] = pair
            self._removed -= {f"{name}.crt", f"{name}.key"}
        else:
            self._write(f"{name}.crt", 0o644, certificate_pem(certificate))

    def _write_key(self, name: str, key: ec.EllipticCurvePrivateKey) -> None:
        self.changed = True
        if not self.check_mode:
            self._write(f"{name}.key", 0o600, key_pem(key, self._passphrase))

    def _write(self, file: str, mode: int, content: str) -> None:
        write_file(self.directory / file, content, mode=mode, folder_mode=0o700)

    def remove(self, file: str) -> None:
        """Remove a file, if it is there."""
        if self.has(file):
            self.changed = True
            if self.check_mode:
                self._removed.add(file)
            else:
                (self.directory / file).unlink()


class Authority:
    """One authority. While it is being replaced it has two generations: NAME-1.crt and NAME-1.key, NAME-2.crt …

    The files tell the step of the replacement. Every generation that has a certificate is trusted. The oldest
    generation that has a key signs, so the new generation signs as soon as the old key is removed.
    """

    def __init__(self, store: Store, name: str, common_name: str) -> None:
        self._store = store
        self._name = name
        self._common_name = common_name

    def _generations(self) -> list[int]:
        """Return the numbers of the trusted generations, the oldest first."""
        names = [path.stem.rpartition("-") for path in self._store.directory.glob(f"{self._name}-*.crt")]
        written = {int(number) for name, _, number in names if name == self._name and number.isdigit()}
        newest = max(written, default=0)
        # In check mode, the next generation may be in memory.
        return [
            number
            for number in sorted(written | {newest + 1})
            if self._store.has(f"{self._name}-{number}.crt")
        ]

    def _signing(self) -> int:
        """Return the number of the generation that signs, 0 where there is no key."""
        having_key = [
            number for number in self._generations() if self._store.has(f"{self._name}-{number}.key")
        ]
        return min(having_key, default=0)

    def exists(self) -> bool:
        """Tell whether the authority has a generation that signs."""
        return self._signing() > 0

    def begin(self) -> None:
        """Make a new generation."""
        before = max(self._generations(), default=0)
        name = f"{self._common_name}{AUTHORITIES[self._name]}, {before + 1}"
        continues = lineage(self._store.certificate(f"{self._name}-{before}")) if before else ""
        self._store.write(
            f"{self._name}-{before + 1}", make_authority(name, self._store.directory.name, continues)
        )

    def advance(self, step: str) -> None:
        """Take a step of the replacement ("trust", "issue" or "drop"), unless it was taken before."""
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
            ValueError: when the key does not belong to the certificate.
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
