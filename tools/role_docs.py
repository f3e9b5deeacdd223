#!/usr/bin/env python3
"""Writes the table of variables in every role's README from the role's meta/argument_specs.yml.

`role_docs.py` writes the READMEs, `role_docs.py --check` fails and names those that are out of date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

ROLES = Path(__file__).resolve().parent.parent / "roles"
BEGIN = "<!-- variables: from meta/argument_specs.yml by tools/role_docs.py -->"
END = "<!-- end of variables -->"

Spec = Mapping[str, object]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, fail when one is out of date")
    parser.add_argument("--roles", type=Path, default=ROLES, help="the folder of the roles")
    chosen = parser.parse_args(arguments)

    stale = []
    for specs in sorted(chosen.roles.glob("*/meta/argument_specs.yml")):
        role = specs.parent.parent
        readme = role / "README.md"
        current = readme.read_text(encoding="utf-8") if readme.exists() else ""
        wanted = readme_text(role, current)
        if wanted != current:
            stale.append(readme)
            if not chosen.check:
                readme.write_text(wanted, encoding="utf-8")
    if stale:
        verb = "is out of date: run tools/role_docs.py" if chosen.check else "written"
        sys.stdout.writelines(f"{readme}: {verb}\n" for readme in stale)
    return 1 if stale and chosen.check else 0


def readme_text(role: Path, current: str) -> str:
    """What a role's README should be: as it is, with the tables brought up to date.

    Raises ValueError for a README without the two markers.
    """
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    entry_points = specs["argument_specs"]
    tables = f"{BEGIN}\n\n{_tables(entry_points)}\n\n{END}"
    if not current:
        main_entry = entry_points["main"]
        about = [f"{main_entry['short_description']}.", *_paragraphs(main_entry.get("description"))]
        return "\n\n".join([f"# {role.name}", *about, "## Variables", tables]) + "\n"
    before, begin, rest = current.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{role}/README.md: put the lines '{BEGIN}' and '{END}' where the variables belong")
    return before + tables + after


def _tables(entry_points: Mapping[str, Spec]) -> str:
    parts = []
    for name, entry_point in entry_points.items():
        if name != "main":
            parts.append(f"### `tasks_from: {name}`")
            parts.append(f"{entry_point['short_description']}.")
        options = entry_point.get("options")
        parts.append(_table(options) if isinstance(options, Mapping) and options else "No variables.")
    return "\n\n".join(parts)


def _table(options: Mapping[str, Spec]) -> str:
    rows = ["| Variable | Type | Default | Description |", "|---|---|---|---|"]
    for name, option in options.items():
        cells = (f"`{name}`", _type(option), _default(option), _description(option))
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


def _type(option: Spec) -> str:
    kind = str(option.get("type", "str"))
    return f"{kind} of {option['elements']}" if "elements" in option else kind


def _default(option: Spec) -> str:
    if option.get("required"):
        return "required"
    value = option.get("default")
    if value is None:
        return ""
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"


def _description(option: Spec) -> str:
    sentences = _paragraphs(option.get("description"))
    choices = option.get("choices")
    if isinstance(choices, list):
        sentences.append(f"One of {', '.join(f'`{choice}`' for choice in choices)}.")
    return " ".join(sentences)


def _paragraphs(description: object) -> list[str]:
    """A description as argument_specs has it: a text or a list of paragraphs, with C(code) and V(value)."""
    if description is None:
        return []
    paragraphs = description if isinstance(description, list) else [description]
    return [re.sub(r"\b[CV]\((.*?)\)", r"`\1`", " ".join(str(text).split())) for text in paragraphs]


if __name__ == "__main__":
    sys.exit(main())
