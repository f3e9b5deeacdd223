"""Runs on the controller: the programs of the monitoring host, and the rules that Prometheus evaluates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.containers import container_differences
from ansible_collections.flotilla.fleet.plugins.plugin_utils.files import File, out_of_date

RULES = Path(__file__).parents[3] / "roles" / "monitoring" / "files"


class Program(TypedDict):
    """A program of the monitoring host: its container, as role container takes it, and the files that it reads."""

    service: Mapping[str, Any]
    files: Sequence[File]


def differing_programs(
    machine: Mapping[str, Any], programs: Sequence[Program], builder: Mapping[str, Any]
) -> list[Program]:
    """Return those of `programs` whose container or files are not as they should be on a machine.

    The arguments are those of `containers.container_differences`.
    """
    return [
        program
        for program in programs
        if container_differences(machine, program["service"], builder)
        or out_of_date(program["files"], machine["files"])
    ]


def rule_files(folder: str) -> list[File]:
    """Return the role's files of rules as they are to be in `folder`."""
    return [
        {"path": f"{folder}/{path.name}", "content": path.read_text(encoding="utf-8")}
        for path in sorted(RULES.glob("*.yml"))
    ]
