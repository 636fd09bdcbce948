"""Notifications: who receives what, by which channel, until it is delivered."""
