"""Backups that are proved: taken, restored into a scratch server, checked, kept."""
