"""A real OpenStack cloud on this machine: hosts, networks, BMCs, faults."""
