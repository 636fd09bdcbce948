"""The lab's faults: real failures of this field, made on purpose and undone again.

One file for each family. ``breaking.py`` makes and heals them and keeps the record; each family
says how its faults are made, how one sees that they are there, and how they are undone.
"""

from backstay_lab.faults.breaking import active_faults, break_, heal, release
from backstay_lab.faults.record import Record

__all__ = ["Record", "active_faults", "break_", "heal", "release"]
