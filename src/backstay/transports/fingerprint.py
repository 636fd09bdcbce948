"""The SHA-256 fingerprint of a certificate, in the spellings that programs print. Pure.

``openssl x509 -fingerprint -sha256`` prints pairs of digits with colons; browsers and BMCs do, too,
or without; OpenSSH's form for keys is base64.
"""

import base64
import binascii
import hashlib
import re

_HEX = re.compile("[0-9a-f]{64}")
_BEFORE = re.compile(r"(sha-?256)?[ ]*(fingerprint)?[ ]*[:=]?[ ]*", re.IGNORECASE)
_LENGTH = 32


def fingerprint_digits(given: str) -> str:
    """Return a fingerprint as 64 hexadecimal digits, empty for an empty one. Raises ValueError."""
    text = given.strip()
    if not text:
        return ""
    rest = _BEFORE.sub("", text, count=1)
    digits = rest.replace(":", "").replace(" ", "").lower()
    if _HEX.fullmatch(digits):
        return digits
    try:
        letters = rest.rstrip("=")
        plain = base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except binascii.Error:
        plain = b""
    if len(plain) != _LENGTH:
        raise ValueError(
            "expected SHA256: and the certificate's SHA-256 fingerprint: 32 pairs of digits"
        )
    return plain.hex()


def fingerprint_of(certificate: bytes) -> str:
    """Return the fingerprint of a certificate (DER), as 64 hexadecimal digits."""
    return hashlib.sha256(certificate).hexdigest()


def shown(digits: str) -> str:
    """Return it as people compare it, and as cloud.yaml takes it: ``SHA256:AB:CD:…``."""
    pairs = (digits[at : at + 2] for at in range(0, len(digits), 2))
    return f"SHA256:{':'.join(pairs).upper()}"
