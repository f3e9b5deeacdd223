"""One host of the fleet: a container with its own service manager and its own Docker engine."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.ports import SSH

PROBE = Path(__file__).with_name("probe.py")
ASK = Path(__file__).with_name("ask.py")
ROUTE = "/run/default_route"


def wait_until(what: str, condition: Callable[[], bool], timeout_seconds: float = 60) -> None:
    """Return once `condition` holds, or fail naming `what` was waited for."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_seconds:.0f} s: {what}"
        time.sleep(0.3)


def open_from_here(ports: Iterable[str]) -> set[str]:
    """Return those of `ports`, each ADDRESS:PORT, that accept a connection from this machine."""
    command = [sys.executable, str(PROBE), *sorted(ports)]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@dataclass(frozen=True)
class Answer:
    """What came back for a request sent from a machine of the fleet."""

    status: int
    headers: Mapping[str, str]
    text: str


@dataclass(frozen=True)
class Machine:
    """A host as the inventory names it, reached by the name of its container."""

    name: str
    address: str
    container: str

    def attempt(self, command: Sequence[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command on the machine and return how it went."""
        return subprocess.run(
            ["docker", "exec", "--interactive", self.container, *command],
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
        )

    def run(self, *command: str, stdin: str = "") -> str:
        """Return what a command that must succeed writes."""
        done = self.attempt(command, stdin)
        assert done.returncode == 0, f"{self.name}: {' '.join(command)}: {done.stderr.strip()}"
        return done.stdout

    def ask(self, other: "Machine", target: str, headers: Mapping[str, str]) -> Answer:
        """Send a GET from this machine to another's port 80, with the target as it is."""
        lines = [f"{name}:{value}" for name, value in headers.items()]
        said = self.run("python3", "-", other.address, target, *lines, stdin=ASK.read_text())
        return Answer(**json.loads(said))

    def addressed(self, ports: Iterable[int]) -> set[str]:
        """Return ports of the machine as others address them: ADDRESS:PORT."""
        return {f"{self.address}:{port}" for port in ports}

    def reaches(self, ports: Iterable[str]) -> set[str]:
        """Return those of `ports`, each ADDRESS:PORT, that accept a connection from this machine."""
        return set(self.run("python3", "-", *sorted(ports), stdin=PROBE.read_text()).split())

    def listening_ports(self) -> set[int]:
        """Return the TCP ports something on the machine listens on, loopback aside."""
        sockets = (line.split()[3] for line in self.run("ss", "-Hltn").splitlines())
        addresses = (socket.rpartition(":") for socket in sockets)
        return {int(port) for address, _, port in addresses if not address.startswith("127.")}

    def containers(self) -> list[dict[str, Any]]:
        """Return what the machine's engine tells about each container that runs."""
        names = self.run("docker", "ps", "--quiet").split()
        return list(json.loads(self.run("docker", "inspect", *names))) if names else []

    def container_names(self) -> set[str]:
        """Return the names of the containers that run."""
        return {container["Name"].lstrip("/") for container in self.containers()}

    def healthy_containers(self) -> set[str]:
        """Return the names of the containers that run and, where they can tell, are healthy."""
        return {
            container["Name"].lstrip("/")
            for container in self.containers()
            if container["State"].get("Health", {}).get("Status", "healthy") == "healthy"
        }

    def endpoints(self) -> dict[str, str]:
        """Return the releases the machine has endpoint containers of, with their states (running, exited, ...)."""
        listing = ("docker", "ps", "--all", "--filter", "label=flotilla.role=endpoint")
        lines = self.run(*listing, "--format", '{{.Label "flotilla.release"}} {{.State}}').splitlines()
        return dict(line.split() for line in lines)

    def kill_engine(self) -> None:
        """Kill the Docker engine and every container of the machine, as a crash would."""
        first_processes = [str(container["State"]["Pid"]) for container in self.containers()]
        kill_engine = "pkill -KILL dockerd; pkill -KILL containerd"
        self.attempt(["sh", "-c", f"{kill_engine}; kill -KILL {' '.join(first_processes)}"])

    def cut_off(self) -> None:
        """Pull the machine's network cable."""
        # The route to other networks goes with it, and a container has no service that restores the route.
        pull = f"ip route show default >{ROUTE}; ip link set {self._card()} down"
        self.run("sh", "-ec", pull)

    def plug_in(self) -> None:
        """Put the network cable back and wait until SSH answers."""
        self.run("sh", "-ec", f"ip link set {self._card()} up; ip route add $(cat {ROUTE})")
        wait_until(f"{self.name} answers over SSH", lambda: bool(open_from_here(self.addressed({SSH}))))

    def _card(self) -> str:
        """The name of the network card that has the machine's address."""
        return self.run("ip", "-4", "-oneline", "address", "show", "to", self.address).split()[1]

    def stop(self) -> None:
        """Shut the machine down."""
        subprocess.run(["docker", "stop", self.container], check=True, capture_output=True)

    def start(self) -> None:
        """Boot the machine again and wait until SSH answers."""
        subprocess.run(["docker", "start", self.container], check=True, capture_output=True)
        wait_until(f"{self.name} answers over SSH", lambda: bool(open_from_here(self.addressed({SSH}))))

    def restart(self) -> None:
        """Stop the machine and boot it again."""
        subprocess.run(["docker", "restart", self.container], check=True, capture_output=True)
