"""Runs in the keeper's container: starts the keeper."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from pathlib import Path

from acme_keeper.settings import Places, read_settings

ROUND_SECONDS = 60
DEBIANS_ROOTS = Path("/usr/share/ca-certificates/mozilla")
BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
"""Where Debian's programs look for the roots: the library requests already when it is imported, and a hook's."""

logger = logging.getLogger("acme_keeper")


def write_bundle() -> None:
    """Write the roots that Debian trusts as one file: what does so in Debian is a script of the package, and none runs
    where the image is made.
    """
    BUNDLE.write_text("".join(path.read_text() for path in sorted(DEBIANS_ROOTS.glob("*.crt"))))


def trusted_roots(places: Places) -> Path:
    """Return the file of the roots that the CA's own server is trusted by: the settings', else Debian's."""
    own = places.settings / "roots.pem"
    return own if own.exists() else BUNDLE


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s", stream=sys.stdout)
    # As the container's first process it gets no signal that it does not ask for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    write_bundle()
    from acme_keeper.keeper import Keeper

    places = Places()
    keeper = Keeper(read_settings(places), places, trusted_roots(places))
    threading.Thread(target=keeper.serve().serve_forever, daemon=True).start()
    logger.info("The keeper answers the other load balancers")
    while True:
        try:
            keeper.round()
        except Exception:
            logger.exception("This round ended early")
        time.sleep(ROUND_SECONDS)


if __name__ == "__main__":
    main()
