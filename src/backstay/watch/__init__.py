"""The watch: what is asked every second, what it means, who is told, what is shown."""
