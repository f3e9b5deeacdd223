"""Count the requests that clients lose on kept connections while Nginx is reloaded: `make bench-kept`.

A real Nginx serves the configuration of role nginx_lb on loopback, and is reloaded again and again. Clients that people
use send predictions with pauses of chance, so that connections of every age meet a reload and Nginx's time-outs. A
relay takes as long as a network. Results go to bench/results/kept.json.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from real_nginx import Nginx, free_port, installation, render, running
from report import Figures, exit_code, option_parser, say, write_results
from servers import HERE, environment

LOCK = HERE / "requirements" / "clients.txt"
NAMES = (
    "careless",
    "requests",
    "requests, one retry",
    "httpx",
    "aiohttp",
    "like Go",
    "like Go, 15 s idle",
)
CONNECTIONS = 200
CHUNK = 65536
# The endpoint has all the time and room that it wants on a busy machine, and all clients have one address: this is only
# about their connections.
PATIENT = {
    "nginx_lb_connect_timeout_ms": 20000,
    "nginx_lb_read_timeout": 60,
    "nginx_lb_max_conns": 10000,
    "nginx_lb_client_connections": 0,
}


class Relay:
    """Passes connections on to a port, each piece after `delay` seconds, as a network would. Ends take as long."""

    def __init__(self, target: int, delay: float) -> None:
        self.port = free_port()
        self._target = target
        self._delay = delay
        self._loop = asyncio.new_event_loop()
        # The loop itself keeps no task alive.
        self._tasks: set[asyncio.Task[None] | None] = set()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        listening = asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=1024)
        asyncio.run_coroutine_threadsafe(listening, self._loop).result(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._tasks.add(task)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(self._pass_on(reader, back), self._pass_on(there, writer))
        self._tasks.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Write what is read, in order. An end is an end there too, and a reset is a reset."""
        while True:
            try:
                piece = await reader.read(CHUNK)
            except OSError:
                self._loop.call_later(self._delay, writer.transport.abort)
                return
            if not piece:
                self._loop.call_later(self._delay, writer.close)
                return
            self._loop.call_later(self._delay, writer.write, piece)


@dataclass(frozen=True)
class Case:
    """What clients meet: how long a piece takes to arrive, how often Nginx is reloaded, and the longest pause."""

    name: str
    delay_ms: float
    reload_every: float
    """Seconds. 0 for no reload."""
    longest_pause: float
    """Seconds, in which a connection reaches the time-outs of Nginx that the case is about."""


CASES = [
    Case("reloads", 0, 20, 30),
    Case("reloads, far away", 50, 20, 30),
    Case("long pauses, far away", 50, 0, 130),
]


def count_lost(case: Case, nginx: Nginx, configuration: str, port: int, seconds: float) -> Figures:
    """Have all clients send for a while, and return what each has lost."""
    program = [str(environment(LOCK) / "python"), str(HERE / "kept_clients.py")]
    options = ["--connections", str(CONNECTIONS), "--longest-pause", str(case.longest_pause)]
    relay = Relay(port, case.delay_ms / 1000)
    url = f"http://127.0.0.1:{relay.port}/predict"
    clients = {
        name: subprocess.Popen(
            [*program, name, url, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in NAMES
    }
    reloads = 0
    end = time.monotonic() + seconds
    while case.reload_every and time.monotonic() + case.reload_every < end:
        time.sleep(case.reload_every)
        nginx.serve(configuration)
        reloads += 1
    time.sleep(max(0.0, end - time.monotonic()))
    told = {name: client.communicate(timeout=60)[0] for name, client in clients.items()}
    relay.stop()
    return {
        **asdict(case),
        "reloads": reloads,
        "clients": {name: json.loads(text) for name, text in told.items()},
    }


def measure(seconds: float, times: Sequence[str]) -> None:
    """Count what is lost in each case, and write the results.

    `times` are the values of keepalive_timeout and keepalive_min_timeout to try; without any, those of the role stay.
    """
    load_average = os.getloadavg()
    ports = {"nginx_lb_port": free_port(), "nginx_lb_status_port": free_port()}
    endpoint_port = free_port()
    with tempfile.TemporaryDirectory(prefix="flotilla-bench-") as name:
        folder = Path(name)
        configurations, image = render(folder, {"kept": {**ports, **PATIENT}}, endpoint_port)
        configuration = configurations["kept"]
        for directive, value in zip(("keepalive_timeout", "keepalive_min_timeout"), times, strict=False):
            # The first of these is that of clients' connections.
            configuration = re.sub(rf"\b{directive} [^;]+;", f"{directive} {value};", configuration, count=1)
        with running(folder, installation(image), endpoint_port, ports["nginx_lb_status_port"]) as (nginx, _):
            nginx.serve(configuration)
            rounds = []
            for case in CASES:
                rounds.append(count_lost(case, nginx, configuration, ports["nginx_lb_port"], seconds))
                say(f"{case.name} done")
    for figures in rounds:
        print(f"{figures['name']}, {figures['reloads']} reloads:")
        for client, count in figures["clients"].items():
            print(f"  {client}: {count['lost']} of {count['sent']} lost {count['errors'] or ''}")
    outcome = {
        "machine": {
            "python": platform.python_version(),
            "cpus": os.cpu_count(),
            "load_average_before": load_average,
        },
        "nginx": image["name"],
        "times": re.findall(r"\bkeepalive_(?:min_)?timeout [^;]+;", configuration)[:2],
        "seconds": seconds,
        "connections": CONNECTIONS,
        "cases": rounds,
    }
    write_results("kept", outcome)


def main() -> int:
    parser = option_parser(__doc__, rounds=1)
    parser.add_argument("--seconds", type=float, default=240, help="of each case")
    parser.add_argument(
        "--times", nargs=2, default=[], help="other values for keepalive_timeout and keepalive_min_timeout"
    )
    options = parser.parse_args()
    return exit_code(lambda: measure(options.seconds, options.times), "Nginx is stopped")


if __name__ == "__main__":
    sys.exit(main())
