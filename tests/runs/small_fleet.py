"""A fleet for the tests of callbacks: two hosts are this machine, and a third can't be reached."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path


def write_fleet(folder: Path, ssh_says: str = "", variables: str = "") -> Path:
    """Write the inventory hosts.ini, with `variables` for the hosts here, and return what to run for SSH."""
    (folder / "hosts.ini").write_text(f"""
[here]
node1
node2
[here:vars]
ansible_connection=local
ansible_python_interpreter={sys.executable}
{variables}
[away]
node3 ansible_host=192.0.2.3
""")
    ssh = folder / "ssh"
    ssh.write_text(f"#!/bin/sh\necho {shlex.quote(ssh_says)} >&2; exit 255\n")
    ssh.chmod(0o755)
    return ssh
