"""How much may arrive from a host, an API or a BMC before it is dropped, in bytes.

An answer of a healthy one is far below; what has no end must not take this machine's memory.
"""

ANSWER = 16 << 20
"""What one script prints on a host."""
LONG_ANSWER = 64 << 20
"""The same where a host is asked for a list of all its files, or for all records of the cloud."""
ERRORS = 64 << 10
"""What one script or program writes to its standard error."""
BODY = 8 << 20
"""The body of one HTTP answer, unpacked."""
HEADERS = 1 << 20
"""All that is in an HTTP answer beside its body."""
OUTPUT = 64 << 20
"""What a program of this machine prints, such as restic's list of snapshots."""
