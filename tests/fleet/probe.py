"""Print those of an address's TCP ports that accept a connection: probe.py ADDRESS PORT...

A script of its own, so that the same code knocks from this machine and, through standard input, from another.
"""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor

TIMEOUT_SECONDS = 1.5


def accepts(address: str, port: int) -> bool:
    """Tell whether a connection can be made: refused and unanswered are both no."""
    try:
        with socket.create_connection((address, port), timeout=TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def main() -> None:
    """Knock on all ports at once."""
    address, *ports = sys.argv[1:]
    with ThreadPoolExecutor(max_workers=32) as pool:
        answers = pool.map(lambda port: accepts(address, int(port)), ports)
        sys.stdout.write(" ".join(port for port, answer in zip(ports, answers, strict=True) if answer))


if __name__ == "__main__":
    main()
