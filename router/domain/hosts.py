"""Whom a request says it is for: a service that anyone on its machine may use answers only to the names of that machine.

A page in a browser may have its own name point to 127.0.0.1 (DNS rebinding) and would then read this service's answers as its own; what
it cannot do is send another name than its own.
"""

from functools import lru_cache
from ipaddress import ip_address


@lru_cache(maxsize=256)
def names_loopback(authority: str) -> bool:
    """Whether a Host header, with or without a port, names this machine: localhost, a name under it, or a loopback address."""
    host = authority.strip().lower()
    if host.startswith("["):
        host, closed, port = host[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            return False
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    host = host.removesuffix(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
