"""A fleet that never ran: what its runs would have left, and what Prometheus would have collected from it.

It is written into a real Prometheus, for the tests and the benchmark of the page /fleet.
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import random
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import yaml
from ansible_collections.flotilla.fleet.plugins.plugin_utils.monitoring.fleet_facts import fleet_facts_files

import prometheus_tools
from fleet_page.prometheus import Prometheus
from fleet_page.web import Sources
from model_endpoint.drift.distribution import Spread
from real_nginx import wait_until
from watched_fleet import entry, release

ROOT = Path(__file__).resolve().parents[1]
MODELS = ROOT / "model_endpoint" / "models"
LIVE, CANDIDATE, BEFORE = "3f2a90c1d47b", "b81c02f4ae55", "77d0e1a2b3c4"
BOUNDS = ("0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "+Inf")
DAY = 86400
OPERATOR = {"user": "mara", "controller": "bastion"}


@dataclass(frozen=True, slots=True)
class Fleet:
    """How large the fleet is, until when it ran, and how far apart its samples are, in seconds."""

    nodes: int
    end: int
    models: Sequence[str]
    near: Sequence[tuple[int, int]] = ((DAY, 3600), (3600, 0))
    """Stretches of the series of each minute, each from and to how many seconds before the end."""
    near_steps: Sequence[int] = (240, 60)
    far_step: int = 3600

    @property
    def names(self) -> list[str]:
        return [f"node{at:03}" for at in range(1, self.nodes + 1)]


def read_models(names: Sequence[str]) -> dict[str, Any]:
    """Return what module endpoint_models would read of the example models."""
    found = {}
    for name in names:
        card = yaml.safe_load((MODELS / name / "model.yml").read_text())
        golden = json.loads((MODELS / name / "golden.json").read_text())
        distribution = json.loads((MODELS / name / "distribution.json").read_text())
        predictor = card.pop("predictor", {})
        found[name] = {
            "card": card,
            "predictor": predictor,
            "distribution": distribution,
            "golden": len(golden),
        }
    return found


def runs(end: int) -> list[dict[str, str]]:
    """Return the audit log's lines."""

    def line(ago: float, playbook: str, result: str, message: str, **more: str) -> dict[str, str]:
        at = end - ago
        times = {"time": iso(at), "started": iso(at - 95)}
        return {
            **OPERATOR,
            **times,
            "playbook": playbook,
            "result": result,
            "message": message,
            "live": LIVE,
            **more,
        }

    canary = f"release {LIVE} is live; {CANDIDATE} gets 20.0 % of the requests"
    return [
        line(1500, "site.yml", "canary", canary),
        line(9000, "drain.yml", "changed", f"release {LIVE} is live; drained: node003", node="node003"),
        line(
            20 * 3600,
            "site.yml",
            "failed",
            "node002: the endpoint is not ready after 60 s: port 5001 is taken",
        ),
        line(2 * DAY, "site.yml", "released", f"release {LIVE} is live on all nodes"),
        line(9 * DAY, "site.yml", "released", f"release {BEFORE} is live on all nodes", live=BEFORE),
    ]


def iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")


def write_facts(folder: Path, fleet: Fleet) -> None:
    """Write into `folder` what the last run would have left, by the function that runs ask."""
    end = fleet.end
    live, candidate, before = (release(name) for name in (LIVE, CANDIDATE, BEFORE))
    live |= {"since": end - 2 * DAY, "image": "b"}
    before |= {"since": end - 9 * DAY, "image": "a"}
    candidate |= {"since": end - 1500, "image": "c"}
    candidate["settings"]["common"]["workers"] = 4
    nodes = {name: {**entry(), "since": end - 2 * DAY} for name in fleet.names}
    nodes["node002"] |= {"status": "down", "reason": "did not answer its load balancer", "since": end - 7000}
    state = {
        "live": live,
        "live_slot": "green",
        "candidate": {"release": candidate, "percent": 20.0, "shadow": 0.0, "nodes": fleet.names},
        "previous": [before],
        "nodes": nodes,
        "drained": ["node003"],
    }
    hostvars: dict[str, Any] = {
        name: {"ansible_host": f"10.1.{at // 250}.{at % 250 + 1}"} for at, name in enumerate(fleet.names)
    }
    hostvars |= {name: {"ansible_host": f"10.0.0.{at}"} for at, name in enumerate(("lb1", "lb2", "watch"), 1)}
    log = "\n".join(map(json.dumps, runs(end)))
    hostvars["lb1"] |= {
        "release_state": state,
        "fleet_page_audit": {"content": base64.b64encode(log.encode()).decode()},
        "fleet_page_models": {"results": [{"models": read_models(fleet.models)}]},
    }
    groups = {"load_balancers": ["lb1", "lb2"], "model_nodes": fleet.names, "monitoring": ["watch"]}
    folder.mkdir(parents=True, exist_ok=True)
    for file in fleet_facts_files(hostvars, groups, ["lb1"], "site.yml", end):
        (folder / Path(file["path"]).name).write_text(file["content"])


Written = tuple[str, float]
"""A series with its labels, and its usual value."""


def _labels(name: str, labels: dict[str, str]) -> str:
    told = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{told}}}"


def _buckets(name: str, labels: dict[str, str], rate: float, middle: float) -> Iterator[Written]:
    """Yield a histogram whose values are around `middle`."""
    for bound in BOUNDS:
        share = 1.0 if bound == "+Inf" else 1 / (1 + math.exp(-3 * math.log(float(bound) / middle)))
        yield _labels(name, {**labels, "le": bound}), rate * share


def recorded(fleet: Fleet, level: str) -> Iterator[Written]:
    """Yield the recorded series that follow from rates: `level` is rate1m or avg5m."""
    for at, model in enumerate(fleet.models):
        for part, name, slower in ((0.8, LIVE, 1.0), (0.2, CANDIDATE, 1.7)):
            rate = part * fleet.nodes * (30 / (at + 1))
            of = {"model": model, "release": name}
            yield _labels(f"flotilla:requests:{level}", {**of, "status": "2xx"}), rate * 0.998
            yield _labels(f"flotilla:requests:{level}", {**of, "status": "5xx"}), rate * 0.002 * slower
            yield from _buckets(f"flotilla:request_seconds:{level}", of, rate, 0.004 * slower * (at + 1))
            yield from _of_model(model, of, level, rate)
        yield _labels(f"flotilla:client_requests:{level}", {"client": "shop", "model": model}), 12.0
    for name, slower in ((LIVE, 1.0), (CANDIDATE, 1.7)):
        for status, rate in (("200", 24.0), ("500", 0.05 * slower)):
            yield _labels(f"flotilla:release_requests:{level}", {"release": name, "status": status}), rate
        yield from _buckets(
            f"flotilla:release_request_seconds:{level}", {"release": name}, 24.0, 0.003 * slower
        )
    for at, node in enumerate(fleet.names):
        rate = 0.0 if at == 1 else 20.0 + at % 7
        for status, part in (("2xx", 0.999), ("5xx", 0.001 * (at % 4))):
            yield (
                _labels(f"flotilla:endpoint_requests:{level}", {"endpoint": node, "status": status}),
                rate * part,
            )
        slow = 0.004 * (1 + at % 5)
        yield from _buckets(f"flotilla:endpoint_request_seconds:{level}", {"endpoint": node}, rate, slow)
    for reason in ("rate", "key"):
        yield _labels(f"flotilla:refusals:{level}", {"reason": reason}), 0.2
    yield f"flotilla:retries:{level}", 0.03


def _of_model(model: str, of: dict[str, str], level: str, rate: float) -> Iterator[Written]:
    distribution = json.loads((MODELS / model / "distribution.json").read_text())
    for place, fields in enumerate(distribution["columns"]):
        spread = Spread.of(fields)
        last = place == len(distribution["columns"]) - 1
        for at, (label, count) in enumerate(zip(spread.bins.labels, spread.counts, strict=True)):
            moved = count * (0.1 + 2.2 * at / len(spread.counts)) + 1 if last else count
            labels = {**of, "column": spread.name, "bin": label}
            yield _labels(f"flotilla:column_values:{level}", labels), rate * moved / sum(spread.counts)
        drift = "max1m" if level == "rate1m" else level
        score = 2.4 if last else 0.3
        yield _labels(f"flotilla:column_drift:{drift}", {**of, "column": spread.name}), score
    for fields in distribution["outputs"]:
        spread = Spread.of(fields)
        for label, count in zip(spread.bins.labels, spread.counts, strict=True):
            if count:
                labels = {**of, "output": spread.name, "class": label}
                yield _labels(f"flotilla:predictions:{level}", labels), rate * count / sum(spread.counts)


def latest(fleet: Fleet) -> Iterator[Written]:
    """Yield what is collected as it is, of which the page shows the last value."""
    for at, node in enumerate(fleet.names):
        slots = {"endpoint": node, "slot": "green"}
        yield _labels("up", {"job": "endpoints", "instance": f"{node}-green", **slots}), float(at != 4)
        yield _labels("flotilla_process_memory_bytes", {**slots, "worker": "0"}), 90e6 + 1e6 * at
        yield _labels("flotilla_memory_limit_bytes", slots), 512e6
        yield _labels("flotilla:endpoint_drift:max", {"endpoint": node}), 2.4 if at == 3 else 0.3
    for balancer in ("lb1", "lb2"):
        of = {"load_balancer": balancer}
        yield _labels("up", {"job": "load_balancers", "instance": balancer, **of}), 1
        yield _labels("flotilla_lb_holds_address", of), float(balancer == "lb1")
        yield _labels("flotilla_lb_requests_in_flight", of), 7
        yield _labels("flotilla_lb_connections_active", of), 64
        yield _labels("flotilla_lb_configuration_info", {**of, "version": "c0ffee12"}), 1
        ends = {**of, "certificate": "frontend"}
        yield _labels("flotilla_lb_certificate_end_timestamp_seconds", ends), fleet.end + 80 * DAY
    yield "flotilla_fleet_differences", 0
    yield "flotilla_fleet_lock_since_timestamp_seconds", 0


def write_samples(file: TextIO, series: Sequence[Written], begin: int, end: int, step: int) -> None:
    """Write samples in the form of OpenMetrics: they rise and fall with the time of day."""
    chance = random.Random(1)
    marked = [
        (name, value, ":rate" in name or (":avg" in name and "drift" not in name)) for name, value in series
    ]
    for at in range(begin // step * step + step, end + 1, step):
        day = (1 + 0.4 * math.sin(2 * math.pi * at / DAY)) * (0.97 + 0.06 * chance.random())
        file.writelines(f"{name} {value * (day if rate else 1):.6g} {at}\n" for name, value, rate in marked)


def fill(folder: Path, fleet: Fleet) -> None:
    """Write the fleet's samples into the folder of a Prometheus that does not run."""
    text = folder.with_suffix(".txt")
    with text.open("w") as file:
        near = list(recorded(fleet, "rate1m"))
        write_samples(file, list(recorded(fleet, "avg5m")), fleet.end - 30 * DAY, fleet.end, fleet.far_step)
        for (begin, end), step in zip(fleet.near, fleet.near_steps, strict=True):
            write_samples(file, near, fleet.end - begin, fleet.end - end, step)
        write_samples(file, list(latest(fleet)), fleet.end - 300, fleet.end + 300, 60)
        write_samples(file, [("flotilla_fleet_candidate_percent", 5)], fleet.end - 1500, fleet.end - 700, 60)
        write_samples(file, [("flotilla_fleet_candidate_percent", 20)], fleet.end - 700, fleet.end, 60)
        alert = _labels(
            "ALERTS", {"alertname": "LatencyBudgetBurns", "alertstate": "firing", "severity": "warning"}
        )
        write_samples(file, [(alert, 1)], fleet.end - 2400, fleet.end - 1200, 60)
        file.write("# EOF\n")
    command = [
        str(prometheus_tools.program("promtool")),
        "tsdb",
        "create-blocks-from",
        "openmetrics",
        "--quiet",
    ]
    subprocess.run([*command, "--max-block-duration=768h", str(text), str(folder)], check=True)
    text.unlink()


RULES = """
groups:
  - name: generated
    rules:
      - {alert: Watchdog, expr: vector(1), labels: {severity: none}}
      - alert: EndpointDown
        expr: vector(1)
        labels: {severity: critical, endpoint: node002, machine: 10.1.0.2}
        annotations: {summary: The endpoint of node002 does not answer., runbook: "docs/runbook.md#endpointdown"}
      - alert: Drift
        expr: vector(1)
        for: 10h
        labels: {severity: warning, model: penguins, column: body_mass_g}
        annotations: {summary: "penguins gets rows that it was not trained on.", runbook: "docs/runbook.md#drift"}
"""


@contextlib.contextmanager
def firing(folder: Path, data: Path) -> Iterator[str]:
    """Run a Prometheus that has `data` and fires two alerts, and yield its URL."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yml").write_text(RULES)
    settings = {"global": {"evaluation_interval": "1s"}, "rule_files": ["rules.yml"]}
    with prometheus_tools.prometheus(folder, data, settings, "--storage.tsdb.retention.time=60d") as (url, _):
        wait_until(lambda: "EndpointDown" in _alerts(url), "Prometheus does not fire its alerts")
        yield url


@contextlib.contextmanager
def shown(folder: Path) -> Iterator[Sources]:
    """Yield what the page reads of a small generated fleet, which lies in `folder`."""
    fleet = Fleet(6, now(), ["penguins", "iris"])
    fill(folder / "data", fleet)
    write_facts(folder / "facts", fleet)
    with firing(folder / "prometheus", folder / "data") as url:
        yield Sources(Prometheus(url), folder / "facts", ROOT / "docs" / "runbook.md", lambda: fleet.end)


def _alerts(url: str) -> str:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/alerts", timeout=5) as answer:
            return str(answer.read())
    except OSError:
        return ""


def now() -> int:
    """Return the time at which a generated fleet may end: a whole minute."""
    return int(time.time()) // 60 * 60
