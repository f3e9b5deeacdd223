"""Requests to Nginx's frontend, and the lines of its access log, as the tests of several scenarios need them."""

import json
from typing import Any

from fleet.fleet import Fleet
from fleet.machine import Answer, Machine, wait_until

# An address of no operator, as the trusted proxy reports it.
FROM_ANYWHERE = {"X-Forwarded-For": "203.0.113.9"}
ACCESS_LOG = "/var/log/flotilla/access.log"

OPERATORS_ROUTES = ["/metrics", "/docs", "/docs/index.html", "/openapi.json"]
SPELLINGS = [
    "//metrics",
    "/./metrics",
    "/v2/../metrics",
    "/%2fmetrics",
    "/%6detrics",
    "/METRICS",
    "/metrics?x",
    "/metrics%23",
    "/metrics;x",
    "/metrics%0a",
    "/v2/%2e%2e/docs",
    "http://models.example/metrics",
]


def from_anywhere(fleet: Fleet, target: str) -> Answer:
    """Send one GET as a client anywhere does, through the trusted proxy."""
    return fleet.outsider.ask(fleet.load_balancer, target, FROM_ANYWHERE)


def status(fleet: Fleet, path: str = "/v2", **headers: str) -> int:
    """Return the status of one GET; an underscore in a header's name stands for a hyphen."""
    return fleet.get(path, {name.replace("_", "-"): value for name, value in headers.items()}).status_code


def logged(fleet: Fleet, **fields: object) -> dict[str, Any]:
    """Return the newest line of the access log with these values, once it is there."""
    found: list[dict[str, Any]] = []

    def read() -> bool:
        found.extend(line for line in _log_lines(fleet, 40) if fields.items() <= line.items())
        return bool(found)

    wait_until(f"a line of the log has {fields}", read, 10)
    return found[-1]


def logged_since(fleet: Fleet, since: float, client: str, count: int) -> list[dict[str, Any]]:
    """Return a client's lines of the access log since a moment, once there are `count` of them at least.

    `since` is in seconds since the epoch. Requests by POST, which the load sends, are left out. Each worker of Nginx
    keeps its lines for up to a second, so the lines of two requests may come in either order.
    """
    found: list[dict[str, Any]] = []

    def read() -> bool:
        found[:] = [
            line
            for line in _log_lines(fleet, 5000)
            if line["at"] >= since and line["client"] == client and line["method"] != "POST"
        ]
        return len(found) >= count

    wait_until(f"the log has {count} lines of {client}", read, 10)
    return found


def _log_lines(fleet: Fleet, count: int) -> list[dict[str, Any]]:
    """Return the newest lines of the access log; fails at one that is no JSON object."""
    written = fleet.load_balancer.run("tail", "--lines", str(count), ACCESS_LOG)
    return [dict(json.loads(line)) for line in written.splitlines()]


def shown_of_nginx(balancer: Machine, files: str) -> dict[str, str]:
    """Return what a machine shows of its Nginx, by the command that shows it; `files` is the one that prints files.

    Fails unless each shows what is certain to be there, so that what is looked for next would be found. For the
    container's log, which may be empty, a line is written to Nginx's standard error.
    """
    log, line = "docker logs flotilla-nginx 2>&1", "a line for the log"
    certain = {
        "docker inspect flotilla-nginx": '"flotilla.role": "load_balancer"',
        log: line,
        "ps -eww -o args": "nginx: master process",
        files: "ssl_certificate_key",
    }
    process = balancer.run("docker", "inspect", "--format", "{{.State.Pid}}", "flotilla-nginx").strip()
    balancer.run("tee", f"/proc/{process}/fd/2", stdin=f"{line}\n")
    wait_until("the container's log has the line", lambda: line in balancer.run("sh", "-c", log), 10)
    shown = {command: balancer.run("sh", "-c", command) for command in certain}
    assert [command for command, text in certain.items() if text not in shown[command]] == []
    return shown
