"""Restart what has failed of a service on one host, and nothing else."""
