"""Runs on the controller: what a machine needs installed, by what it is and has. Role docker_engine acts.

What each distribution calls its packages is in roles/docker_engine/vars, in a file named after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TypedDict

import yaml

PACKAGES = Path(__file__).parents[2] / "roles" / "docker_engine" / "vars"

INSTRUCTIONS = "https://docs.docker.com/engine/install"

MANAGERS = {"apt-get": "apt", "dnf": "dnf"}
"""The package managers that the role works with, by their programs."""


class Packages(TypedDict):
    """A distribution's packages by what they bring: a program, a file's path, or a Python module as python:NAME."""

    docker_engine_packages: Mapping[str, str]
    docker_engine_tools: Mapping[str, str]
    docker_engine_builder_tools: Mapping[str, str]


class FoundSystem(TypedDict):
    """The part of what module machine_state found that decides."""

    distributions: Sequence[str]
    engine: bool
    engine_firewall: str
    has: Sequence[str]


class EngineStep(TypedDict):
    """What role docker_engine does on a machine; nothing if `refusal`, a sentence for the user, has words."""

    refusal: str
    manager: str
    """apt or dnf; empty where nothing is to be installed."""
    tools: list[str]
    """The packages that the modules and roles use."""
    engine: list[str]
    """The packages of the engine."""
    start: bool
    """Whether the engine is to be started."""


@cache
def known_packages() -> Mapping[str, Packages]:
    """Return the packages of each known distribution, by its name and version."""
    return {path.stem: yaml.safe_load(path.read_text()) for path in sorted(PACKAGES.glob("*-*.yml"))}


def looked_for() -> list[str]:
    """Return what module machine_state looks for on every machine, sorted."""
    needs = set(MANAGERS)
    for packages in known_packages().values():
        needs |= packages["docker_engine_packages"].keys() | packages["docker_engine_tools"].keys()
        needs |= packages["docker_engine_builder_tools"].keys()
    return sorted(needs)


def engine_step(machine: FoundSystem, host: str) -> EngineStep:
    """Return what the machine of `host` needs for its containers to be run.

    An engine that answers is used as it is, and one that is installed is started: another one beside it would take its
    place. So packages of an engine are installed only where there is no engine.
    """
    packages = _packages(machine)
    has, engine = set(machine["has"]), dict(packages["docker_engine_packages"]) if packages else {}
    if machine["engine_firewall"].startswith("nftables"):
        return _refused(
            f"{host}: the Docker engine writes its rules to nftables, where nothing can guard an endpoint's port "
            "before them: remove firewall-backend from /etc/docker/daemon.json, and restart the engine"
        )
    installed = machine["engine"] or "dockerd" in has
    if installed:
        # Its package is that of the engine itself.
        own = engine.get("dockerd")
        engine = {need: package for need, package in engine.items() if package != own}
    elif not engine:
        return _refused(
            f"{host}: no Docker engine answers on /run/docker.sock, and none is known for {_name(machine)}: install "
            f"Docker CE there ({INSTRUCTIONS}), and start it with systemctl enable --now docker"
        )
    tools = packages["docker_engine_tools"] if packages else dict.fromkeys(_all_tools(), "")
    # The engine's command line comes with its package, or has been there before.
    lacking = _lacking(has, [*tools, *(["docker"] if installed else [])])
    return _step(
        machine,
        host,
        lacking=lacking,
        tools=tools,
        engine=engine,
        start=not machine["engine"],
    )


def builder_step(machine: FoundSystem, host: str) -> EngineStep:
    """Return what the machine of `host`, the image builder, needs besides to make images out of Debian packages."""
    packages = _packages(machine)
    tools = packages["docker_engine_builder_tools"] if packages else {}
    lacking = _lacking(set(machine["has"]), tools or _debian_tools())
    if lacking and not tools:
        return _refused(
            f"{host}: this host builds the images, for which {_name(machine)} has no package of "
            f"{' and '.join(lacking)}: name a host with Debian or Ubuntu in group image_builder"
        )
    return _step(machine, host, lacking=lacking, tools=tools, engine={}, start=False)


def _step(
    machine: FoundSystem,
    host: str,
    *,
    lacking: Sequence[str],
    tools: Mapping[str, str],
    engine: Mapping[str, str],
    start: bool,
) -> EngineStep:
    has = set(machine["has"])
    manager = next((name for program, name in MANAGERS.items() if program in has), "")
    unknown = [need for need in lacking if not (tools.get(need) or engine.get(need))]
    missing = list(dict.fromkeys([*lacking, *_lacking(has, engine)]))
    if unknown or (missing and not manager):
        names = ", ".join(_in_words(need) for need in (unknown or missing))
        return _refused(
            f"{host}: {_name(machine)} lacks {names}, and Flotilla knows no package manager and package there for it: "
            "install it on this host"
        )
    wanted = {tools[need] for need in lacking if need in tools}
    return {
        "refusal": "",
        "manager": manager,
        "tools": sorted(wanted),
        "engine": sorted({engine[need] for need in missing if need in engine}),
        "start": start,
    }


def _packages(machine: FoundSystem) -> Packages | None:
    known = known_packages()
    return next((known[name] for name in machine["distributions"] if name in known), None)


def _all_tools() -> list[str]:
    return sorted(
        {need for packages in known_packages().values() for need in packages["docker_engine_tools"]}
    )


def _debian_tools() -> list[str]:
    return sorted(known_packages()["debian-13"]["docker_engine_builder_tools"])


def _lacking(has: set[str], needs: Iterable[str]) -> list[str]:
    return [need for need in needs if need not in has]


def _name(machine: FoundSystem) -> str:
    return machine["distributions"][0] if machine["distributions"] else "this system"


def _in_words(need: str) -> str:
    kind, _, name = need.partition(":")
    return f"Python's module {name} (for /usr/bin/python3)" if kind == "python" else f"the program {need}"


def _refused(sentence: str) -> EngineStep:
    return {"refusal": sentence, "manager": "", "tools": [], "engine": [], "start": False}
