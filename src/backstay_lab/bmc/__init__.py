"""Board controllers of the lab's hosts: a Redfish service for each, as real servers have.

The Redfish side is sushy-tools, OpenStack's own emulator; ours is only the driver behind it. One
process serves all of them, each on an address of its own with a certificate and a password of its
own, and each knows one host only.
"""

from backstay_lab.bmc.process import running, start, stop

__all__ = ["running", "start", "stop"]
