"""Whether two runs of pretraining are of the same data."""

import hashlib
from collections.abc import Iterable


def digest_of(measured: object, *parts: Iterable[object]) -> str:
    """Hexadecimal digest of what values mean and of each picture's name and what belongs to it.

    Reading every byte would take long where there are many.

    Args:
        measured: classes, normalisation, and what else pictures are read by.
        parts: a row a picture of those trained on, then of those held out.
    """
    digest = hashlib.sha256(repr(measured).encode())
    for rows in parts:
        digest.update(repr(list(rows)).encode())
    return digest.hexdigest()
