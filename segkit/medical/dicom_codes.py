"""What a class is in SNOMED CT, by its name: what a DICOM segment has to say of itself besides its label."""

import re
from typing import NamedTuple

ANATOMY = ("91723000", "Anatomical Structure")
TISSUE = ("85756007", "Tissue")
MORPHOLOGY = ("49755003", "Morphologically Abnormal Structure")
SUBSTANCE = ("91720002", "Body Substance")

# Segmentation property types (DICOM PS3.16, CID 7151) by their category (CID 7150): of each the code, its meaning as
# DICOM gives it, and further names that people give it.
TYPES: dict[tuple[str, str], tuple[tuple[str, str, tuple[str, ...]], ...]] = {
    ANATOMY: (
        ("23451007", "Adrenal gland", ("adrenal",)),
        ("4958002", "Amygdala", ()),
        ("15825003", "Aorta", ()),
        ("51114001", "Artery", ()),
        ("89837001", "Bladder", ("urinary bladder",)),
        ("59820001", "Blood Vessel", ("vessel",)),
        ("3138006", "Bone", ()),
        ("12738006", "Brain", ()),
        ("119238007", "Brain Stem", ("brainstem",)),
        ("35764002", "Brain ventricle", ()),
        ("76752008", "Breast", ()),
        ("955009", "Bronchus", ("bronchi",)),
        ("11000004", "Caudate Nucleus", ("caudate",)),
        ("113305005", "Cerebellum", ()),
        ("51299004", "Clavicle", ()),
        ("71854001", "Colon", ()),
        ("38848004", "Duodenum", ()),
        ("32849002", "Esophagus", ("oesophagus",)),
        ("81745001", "Eye", ()),
        ("71341001", "Femur", ("femora",)),
        ("28231008", "Gallbladder", ("gall bladder",)),
        ("80891009", "Heart", ()),
        ("8993003", "Hepatic vein", ()),
        ("5366008", "Hippocampus", ("hippocampi",)),
        ("85050009", "Humerus", ("humeri",)),
        ("64131007", "Inferior vena cava", ("ivc",)),
        ("64033007", "Kidney", ()),
        ("14742008", "Large intestine", ("large bowel",)),
        ("4596009", "Larynx", ()),
        ("66720007", "Lateral Ventricle", ()),
        ("82471001", "Left atrium", ()),
        ("87878005", "Left ventricle", ()),
        ("10200004", "Liver", ()),
        ("39607008", "Lung", ()),
        ("59441001", "Lymph Node", ()),
        ("91609006", "Mandible", ()),
        ("15497006", "Ovary", ("ovaries",)),
        ("15776009", "Pancreas", ()),
        ("45289007", "Parotid gland", ("parotid",)),
        ("64234005", "Patella", ("patellae",)),
        ("32764006", "Portal vein", ()),
        ("41216001", "Prostate", ("prostate gland",)),
        ("89278009", "Putamen", ()),
        ("34402009", "Rectum", ()),
        ("113197003", "Rib", ()),
        ("73829009", "Right atrium", ()),
        ("53085002", "Right ventricle", ()),
        ("30315005", "Small intestine", ("small bowel",)),
        ("2748008", "Spinal cord", ()),
        ("78961009", "Spleen", ()),
        ("69695003", "Stomach", ()),
        ("42695009", "Thalamus", ("thalami",)),
        ("69748006", "Thyroid", ("thyroid gland",)),
        ("38199008", "Tooth", ("teeth",)),
        ("44567001", "Trachea", ()),
        ("35039007", "Uterus", ()),
        ("29092000", "Vein", ()),
        ("51282000", "Vertebra", ("vertebrae",)),
    ),
    TISSUE: (
        ("85756007", "Tissue", ()),
        ("309312004", "Cartilage", ()),
        ("55603005", "Fat", ("adipose tissue",)),
        ("389081007", "Gray Matter", ("grey matter",)),
        ("91727004", "Muscle", ()),
        ("39937001", "Skin", ()),
        ("389080008", "White Matter", ()),
    ),
    MORPHOLOGY: (
        ("44132006", "Abscess", ()),
        ("367643001", "Cyst", ()),
        ("79654002", "Edema", ("oedema",)),
        ("50960005", "Hemorrhage", ("haemorrhage", "bleeding")),
        ("52988006", "Lesion", ()),
        ("4147007", "Mass", ("masses",)),
        ("6574001", "Necrosis", ()),
        ("108369006", "Neoplasm", ("tumor", "tumour", "cancer")),
        ("14799000", "Neoplasm, Secondary", ("metastasis", "metastases")),
        ("27925004", "Nodule", ()),
    ),
    SUBSTANCE: (
        ("87612001", "Blood", ()),
        ("65216001", "Cerebrospinal Fluid", ("csf",)),
    ),
}

SIDES = {"left": ("7771000", "Left"), "right": ("24028007", "Right")}

_BY_NAME = {
    name: (category, (code, meaning))
    for category, types in TYPES.items()
    for code, meaning, others in types
    for name in (meaning.lower(), *others)
}


class Property(NamedTuple):
    """What a segment shows: (code, meaning) of its category, its type and, where the name says it, its side."""

    category: tuple[str, str]
    kind: tuple[str, str]
    side: tuple[str, str] | None = None


def property_of(name: str) -> Property:
    """The SNOMED CT codes of a class by its name; tissue of no further kind where the name is none of the table's.

    A wrong code would be worse than a general one, so that a name has to match whole, but for its case, its plural,
    and ``left`` or ``right``.

    >>> property_of("left_kidneys").kind, property_of("left_kidneys").side
    (('64033007', 'Kidney'), ('7771000', 'Left'))
    >>> property_of("posterior")
    Property(category=('85756007', 'Tissue'), kind=('85756007', 'Tissue'), side=None)
    """
    words = re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name))
    lowered = [word.lower() for word in words]
    if (found := _look_up(lowered)) is not None:
        return Property(*found)
    sides = [word for word in lowered if word in SIDES]
    rest = [word for word in lowered if word not in SIDES]
    if len(sides) == 1 and (found := _look_up(rest)) is not None:
        return Property(*found, SIDES[sides[0]])
    return Property(TISSUE, TISSUE)


def _look_up(words: list[str]) -> tuple[tuple[str, str], tuple[str, str]] | None:
    name = " ".join(words)
    return _BY_NAME.get(name) or _BY_NAME.get(name.removesuffix("s"))
