"""The type of JSON data before a reader has parsed it."""

from typing import Any

Json = Any
"""Whatever ``json.loads`` gives: its shape is checked where it is parsed, not by its type."""
