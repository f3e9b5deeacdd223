"""Runs on a machine: the addresses of its network interfaces, asked of the kernel (netdevice(7))."""

from __future__ import annotations

import array
import fcntl
import socket
import struct

BRIDGE = "docker0"
SIOCGIFADDR = 0x8915
SIOCGIFCONF = 0x8912
# Each address that SIOCGIFCONF returns: the interface's name, and at byte 20 the address.
ADDRESS_BYTES = 40
MOST_ADDRESSES = 4096


def bridge_address(interface: str = BRIDGE) -> str:
    """Return the IPv4 address of `interface`, empty where it is missing or has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, SIOCGIFADDR, struct.pack("256s", interface.encode()))
        except OSError:
            return ""
    return socket.inet_ntoa(answer[20:24])


def has_ipv6() -> bool:
    """Tell whether a program of this machine can listen by IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as any_socket:
            any_socket.bind(("::", 0))
    except OSError:
        return False
    return True


def own_addresses() -> dict[str, str]:
    """Return the network interface of each IPv4 address of this machine, by address."""
    found = array.array("B", bytes(ADDRESS_BYTES * MOST_ADDRESSES))
    place, length = found.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFCONF, struct.pack("iL", length, place))
    filled, _ = struct.unpack("iL", answer)
    addresses = {}
    for start in range(0, filled, ADDRESS_BYTES):
        entry = found[start : start + ADDRESS_BYTES].tobytes()
        # The name may end with a label, such as eth0:1.
        interface = entry[:16].partition(b"\0")[0].decode().partition(":")[0]
        addresses[socket.inet_ntoa(entry[20:24])] = interface
    return addresses
