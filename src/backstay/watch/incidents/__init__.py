"""Incidents: one cause for many symptoms, described, stored, resolved."""
