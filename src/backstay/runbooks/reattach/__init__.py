"""Get agents working for the controller again: restart those that need it, and only those."""
