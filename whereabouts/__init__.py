"""Cluster-wide IP address management for CNI: lowest free address first, for IPv4 and IPv6."""

__version__ = "0.1.0"
