"""Certificates for those who ask an endpoint, or run one."""

from ansible_collections.flotilla.fleet.plugins.module_utils.x509 import Pair, certificate_pem, key_pem


def pem(pair: Pair) -> str:
    """Return a certificate and its key as one file, as the fleet's machines have them."""
    return key_pem(pair[1]) + certificate_pem(pair[0])
