"""Measure the monitoring of a large fleet, on a fleet that never ran: `make bench-monitoring`.

Two Prometheus run, one after the other. The first has 30 days of what the recording rules make of 300 endpoints, and
the views of the page are rendered from it. The second collects the metrics of 300 endpoints that a server makes up, by
the intervals and the recording rules of the role, and is weighed. Results go to bench/results/monitoring.json.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import generated_fleet
from fleet_page.prometheus import Prometheus
from fleet_page.web import Sources, application
from generated_fleet import BOUNDS, DAY, LIVE, MODELS, Fleet
from model_endpoint.drift.distribution import Spread
from prometheus_tools import prometheus
from report import write_results

ROOT = Path(__file__).resolve().parents[1]
NODES, MODEL_NAMES = 300, ("penguins", "iris", "breast_cancer")
INTERVAL, COLLECTED_SECONDS, RENDERINGS = 15, 300, 5
WEIGHED_NODES, WEIGHED_SECONDS, PACE = 20, 240, INTERVAL
"""A sample takes fewer bytes the more there are of its series: some nodes are asked each second, by a clock that runs
PACE times as fast, until each series has as many as an hour gives."""
BLOCK_DAYS = 3
"""How many days one of Prometheus' blocks holds at most, of 30: a tenth of the retention. Each has an index."""
VIEWS = {
    "now": "/fleet",
    **{f"over time, {over}": f"/fleet/time?range={over}" for over in ("1h", "1d", "7d", "30d")},
    **{f"by node, {over}": f"/fleet/time?by=node&range={over}" for over in ("1h", "30d")},
    **{
        f"a model of 4 to 30 columns, {over}": f"/fleet/model?name=breast_cancer&range={over}"
        for over in ("1h", "1d", "30d")
    },
    "releases": "/fleet/releases",
    "alerts": "/fleet/alerts",
}


def rendered(folder: Path) -> dict[str, float]:
    """Return the median of the seconds that each view takes."""
    fleet = Fleet(
        NODES, generated_fleet.now(), MODEL_NAMES, near=((2 * DAY, 0),), near_steps=(60,), far_step=300
    )
    generated_fleet.fill(folder / "data", fleet)
    generated_fleet.write_facts(folder / "facts", fleet)
    with generated_fleet.firing(folder / "prometheus", folder / "data") as url:
        runbook = ROOT / "docs" / "runbook.md"
        return times(Sources(Prometheus(url), folder / "facts", runbook, lambda: fleet.end))


def times(sources: Sources) -> dict[str, float]:
    client, found = application(sources).test_client(), {}
    for name, address in VIEWS.items():
        seconds = []
        for _ in range(RENDERINGS):
            begin = time.monotonic()
            answer = client.get(address)
            seconds.append(time.monotonic() - begin)
            assert answer.status_code == 200
            assert "can't be asked" not in answer.text, answer.text
        found[name] = round(statistics.median(seconds), 3)
        print(f"{name}: {found[name]:.2f} s", flush=True)
    return found


def endpoint_series() -> Iterator[tuple[str, float]]:
    """Yield the counters of an endpoint, each with how fast it rises in a second."""
    for name in MODEL_NAMES:
        of = f'model="{name}",version="1",release="{LIVE}"'
        for status in ("200", "400", "413", "422", "500", "503"):
            yield f'flotilla_requests_total{{{of},status="{status}"}}', 10.0
        for metric in ("request_seconds", "request_rows", "call_rows"):
            for at, bound in enumerate(BOUNDS):
                yield f'flotilla_{metric}_bucket{{{of},le="{bound}"}}', 1.0 + at
        for fields in json.loads((MODELS / name / "distribution.json").read_text())["columns"]:
            spread = Spread.of(fields)
            for label in spread.bins.labels:
                yield f'flotilla_column_values_total{{{of},column="{spread.name}",bin="{label}"}}', 2.0
            yield f'flotilla_column_drift_score{{{of},column="{spread.name}"}}', 0.0
            yield f'flotilla_column_drift_bound{{{of},column="{spread.name}"}}', 0.0
        for label in ("a", "b", "c"):
            yield f'flotilla_predictions_total{{{of},output="predict",class="{label}"}}', 3.0


def balancer_series() -> Iterator[tuple[str, float]]:
    """Yield the counters of a load balancer."""
    for at in range(1, NODES + 1):
        for model in MODEL_NAMES:
            of = f'endpoint="node{at:03}",slot="green",release="{LIVE}",model="{model}"'
            for status in ("2xx", "4xx"):
                yield f'flotilla_lb_requests_total{{status="{status}",{of}}}', 5.0
                for place, bound in enumerate(BOUNDS):
                    yield (
                        f'flotilla_lb_request_seconds_bucket{{status="{status}",{of},le="{bound}"}}',
                        1.0 + place,
                    )


class Fleet300(BaseHTTPRequestHandler):
    """Answers as each endpoint and load balancer, by the path."""

    texts: dict[str, Sequence[tuple[str, float]]]
    begun = time.time()
    pace = 1

    def do_GET(self) -> None:
        passed = self.pace * (time.time() - self.begun)
        series = self.texts["balancer" if "balancer" in self.path else "endpoint"]
        # Traffic is never quite even, which costs bytes.
        uneven = 1 + (hash((self.path, int(passed))) % 100) / 1000
        body = "".join(f"{name} {int(speed * passed * uneven)}\n" for name, speed in series).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write no log."""


def configuration(port: int, nodes: int, interval: int) -> dict[str, Any]:
    def job(name: str, label: str, names: Sequence[str]) -> dict[str, Any]:
        targets = [
            {
                "targets": [f"127.0.0.1:{port}"],
                "labels": {label: one, "instance": one, "__metrics_path__": f"/{label}/{one}"},
            }
            for one in names
        ]
        return {"job_name": name, "static_configs": targets}

    endpoints = [f"node{at:03}" for at in range(1, nodes + 1)]
    return {
        "global": {"scrape_interval": f"{interval}s", "evaluation_interval": "15s"},
        "rule_files": [str(ROOT / "roles" / "monitoring" / "files" / "recording.yml")],
        "scrape_configs": [
            job("endpoints", "endpoint", endpoints),
            job("load_balancers", "load_balancer", ["balancer1", "balancer2"]),
        ],
    }


def collected(folder: Path) -> dict[str, float]:
    """Return what Prometheus takes to collect the fleet's metrics, and what 30 days of them take on the disk."""
    Fleet300.texts = {"endpoint": list(endpoint_series()), "balancer": list(balancer_series())}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Fleet300)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        settings = configuration(server.server_port, NODES, INTERVAL)
        with prometheus(folder / "all", folder / "all" / "data", settings) as (url, process):
            before = _cpu(process)
            time.sleep(COLLECTED_SECONDS)
            cpu = (_cpu(process) - before) / COLLECTED_SECONDS
            status = Path(f"/proc/{process}/status").read_text()
            memory = int(status.partition("VmHWM:")[2].split()[0]) * 1024
            series = Prometheus(url).now({"count": 'count({__name__=~".+"})'})["count"][0].value
        Fleet300.pace = PACE
        some = configuration(server.server_port, WEIGHED_NODES, 1)
        some["scrape_configs"].pop()
        some["rule_files"].clear()
        data = folder / "some" / "data"
        with prometheus(folder / "some", data, some, "--web.enable-admin-api") as (url, _):
            time.sleep(WEIGHED_SECONDS)
            found = _weighed(_snapshot(url, data), series)
    finally:
        server.shutdown()
    return {"series": series, "cpu_cores": round(cpu, 3), "memory_bytes": memory, **found}


def _snapshot(url: str, data: Path) -> Path:
    asked = urllib.request.Request(f"{url}/api/v1/admin/tsdb/snapshot", method="POST")
    with urllib.request.urlopen(asked, timeout=120) as answer:
        name: str = json.load(answer)["data"]["name"]
    return data / "snapshots" / name


def _weighed(snapshot: Path, series: float) -> dict[str, float]:
    """Return the bytes of a sample in a snapshot, and those of 30 days of a fleet with so many series."""
    stats = [json.loads(path.read_text())["stats"] for path in snapshot.glob("*/meta.json")]
    samples = sum(found["numSamples"] for found in stats)
    chunks = sum(path.stat().st_size for path in snapshot.glob("*/chunks/*"))
    index = sum(path.stat().st_size for path in snapshot.glob("*/index")) / sum(
        found["numSeries"] for found in stats
    )
    month = series * 30 * DAY / INTERVAL
    return {
        "bytes_per_sample": round(chunks / samples, 2),
        "disk_bytes_30_days": round(month * chunks / samples + series * index * 30 / BLOCK_DAYS),
    }


def _cpu(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="flotilla-monitoring-") as name:
        folder = Path(name)
        found = {
            "endpoints": NODES,
            "days": 30,
            "view_seconds": rendered(folder),
            "prometheus": collected(folder),
        }
    write_results("monitoring", found)
    print(json.dumps(found, indent=2))
    slow = {name: seconds for name, seconds in found["view_seconds"].items() if seconds >= 1}  # type: ignore[attr-defined]
    if slow:
        print(f"slower than a second: {slow}")
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
