#!/usr/bin/python
"""Runs on hosts: reads in one call what a run has to know of a machine."""

from __future__ import annotations

import http.client
import importlib.util
import pathlib
import platform
import socket
import ssl
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.docker_engine import Engine
from ansible_collections.flotilla.fleet.plugins.module_utils.engine_state import engine_state
from ansible_collections.flotilla.fleet.plugins.module_utils.firewall_rules import found_firewall
from ansible_collections.flotilla.fleet.plugins.module_utils.image_record import found_images
from ansible_collections.flotilla.fleet.plugins.module_utils.interfaces import has_ipv6, own_addresses
from ansible_collections.flotilla.fleet.plugins.module_utils.lock_owner import (
    LOCK,
    LOCK_FOLDER,
    read_beat,
    read_holder,
)
from ansible_collections.flotilla.fleet.plugins.module_utils.machine_files import (
    acme_state,
    disk_space,
    distributions,
    file_certificates,
    file_states,
    fleet_state,
    link_targets,
    os_release,
    registry_digests,
    unsupported,
)
from ansible_collections.flotilla.fleet.plugins.module_utils.nginx_status import (
    ANSWER_TIMEOUT,
    served_version,
)

DOCUMENTATION = r"""
module: machine_state
short_description: Read the state of a machine
description:
  - Runs on hosts, and changes nothing.
  - Returns in one call what a run compares with what it wants, so that later tasks ask nothing again and act only where
    there is a difference.
  - Needs only Python and root's rights. A machine without a Docker engine or without any of what it needs is read too.
options:
  needs:
    description:
      - >-
        What to look for: a program by its name, a file by its path, a module of the machine's Python as
        C(python:NAME).
    type: list
    elements: str
    default: []
  folders:
    description: The folders whose files to read, with their subfolders. A single file may be named too.
    type: list
    elements: path
    default: []
  links:
    description: The symbolic links to read.
    type: list
    elements: path
    default: []
  disks:
    description:
      - The folders on whose disks to read the free space, besides the engine's own. A folder that is missing stands for
        the folder above.
    type: list
    elements: path
    default: []
  asked_at:
    description: When the controller asked, by its clock. Returned as it is.
    type: float
    default: 0
  status_port:
    description: The port on loopback where Nginx tells which configuration it serves. 0 sends no request.
    type: int
    default: 0
  tls_port:
    description: The port where Nginx speaks TLS with clients. 0 opens no connection.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Read the state of the machine
  flotilla.fleet.machine_state:
    needs: [iptables, "python:requests"]
    folders: [/etc/flotilla]
    links: [/etc/systemd/system/multi-user.target.wants/flotilla-firewall.service]
    status_port: 8090
  register: machine
"""

RETURN = r"""
distributions:
  description:
    - The distribution and its version as /etc/os-release names them, with the version's first part alone as well, and
      then those that the distribution is like.
  returned: always
  type: list
  elements: str
  sample: [rocky-9.6, rocky-9, rhel-9.6, rhel-9]
engine:
  description: Whether a Docker engine answers on /run/docker.sock. Without one, the other results about it are empty.
  returned: always
  type: bool
engine_version:
  description: The version of the engine.
  returned: always
  type: str
  sample: 26.1.5+dfsg1
engine_firewall:
  description: Where the engine writes its rules, as it tells since version 28.2; empty for an older one.
  returned: always
  type: str
  sample: iptables+firewalld
selinux:
  description: Whether the engine confines containers by SELinux, so that what they mount needs a label.
  returned: always
  type: bool
engine_folder:
  description: The folder where the engine keeps its images.
  returned: always
  type: str
  sample: /var/lib/docker
bridge:
  description: The IPv4 address of the engine's bridge, docker0.
  returned: always
  type: str
addresses:
  description: The network interface of each of the machine's IPv4 addresses, by address.
  returned: always
  type: dict
  sample: {127.0.0.1: lo, 192.0.2.11: eth0}
ipv6:
  description: Whether programs of the machine can listen by IPv6.
  returned: always
  type: bool
network:
  description: The C(subnet) and the driver's C(options) of the engine's network flotilla, empty where there is none.
  returned: always
  type: dict
  sample: {subnet: 169.254.83.0/24, options: {com.docker.network.bridge.name: flotilla0}}
containers:
  description:
    - The fleet's containers (those with a label flotilla.role), running or not, by name. A container that Docker
      restarts after a failure counts as not running.
    - Its C(settings) are how it runs, in the form of module_utils/container_settings.py. C(image) is the name that it
      was run by, and C(image_id) what it runs. C(newer_files) tells whether a file of its configuration was written
      after it was started, and C(created) when the container was made, in seconds since the epoch.
  returned: always
  type: dict
  sample:
    flotilla-node1-blue:
      {running: true, health: healthy, image: "10.0.0.1:5000/flotilla/model-endpoint@sha256:…", image_id: "sha256:…",
       labels: {flotilla.role: endpoint}, restarts: 0, started: "2025-01-01T12:00:00.123456789Z",
       created: 1735732800, settings: {memory: 536870912, read_only: true}, newer_files: false}
images:
  description: The ids of the fleet's images in the engine, by their tags and digests.
  returned: always
  type: dict
  sample: {"10.0.0.1:5000/flotilla/nginx@sha256:…": "sha256:…"}
images_made:
  description: When each of these images was made, in seconds since the epoch, by its id.
  returned: always
  type: dict
  sample: {"sha256:…": 1735732800}
published:
  description: The digest by which a tag of the fleet's images was pushed or pulled, by tag; both with the repository.
  returned: always
  type: dict
  sample: {"10.0.0.1:5000/flotilla/nginx:4f438256f833": "10.0.0.1:5000/flotilla/nginx@sha256:…"}
bases:
  description: The image that an endpoint's image was built on, by tag and digest, where the build has named it.
  returned: always
  type: dict
  sample: {"10.0.0.1:5000/flotilla/model-endpoint@sha256:…": "flotilla/python:33ebaa712e84"}
debian_images:
  description: >-
    The images of Debian packages that were made on the machine, by the stem of their tarballs, each as
    module_utils/image_record.py has it.
  returned: always
  type: dict
  sample: {flotilla-nginx-44702f4fc887: {made: 1735732800.0, recorded: true, looked: 1736337600.0, newer: [nginx]}}
has:
  description: Those of O(needs) that the machine has.
  returned: always
  type: list
  elements: str
files:
  description: SHA-256, mode and owner of each file in O(folders), by path.
  returned: always
  type: dict
  sample: {/etc/flotilla/nginx/nginx.conf: "5f70…:0644:0"}
certificates:
  description: The certificates of each file in O(folders) that has any, in PEM form, by path.
  returned: always
  type: dict
links:
  description: Where those of O(links) that are links point, by path.
  returned: always
  type: dict
systemd:
  description: Whether systemd manages the machine's services.
  returned: always
  type: bool
disks:
  description:
    - The disks of the folder where the engine keeps its images, and of O(disks), each with the C(folders) that are on
      it, the bytes that are C(free), and those in all (C(size)).
  returned: always
  type: list
  elements: dict
  sample: [{folders: [/var/lib/docker, /var/lib/flotilla], free: 10737418240, size: 53687091200}]
lock:
  description: The run that holds the deploy lock, as module deploy_lock wrote it, empty where none does.
  returned: always
  type: dict
lock_silent:
  description: >-
    How many seconds ago that run gave its last sign of life, by the machine's uptime. Null where it has given none.
  returned: always
  type: float
clock:
  description: The machine's time at the end of the inspection, in seconds since the epoch.
  returned: always
  type: float
asked_at:
  description: O(asked_at).
  returned: always
  type: float
firewall:
  description:
    - The fleet's firewall in the kernel, in the form of module_utils/firewall_rules.py. C(rules) are those of the chain
      FLOTILLA. C(jumps) tells for each chain on the way to it where the jump stands.
  returned: always
  type: dict
  sample:
    rules: ["-A FLOTILLA --ctdir ORIGINAL --ctorigdst 192.0.2.21 --ctorigdstport 5001:5002 -p tcp -j DROP"]
    jumps: {FORWARD: first, DOCKER-USER: first, INPUT: missing}
state:
  description: The content of /var/lib/flotilla/state.json, null without that file.
  returned: always
  type: dict
registry:
  description: The digests of the endpoints' images that the registry on the machine holds.
  returned: always
  type: list
  elements: str
served:
  description: The version of the configuration that Nginx serves, empty where no Nginx answers.
  returned: always
  type: str
certificate:
  description: The certificate that Nginx shows clients, in PEM form, empty where there is none.
  returned: always
  type: str
acme:
  description: The content of /var/lib/flotilla/acme/state.json, empty without that file.
  returned: always
  type: dict
"""

SYSTEMD = pathlib.Path("/run/systemd/system")  # sd_booted(3)


def lock_state(folder: pathlib.Path = LOCK_FOLDER) -> dict[str, Any]:
    """Return the part of the result about the deploy lock in `folder`."""
    holder = read_holder(folder / LOCK)
    return {"lock": holder or {}, "lock_silent": read_beat(folder, holder)[1]}


def shown_certificate(port: int) -> str:
    """Return the certificate that clients are shown on `port`, in PEM form; empty without one, and for port 0."""
    if not port:
        return ""
    # Clients decide whether to trust it; here it is only read.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), ANSWER_TIMEOUT) as connection,
            context.wrap_socket(connection) as tls,
        ):
            shown = tls.getpeercert(binary_form=True)
    except OSError:
        return ""
    return ssl.DER_cert_to_PEM_cert(shown) if shown else ""


def has_need(module: AnsibleModule, need: str) -> bool:
    """Tell whether the machine has what O(needs) names."""
    if need.startswith("python:"):
        return importlib.util.find_spec(need.partition(":")[2]) is not None
    return pathlib.Path(need).exists() if need.startswith("/") else module.get_bin_path(need) is not None


def _output(module: AnsibleModule, program: str, *arguments: str) -> tuple[int, str]:
    """Return the exit code and the output of `program`, 1 and "" where it is not installed."""
    path = module.get_bin_path(program)
    if path is None:
        return 1, ""
    code, output, _ = module.run_command([path, *arguments])
    return code, output


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "needs": {"type": "list", "elements": "str", "default": []},
            "folders": {"type": "list", "elements": "path", "default": []},
            "links": {"type": "list", "elements": "path", "default": []},
            "disks": {"type": "list", "elements": "path", "default": []},
            "asked_at": {"type": "float", "default": 0},
            "status_port": {"type": "int", "default": 0},
            "tls_port": {"type": "int", "default": 0},
        },
        supports_check_mode=True,
    )
    if refusal := unsupported(platform.system(), platform.machine()):
        module.fail_json(msg=refusal)
    try:
        files = file_states(module.params["folders"])
        engine = engine_state(Engine())
        module.exit_json(
            changed=False,
            distributions=distributions(os_release()),
            **engine,
            addresses=own_addresses(),
            ipv6=has_ipv6(),
            has=[need for need in module.params["needs"] if has_need(module, need)],
            files=files,
            certificates=file_certificates(files),
            links=link_targets(module.params["links"]),
            systemd=SYSTEMD.is_dir(),
            disks=disk_space(
                [folder for folder in (engine["engine_folder"], *module.params["disks"]) if folder]
            ),
            **lock_state(),
            firewall=found_firewall(_output(module, "iptables-save", "-t", "filter")[1]),
            state=fleet_state(),
            registry=registry_digests(),
            served=served_version(module.params["status_port"]),
            certificate=shown_certificate(module.params["tls_port"]),
            acme=acme_state(),
            debian_images=found_images(),
            clock=time.time(),
            asked_at=module.params["asked_at"],
        )
    except (OSError, ValueError, http.client.HTTPException) as error:
        module.fail_json(msg=f"The state of this machine can't be read: {error}")


if __name__ == "__main__":
    main()
