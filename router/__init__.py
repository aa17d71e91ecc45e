"""Pointsman's service: domain, ports, services, storage, HTTP API and command line."""
