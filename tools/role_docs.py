#!/usr/bin/env python3
"""Runs beside it: writes the tables of variables in the roles' READMEs and docs/settings.md from the argument specs.

`role_docs.py` writes the files, `role_docs.py --check` fails and names those that are out of date.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
ROLES = ROOT / "roles"
SETTINGS = ROOT / "docs" / "settings.md"
PLAYBOOK_OPTIONS = Path(__file__).with_name("playbook_options.yml")
BEGIN = "<!-- variables: from meta/argument_specs.yml by tools/role_docs.py -->"
END = "<!-- end of variables -->"

SUBJECTS = {
    "machine": "Machines",
    "model_endpoint": "Endpoints",
    "model_image": "The image of the endpoints",
    "release": "Releases",
    "nginx_lb": "Load balancers",
    "acme": "Certificates by ACME",
    "virtual_address": "The virtual address",
    "registry": "The registry",
    "monitoring": "Monitoring",
    "node_exporter": "Metrics of machines",
    "fleet_page": "The page of the fleet",
    "internal_ca": "Certificates",
    "docker_engine": "The Docker engine",
}
"""The subject of each role's settings, in the order of docs/settings.md."""

INTRODUCTION = """\
# Settings

Every variable that an inventory may set, by subject, with its default. Set it for all hosts, a group or a host, as the
subject needs it; `preflight.yml` checks every name and value before any host is touched. This page is written by
`tools/role_docs.py` from the argument specs of the roles.
"""

Spec = Mapping[str, Any]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="change nothing, fail when a file is out of date"
    )
    parser.add_argument("--roles", type=Path, default=ROLES, help="the folder of the roles")
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="the page of all settings")
    chosen = parser.parse_args(arguments)

    wanted = {specs.parent.parent / "README.md": specs.parent.parent for specs in _spec_files(chosen.roles)}
    stale = []
    for path, text in [
        *((readme, readme_text(role, _read(readme))) for readme, role in wanted.items()),
        (chosen.settings, settings_text(chosen.roles)),
    ]:
        if text != _read(path):
            stale.append(path)
            if not chosen.check:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text, encoding="utf-8")
    outcome = "is out of date: run tools/role_docs.py" if chosen.check else "written"
    sys.stdout.writelines(f"{path}: {outcome}\n" for path in stale)
    return 1 if stale and chosen.check else 0


def entry_points(role: Path) -> dict[str, Spec]:
    """Return what the argument specs of the folder `role` say of each entry point, by its name."""
    specs = yaml.safe_load(_read(role / "meta" / "argument_specs.yml"))
    return dict(specs["argument_specs"])


def readme_text(role: Path, current: str) -> str:
    """Return what a role's README should be: as it is, with the tables brought up to date.

    Raises ValueError for a README without the two markers.
    """
    specs = entry_points(role)
    tables = f"{BEGIN}\n\n{_tables(specs)}\n\n{END}"
    if not current:
        first = next(iter(specs.values()))
        return "\n\n".join([f"# {role.name}", *_about(first), "## Variables", tables]) + "\n"
    before, begin, rest = current.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{role}/README.md: put the lines '{BEGIN}' and '{END}' where the variables belong")
    return before + tables + after


def settings_text(roles: Path) -> str:
    """Return the page of all settings: the options of the roles' entry points `main`, and of the playbooks.

    Raises ValueError when a role has settings and no subject.
    """
    found = {
        specs.parent.parent.name: entry_points(specs.parent.parent).get("main", {}).get("options")
        for specs in _spec_files(roles)
    }
    settings = {role: options for role, options in found.items() if options}
    unknown = sorted(settings.keys() - SUBJECTS.keys())
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: name the subject of the role's settings in SUBJECTS")
    parts = [INTRODUCTION.rstrip()]
    for role, subject in SUBJECTS.items():
        if role in settings:
            parts += [f"## {subject}", f"Role [{role}](../roles/{role}/README.md).", _table(settings[role])]
    parts += [
        "## What playbooks take",
        "Given on the command line, as in `ansible-playbook playbooks/logs.yml -e node=node1`.",
        _playbook_table(playbook_options()),
    ]
    return "\n\n".join(parts) + "\n"


def playbook_options() -> list[Spec]:
    """Return what playbooks take by --extra-vars."""
    options: list[Spec] = yaml.safe_load(_read(PLAYBOOK_OPTIONS))
    return options


def _spec_files(roles: Path) -> list[Path]:
    return sorted(roles.glob("*/meta/argument_specs.yml"))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _about(entry_point: Spec) -> list[str]:
    return [f"{entry_point['short_description']}.", *_paragraphs(entry_point.get("description"))]


def _tables(specs: Mapping[str, Spec]) -> str:
    parts = []
    for name, entry_point in specs.items():
        if name != "main":
            parts += [f"### `tasks_from: {name}`", *_about(entry_point)]
        options = entry_point.get("options")
        parts.append(_table(options) if options else "No variables.")
    return "\n\n".join(parts)


def _table(options: Mapping[str, Spec]) -> str:
    rows = ["| Variable | Type | Default | Description |", "|---|---|---|---|"]
    rows += [_row(f"`{name}`", *_cells(option)) for name, option in _flattened(options)]
    return "\n".join(rows)


def _playbook_table(options: Sequence[Spec]) -> str:
    rows = ["| Name | Playbooks | Type | Default | Description |", "|---|---|---|---|---|"]
    for option in options:
        playbooks = ", ".join(f"`{playbook}.yml`" for playbook in option["playbooks"])
        rows.append(_row(f"`{option['name']}`", playbooks, *_cells(option)))
    return "\n".join(rows)


def _flattened(options: Mapping[str, Spec], prefix: str = "") -> Iterator[tuple[str, Spec]]:
    """Yield each option and then the options in it, whose names begin with its own and a dot."""
    for name, option in options.items():
        yield prefix + name, option
        yield from _flattened(option.get("options", {}), f"{prefix}{name}.")


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cells(option: Spec) -> tuple[str, str, str]:
    return _type(option), _default(option), _description(option)


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
    """Return a description, a text or a list of paragraphs, with C(code) and V(value) as Markdown."""
    if description is None:
        return []
    paragraphs = description if isinstance(description, list) else [description]
    return [
        re.sub(r"\b[CV]\((\{\{.*?\}\}|.*?)\)", r"`\1`", " ".join(str(text).split())) for text in paragraphs
    ]


if __name__ == "__main__":
    sys.exit(main())
