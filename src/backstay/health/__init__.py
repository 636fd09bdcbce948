"""Observe hosts and APIs, then judge: pure functions from observations to findings."""
