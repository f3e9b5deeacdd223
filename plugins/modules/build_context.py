#!/usr/bin/python
"""Runs on the controller and on the image builder: hashes the sources of an image, and packs its build context."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pathlib
import tarfile

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.model_libraries import LOCK, merge_locks

DOCUMENTATION = r"""
module: build_context
short_description: Hash the sources of an image, and pack its build context
description:
  - Runs on the controller to hash, and on the image builder to pack.
  - The hash covers every file below O(source) and O(models) (its path, whether it may be executed, and its content)
    O(trusted) and O(recipe). The same files give the same hash on every machine, whatever their dates and owners.
  - The lock C(requirements-build.txt) of O(source) is completed by the locks of the models. Models that need different
    versions of a library are refused.
  - With O(dest), those files and the ones of O(wheelhouse) are packed into one uncompressed tar for
    C(docker build -).
options:
  source:
    description: The folder. Its own folder C(models) is left out.
    type: path
    required: true
  models:
    description: The folder of the models' bundles, which takes the place of C(models/) in O(source).
    type: path
    required: true
  trusted:
    description: The file of the types and the code that the models are trusted with. It may be absent.
    type: path
  recipe:
    description: What else the image depends on, for example the name of its base image.
    type: dict
    default: {}
  wheelhouse:
    description:
      - A folder of wheels, packed as C(wheelhouse/). It is not hashed; the locked requirements in O(source) are.
    type: path
  dest:
    description: Where to write the tar.
    type: path
"""

EXAMPLES = r"""
- name: Hash the sources of the image
  flotilla.fleet.build_context:
    source: model_endpoint
    models: inventory/mine/models
    recipe:
      base: flotilla/python:0c0ffee0
  register: context
"""

RETURN = r"""
hash:
  description: Twelve hexadecimal digits of the SHA-256 of the content.
  returned: always
  type: str
size:
  description: Bytes of the tar.
  returned: when O(dest) is given, except in check mode
  type: int
lock:
  description: The locked requirements of the image.
  returned: always
  type: str
"""

# Files that tools leave in a work tree, and that do not belong in an image. A bundle's code is hashed without them too,
# by `model_endpoint.packing.code`.
LEFT_OUT = {"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".DS_Store"}
MODELS = "models"
TRUSTED = "trusted.yml"


def files_below(folder: pathlib.Path) -> dict[pathlib.Path, pathlib.Path]:
    """Return the files below `folder` by their path relative to it, without what tools leave behind.

    Raises:
        ValueError: when `folder` is not a folder or has no file.
    """
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    kept = {name: path for name, path in files.items() if not LEFT_OUT.intersection(name.parts)}
    if not kept:
        raise ValueError(f"{folder} holds no file to build an image from")
    return kept


def _is_code(name: pathlib.Path) -> bool:
    """Tell whether a file of the source is code: no example model, and not made by pip when it built the package."""
    made_by_pip = name.parts[0] == "build" or any(part.endswith(".egg-info") for part in name.parts)
    return name.parts[0] != MODELS and not made_by_pip


@dataclasses.dataclass(frozen=True)
class Context:
    """What an image is built from: the code in `source`, the bundles in `models`, and what these are trusted with."""

    source: pathlib.Path
    models: pathlib.Path
    trusted: pathlib.Path | None = None

    def files(self) -> dict[pathlib.Path, pathlib.Path]:
        """Return the files by their path in the build context, sorted by that path, but those of `written`.

        Raises ValueError as files_below does.
        """
        files = {name: path for name, path in files_below(self.source).items() if _is_code(name)}
        files |= {pathlib.Path(MODELS) / name: path for name, path in files_below(self.models).items()}
        return {name: path for name, path in sorted(files.items()) if name.as_posix() not in (LOCK, TRUSTED)}

    def written(self) -> dict[str, str]:
        """Return the text of the files that are made for the build context, by their path in it."""
        trusted = self.trusted.read_text() if self.trusted and self.trusted.exists() else ""
        return {LOCK: merge_locks(self.source, self.models), TRUSTED: trusted}


def content_hash(context: Context, recipe: dict[str, object]) -> str:
    """Return twelve hexadecimal digits of the SHA-256 over the files of `context`, and `recipe`."""
    files = context.files()
    digest = hashlib.sha256(json.dumps([recipe, context.written()], sort_keys=True).encode())
    for name, path in files.items():
        executable = os.access(path, os.X_OK)
        digest.update(f"\0{name.as_posix()}\0{executable:d}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]


def pack(context: Context, wheelhouse: pathlib.Path, dest: pathlib.Path) -> None:
    """Write the files of `context`, and those of `wheelhouse` below wheelhouse/, to the tar `dest`.

    The tar has no dates and owners, so that an unchanged file gives an unchanged layer.
    """

    def plain(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o755 if entry.mode & 0o100 else 0o644
        return entry

    with tarfile.open(dest, "w") as tar:
        for written, text in context.written().items():
            entry = tarfile.TarInfo(written)
            entry.size = len(text.encode())
            tar.addfile(plain(entry), io.BytesIO(text.encode()))
        for name, path in context.files().items():
            tar.add(path, name.as_posix(), filter=plain)
        for name, wheel in sorted(files_below(wheelhouse).items()):
            tar.add(wheel, f"wheelhouse/{name.name}", filter=plain)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "source": {"type": "path", "required": True},
            "models": {"type": "path", "required": True},
            "trusted": {"type": "path"},
            "recipe": {"type": "dict", "default": {}},
            "wheelhouse": {"type": "path"},
            "dest": {"type": "path"},
        },
        required_together=[("wheelhouse", "dest")],
        supports_check_mode=True,
    )
    trusted = module.params["trusted"]
    context = Context(
        pathlib.Path(module.params["source"]),
        pathlib.Path(module.params["models"]),
        pathlib.Path(trusted) if trusted else None,
    )
    try:
        result: dict[str, str | int] = {
            "hash": content_hash(context, module.params["recipe"]),
            "lock": context.written()[LOCK],
        }
        if module.params["dest"] and not module.check_mode:
            dest = pathlib.Path(module.params["dest"])
            pack(context, pathlib.Path(module.params["wheelhouse"]), dest)
            result["size"] = dest.stat().st_size
    except (OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=bool(module.params["dest"]), **result)


if __name__ == "__main__":
    main()
