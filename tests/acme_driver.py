"""Runs a keeper by the Python of its image, round by round, as lines of its standard input say. See pebble.py."""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from pathlib import Path

from acme import messages

from acme_keeper.keeper import Keeper
from acme_keeper.order import Authority
from acme_keeper.settings import Places, read_settings
from acme_keeper.store import read_kept


def main() -> None:
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    roots, *folders = map(Path, sys.argv[1:])
    places = Places(*folders)
    ahead = [0.0]
    settings = read_settings(places)
    keeper = Keeper(settings, places, roots, lambda: time.time() + ahead[0])
    server = keeper.serve()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", flush=True)
    for line in sys.stdin:
        command, _, value = line.strip().partition(" ")
        if command == "round":
            keeper.round()
        elif command == "ahead":
            ahead[0] = float(value)
        elif command == "deactivate":
            asked = Authority(settings["directory"], settings, roots, places.kept)._log_in()
            account = asked.net.account
            asked._post(account.uri, messages.UpdateRegistration(status="deactivated"))
        print(json.dumps(read_kept(places)), flush=True)


if __name__ == "__main__":
    main()
