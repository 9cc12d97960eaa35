import pytest
from pydicom.sr.codedict import codes

from segkit.medical.dicom_codes import SIDES, TYPES, property_of


def concepts(number):
    """(code, meaning) of a context group, by pydicom's copy of the standard."""
    found = getattr(codes, f"cid{number}").concepts.values()
    return {(code.value, code.meaning) for code in found if code.scheme_designator == "SCT"}


def test_every_code_is_one_of_the_standards_for_segments():
    assert set(TYPES) <= concepts(7150)
    types = [(code, meaning) for kinds in TYPES.values() for code, meaning, _ in kinds]
    assert set(types) <= concepts(7151)
    assert len(set(types)) == len(types)
    assert set(SIDES.values()) <= concepts(244)


@pytest.mark.parametrize(
    ("name", "category", "kind", "side"),
    [
        ("liver", "Anatomical Structure", "Liver", None),
        ("Tumour", "Morphologically Abnormal Structure", "Neoplasm", None),
        ("lesions", "Morphologically Abnormal Structure", "Lesion", None),
        ("kidney_left", "Anatomical Structure", "Kidney", "Left"),
        ("Right-Lung", "Anatomical Structure", "Lung", "Right"),
        ("LeftKidney", "Anatomical Structure", "Kidney", "Left"),
        ("left ventricle", "Anatomical Structure", "Left ventricle", None),
        ("vessel", "Anatomical Structure", "Blood Vessel", None),
        ("Hippocampus", "Anatomical Structure", "Hippocampus", None),
        ("white matter", "Tissue", "White Matter", None),
        ("CSF", "Body Substance", "Cerebrospinal Fluid", None),
        ("anterior", "Tissue", "Tissue", None),
        ("liver tumour", "Tissue", "Tissue", None),
        ("left right lung", "Tissue", "Tissue", None),
        ("left", "Tissue", "Tissue", None),
        ("3", "Tissue", "Tissue", None),
    ],
)
def test_names_find_their_codes_or_the_general_one(name, category, kind, side):
    found = property_of(name)
    assert (found.category[1], found.kind[1], found.side and found.side[1]) == (category, kind, side)
