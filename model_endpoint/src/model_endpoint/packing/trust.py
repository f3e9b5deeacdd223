"""What a fleet trusts its models with, the content of trusted.yml. Runs where models are packed, and in the build.

A bundle can't say itself what it is trusted with. The types that only compute need no trust
(`model_endpoint.models.skops_file`); any other type, and own code, must stand in the file of whoever serves the model:

    types: [shop.Ratio]
    code: {shop.py: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae}
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from model_endpoint.models.errors import BundleError

TRUST_FILE = "trusted.yml"
HEAD = """\
# What the models of this fleet may hold besides types that only compute: types by name, and own code by its SHA-256.
# Each type and each file listed here can run any code on the image builder and in every endpoint.
"""


@dataclass(frozen=True, slots=True)
class Trust:
    """The trusted types by name, and the SHA-256 of each trusted piece of own code by its name.

    A name may have several hashes, since two models may have two states of one module.
    """

    types: frozenset[str] = frozenset()
    code: Mapping[str, frozenset[str]] = field(default_factory=dict)
    path: Path | None = None

    @classmethod
    def read(cls, path: Path | None, *, required: bool = True) -> Trust:
        """The content of the file at `path`; none is trusted without a path. Raises BundleError."""
        if path is None or not (required or path.exists()):
            return cls(path=path)
        try:
            values = yaml.safe_load(path.read_text()) or {}
            types, code = values.get("types") or [], values.get("code") or {}
            known = isinstance(values, dict) and not set(values) - {"types", "code"}
            if not (known and isinstance(types, list) and all(isinstance(name, str) for name in types)):
                raise ValueError("it must have a list named types and a mapping named code, and nothing else")
            return cls(
                frozenset(types), {str(name): _hashes(name, given) for name, given in code.items()}, path
            )
        except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
            raise BundleError(f"{path}: what is trusted can't be read: {error}") from None

    def check(self, where: str, types: Collection[str], code: Mapping[str, str]) -> None:
        """Raise BundleError unless the `types` that a bundle needs and all `code`, hashes by name, are trusted."""
        self._require(where, types, code)

    def check_code(self, where: str, code: Mapping[str, str]) -> None:
        """Raise BundleError unless all `code`, hashes by name, is trusted."""
        self._require(where, (), code)

    def _require(self, where: str, types: Collection[str], code: Mapping[str, str]) -> None:
        added = self.missing(types, code)
        if added.types or added.code:
            raise BundleError(
                f"{where}: {added.in_words()} not trusted{f' by {self.path}' if self.path else ''}; if you know what "
                "it does, pack the model with --trusted FILE, which adds it to the FILE"
            )

    def missing(self, types: Collection[str], code: Mapping[str, str]) -> Trust:
        """What this lacks for a bundle that has these types, besides those that only compute, and this code."""
        lacking = {
            name: frozenset({sha256})
            for name, sha256 in code.items()
            if sha256 not in self.code.get(name, ())
        }
        return Trust(frozenset(types) - self.types, lacking)

    def with_added(self, added: Trust) -> Trust:
        code = {name: self.code.get(name, frozenset()) | hashes for name, hashes in added.code.items()}
        return Trust(self.types | added.types, {**self.code, **code}, self.path)

    def in_words(self) -> str:
        """The types and the code, as the subject and verb of a sentence."""
        parts = [f"the type {name}" for name in sorted(self.types)]
        parts += [
            f"the code {name} ({', '.join(sorted(hashes))})" for name, hashes in sorted(self.code.items())
        ]
        return f"{', '.join(parts)} {'is' if len(parts) == 1 else 'are'}"

    def write(self) -> None:
        """Write the file, whose comments are lost."""
        with self.written():
            pass

    @contextmanager
    def written(self) -> Iterator[None]:
        """Write the file's new content beside it, and put it in its place after the context, unless that fails.

        So the file is whole at every moment, and what would keep it from being written is found before.
        """
        assert self.path is not None
        code: dict[str, Any] = {name: sorted(hashes) for name, hashes in sorted(self.code.items())}
        code = {name: hashes[0] if len(hashes) == 1 else hashes for name, hashes in code.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = yaml.safe_dump({"types": sorted(self.types), "code": code}, sort_keys=False, width=110)
        target = self.path.resolve()  # a link stays one
        new = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            new.write_text(HEAD + content)
            if target.exists():
                shutil.copymode(target, new)
            yield
            new.replace(target)
        finally:
            new.unlink(missing_ok=True)


NONE_TRUSTED = Trust()


def _hashes(name: str, given: Any) -> frozenset[str]:
    hashes: Collection[Any] = given if isinstance(given, list) else [given]
    if not all(isinstance(one, str) and re.fullmatch("[0-9a-f]{64}", one) for one in hashes):
        raise ValueError(f"the SHA-256 of the code {name} must be 64 hexadecimal digits")
    return frozenset(hashes)
