"""Whether a host is alive, as seen from several places."""
