"""A real Chromium without a window, asked over the DevTools protocol, without a container.

It comes from Debian's packages of this machine's own release, whose libraries its loader takes.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unpacked import CACHE, unpacked

PACKAGES = ("chromium-headless-shell", "fonts-dejavu-core")
# These belong to this machine's loader.
LOADERS = ("libc.so.6", "libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1", "libresolv.so.2")
# The browser itself asks nobody for anything.
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"),
)
SECONDS = 20
KEYS = {"Tab": 9, "Enter": 13, " ": 32, "End": 35, "ArrowDown": 40}


def installation() -> Path:
    """Return a folder with Chromium's files, made once for each list of packages."""
    suite = platform.freedesktop_os_release()["VERSION_CODENAME"]
    recipe = hashlib.sha256(json.dumps([suite, PACKAGES]).encode()).hexdigest()[:12]
    folder = unpacked(CACHE / "chromium" / recipe, suite, PACKAGES, {}, kept=Path("/nonexistent"))
    for library in LOADERS:
        for path in folder.glob(f"**/x86_64-linux-gnu/{library}"):
            path.unlink(missing_ok=True)
    return folder


class Page:
    """The one page of a browser. `events` are the protocol's, in their order."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._left = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        """Return the result of a method. Raises RuntimeError when it fails, TimeoutError without an answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + SECONDS
        while True:
            answer = self._receive(until)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def _receive(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._left:
            if not select.select([self._reads], [], [], max(0, until - time.monotonic()))[0]:
                raise TimeoutError(f"no answer of Chromium's within {SECONDS} s")
            part = os.read(self._reads, 1 << 20)
            if not part:
                raise RuntimeError("Chromium has ended")
            self._left += part
        first, _, self._left = self._left.partition(b"\0")
        message: dict[str, Any] = json.loads(first)
        return message

    def open(self, url: str) -> None:
        """Load a page, whose scripts may run on."""
        self.call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression, or of what it promises. Raises RuntimeError."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']['exception']['description']}")
        return answer["result"].get("value")

    def wait(self, expression: str) -> Any:
        """Return the value of an expression as soon as it is true. Raises TimeoutError."""
        until = time.monotonic() + SECONDS
        while not (value := self.ask(expression)):
            if time.monotonic() > until:
                raise TimeoutError(f"not true within {SECONDS} s: {expression}")
            time.sleep(0.02)
        return value

    def type(self, text: str) -> None:
        """Type into the field that has the focus, in place of what it holds."""
        self.ask("document.activeElement.select()")
        self.call("Input.insertText", text=text)

    def press(self, *names: str) -> None:
        for name in names:
            code = {
                "key": name,
                "code": "Space" if name == " " else name,
                "windowsVirtualKeyCode": KEYS[name],
            }
            text = {"Enter": "\r", " ": " "}.get(name)
            self.call("Input.dispatchKeyEvent", type="keyDown", **code, **({"text": text} if text else {}))
            self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def requested(self) -> list[str]:
        """Return the address of every request so far, those of sockets too."""
        sent = [event["params"] for event in self.events if event["method"] == "Network.requestWillBeSent"]
        sockets = [event["params"] for event in self.events if event["method"] == "Network.webSocketCreated"]
        return [params["request"]["url"] for params in sent] + [params["url"] for params in sockets]

    def complaints(self) -> list[str]:
        """Return each error and warning of the console, and what the browser complains of."""
        found = []
        for event in self.events:
            params = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(json.dumps(params["exceptionDetails"]))
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                found.append(json.dumps(params["args"]))
            elif event["method"] == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(params["entry"]["text"])
        return found


@contextmanager
def browsing(folder: Path, *hosts: str) -> Iterator[Page]:
    """Run Chromium, whose profile lies in `folder`, and yield its page.

    The page reaches this machine and the addresses `hosts`, and nothing else.
    """
    reached = ", ".join(f"EXCLUDE {host}" for host in ("127.0.0.1", *hosts))
    options = [
        *OPTIONS,
        f"--host-resolver-rules=MAP * ~NOTFOUND, {reached}",
        f"--user-data-dir={folder / 'profile'}",
    ]
    installed = installation()
    libraries = [str(installed / part / "x86_64-linux-gnu") for part in ("usr/lib", "lib")]
    libraries.append(f"{libraries[0]}/pulseaudio")
    environment = os.environ | {
        "LD_LIBRARY_PATH": ":".join(libraries),
        "FONTCONFIG_PATH": str(installed / "etc" / "fonts"),
        "DBUS_SESSION_BUS_ADDRESS": "disabled:",
        "HOME": str(folder),
    }
    program = str(installed / "usr" / "lib" / "chromium" / "chromium-headless-shell")
    (reads_commands, commands), (answers, writes_answers) = os.pipe(), os.pipe()
    # Chromium reads commands from descriptor 3 and answers on 4.
    shell = f'exec "$0" "$@" 3<&{reads_commands} 4>&{writes_answers}'
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["/bin/bash", "-c", shell, program, *options],
            env=environment,
            pass_fds=(reads_commands, writes_answers),
            stdout=log,
            stderr=log,
        )
    os.close(reads_commands)
    os.close(writes_answers)
    try:
        yield Page(answers, commands)
    except RuntimeError as error:
        error.add_note((folder / "log").read_text()[-2000:])
        raise
    finally:
        process.terminate()
        process.wait(SECONDS)
        os.close(commands)
        os.close(answers)
