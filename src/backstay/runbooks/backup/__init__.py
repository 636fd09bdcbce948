"""Take a backup of a host, and prove it."""
