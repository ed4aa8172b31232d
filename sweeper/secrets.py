"""What must not be said: passwords in URLs, and what variables of the environment keep."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

MASK = "***"

SHORTEST = 8
"""Letters of a secret, at least: to mask every ``true`` would make a message unreadable."""

_NAMES = re.compile(r"PASSW|SECRET|CREDENTIAL|(^|_)(TOKEN|KEY|PASS)(_|$)", re.IGNORECASE)
_PLACES = re.compile(r"_(FILE|PATH|DIR|URL|URI)$", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)([^\s/@:]*):([^\s/@]+)@")
_OPTION = re.compile(
    r"([?&][\w.-]*(?:passw|pwd|secret|token|key|signature|credential)[\w.-]*=)[^&\s'\"]+",
    re.IGNORECASE,
)


def redacted(text: str, environ: Mapping[str, str] = os.environ) -> str:
    """Returns a text without passwords in URLs, secret options of URLs (such as the signature of
    a link that an object store has signed) and values of variables whose names tell of a secret
    (HF_TOKEN, AWS_SECRET_ACCESS_KEY, PGPASSWORD); ``***`` stands in their place.

    Args:
        text: what somebody else has worded, such as the message of an exception.
        environ: variables of the environment.
    """
    for secret in secrets_in(environ):
        text = text.replace(secret, MASK)
    return _OPTION.sub(rf"\1{MASK}", _IN_URL.sub(rf"\1:{MASK}@", text))


def secrets_in(environ: Mapping[str, str]) -> list[str]:
    """Returns the values of variables whose names tell of a secret, the longest first; the names
    of files that hold one are none."""
    found = {
        value for name, value in environ.items() if is_secret(name) and len(value) >= SHORTEST
    }
    return sorted(found, key=len, reverse=True)


def is_secret(name: str) -> bool:
    """Returns whether the name of a variable tells that it keeps a secret."""
    return bool(_NAMES.search(name)) and not _PLACES.search(name)


def has_password(text: str) -> bool:
    """Returns whether a text is a URL with a password, or with a secret among its options."""
    return bool(_IN_URL.search(text) or _OPTION.search(text))
