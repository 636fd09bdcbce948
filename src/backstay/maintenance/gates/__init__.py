"""Questions asked before a host is taken down: may we? One file per question."""
