"""Machines to deploy to: containers made as Molecule's are, on a network of the benchmark's own."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from molecule.interpolation import Interpolator, TemplateWithDefaults

from containers import docker, remove_containers
from playbooks import PROJECT

NETWORK = "flotilla-bench"
PREFIX = "172.31.79"
USER = "deployer"
LABEL = "flotilla.bench"
BALANCER_IMAGE, NODE_IMAGES = "flotilla-host:trixie", ("flotilla-host:bookworm", "flotilla-host:trixie")
INOTIFY_LIMIT, INOTIFY_INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances"), 1024
# A user with a key and sudo, as in the scenario ssh. The lists of packages that a new image lacks look as new
# as the image, and apt would not fetch them.
PREPARE = f"""
useradd --create-home --shell /bin/bash {USER}
install -D --owner={USER} --group={USER} --mode=600 /dev/stdin /home/{USER}/.ssh/authorized_keys
echo '{USER} ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/{USER}
touch --date=@0 /var/lib/apt/lists
"""


@dataclass(frozen=True)
class Host:
    """A machine: its name in the inventory, its address and its container's name."""

    name: str
    address: str
    container: str

    def run(self, *command: str, stdin: str = "") -> str:
        """Return what a command that must succeed writes."""
        return docker("exec", "--interactive", self.container, *command, stdin=stdin)

    def received_bytes(self) -> int:
        """Return how many bytes have come in over the machine's network card since it booted."""
        return int(self.run("cat", "/sys/class/net/eth0/statistics/rx_bytes"))

    def signal_engine(self, signal: str) -> None:
        """Send a signal to the machine's Docker engine, if it has one."""
        self.run("sh", "-c", f"pkill --signal {signal} --exact dockerd || true")


class Machines:
    """Makes hosts that let USER in with a key; `folder` gets the key, and the hosts' own in known_hosts."""

    def __init__(self, folder: Path) -> None:
        self.key = folder / "deployer_key"
        self.known_hosts = folder / "known_hosts"
        self._options = container_options()
        if not self.key.exists():
            keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.key)]
            subprocess.run(keygen, check=True)
        self.known_hosts.write_text("")

    def make(self, names: Sequence[str], first: int, label: str) -> list[Host]:
        """Return booted hosts by these names, with consecutive addresses from `first` on; the first is a balancer."""
        hosts = [
            Host(name, f"{PREFIX}.{first + number}", f"{NETWORK}-{label}-{name}")
            for number, name in enumerate(names)
        ]
        with ThreadPoolExecutor(4) as pool:
            keys = list(pool.map(self._boot, hosts))
        with self.known_hosts.open("a") as file:
            file.writelines(f"{host.address} {key}" for host, key in zip(hosts, keys, strict=True))
        return hosts

    def _boot(self, host: Host) -> str:
        """Make a host, let the user in, and return the host's key."""
        number = int(host.address.rpartition(".")[2])
        image = NODE_IMAGES[number % 2] if host.name.startswith("node") else BALANCER_IMAGE
        options, command = self._options
        place = [
            "--name",
            host.container,
            "--hostname",
            host.name,
            "--network",
            NETWORK,
            "--ip",
            host.address,
        ]
        docker("run", "--detach", "--label", LABEL, *place, *options, image, *command)
        deadline = time.monotonic() + 120
        while "active" not in host.run("sh", "-c", "systemctl is-active multi-user.target || true").split():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"{host.container} did not boot within 120 s: docker logs {host.container}"
                )
            time.sleep(0.5)
        host.run("sh", "-ec", PREPARE, stdin=self.key.with_suffix(".pub").read_text())
        return host.run("cat", "/etc/ssh/ssh_host_ed25519_key.pub")


def container_options() -> tuple[list[str], list[str]]:
    """Return the options of `docker run` that make a host of Molecule's configuration, and its command."""
    text = (PROJECT / ".config" / "molecule" / "config.yml").read_text()
    filled = Interpolator(TemplateWithDefaults, dict(os.environ)).interpolate(text)
    platform: dict[str, Any] = yaml.safe_load(filled)["platforms"][0]
    options = ["--cgroupns", platform["cgroupns_mode"], "--stop-signal", platform["stop_signal"]]
    for key, flag in (
        ("capabilities", "--cap-add"),
        ("security_opts", "--security-opt"),
        ("tmpfs", "--tmpfs"),
    ):
        options += [word for value in platform[key] for word in (flag, value)]
    for name, value in platform["sysctls"].items():
        options += ["--sysctl", f"{name}={value}"]
    for volume in platform["volumes"]:
        options += ["--volume", str(Path(volume).expanduser())]
    return options, shlex.split(platform["command"])


@contextlib.contextmanager
def room_to_watch() -> Iterator[None]:
    """Let twenty service managers watch files at once, each of which takes several of the kernel's inotify instances.

    Raises RuntimeError when this user may not.
    """
    before = int(INOTIFY_LIMIT.read_text())
    try:
        INOTIFY_LIMIT.write_text(str(max(before, INOTIFY_INSTANCES)))
    except OSError as error:
        if before < INOTIFY_INSTANCES:
            raise RuntimeError(
                f"{error}: sudo sysctl fs.inotify.max_user_instances={INOTIFY_INSTANCES}"
            ) from error
        yield
        return
    try:
        yield
    finally:
        INOTIFY_LIMIT.write_text(str(before))


def remove() -> None:
    """Remove every host and the network, of an earlier run as well."""
    remove_containers(LABEL)
    if NETWORK in docker("network", "ls", "--format", "{{.Name}}").split():
        docker("network", "rm", NETWORK)


@contextlib.contextmanager
def machines(folder: Path) -> Iterator[Machines]:
    """Give a maker of hosts, and remove the hosts it made at the end, whatever the end is."""
    subprocess.run(
        [sys.executable, str(PROJECT / "tools" / "molecule_hosts.py")], check=True, stdout=sys.stderr
    )
    remove()
    try:
        docker("network", "create", "--subnet", f"{PREFIX}.0/24", NETWORK)
        with room_to_watch():
            yield Machines(folder)
    finally:
        remove()
