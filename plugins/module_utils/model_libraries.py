"""Runs on the controller: the libraries of an image, from its own lock and the locks of its models."""

from __future__ import annotations

import pathlib
import re

LOCK = "requirements-build.txt"
MODEL_LOCK = "requirements.txt"

# These carry out work and don't compute: of several versions, the newest serves all models.
SUPPORTING = {
    "cloudpickle",
    "joblib",
    "narwhals",
    "packaging",
    "python-dateutil",
    "pytz",
    "six",
    "threadpoolctl",
    "tzdata",
}
# One requirement with its hashes, which may stand on lines of their own.
REQUIREMENT = re.compile(
    r"^([a-z0-9][a-z0-9._-]*)==(\S+)((?:[ \t]|\\\n|--hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE
)


def read_lock(path: pathlib.Path) -> dict[str, tuple[str, str]]:
    """Return the version and the whole text of each requirement in the lock at `path`, by its name.

    Raises:
        ValueError: when a line is no requirement of one version with hashes.
    """
    text = path.read_text()
    found = {match[1]: (match[2], match[0].strip()) for match in REQUIREMENT.finditer(text)}
    left = [
        line for line in REQUIREMENT.sub("", text).splitlines() if line.strip() and not line.startswith("#")
    ]
    if left:
        raise ValueError(f"{path}: {left[0]!r} is not NAME==VERSION with hashes; pack the model again")
    return found


def merge_locks(source: pathlib.Path, models: pathlib.Path) -> str:
    """Return the lock of the image: each model's requirements, and of the image's own those that no model has.

    Raises:
        ValueError: when two models need different versions of a library; it names both, and what helps.
    """
    chosen: dict[str, tuple[str, str, str]] = {}
    for path in sorted(models.glob(f"*/{MODEL_LOCK}")):
        model = path.parent.name
        for name, (version, text) in read_lock(path).items():
            other = chosen.get(name)
            if other and other[0] != version and name not in SUPPORTING:
                raise ValueError(
                    f"the models {other[2]} and {model} in {models} need different versions of {name}: {other[0]} and "
                    f"{version}; fit one of them again where the other was fitted, or serve them from two fleets, each "
                    "with a folder of models of its own (model_image_models)"
                )
            if not other or _order(version) > _order(other[0]):
                chosen[name] = (version, text, model)
    own = (source / LOCK).read_text()
    if not chosen:
        return own
    texts = {name: text for name, (_, text) in read_lock(source / LOCK).items()}
    texts |= {name: text for name, (_, text, _) in chosen.items()}
    return "".join(f"{texts[name]}\n" for name in sorted(texts))


def _order(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)]
