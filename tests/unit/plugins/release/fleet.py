"""A fleet for the unit tests of a release, whose runs call the steps that the playbooks call, in their order."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

from ansible_collections.flotilla.fleet.plugins.module_utils.container_settings import wanted_settings
from ansible_collections.flotilla.fleet.plugins.plugin_utils import topology
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.content import (
    container_settings,
    new_release,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.placement import missing_container
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.service import RECIPE, endpoint_service
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.state import (
    EMPTY_STATE,
    gets_traffic,
    kept_releases,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps import plan as plan_steps
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.commit import (
    FinishStep,
    commit_step,
    finish_step,
    forget_step,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.gate import (
    gate_step,
    probe_step,
    suspects_step,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.known import release_settings_of
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.plan import (
    PlanStep,
    baseline_step,
    plan_step,
    with_reference,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.steps.traffic import (
    share_step,
    undo_step,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.traffic import upstream_servers
from ansible_collections.flotilla.fleet.plugins.plugin_utils.release.types import (
    Given,
    Operation,
    Ping,
    Release,
    ReleaseSettings,
    State,
)
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import container_name

STEPS = [{"percent": 5, "bake": 10}, {"percent": "25", "bake": "20"}, {"percent": 100, "bake": 30}]
"""The steps of a canary: `percent` of the requests, and `bake` in seconds, both also as text."""

READY = {"ready": True, "reason": "", "log": []}
UNREADY = {"ready": False, "reason": "wrong answer", "log": ["line"]}


@dataclass
class Run:
    """A run of a playbook: what Ansible knows at its end."""

    hostvars: dict[str, Any]
    groups: dict[str, list[str]]
    present: list[str]
    now: int

    @property
    def facts(self) -> Any:
        """The facts that all hosts share."""
        return self.hostvars[self.present[0]]

    @property
    def plan(self) -> Any:
        return self.facts["release_plan"]

    @property
    def gate(self) -> Any:
        return self.facts["release_gate"]

    @property
    def state(self) -> Any:
        return self.facts["release_state"]

    @property
    def steps(self) -> list[tuple[float, float]]:
        return [(step["percent"], step["bake"]) for step in self.plan["steps"]]

    def share(self, **facts: Any) -> None:
        """Set facts on every host, as a task with run_once does."""
        for variables in self.hostvars.values():
            variables.update(facts)

    def finish(self, **facts: Any) -> FinishStep:
        """Return how the run ends, with `facts` of all hosts besides."""
        hostvars: dict[str, Any] = {host: {**variables, **facts} for host, variables in self.hostvars.items()}
        return finish_step(hostvars, self.groups, self.present, self.now)


@dataclass
class Fleet:
    """Three nodes behind a load balancer. `runs` is what each node runs: by node and slot, the id of the release."""

    hostvars: dict[str, Any] = field(
        default_factory=lambda: {
            "lb": {},
            "n1": {"ansible_host": "10.0.0.1"},
            "n2": {"ansible_host": "10.0.0.2"},
            "n3": {"ansible_host": "10.0.0.3"},
        }
    )
    image: str = "image-1"
    recipe: str = RECIPE
    state: Any = field(default_factory=lambda: copy.deepcopy(EMPTY_STATE))
    runs: dict[str, dict[str, str]] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    """The containers that were staged, as machine_state finds them, by name."""
    builder: str = ""
    """The host that image_builder names, where it names one."""
    stands_on: dict[str, str] = field(default_factory=dict)
    """The machines that nodes were staged on, by node."""
    now: int = 1000

    @property
    def nodes(self) -> list[str]:
        return [name for name in self.hostvars if not name.startswith("lb")]

    def wanted(self) -> Release:
        return new_release(self.image, container_settings(self.hostvars, self.nodes, self.recipe), self.now)

    def planned(
        self,
        operation: Operation,
        limit: Sequence[str] = (),
        *,
        node: str = "",
        release: str = "",
        away: Sequence[str] = (),
        unreachable: Sequence[str] = (),
        balancers_in_scope: bool = True,
        given: Mapping[str, Given] | None = None,
        **settings: Any,
    ) -> tuple[PlanStep, Run]:
        """Plan a run, and return the plan with what Ansible knows then.

        `limit` are the nodes that the run is limited to, `away` load balancers that can't be reached, and
        `settings` those of role release, without its name, `given` the settings that come by -e.
        """
        if settings.pop("rolling", False):
            settings["strategy"] = "rolling"
        groups = {"load_balancers": list(dict.fromkeys(["lb", *away])), "model_nodes": self.nodes}
        groups |= {"image_builder": [self.builder]} if self.builder else {}
        in_scope = [*(groups["load_balancers"] if balancers_in_scope else []), *(limit or self.nodes)]
        hostvars: dict[str, Any] = copy.deepcopy({name: self.hostvars[name] for name in ("lb", *self.nodes)})
        for balancer in groups["load_balancers"]:
            hostvars.setdefault(balancer, {}).update(
                {f"release_{name}": value for name, value in settings.items()}
            )
            hostvars[balancer]["flotilla_machine"] = self.balancer_machine()
        for name in self.nodes:
            hostvars[name]["flotilla_machine"] = self.machine(name)
        present = [host for host in in_scope if host not in (*away, *unreachable)]
        asked: Any = {
            "operation": operation,
            "node": node,
            "release": release,
            "image": self.image,
            "state_elsewhere": "" if balancers_in_scope else json.dumps(self.state),
            "given": given or {},
            "looked_elsewhere": not balancers_in_scope,
        }
        with mock.patch.object(plan_steps, "RECIPE", self.recipe):
            step = plan_step(hostvars, groups, in_scope, present, asked, self.now)
        run = Run(hostvars, groups, present, self.now)
        run.share(
            in_scope=in_scope,
            release_plan=step["plan"],
            release_state=step["state"],
            release_looked=step["looked"],
            release_failure=step["plan"]["error"],
            release_result="",
            release_gate={},
        )
        return step, run

    def plan(self, operation: Operation, limit: Sequence[str] = (), **asked: Any) -> Any:
        return self.planned(operation, limit, **asked)[0]["plan"]

    def lb(self, **changed: Any) -> ReleaseSettings:
        variables: Any = {f"release_{name}": value for name, value in changed.items()}
        return release_settings_of({"lb": variables}, {"load_balancers": ["lb"]})

    def seen(self) -> dict[str, Any]:
        """Return the variables of all nodes once their machines have been inspected."""
        return {node: {"flotilla_machine": self.machine(node)} for node in self.nodes}

    def machine(self, node: str) -> Any:
        """Return what machine_state finds on the machine of a node, whose other nodes it finds there too."""
        here = topology.machine(self.hostvars, node) if node in self.hostvars else ""
        nodes = [
            name
            for name in self.runs
            if name == node or self.stands_on.get(name, here and "elsewhere") == here
        ]
        found = {
            container_name(name, slot): self.container(name, slot, release)
            for name in nodes
            for slot, release in self.runs[name].items()
        }
        images = {release["reference"]: "" for release in kept_releases(self.state)}
        return copy.deepcopy({"containers": found, "images": images, "files": {}})

    def container(self, node: str, slot: str, release: str) -> Any:
        """Return a container that runs: as it was staged, or one of whose settings nothing is known."""
        made = self.made.get(container_name(node, slot))
        if made and made["labels"]["flotilla.release"] == release:
            return made
        labels = {"flotilla.role": "endpoint", "flotilla.endpoint": node, "flotilla.release": release}
        return {"running": True, "health": "", "labels": labels, "settings": {}, "image": "", "image_id": ""}

    def make(self, node: str, slot: str, release: Release) -> None:
        """Run a container as role model_endpoint does."""
        service = endpoint_service(self.hostvars, node, release, slot)
        self.runs.setdefault(node, {})[slot] = release["id"]
        self.stands_on[node] = topology.machine(self.hostvars, node)
        self.made[service["name"]] = {
            "running": True,
            "health": "healthy",
            "labels": {**service["labels"], "flotilla.image": service["image"]},
            "settings": wanted_settings(service),
            "image": service["image"],
            "image_id": "",
            "newer_files": False,
        }

    def balancer_machine(self) -> dict[str, Any]:
        """Return what is found on a load balancer that serves the state."""
        state = {**self.state, "version": "v1"} if self.state["serial"] else None
        return {"containers": {}, "images": {}, "files": {}, "state": copy.deepcopy(state), "served": "v1"}

    def run(
        self,
        operation: Operation = "deploy",
        *,
        limit: Sequence[str] = (),
        unready: Sequence[str] = (),
        unreachable: Sequence[str] = (),
        unseen: Sequence[str] = (),
        steps: int | None = None,
        **asked: Any,
    ) -> Run:
        """Run a playbook; `steps` ends it after that many of the release's, as an interruption would."""
        self.now += 100
        step, run = self.planned(operation, limit, unreachable=unreachable, **asked)
        assert (step["refusal"], step["plan"]["error"]) == ("", "")
        self._prepare(run)
        self._stage(run, unready)
        self._gate(run, unreachable, unseen)
        if run.gate["passed"]:
            shares = range(len(run.plan["steps"]) if run.plan["target"] else 1)[:steps]
            for number in shares:
                self._apply(run, share_step(run.hostvars, run.present, number, self.now))
        else:
            self._undo(run)
        if steps is None:
            self._commit(run)
        return run

    def _apply(self, run: Run, state: State) -> None:
        self.state = state
        run.share(release_state=state)

    def _prepare(self, run: Run) -> None:
        baseline = baseline_step(run.hostvars, run.groups, run.present)
        if run.plan["target"] and baseline:
            self._apply(run, baseline)
        if run.plan["target"]:
            run.share(release_plan=with_reference(run.plan, f"registry/{run.plan['target']['image']}"))

    def _stage(self, run: Run, unready: Sequence[str]) -> None:
        for node in self.nodes:
            missing = missing_container(run.plan, run.hostvars, node, self.machine(node))
            if not missing or node not in run.present:
                continue
            run.hostvars[node]["model_endpoint_staged"] = UNREADY if node in unready else READY
            if node not in unready:
                self.make(node, missing["slot"], missing["release"])

    def _gate(self, run: Run, unreachable: Sequence[str], unseen: Sequence[str]) -> None:
        in_scope = run.facts["in_scope"]
        release = run.plan["target"] or run.plan["baseline"]["live"]
        step = probe_step(run.hostvars, run.groups, in_scope, run.present, self.now)
        serving = step["serving"] if step else []
        run.share(probed={address["name"]: address["port"] for address in serving})
        probed: dict[str, Mapping[str, Any]] = {
            address["name"]: {"ready": True, "release": release["id"], "error": ""} for address in serving
        }
        probed |= {node: {"ready": False, "release": "", "error": "timed out"} for node in unseen}
        run.hostvars["lb"]["nginx_lb_probe"] = {"endpoints": probed}
        pings: list[Ping] = [
            {"item": node, "unreachable": True} if node in unreachable else {"item": node}
            for node in suspects_step(run.hostvars, run.groups, in_scope, run.present)
        ]
        gated = gate_step(run.hostvars, run.groups, in_scope, run.present, pings, self.now)
        run.share(release_gate=gated)
        if not gated["passed"]:
            run.share(release_failure="\n".join(gated["errors"]))

    def _undo(self, run: Run) -> None:
        undone = undo_step(run.hostvars, run.present, self.now)
        if undone:
            self._apply(run, undone)
        if run.plan["target"] and not gets_traffic(run.plan, run.state):
            for node in self.nodes:
                if run.hostvars[node].get("model_endpoint_staged"):
                    self.runs.get(node, {}).pop(run.plan["target_slot"], None)

    def _commit(self, run: Run) -> None:
        step = commit_step(run.hostvars, run.groups, run.present, "registry:5080")
        run.share(release_commit=step)
        for retired in step["retired"]:
            self.runs.get(retired["node"], {}).pop(retired["slot"], None)
        for leftover in step["leftovers"]:
            for node in leftover["nodes"]:
                self.runs.pop(node, None)
        if after := forget_step(run.hostvars, run.groups, run.present):
            self._apply(run, after)

    @property
    def live(self) -> str:
        return str(self.state["live"]["id"])

    @property
    def up(self) -> list[str]:
        return [node for node, entry in self.state["nodes"].items() if entry["status"] == "up"]

    def servers(self) -> dict[str, dict[str, int]]:
        """By slot, the weight of each server; 0 for one that is down."""
        found = upstream_servers(self.hostvars, self.nodes, self.state)
        return {
            slot: {server["name"]: 0 if server["down"] else server["weight"] for server in servers}
            for slot, servers in found.items()
        }

    def ship(self, image: str, operation: Operation = "deploy", **asked: Any) -> str:
        """Change the image, deploy it, and return the release's id."""
        self.image = image
        return str(self.run(operation, **asked).plan["target"]["id"])


def begins_at_once(fleet: Fleet, *machines: dict[str, Any], operation: Operation = "deploy") -> bool:
    """Tell whether a run finds that load balancers, which are `machines`, serve what it begins with."""
    _, run = fleet.planned(operation, away=[f"lb{number}" for number in range(1, len(machines))])
    balancers = run.groups["load_balancers"]
    for balancer, machine in zip(balancers, machines, strict=True):
        run.hostvars[balancer]["flotilla_machine"] = machine
    return baseline_step(run.hostvars, run.groups, [*balancers, *fleet.nodes]) is None
