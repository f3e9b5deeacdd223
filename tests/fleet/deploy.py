"""Runs of playbooks against the fleet under fire: what they are told, how they ended, and what runs then."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.fleet import Fleet
from fleet.load import Record
from fleet.playbook import Run, changes

FINE, FAILED, LEFT_OUT = 0, 2, 4
"""Exit codes of a run: all is well; it failed or returned the traffic; a host could not be reached."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended: exit code, seconds it took, verdict, and what it wrote."""

    code: int
    seconds: float
    verdict: Mapping[str, Any]
    output: str

    @property
    def changed(self) -> int:
        """How many tasks changed something, on all hosts."""
        return sum(changes(self.output).values())

    def assert_ended(self, code: int, result: str) -> None:
        """Check the exit code, and that the verdict and the last line say this result."""
        ended = (self.code, self.verdict.get("result"))
        assert ended == (code, result), f"ended with {ended}:\n{self.output[-6000:]}"
        assert self.output.splitlines()[-1] == f"flotilla: {result}: {self.verdict['message']}"


def verdict_file(fleet: Fleet) -> Path:
    """Return where molecule.yml has the verdict written."""
    return Path(fleet.hostvars[fleet.load_balancer.name]["release_verdict_directory"]) / "verdict.json"


class Deployment(Run):
    """A playbook that is running, with a verdict to come."""

    def __init__(
        self,
        fleet: Fleet,
        playbook: str = "site.yml",
        source: Path | None = None,
        *options: str,
        **settings: Any,
    ) -> None:
        """Start a playbook with `settings` as extra variables, which releases what `source` holds, if given."""
        self._verdict = verdict_file(fleet)
        self._verdict.unlink(missing_ok=True)
        if source:
            settings["model_image_source"] = str(source)
        super().__init__(playbook, fleet.inventory, "--extra-vars", json.dumps(settings), *options)

    def outcome(self) -> Outcome:
        """Wait until the run is over and return how it ended."""
        code = self.finish()
        verdict = json.loads(self._verdict.read_text()) if self._verdict.exists() else {}
        return Outcome(code, time.time() - self.started, verdict, self.output)


def deploy(
    fleet: Fleet, playbook: str = "site.yml", source: Path | None = None, *options: str, **settings: Any
) -> Outcome:
    """Run a playbook to its end, as `Deployment` does, and return how it ended."""
    return Deployment(fleet, playbook, source, *options, **settings).outcome()


def live(fleet: Fleet) -> str:
    """Return the release that every load balancer's state names as live."""
    states = [state(fleet, balancer.name) for balancer in fleet.load_balancers]
    (release,) = {found["live"]["id"] for found in states}
    return str(release)


def state(fleet: Fleet, balancer: str) -> dict[str, Any]:
    """Return what a load balancer holds about the fleet."""
    content: dict[str, Any] = json.loads(fleet.machine(balancer).run("cat", "/var/lib/flotilla/state.json"))
    return content


def assert_live(fleet: Fleet, release: str, record: Record) -> None:
    """Check that a release, and no other, is live, runs on every node, and gave all the answers of `record`."""
    assert live(fleet) == release
    running = {
        node.name: [name for name, state in node.endpoints().items() if state == "running"]
        for node in fleet.nodes
    }
    assert running == {node.name: [release] for node in fleet.nodes}
    assert set(record.by_release()) == {release}


def configurations(fleet: Fleet) -> list[str]:
    """Return the version of the configuration that each load balancer serves."""
    ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8090/_lb/version').read().decode())"
    return [balancer.run("python3", "-c", ask).strip() for balancer in fleet.load_balancers]
