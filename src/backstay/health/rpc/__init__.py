"""Whether agents take work: what is seen of each, by whom, and which signature that is."""
