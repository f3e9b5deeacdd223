"""Print those of some TCP doors that accept a connection: probe.py ADDRESS:PORT...

A script of its own, so that the same code knocks from this machine and, through standard input, from another.
"""

import socket
import sys
from concurrent.futures import ThreadPoolExecutor

TIMEOUT_SECONDS = 1.5


def accepts(door: str) -> bool:
    """Tell whether a connection can be made: refused and unanswered are both no."""
    address, _, port = door.rpartition(":")
    try:
        with socket.create_connection((address, int(port)), timeout=TIMEOUT_SECONDS):
            return True
    except OSError:
        return False


def main() -> None:
    """Knock on all doors at once."""
    doors = sys.argv[1:]
    with ThreadPoolExecutor(max_workers=len(doors)) as pool:
        answers = pool.map(accepts, doors)
        sys.stdout.write(" ".join(door for door, answer in zip(doors, answers, strict=True) if answer))


if __name__ == "__main__":
    main()
