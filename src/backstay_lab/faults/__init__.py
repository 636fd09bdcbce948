"""The lab's faults: real failures of this field, made on purpose and undone again.

One file for each family. ``lifecycle.py`` makes and heals them and records them; each family
knows how its faults are made, detected and undone.
"""

from backstay_lab.faults.lifecycle import active_faults, break_, heal, release
from backstay_lab.faults.records import Record

__all__ = ["Record", "active_faults", "break_", "heal", "release"]
