"""Runs on the image builder: the commands that unpack Debian packages, and the versions that their output names."""

from __future__ import annotations

import pathlib
import re
import shlex
from collections.abc import Sequence

# Documentation and translations are two thirds of the files, and a container needs neither.
LEFT_OUT = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")

# The package index of Debian testing is valid for a week. So that a mirror or proxy that lags behind does not stop the
# build, the index may be this old (in seconds: 180 days). Its signature is still checked. Stable's index never expires.
INDEX_MAY_BE = 180 * 24 * 3600

# The maintainer scripts that make Debian's accounts don't run. Programs look these few up by name.
ACCOUNTS = {
    "/etc/passwd": "root:x:0:0::/:/usr/sbin/nologin\nnobody:x:65534:65534::/:/usr/sbin/nologin\n",
    "/etc/group": "root:x:0:\nnogroup:x:65534:\n",
}

UNRELEASED = ("forky", "testing", "sid", "unstable")
"""The suites that have no updates apart from them."""

# Get:2 http://deb.debian.org/debian trixie/main amd64 libc6 amd64 2.41-12+deb13u5 [2850 kB]
DOWNLOADED = re.compile(r"^Get:\d+ \S+ \S+ \S+ (\S+) \S+ (\S+) \[", re.MULTILINE)
# Inst libc6 (2.41-12+deb13u5 Debian:13.8/stable [amd64]) []
SIMULATED = re.compile(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", re.MULTILINE)


def sources(suite: str, mirror: str) -> list[str]:
    """Return the lines of sources.list that have mmdebstrap take `suite` from a mirror; none for its own mirror."""
    if not mirror:
        return []
    url = mirror.rstrip("/")
    if suite in UNRELEASED:
        return [f"deb {url} {suite} main"]
    updates = [f"deb {url} {suite}-updates main", f"deb {url}-security {suite}-security main"]
    return [f"deb {url} {suite} main", *updates]


def _beginning(proxy: str) -> list[str]:
    command = ["mmdebstrap", "--variant=extract", f'--aptopt=Acquire::Min-ValidTime "{INDEX_MAY_BE}"']
    if proxy:
        command += [f'--aptopt=Acquire::{scheme}::Proxy "{proxy}"' for scheme in ("http", "https")]
    return command


def _included(packages: Sequence[str]) -> str:
    # base-files has /lib64 and similar links, without which no program finds its loader.
    return "--include=" + ",".join(["base-files", *packages])


def mmdebstrap_command(
    suite: str,
    packages: list[str],
    capabilities: dict[str, str],
    files: dict[str, str],
    bytecode: list[str],
    tarball: str,
    left_out: Sequence[str] = (),
    mirror: str = "",
    proxy: str = "",
) -> list[str]:
    """Return the command that unpacks `packages` of `suite` into the file `tarball`."""
    command = _beginning(proxy)
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in (*LEFT_OUT, *left_out)]
    command.append(_included(packages))
    for file, content in {**ACCOUNTS, **files}.items():
        folder = pathlib.PurePosixPath(file).parent
        make = f'mkdir -p "$1"{shlex.quote(str(folder))}'
        command.append(f'--extract-hook={make} && printf %s {shlex.quote(content)} > "$1"{shlex.quote(file)}')
    for path, capability in sorted(capabilities.items()):
        command.append(f'--extract-hook=setcap {shlex.quote(capability)} "$1"{shlex.quote(path)}')
    for path in bytecode:
        # unchecked-hash ignores the files' times; the modules of an image never change.
        compiling = f"python3 -m compileall -q --invalidation-mode unchecked-hash {shlex.quote(path)}"
        command.append(f'--extract-hook=chroot "$1" {compiling}')
    return [*command, suite, tarball, *sources(suite, mirror)]


def look_command(suite: str, packages: Sequence[str], mirror: str = "", proxy: str = "") -> list[str]:
    """Return the command that tells which packages would be unpacked, and unpacks none."""
    # A simulation writes no tarball, but goes by its name.
    command = [*_beginning(proxy), "--simulate", "--verbose", _included(packages)]
    return [*command, suite, "/simulated.tar", *sources(suite, mirror)]


def downloaded_packages(output: str) -> dict[str, str]:
    """Return the versions of the packages that mmdebstrap has fetched, by name; `output` is its verbose one."""
    return dict(DOWNLOADED.findall(output))


def simulated_packages(output: str) -> dict[str, str]:
    """Return the versions of the packages that look_command's output names, by name."""
    return dict(SIMULATED.findall(output))
