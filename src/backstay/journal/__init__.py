"""Durable execution: plans written down before anything happens, carried out, resumed."""
