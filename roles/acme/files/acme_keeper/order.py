"""Runs in the keeper's container: asks a CA for a certificate, by the library `acme` of certbot."""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import acme.errors
import josepy
import requests
from acme import client, crypto_util, messages
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from acme_keeper.certificate import read_certificate
from acme_keeper.challenges import ChallengeError, Challenges
from acme_keeper.settings import Settings
from acme_keeper.store import PRIVATE_MODE, write

ORDER_SECONDS = 600
ACCOUNT_GONE = ("accountDoesNotExist", "unauthorized")
"""What a CA answers where it has revoked an account, or the account was deactivated."""

AGENT = "flotilla-acme"


class OrderError(Exception):
    """No certificate was issued; the message is for the user."""


@contextmanager
def in_words(directory: str) -> Iterator[None]:
    """Raise an OrderError for whatever goes wrong with the CA of `directory`."""
    try:
        yield
    except acme.errors.ValidationError as error:
        raise OrderError(_unproven(error)) from error
    except acme.errors.IssuanceError as error:
        raise OrderError(f"the CA did not issue the certificate: {problem(error.error)}") from error
    except messages.Error as error:
        raise OrderError(f"the CA refused: {problem(error)}") from error
    except acme.errors.TimeoutError as error:
        raise OrderError(f"the CA was not done within {ORDER_SECONDS} s") from error
    except ChallengeError as error:
        raise OrderError(str(error)) from error
    except (acme.errors.Error, requests.RequestException, josepy.errors.Error, OSError, ValueError) as error:
        raise OrderError(f"{directory} does not answer as a CA does: {error}") from error


def problem(error: messages.Error) -> str:
    """Return what the CA says, with its problems of single names."""
    parts = [f"{error.detail or error.title or 'no reason was given'} ({error.code or error.typ})"]
    for part in error.subproblems or ():
        name = f"{part.identifier.value}: " if part.identifier else ""
        parts.append(f"{name}{part.detail or part.typ}")
    return "; ".join(parts)


def _unproven(error: acme.errors.ValidationError) -> str:
    """Return why the CA does not believe that the names are ours."""
    found = {
        authorization.body.identifier.value: problem(challenge.error)
        for authorization in error.failed_authzrs
        for challenge in authorization.body.challenges
        if challenge.error
    }
    return "; ".join(f"{name}: {reason}" for name, reason in found.items())


class Authority:
    """A CA, with this keeper's account there."""

    def __init__(self, directory: str, settings: Settings, roots: Path, kept: Path) -> None:
        self._directory = directory
        self._settings = settings
        self._roots = roots
        self._file = kept / f"account-{hashlib.sha256(directory.encode()).hexdigest()[:12]}.json"

    def obtain(self, challenges: Challenges, begun: Callable[[], None]) -> str:
        """Return a new certificate for the settings' names with its issuers, its key first, in PEM form.

        `begun` is called before the CA is asked for it: until then there is no order that could fail.

        Raises:
            OrderError: when none is issued.
        """
        with in_words(self._directory):
            asked = self._log_in()
            key = new_key()
            request = crypto_util.make_csr(key, self._settings["names"])
            begun()
            order = asked.new_order(request)
            with self._proofs(asked, order.authorizations, challenges):
                done = asked.poll_and_finalize(order, _deadline())
            pem = key.decode() + str(done.fullchain_pem)
            read_certificate(pem)
            return pem

    @contextmanager
    def _proofs(
        self,
        asked: client.ClientV2,
        authorizations: Sequence[messages.AuthorizationResource],
        challenges: Challenges,
    ) -> Iterator[None]:
        """Show all that the CA asks for, and have it look."""
        shown: list[tuple[str, str, str]] = []
        answers = []
        try:
            for entry in authorizations:
                if entry.body.status == messages.STATUS_VALID:  # proved shortly before
                    continue
                body = next((c for c in entry.body.challenges if c.chall.typ == challenges.kind), None)
                name = entry.body.identifier.value
                if body is None:
                    raise OrderError(f"{name}: the CA offers no {challenges.kind}")
                response, value = body.response_and_validation(asked.net.key)
                place = body.chall.encode("token") if body.chall.typ == "http-01" else ""
                shown.append((name, place or body.chall.validation_domain_name(name), value))
                challenges.show(*shown[-1])
                answers.append((body, response))
            for body, response in answers:
                asked.answer_challenge(body, response)
            yield
        finally:
            for proof in shown:
                with suppress(ChallengeError):
                    challenges.end(*proof)

    def _log_in(self) -> client.ClientV2:
        """Return a client that acts for this keeper's account, which is made anew where the CA has none."""
        if self._file.exists():
            account = json.loads(self._file.read_text())
            asked = self._client(account["key"])
            body = messages.Registration(key=asked.net.key.public_key())
            try:
                found = asked.query_registration(messages.RegistrationResource(uri=account["uri"], body=body))
            except messages.Error as error:
                if error.code not in ACCOUNT_GONE:
                    raise
            else:
                if found.body.status in (None, "valid", messages.STATUS_VALID):
                    return asked
        return self._register()

    def _register(self) -> client.ClientV2:
        key = new_key().decode()
        asked = self._client(key)
        wanted = {"terms_of_service_agreed": True}
        if binding := self._settings.get("external_account"):
            wanted["external_account_binding"] = messages.ExternalAccountBinding.from_data(
                asked.net.key.public_key(), binding["kid"], binding["hmac_key"], asked.directory
            )
        made = asked.new_account(
            messages.NewRegistration.from_data(email=self._settings["email"] or None, **wanted)
        )
        write(self._file, json.dumps({"key": key, "uri": made.uri}), PRIVATE_MODE)
        return asked

    def _client(self, key: str) -> client.ClientV2:
        account = josepy.JWKEC(key=load_pem_private_key(key.encode(), None))
        network = client.ClientNetwork(
            account, alg=josepy.ES256, verify_ssl=str(self._roots), user_agent=AGENT
        )
        return client.ClientV2(client.ClientV2.get_directory(self._directory, network), network)


def new_key() -> bytes:
    """Return a new private key in PEM form."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _deadline() -> datetime.datetime:
    # The library compares it with the local time without a zone.
    return datetime.datetime.now() + datetime.timedelta(seconds=ORDER_SECONDS)  # noqa: DTZ005
