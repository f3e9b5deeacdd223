"""What the modules that ask endpoints say of the options that they share."""

from __future__ import annotations


class ModuleDocFragment:
    """The options of module_utils/endpoint_connection.py."""

    DOCUMENTATION = r"""
options:
  endpoints:
    description: The endpoints.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name in the result. Its certificate must be valid for this name and C(.endpoint.flotilla).
        type: str
        required: true
      slot:
        description: Its slot in the result, for modules that tell it.
        type: str
      address:
        description: Its address.
        type: str
        required: true
      port:
        description: Its port.
        type: int
        required: true
  certificate:
    description: File with the certificate to show and its key.
    type: path
    default: /etc/flotilla/nginx/tls/client.pem
  authority:
    description: File with the authorities that sign the endpoints' certificates.
    type: path
    default: /etc/flotilla/nginx/tls/servers.crt
  timeout:
    description: Seconds an answer may take.
    type: float
    default: 2
"""
