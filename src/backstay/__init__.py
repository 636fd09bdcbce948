"""Backstay keeps an OpenStack control plane standing."""

__version__ = "0.1.0"
