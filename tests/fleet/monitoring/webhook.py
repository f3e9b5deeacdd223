"""A receiver of alerts on the monitoring host: what Alertmanager has told it."""

import json
from typing import Any

from fleet.fleet import Fleet
from fleet.machine import wait_until

PORT = 9999
SCRIPT, TOLD = "/root/webhook.py", "/root/webhook.jsonl"
SERVER = f"""
import http.server, json, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open({TOLD!r}, "a") as file:
            file.writelines(json.dumps({{**alert, "at": time.time()}}) + "\\n" for alert in body["alerts"])
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", {PORT}), Handler).serve_forever()
"""


def begin(fleet: Fleet) -> None:
    """Start the receiver, which has heard of nothing yet, unless it runs."""
    machine = fleet.monitoring
    look = ["python3", "-c", f"import socket; socket.create_connection(('127.0.0.1', {PORT}), 1)"]
    machine.run("tee", TOLD)
    if machine.attempt(look).returncode == 0:
        return
    machine.run("tee", SCRIPT, stdin=SERVER)
    machine.run("sh", "-c", f"setsid python3 {SCRIPT} >/dev/null 2>&1 &")
    wait_until("the receiver listens", lambda: machine.attempt(look).returncode == 0, 10)


def told(fleet: Fleet) -> list[dict[str, Any]]:
    """Return the alerts that the receiver has been told of, the first first."""
    return [json.loads(line) for line in fleet.monitoring.run("cat", TOLD).splitlines()]


def named(fleet: Fleet, name: str, status: str, **labels: str) -> list[dict[str, Any]]:
    """Return those of a name and a status (firing or resolved) that have these labels."""
    return [
        alert
        for alert in told(fleet)
        if alert["status"] == status and alert["labels"].items() >= {"alertname": name, **labels}.items()
    ]
