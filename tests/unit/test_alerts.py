"""The alerts' rules, which a real promtool tests, and who is told of them, by a real Alertmanager."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

import prometheus_tools
from plays import results_of
from real_nginx import free_port, wait_until

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[2]
ROLE = ROOT / "roles" / "monitoring"
TESTS = sorted((ROOT / "tests" / "alerts").glob("*.yml"))
RUNBOOK = ROOT / "docs" / "runbook.md"
NODE_EXPORTER = {
    "node_filesystem_avail_bytes",
    "node_filesystem_readonly",
    "node_filesystem_size_bytes",
    "node_time_seconds",
    "node_vmstat_oom_kill",
}
ALWAYS = {"Watchdog"}
"""Alerts that are never silent."""

RECEIVERS: list[dict[str, Any]] = [
    {
        "name": "on-call",
        "severities": ["critical"],
        "webhook_configs": [{"url": "http://127.0.0.1:1/critical"}],
    },
    {
        "name": "mail",
        "email_configs": [
            {"to": "ops@models.example", "from": "f@models.example", "smarthost": "mail.models.example:587"}
        ],
    },
    {
        "name": "chat",
        "slack_configs": [{"api_url": "https://chat.models.example/hook", "channel": "#models"}],
    },
    {"name": "dead-man", "severities": ["none"], "webhook_configs": [{"url": "http://127.0.0.1:1/alive"}]},
]


def rendered(folder: Path, receivers: list[dict[str, Any]]) -> dict[str, str]:
    """Return the text of the rules (`alerts`) and of Alertmanager's configuration, as the role renders them."""
    names = ("alerts", "alertmanager")
    play = {
        "name": "Render",
        "hosts": "watch",
        "gather_facts": False,
        "vars_files": [str(ROLE / "defaults" / "main.yml")],
        "tasks": [
            {
                "name": f"Render {name}",
                "vars": {"monitoring_receivers": receivers},  # before those of files
                "ansible.builtin.debug": {
                    "msg": f"{{{{ lookup('ansible.builtin.template', '{ROLE}/templates/{name}.yml.j2') }}}}"
                },
            }
            for name in names
        ],
    }
    (folder / "play.yml").write_text(json.dumps([play]))
    (folder / "inventory.yml").write_text(
        json.dumps({"all": {"hosts": {"watch": {"ansible_connection": "local"}}}})
    )
    results = results_of(folder / "play.yml", folder / "inventory.yml", "watch")
    return {name: result["msg"] for name, result in zip(names, results, strict=True)}


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return rendered(tmp_path_factory.mktemp("rendered"), RECEIVERS)


@pytest.fixture(scope="module")
def groups(texts: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load(texts["alerts"])["groups"]
    return found


@pytest.fixture(scope="module")
def alerts(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def run_promtool(folder: Path, groups: list[dict[str, Any]], tests: list[Path]) -> str:
    """Return what promtool says of failing tests of the rules; empty if none fails.

    Each group of rules is a file, and a test names those that it needs. They are computed in their order, where
    promtool by itself has none.
    """
    for group in groups:
        (folder / f"{group['name']}.yml").write_text(json.dumps({"groups": [group]}))
    order = json.dumps([group["name"] for group in groups])
    for path in tests:
        (folder / path.name).write_text(f"group_eval_order: {order}\n{path.read_text()}")
    process = prometheus_tools.run("promtool", "test", "rules", *(folder / path.name for path in tests))
    return process.stdout + process.stderr if process.returncode else ""


def test_each_alert_fires_and_is_silent_when_it_should(groups: list[dict[str, Any]], tmp_path: Path) -> None:
    assert run_promtool(tmp_path, groups, TESTS) == ""


def test_a_rule_that_never_fires_is_found(texts: dict[str, str], tmp_path: Path) -> None:
    broken = texts["alerts"].replace("changes(flotilla_lb_holds_address[30m]) > 3", "vector(0) > 3")
    assert broken != texts["alerts"]
    releases = next(path for path in TESTS if path.name == "releases.yml")
    found = run_promtool(tmp_path, yaml.safe_load(broken)["groups"], [releases])
    assert "alertname: AddressFlapping, time: 15m" in found


def test_promtool_finds_no_fault_in_the_rules(texts: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_text(texts["alerts"])
    process = prometheus_tools.run(
        "promtool", "check", "rules", "--lint=all", "--lint-fatal", tmp_path / "alerts.yml"
    )
    assert process.returncode == 0, process.stdout + process.stderr


def untested(alerts: list[dict[str, Any]], files: list[dict[str, Any]]) -> list[str]:
    """Return the alerts that no single test shows both firing and silent."""
    shown = set()
    for test in (test for file in files for test in file["tests"]):
        states: dict[str, set[bool]] = {}
        for case in test["alert_rule_test"]:
            states.setdefault(case["alertname"], set()).add(bool(case.get("exp_alerts")))
        shown |= {
            name for name, found in states.items() if found >= {True, False} or name in ALWAYS & states.keys()
        }
    return sorted({alert["alert"] for alert in alerts} - shown)


def test_each_alert_has_a_test_of_both(alerts: list[dict[str, Any]]) -> None:
    files = [yaml.safe_load(path.read_text()) for path in TESTS]
    assert untested(alerts, files) == []
    silent = {"tests": [{"alert_rule_test": [{"alertname": "New", "exp_alerts": []}]}]}
    assert untested([{"alert": "New"}], [silent]) == ["New"]


def test_each_alert_says_what_it_is_about_how_urgent_it_is_and_what_to_do(
    alerts: list[dict[str, Any]],
) -> None:
    headings = re.findall(r"^## (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    for alert in alerts:
        assert alert["labels"]["severity"] in {"critical", "warning", "none"}, alert["alert"]
        assert alert["annotations"].keys() == {"summary", "runbook"}, alert["alert"]
        assert alert["annotations"]["summary"].endswith("."), alert["alert"]
        assert alert["annotations"]["runbook"] == f"docs/runbook.md#{alert['alert'].lower()}"
        assert alert["alert"] in headings


def test_the_runbook_has_no_section_of_an_alert_that_is_gone(alerts: list[dict[str, Any]]) -> None:
    sections = re.split(r"^## ", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]
    names = [section.splitlines()[0] for section in sections]
    assert names == list(dict.fromkeys(alert["alert"] for alert in alerts))
    for name, section in zip(names, sections, strict=True):
        parts = re.findall(r"^\*\*(.+?)\.\*\*", section, re.MULTILINE)
        assert parts == ["What it means", "What to look at", "What to run"], name


KEYWORDS = {
    "and",
    "or",
    "unless",
    "bool",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "offset",
}


def metrics(expression: str) -> set[str]:
    """Return the names of the metrics that an expression of PromQL reads."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]", " ", bare)
    names = re.findall(r"(?<![\w.:])([a-zA-Z_:][\w:]*)(?!\s*\(|[\w:])", bare)
    return set(names) - KEYWORDS


def test_the_metrics_of_an_expression_are_found() -> None:
    expression = (
        'max by (a, b) (x_total{c="d"}) > 2e9 unless on () label_replace(y:z == 0, "e", "", "f", "") or h[5m]'
    )
    assert metrics(expression) == {"x_total", "y:z", "h"}


def test_each_metric_of_a_rule_exists(groups: list[dict[str, Any]]) -> None:
    told = set(re.findall(r"`(flotilla_\w+)", (ROOT / "docs" / "monitoring.md").read_text()))
    rules = [rule for group in groups for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    known = told | recorded | NODE_EXPORTER | {"up"}
    for rule in rules:
        unknown = metrics(rule["expr"]) - known
        left = {name for name in unknown if re.sub(r"_(bucket|count|sum)$", "", name) not in told}
        assert left == set(), rule
    read = set().union(*(metrics(rule["expr"]) for rule in rules))
    assert recorded <= read, "a recorded series that no alert reads"


def routed(config: Path, **labels: str) -> set[str]:
    """Return the receivers of an alert with these labels."""
    pairs = [f"{name}={value}" for name, value in labels.items()]
    process = prometheus_tools.run("amtool", "config", "routes", "test", f"--config.file={config}", *pairs)
    assert process.returncode == 0, process.stderr
    return set(process.stdout.strip().split(","))


def test_each_receiver_is_told_of_its_severities(texts: dict[str, str], tmp_path: Path) -> None:
    config = tmp_path / "alertmanager.yml"
    config.write_text(texts["alertmanager"])
    process = prometheus_tools.run("amtool", "check-config", config)
    assert process.returncode == 0, process.stdout + process.stderr
    assert routed(config, alertname="EndpointDown", severity="critical") == {"on-call", "mail", "chat"}
    assert routed(config, alertname="CanaryOld", severity="warning") == {"mail", "chat"}
    assert routed(config, alertname="Watchdog", severity="none") == {"dead-man"}


def test_without_receivers_nobody_is_told(tmp_path: Path) -> None:
    config = tmp_path / "alertmanager.yml"
    config.write_text(rendered(tmp_path, [])["alertmanager"])
    assert prometheus_tools.run("amtool", "check-config", config).returncode == 0
    assert routed(config, alertname="EndpointDown", severity="critical") == {"nobody"}


class Webhook:
    """A receiver of alerts: what it was told, as (status, alert, labels)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, dict[str, str]]] = []
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told.extend((a["status"], a["labels"]["alertname"], a["labels"]) for a in body["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def names(self, status: str) -> set[str]:
        return {name for found, name, _ in self.told if found == status}


@contextmanager
def alertmanager(folder: Path, config: str) -> Iterator[int]:
    """Run Alertmanager and yield its port."""
    port = free_port()
    (folder / "alertmanager.yml").write_text(config)
    command = [
        str(prometheus_tools.alertmanager_beside_its_files(folder)),
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=prometheus_tools.installation())
    try:
        wait_until(lambda: answers(port), f"Alertmanager answers; see {folder / 'log'}")
        yield port
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def fire(port: int, *alerts: dict[str, str], ended: bool = False) -> None:
    """Tell Alertmanager of alerts that fire, or have ended."""
    end = {"endsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 1))} if ended else {}
    body = json.dumps([{"labels": labels, **end} for labels in alerts]).encode()
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v2/alerts", body, {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=5).close()


def test_whoever_knows_of_the_cause_is_not_told_of_what_follows(tmp_path: Path) -> None:
    webhook = Webhook()
    url = f"http://127.0.0.1:{webhook.server.server_port}/"
    receiver = {"name": "all", "webhook_configs": [{"url": url}]}
    config = rendered(tmp_path, [receiver])["alertmanager"]
    quick = config.replace("group_wait: 10s", "group_wait: 1s").replace(
        "group_interval: 15s", "group_interval: 1s"
    )
    assert quick != config
    critical = {"severity": "critical"}
    followers = [
        {"alertname": "EndpointDown", "endpoint": "n1", "machine": "m1", "through": "lb1", **critical},
        {"alertname": "EndpointDown", "endpoint": "n2", "machine": "m2", "through": "lb2", **critical},
        {"alertname": "RequestsRetried", "endpoint": "n3", "severity": "warning"},
        {"alertname": "ErrorBudgetBurning", "model": "iris", "window": "1d", "severity": "warning"},
        {"alertname": "ErrorBudgetBurning", "model": "(all)", "window": "1h", **critical},
    ]
    causes = [
        {"alertname": "NodeDown", "machine": "m1", **critical},
        {
            "alertname": "LoadBalancerDown",
            "load_balancer": "lb2",
            "machine": "m3",
            "through": "lb2",
            **critical,
        },
        {"alertname": "EndpointDown", "endpoint": "n3", "machine": "m4", "through": "lb1", **critical},
        {"alertname": "ErrorBudgetBurning", "model": "iris", "window": "1h", **critical},
        {"alertname": "ErrorBudgetBurning", "model": "wine", "window": "1d", "severity": "warning"},
    ]
    with alertmanager(tmp_path, quick) as port:
        fire(port, *causes, *followers)
        wait_until(lambda: len(webhook.told) >= len(causes), f"told of {webhook.told}")
        told = sorted(sorted(labels.items()) for _, _, labels in webhook.told)
        assert told == sorted(sorted(labels.items()) for labels in causes)
        fire(port, causes[0], ended=True)
        wait_until(lambda: "NodeDown" in webhook.names("resolved"), "NodeDown is resolved")
        wait_until(
            lambda: any(labels.get("endpoint") == "n1" for _, _, labels in webhook.told),
            "the endpoint's alert is told once the machine's is over",
        )
    webhook.server.shutdown()
