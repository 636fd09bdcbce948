"""What the commands need of this machine and of the hosts, and what of it is missing."""
