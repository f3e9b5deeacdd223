"""Runs on the controller: the shapes of a release's data.

All of this data is plain JSON, since Ansible keeps it as facts and load balancers keep the state in a file. Times are
seconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

from ansible_collections.flotilla.fleet.plugins.plugin_utils.answers.counts import Reading
from ansible_collections.flotilla.fleet.plugins.plugin_utils.topology import EndpointAddress
from ansible_collections.flotilla.fleet.plugins.plugin_utils.watch import Sample, Verdict

Operation = Literal["deploy", "rollback", "promote", "drain", "undrain", "remove", "rotate"]
"""What a run does; each has a playbook of its own."""

SettingValue = str | int | float | bool | None


class Given(TypedDict):
    """A setting that a run was given by -e."""

    value: str
    """Empty for a secret, and for a value that does not fit on a line."""
    by: str
    """USER@CONTROLLER"""
    time: str


class NodeSettings(TypedDict):
    """What makes the nodes' containers, apart from the image."""

    common: dict[str, SettingValue]
    nodes: dict[str, dict[str, SettingValue]]
    """By node, the settings that differ from the common ones."""


class Release(TypedDict):
    """What runs on every node: an image and the settings of its containers."""

    id: str
    """The start of a hash of image and settings."""
    image: str
    """The hash of the image's content, which is its tag."""
    reference: str
    """The image's name by digest; empty until the registry has the image."""
    settings: NodeSettings
    since: int
    given: NotRequired[dict[str, Given]]
    """The settings given by -e that made the release, or its share of the traffic."""


class Candidate(TypedDict):
    """A release that takes a share of the traffic, or a copy of a share (a shadow), beside the live one."""

    release: Release
    percent: float
    shadow: float
    nodes: list[str]


class NodeEntry(TypedDict):
    """A node in the state: whether it takes traffic, and how much of its weight in percent."""

    status: str
    """up or down."""
    share: int
    since: int
    reason: str
    machine: NotRequired[str]
    """The machine that the node was on when it got traffic last, as topology.machine names it."""


class Forgotten(TypedDict):
    """A node that has left the inventory, or the machine, while the machine still has what it left there."""

    node: str
    machine: str
    """As topology.machine names it; empty where an earlier version did not note it."""
    since: int


class State(TypedDict):
    """What the load balancers keep about the fleet: who gets traffic."""

    format: int
    serial: int
    """How many states were written before."""
    live_slot: str
    """blue or green."""
    live: Release | None
    candidate: Candidate | None
    previous: list[Release]
    """The releases that were live before, newest first."""
    nodes: dict[str, NodeEntry]
    drained: list[str]
    given: NotRequired[dict[str, Given]]
    """The settings given by -e that the load balancers were configured with. The others are with their releases."""
    forgotten: NotRequired[list[Forgotten]]
    packages_of: NotRequired[dict[str, str]]
    """By repository of an image that an update has made anew, the time of the update."""


class WrittenState(State):
    """A state as a load balancer keeps it, with the version of the configuration that was rendered from it."""

    version: NotRequired[str]


class Published(TypedDict):
    """The settings of a container that the logic of a release reads itself."""

    ports: list[str]


class Container(TypedDict):
    """A container of the fleet on a machine, as far as a release needs to know."""

    running: bool
    labels: Mapping[str, str]
    settings: Published
    image: NotRequired[str]
    """The name that it was run by."""


class Machine(TypedDict):
    """What module machine_state found on a machine, as far as a release needs to know."""

    containers: Mapping[str, Container]
    images: Iterable[str]
    files: Mapping[str, str]
    state: NotRequired[WrittenState | None]
    served: NotRequired[str]
    registry: NotRequired[Sequence[str]]
    """The digests of the endpoints' images that the registry there holds."""


class Staged(TypedDict):
    """How the staging of an endpoint ended: whether it is ready, else why not, and its last log lines."""

    ready: bool
    reason: str
    log: list[str]


class Probe(TypedDict):
    """What module endpoint_probe found out about one endpoint."""

    ready: bool
    release: str
    error: str


class Probed(TypedDict, total=False):
    """The result of module endpoint_probe; without endpoints where the task was skipped."""

    endpoints: Mapping[str, Probe]


class Ping(TypedDict):
    """The result of reaching for a node; `unreachable` is there only where the node could not be reached."""

    item: str
    unreachable: NotRequired[bool]


class Installed(TypedDict, total=False):
    """The result of role nginx_lb's install."""

    changed: bool


class AccessLog(TypedDict):
    """The result of module access_log."""

    sample: Sample


class AnsweringEndpoint(EndpointAddress):
    """An endpoint that takes requests, in one of the two slots."""

    slot: str


class EndpointAnswers(TypedDict, total=False):
    """The result of module endpoint_answers; without readings where the task was skipped."""

    readings: list[Reading]


class Step(TypedDict):
    """A share of the traffic, in percent, and how long it is watched (`bake`, in seconds)."""

    percent: float
    bake: float
    polls: int
    """How often the access log is read during the bake."""
    poll_seconds: int


class Plan(TypedDict):
    """What a run is to do."""

    operation: Operation
    node: str
    """The node to drain, undrain or remove, else empty."""
    state: State
    """The state that the run found."""
    baseline: State
    """The state that the load balancers must serve before any container is touched."""
    target: Release | None
    """The release to go live."""
    target_slot: str
    rolling: bool
    steps: list[Step]
    watched: bool
    """Whether any step has a bake time."""
    shadow: float
    """The share of the requests, in percent, of which the target gets a copy."""
    first: bool
    """Nothing is live yet."""
    limited: bool
    """Whether the run leaves out hosts of the fleet."""
    note: str
    """A line for the user, or empty."""
    error: str
    """Why nothing can be done, or empty."""


class Missing(TypedDict):
    """What a node must run and does not."""

    release: Release
    slot: str


class StepHost(TypedDict):
    """A host that the steps of a run act on, and the groups that make them do so."""

    host: str
    groups: list[str]


class NodeReport(TypedDict):
    """What the gate knows of a node."""

    in_scope: bool
    """Whether the run is about this node."""
    answers: bool
    """Whether the node can be reached."""
    failed: bool
    """Whether an earlier step failed on the node, or the node became unreachable."""
    staged: Staged | None
    """None where nothing had to be staged."""
    unseen: Mapping[str, str]
    """By load balancer, why it can't use the node's endpoint."""
    drained: bool
    machine: str
    """The machine that the inventory says the node is on."""


class GateResult(TypedDict):
    """Whether the traffic may change, and who gets it then."""

    passed: bool
    errors: list[str]
    left_out: dict[str, str]
    """By node that gets no traffic, why."""
    members: list[str]
    """The nodes that run the target."""
    machines: dict[str, str]
    """The machine of each member."""
    nodes: dict[str, NodeEntry]
    """The nodes of the next state."""


class Server(TypedDict):
    """A server of an upstream in Nginx's configuration."""

    name: str
    address: str
    port: int
    weight: int
    """The inventory's weight times the share in percent."""
    concurrency: int
    """How many requests the endpoint answers at a time."""
    down: bool


class Watched(Verdict):
    """A verdict, and what it means at the end of the bake: why the traffic is returned, or empty."""

    failure: str
    answers: list[str]
    """What both releases answered, in lines for the user; empty where release_watch_answers is not set."""


class Outcome(TypedDict):
    """How a run ended, as verdict.json has it."""

    time: str
    result: str
    message: str
    live: str | None
    """None where no load balancer was looked at."""
    live_slot: str
    candidate: str
    percent: float
    previous: list[str]
    nodes: dict[str, NodeEntry]
    left_out: list[str]
    """The nodes that get no requests because something was wrong with them."""
    warnings: list[str]
    watched: Mapping[str, object]
    """How the release did over its last bake (a Watched), or empty."""


class ReleaseSettings(TypedDict):
    """The settings of role release that the logic reads."""

    strategy: str
    min_nodes: int
    ramp_seconds: int
    drain_timeout: int
    canary_percent: float | None
    canary_steps: list[dict[str, float | str]]
    shadow_percent: float
    bake_seconds: int
    watch_min_requests: int
    watch_too_few: str
    watch_failure_points: float
    watch_p95_factor: float
    watch_p95_floor: float
    watch_answers: float | None
    canary_key: str
    allow_unreachable: bool


class Facts(TypedDict, total=False):
    """The facts of a host that the steps read. Settings are read by plugin_utils/settings.py."""

    flotilla_machine: Machine
    release_plan: Plan
    release_state: State
    release_looked: bool
    """Whether release_state comes from a load balancer that was looked at."""
    release_gate: GateResult
    release_failure: str
    """Why the run changes nothing more, or empty."""
    release_result: str
    """How the run ends, where a step knows already: returned, else empty."""
    nginx_lb_probe: Probed
    release_access_log: AccessLog
    release_log_before: AccessLog
    """The traffic in the minute before the flip."""
    release_answers_begun: EndpointAnswers
    release_answers: EndpointAnswers
    """What the endpoints had answered when the bake began, and what they have answered now."""
    release_undone: State | None
    """The state that took the target out of the traffic again."""
    release_apply_error: str
    """Why this load balancer did not take the state that was applied last, or empty."""
    release_watched: Watched
    release_not_stopped: str
    """Why the container of this node's retired slot still runs."""
    release_not_removed: str
    """Why this machine still has what a node left on it."""
    virtual_address_error: str
    node_exporter_error: str
    monitoring_error: str
    fleet_page_error: str
    """Why metrics of this machine, or of the fleet, are not collected as they should be."""
    model_endpoint_staged: Staged
    nginx_lb_installed: Installed


HostVars = Mapping[str, Facts]
"""The variables of each inventory host, by the host's name."""
