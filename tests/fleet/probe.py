"""Print those of some TCP ports that accept a connection: `probe.py ADDRESS:PORT...`

Runs on the controller and, through standard input, on a machine of the fleet.
"""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor

TIMEOUT_SECONDS = 1.5


def accepts(port: str) -> bool:
    """Tell whether a connection can be made: refused and unanswered are both no."""
    address, _, number = port.rpartition(":")
    try:
        with socket.create_connection((address, int(number)), timeout=TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def main() -> None:
    """Try all ports at once."""
    ports = sys.argv[1:]
    with ThreadPoolExecutor(max_workers=len(ports)) as pool:
        answers = pool.map(accepts, ports)
        sys.stdout.write(" ".join(port for port, answer in zip(ports, answers, strict=True) if answer))


if __name__ == "__main__":
    main()
