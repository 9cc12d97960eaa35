"""Units of length by the names that OME-XML and ImageJ give them."""

NANOMETRES = {
    "pm": 1e-3,
    **dict.fromkeys(("å", "angstrom"), 0.1),
    **dict.fromkeys(("nm", "nanometer", "nanometre"), 1.0),
    **dict.fromkeys(("µm", "um", "micron", "microns", "micrometer", "micrometre"), 1e3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e6),
    **dict.fromkeys(("cm", "centimeter", "centimetre"), 1e7),
    **dict.fromkeys(("m", "meter", "metre"), 1e9),
    **dict.fromkeys(("in", "inch"), 25.4e6),
}


def nanometres_in(unit: str) -> float | None:
    """How many nanometres a unit has; None for what is no unit of length, as pixels are none.

    There are two letters µ, and ImageJ writes one of them as an escape.

    >>> nanometres_in("mm")
    1000000.0
    """
    plain = unit.strip().lower().replace("\\u00b5", "µ").replace("\\u03bc", "µ")
    return NANOMETRES.get(plain.replace("\u03bc", "µ"))
