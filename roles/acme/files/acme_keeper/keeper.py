"""Runs in the keeper's container: a keeper's rounds: ask the others, order, give Nginx what it holds."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from acme_keeper.certificate import Certificate, is_for, read_certificate
from acme_keeper.challenges import Challenges, DnsChallenges, HttpChallenges, write_tokens
from acme_keeper.decide import (
    ORDER_PAUSE,
    UNREACHED_PAUSE,
    Failure,
    gives_way,
    next_order,
    rank,
)
from acme_keeper.order import Authority, OrderError
from acme_keeper.peers import Server, Told, ask, notify
from acme_keeper.settings import Places, Settings, fingerprint
from acme_keeper.shown import show
from acme_keeper.store import PRIVATE_MODE, held_certificate, read_kept, write, write_kept

ROUTES = Path("/proc/net/fib_trie")
INTERRUPTED = "the order was begun, and the keeper ended before it was over"

logger = logging.getLogger("acme_keeper")


class Keeper:
    """Keeps the certificate of one load balancer."""

    def __init__(
        self, settings: Settings, places: Places, roots: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._settings = settings
        self._places = places
        self._roots = roots
        self._clock = clock
        self._fingerprint = fingerprint(settings, places)
        self._lock = threading.RLock()
        self._kept = read_kept(places)
        self._held = held_certificate(places, self._kept, settings)
        self._started = clock()
        self._ordering = 0.0
        self._begun = False
        self._told: dict[str, Told] = {}
        self._http = HttpChallenges(self._spread)

    def serve(self) -> Server:
        """Return the server that answers the other keepers, which listens and does not answer yet."""
        own = self._settings
        return Server(own["address"], own["port"], self._places.settings / "tls", self.tell, self.ask_all)

    def tell(self) -> Told:
        """Return what the other keepers are told."""
        with self._lock:
            return {
                "directory": self._kept["directory"],
                "certificate": self._held.pem if self._held else "",
                "failed": self._kept["failed"],
                "ordering": self._ordering,
                "tokens": dict(self._http.tokens),
            }

    def ask_all(self) -> None:
        """Ask the other keepers, take a newer certificate, and show the CA what they are to be asked for."""
        for peer in self._settings["peers"]:
            if told := ask(peer, self._places.settings / "tls"):
                with self._lock:
                    self._told[peer["name"]] = told
                    self._take(peer["name"], told)
        self._show_tokens()

    def round(self) -> None:
        """Do once what is to be done again and again."""
        self.ask_all()
        self.show()
        if self._clock() >= self.next_order():
            self.order()
        with self._lock:
            self._kept["next_order"] = self.next_order()
            write_kept(self._places, self._kept)

    def show(self) -> None:
        """Have Nginx show what this keeper holds."""
        held = self._held
        if held and not show(held, self._places.nginx, self._settings["tls_port"]):
            logger.error("Nginx goes on with the certificate before: it has not taken the new one")

    def next_order(self) -> float:
        """Return when this keeper orders, as far as it knows now."""
        own = self._settings
        with self._lock:
            found = [self._kept["failed"], *(told["failed"] for told in self._told.values())]
            failures = [failure for failure in found if failure]
        place = rank(own["position"], own["virtual_address"], ROUTES.read_text())
        return next_order(self._held, self._started, failures, self._fingerprint, place)

    def order(self) -> None:
        """Order a certificate, unless another keeper does, and hand it to all."""
        with self._lock:
            self._ordering = self._clock()
        try:
            # Asked after this one has said that it orders: of two that begin at once, one at least sees the other.
            self.ask_all()
            own = (self._ordering, self._settings["balancer"])
            others = [(told["ordering"], name) for name, told in self._told.items()]
            if gives_way(own, others, self._clock()) or self._clock() < self.next_order():
                return
            self._obtain()
        finally:
            with self._lock:
                self._ordering = 0.0
        self.show()
        self._spread()

    def _obtain(self) -> None:
        """Order a certificate, first of the CA's test service where that has not issued one with these settings."""
        names = ", ".join(self._settings["names"])
        self._begun = False
        try:
            staging = self._settings["staging"]
            if staging and self._kept["proven"] != self._fingerprint:
                self._authority(staging).obtain(self._challenges(), self._begin)
                self._keep(proven=self._fingerprint)
            pem = self._authority(self._settings["directory"]).obtain(self._challenges(), self._begin)
        except OrderError as error:
            self._fail(str(error), ORDER_PAUSE if self._begun else UNREACHED_PAUSE)
            logger.error("No certificate for %s: %s", names, error)
        else:
            self._hold(read_certificate(pem), self._settings["directory"])
            logger.info("The CA has issued a certificate for %s", names)

    def _authority(self, directory: str) -> Authority:
        return Authority(directory, self._settings, self._roots, self._places.kept)

    def _challenges(self) -> Challenges:
        if self._settings["challenge"] == DnsChallenges.kind:
            return DnsChallenges(self._places.settings / "dns_hook")
        return self._http

    def _begin(self) -> None:
        """Note on the disk that an order is being made: a keeper that is killed does not order again at once."""
        self._begun = True
        self._fail(INTERRUPTED, ORDER_PAUSE)

    def _fail(self, reason: str, pause: float) -> None:
        now = self._clock()
        failed: Failure = {
            "at": now,
            "until": now + pause,
            "fingerprint": self._fingerprint,
            "reason": reason,
        }
        with self._lock:
            self._kept["failed"] = failed
            write_kept(self._places, self._kept)

    def _keep(self, *, proven: str) -> None:
        with self._lock:
            self._kept["proven"] = proven
            self._kept["failed"] = None
            write_kept(self._places, self._kept)

    def _hold(self, certificate: Certificate, directory: str) -> None:
        """Keep a certificate. The order of the two files is that in which a killed keeper loses least."""
        with self._lock:
            write(self._places.kept / "certificate.pem", certificate.pem, PRIVATE_MODE)
            self._kept["directory"] = directory
            self._kept["failed"] = None
            write_kept(self._places, self._kept)
            self._held = certificate

    def _take(self, name: str, told: Told) -> None:
        """Take the certificate of another keeper where it is one that is wanted, and newer than what is held."""
        if not told["certificate"] or told["directory"] != self._settings["directory"]:
            return
        if self._held and told["certificate"] == self._held.pem:
            return
        try:
            theirs = read_certificate(told["certificate"])
        except ValueError as error:
            logger.error("What %s tells is no certificate: %s", name, error)
            return
        wanted = is_for(theirs, self._settings["names"])
        if wanted and (self._held is None or theirs.begin > self._held.begin):
            self._hold(theirs, told["directory"])
            logger.info("Took the certificate of %s", name)

    def _spread(self) -> None:
        """Have Nginx, here and on the other load balancers, show what this keeper tells now."""
        self._show_tokens()
        for peer in self._settings["peers"]:
            notify(peer, self._places.settings / "tls")

    def _show_tokens(self) -> None:
        """Have Nginx show the tokens of all keepers."""
        with self._lock:
            tokens = dict(self._http.tokens)
            for told in self._told.values():
                tokens.update(told["tokens"])
            write_tokens(self._places.nginx / "challenges", tokens)
