"""Put a backup back on its host: all of it, or one service."""
