"""Everything that is MariaDB's in a backup: binary logs, scratch servers, what runs on the host."""
