"""Ways to damage a file: its bytes, and the keys, values and lines of its text."""

import random
import re
from pathlib import Path

TEXT = (".yaml", ".json", ".mhd", ".md")
WORDS = [
    "null",
    "true",
    "[]",
    "{}",
    "-1",
    "0",
    "1e309",
    "99999999999999999999",
    "nan",
    "''",
    "../..",
    "/",
    "é",
    "\u0000",
]


def damage(file: Path, draw: random.Random) -> str:
    """Change a file in one to three ways; what was done."""
    data, done = file.read_bytes(), []
    for _ in range(draw.randint(1, 3)):
        way = draw.choice(TEXT_WAYS if file.suffix in TEXT and draw.random() < 0.7 else BYTE_WAYS)
        data = way(data, draw)
        done.append(way.__name__)
    file.write_bytes(data)
    return ", ".join(done)


def turned(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    head = draw.random() < 0.5  # where most of what matters is
    for _ in range(draw.choice((1, 1, 4, 32))):
        if changed:
            at = draw.randrange(min(len(changed), 512) if head else len(changed))
            changed[at] = draw.choice((0, 255, 127, changed[at] ^ (1 << draw.randrange(8)), draw.randrange(256)))
    return bytes(changed)


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def doubled(data: bytes, draw: random.Random) -> bytes:
    at, length = draw.randrange(len(data) + 1), draw.choice((1, 16, 512, 8192))
    return data[: at + length] + data[at:]


def zeroed(data: bytes, draw: random.Random) -> bytes:
    at, length = draw.randrange(len(data) + 1), draw.choice((1, 4, 64, 1024))
    return data[:at] + bytes(min(length, len(data) - at)) + data[at + length :]


def exchanged(data: bytes, draw: random.Random) -> bytes:
    at, to = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    return data[to:] + data[at:to] + data[:at]


def other_value(data: bytes, draw: random.Random) -> bytes:
    return _other(data, draw, r"(?<=[:\[,=] )[^\s,\]}#]+")


def other_key(data: bytes, draw: random.Random) -> bytes:
    return _other(data, draw, r"[\w.]+(?=\"?\s*[:=])", "s")


def _other(data: bytes, draw: random.Random, pattern: str, *ends: str) -> bytes:
    """Another word in the place of one that fits the pattern: a drawn one, one of the others, or it with an end."""
    text = data.decode("utf-8", "replace")
    found = list(re.finditer(pattern, text))
    if not found:
        return data
    one = draw.choice(found)
    other = draw.choice([*WORDS, draw.choice(found)[0], *(one[0] + end for end in ends)])
    return (text[: one.start()] + other + text[one.end() :]).encode("utf-8", "replace")


def other_lines(data: bytes, draw: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    line = lines.pop(draw.randrange(len(lines)))
    if draw.random() < 0.5:
        lines.insert(draw.randrange(len(lines) + 1), draw.choice((line, b"  " + line, line.lstrip())))
    return b"".join(lines)


BYTE_WAYS = (turned, turned, cut, doubled, zeroed, exchanged)
TEXT_WAYS = (other_value, other_value, other_key, other_lines)
