#!/usr/bin/python
"""Runs on load balancers: has a new container of Nginx take over from the one that serves, without a lost request."""

from __future__ import annotations

import contextlib
import pathlib
import re
import time
from collections.abc import Callable, Iterator

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flotilla.fleet.plugins.module_utils.atomic_write import write_file
from ansible_collections.flotilla.fleet.plugins.module_utils.folder_lock import locked
from ansible_collections.flotilla.fleet.plugins.module_utils.nginx_status import served_version

DOCUMENTATION = r"""
module: nginx_replacement
short_description: Replace the container of Nginx while it serves
description:
  - Runs on load balancers.
  - Reloads Nginx so that it shares its ports (C(reuseport)), starts the new container beside it, and once that one
    serves, has the old one end. That one takes no more connections, answers the requests that it has, and is removed.
    Then the new Nginx is reloaded to have its ports for itself.
  - A connection that waits for the old Nginx when that one ends goes to the new one where the kernel can move it
    (C(net.ipv4.tcp_migrate_req), Linux 5.14 and newer), which is switched on for as long as the module works.
  - If the new container does not serve, it is removed, and the old one serves on.
options:
  configuration:
    description: The configuration that Nginx serves. C(@VERSION@) in it stands for its version.
    type: str
    required: true
  version:
    description: The version of that configuration.
    type: str
    required: true
  container:
    description: Name of the new container, which is made and not started. It gets the name of the old one.
    type: str
    required: true
  status_port:
    description: Port on loopback where C(/_lb/version) gives the version that Nginx serves.
    type: int
    required: true
  owner:
    description: Number of the user that Nginx runs as. The configuration belongs to it.
    type: int
    required: true
  directory:
    description: Folder of the configuration, which the containers mount.
    type: path
    default: /etc/flotilla/nginx
"""

EXAMPLES = r"""
- name: Let the new container take over
  flotilla.fleet.nginx_replacement:
    configuration: "{{ lookup('ansible.builtin.template', 'nginx.conf.j2') }}"
    version: 5f70bf18a086
    container: flotilla-nginx-next
    status_port: 8090
    owner: 10002
"""

RETURN = r"""
seconds:
  description: How long it took.
  returned: success
  type: float
"""

CONTAINER, BEFORE = "flotilla-nginx", "flotilla-nginx-before"
SERVING_SECONDS = 20
"""How long a configuration may take until it is served."""

ENDING_SECONDS = 60
"""How long Nginx may take to end. It ends by itself after worker_shutdown_timeout at most, 30 s."""

POLL_SECONDS = 0.1
CONFIGURATION_MODE = 0o400
MIGRATION = pathlib.Path("/proc/sys/net/ipv4/tcp_migrate_req")
LISTEN = re.compile(r"^(\s*listen (?!unix:)[^;]+);", re.MULTILINE)

Run = Callable[[list[str]], tuple[int, str, str]]


class NotReplacedError(Exception):
    """The new container does not serve; the message is for the user."""


def sharing(configuration: str) -> str:
    """Return the configuration of an Nginx that shares its ports with another one of the same user."""
    return LISTEN.sub(r"\1 reuseport;", configuration)


@contextlib.contextmanager
def migrating(setting: pathlib.Path = MIGRATION) -> Iterator[None]:
    """Have the kernel move connections from a listener that closes to another one of its port, where it can."""
    before = ""
    with contextlib.suppress(OSError):  # an older kernel, or one whose settings are not ours
        before = setting.read_text()
        setting.write_text("1")
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            if before:
                setting.write_text(before)


class Replacement:
    """Two containers of Nginx on this machine, the one that serves and the one that is to follow it."""

    def __init__(
        self, run: Run, file: pathlib.Path, configuration: str, version: str, status_port: int, owner: int
    ) -> None:
        self.run = run
        self.file = file
        self.configuration = configuration
        self.version = version
        self.status_port = status_port
        self.owner = owner

    def replace(self, following: str) -> None:
        """Have the container `following` take over.

        Raises:
            NotReplacedError: when it does not. Then the old one serves on.
        """
        self.end_before()
        sharing_text = sharing(self.configuration)
        try:
            # Each has a version of its own, since both answer at the status port.
            self.write(sharing_text, f"{self.version}-before")
            self.reload(f"{self.version}-before")
            self.write(sharing_text, f"{self.version}-next")
            self.run(["docker", "start", following])
            self.wait_for(f"{self.version}-next", following)
        except NotReplacedError:
            self.run(["docker", "rm", "--force", following])
            self.write(self.configuration, self.version)
            self.run(["docker", "exec", CONTAINER, "/usr/sbin/nginx", "-s", "reload"])
            raise
        # The engine must not start it again, neither when it ends nor with the machine.
        self.run(["docker", "update", "--restart", "no", CONTAINER])
        self.run(["docker", "rename", CONTAINER, BEFORE])
        self.run(["docker", "rename", following, CONTAINER])
        self.end_before()
        self.write(self.configuration, self.version)
        self.reload(self.version)

    def end_before(self) -> None:
        """Have the container that served before, if there is one, answer the requests that it has, and remove it."""
        if self.state_of(BEFORE) is None:
            return
        self.run(["docker", "kill", "--signal", "QUIT", BEFORE])
        deadline = time.monotonic() + ENDING_SECONDS
        while self.state_of(BEFORE) == "running" and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        self.run(["docker", "rm", "--force", BEFORE])

    def state_of(self, container: str) -> str | None:
        """Return the state of a container, such as "running"; None where there is no such container."""
        code, output, _ = self.run(["docker", "inspect", "--format", "{{.State.Status}}", container])
        return output.strip() if code == 0 else None

    def reload(self, version: str) -> None:
        """Have the container by Nginx's name serve its file, whose version is given. Raises NotReplacedError."""
        self.run(["docker", "exec", CONTAINER, "/usr/sbin/nginx", "-s", "reload"])
        self.wait_for(version, CONTAINER)

    def wait_for(self, version: str, container: str) -> None:
        """Return once `version` is served, which is `container`'s. Raises NotReplacedError."""
        deadline = time.monotonic() + SERVING_SECONDS
        while served_version(self.status_port) != version:
            if time.monotonic() > deadline or self.state_of(container) != "running":
                _, output, error = self.run(["docker", "logs", "--tail", "5", container])
                raise NotReplacedError(
                    f"{container} does not serve {version}, so that the container before serves on. Its last "
                    f"messages:\n{(output + error).strip()}"
                )
            time.sleep(POLL_SECONDS)

    def write(self, configuration: str, version: str) -> None:
        """Write the configuration with a version."""
        text = configuration.replace("@VERSION@", version)
        write_file(self.file, text, mode=CONFIGURATION_MODE, owner=self.owner, durable=True)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "configuration": {"type": "str", "required": True},
            "version": {"type": "str", "required": True},
            "container": {"type": "str", "required": True},
            "status_port": {"type": "int", "required": True},
            "owner": {"type": "int", "required": True},
            "directory": {"type": "path", "default": "/etc/flotilla/nginx"},
        },
        supports_check_mode=True,
    )
    if module.check_mode:
        module.exit_json(changed=True)
    wanted, began = module.params, time.monotonic()
    folder = pathlib.Path(wanted["directory"])
    replacement = Replacement(
        module.run_command,
        folder / "nginx.conf",
        wanted["configuration"],
        wanted["version"],
        wanted["status_port"],
        wanted["owner"],
    )
    try:
        with locked(folder), migrating():
            replacement.replace(wanted["container"])
    except (NotReplacedError, OSError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=True, seconds=round(time.monotonic() - began, 1))


if __name__ == "__main__":
    main()
