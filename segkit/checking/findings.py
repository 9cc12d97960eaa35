"""What can be wrong with a dataset: each kind of finding with how bad it is, what it is called and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from segkit.data.depth_format import UNITS

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Place:
    """Where something was found: a file or folder below the dataset's, a split or a class; and what was there."""

    name: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.detail})" if self.detail else self.name


@dataclass(frozen=True)
class Kind:
    """One thing that can be wrong."""

    severity: Severity
    title: str
    """In the plural; the number of places follows it."""
    advice: str
    """What was expected and what to do, as a sentence."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, with every place where it is.

    Attributes:
        kind: a key of ``KINDS``.
        places: at least one.
    """

    kind: str
    places: tuple[Place, ...]

    @property
    def severity(self) -> Severity:
        """Of the kind."""
        return KINDS[self.kind].severity

    @property
    def title(self) -> str:
        """Of the kind."""
        return KINDS[self.kind].title

    @property
    def advice(self) -> str:
        """Of the kind."""
        return KINDS[self.kind].advice


def finding(kind: str, places: Sequence[Place]) -> list[Finding]:
    """Return one finding, or none where there is no place."""
    return [Finding(kind, tuple(places))] if places else []


def sort_findings(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings most severe first, within a severity in the order of ``KINDS``."""
    order = {kind: (SEVERITIES.index(KINDS[kind].severity), place) for place, kind in enumerate(KINDS)}
    return tuple(sorted(findings, key=lambda found: order[found.kind]))


FIX = "'segkit check --fix'"

KINDS: dict[str, Kind] = {
    # Errors: training would stop, or its score would mean nothing.
    "description": Kind(
        "error", "faults in dataset.yaml", "Correct the keys; until then they are left out of account."
    ),
    "folder": Kind("error", "folders missing or without files", "A dataset has images/ and masks/."),
    "same_name": Kind(
        "error",
        "files whose name another file has",
        f"Files are paired by their stem: keep one of them; {FIX} can leave out second files of depth.",
    ),
    "unreadable": Kind(
        "error",
        "files that can't be used",
        f"Copy or export them again, or take them out of the splits; {FIX} leaves out the pictures, of depth the maps.",
    ),
    "no_picture": Kind("error", "names in splits without a picture", f"Correct the names; {FIX} takes them out."),
    "no_mask": Kind("error", "pictures in splits without a mask", f"Draw the masks; {FIX} takes the pictures out."),
    "no_roi": Kind(
        "error",
        "pictures in splits without a region of interest",
        f"'roi:' in dataset.yaml promises one each; {FIX} takes the pictures out.",
    ),
    "size": Kind(
        "error",
        "masks of another size than their picture",
        f"Export them again, pixel for pixel; {FIX} turns or resizes masks of the same shape.",
    ),
    "depth_size": Kind(
        "error",
        "depth maps of another size than their picture",
        f"Export them pixel for pixel, or give the cameras in dataset.yaml; {FIX} can leave them out.",
    ),
    "grid": Kind(
        "error",
        "masks on another grid than their volume",
        "A mask must lie on its volume voxel for voxel: resample it, by nearest neighbours.",
    ),
    "depth_channels": Kind(
        "error",
        "depth maps with another number of channels",
        f"No model takes both: export all with the same number; {FIX} can leave them out.",
    ),
    "coding": Kind("error", "folders of masks whose values are no class ids", "Name the classes in dataset.yaml."),
    "lossy": Kind(
        "error",
        "masks saved with lossy compression",
        f"JPEG and WebP blur class ids: export PNG; {FIX} takes the nearest class.",
    ),
    "interpolated": Kind(
        "error",
        "masks that look interpolated",
        f"Values lie between the classes': export without smoothing; {FIX} takes the nearest class.",
    ),
    "unknown_ids": Kind(
        "error", "masks with values that are no class", f"Add the classes to dataset.yaml; {FIX} can ignore the pixels."
    ),
    "colour": Kind(
        "error", "masks in colour", "Give each class's colour under 'palette:' in dataset.yaml, or export class ids."
    ),
    "empty_split": Kind("error", "splits without pictures", f"List some; {FIX} draws them by a hash of the names."),
    "nothing_to_learn": Kind(
        "error",
        "training splits with a single class",
        "Nothing can be learned from it: check the masks and the classes.",
    ),
    "two_splits": Kind("error", "names in two splits", f"A score on them means nothing; {FIX} keeps them for testing."),
    "same_picture": Kind(
        "error",
        "pictures that are in another split too, pixel for pixel",
        f"A score on them means nothing; {FIX} takes them out of training.",
    ),
    "group": Kind(
        "error",
        "groups in two splits",
        f"A patient's pictures are alike, so the score flatters; {FIX} takes them out of training.",
    ),
    "channels": Kind(
        "error", "numbers of channels that no one model takes", "Export all pictures with the same number of channels."
    ),
    # Warnings: training goes on, but perhaps not as meant.
    "near_copy": Kind(
        "warning",
        "pictures nearly the same as one in another split",
        f"Resized, turned or saved again, they flatter the score; {FIX} takes them out of training.",
    ),
    "turned": Kind(
        "warning",
        "changes after which all masks fit their pictures better",
        f"The edges say that the masks are turned or shifted: look at some, then use {FIX}.",
    ),
    "misfit": Kind(
        "warning", "masks whose edges don't fit their picture", f"Look at them; {FIX} turns those that fit when turned."
    ),
    "mixed_coding": Kind(
        "warning",
        "masks of 0 and 255 among masks of ids",
        f"255 is ignored where ids occur; if it means foreground here, {FIX} can read it so, else set ignore_index.",
    ),
    "constant": Kind("warning", "pictures of a single value", "Nothing can be seen in them: export them again."),
    "ignored": Kind("warning", "pictures in which every pixel is ignored", "Nothing is learned or scored there."),
    "only_elsewhere": Kind(
        "warning", "classes that training never sees", "They are in other splits only: draw the splits anew."
    ),
    "absent": Kind("warning", "classes that no mask holds", "Check the order of the classes, or leave them out."),
    "bit_depth": Kind(
        "warning",
        "types of pixels side by side",
        "Each is scaled by its own range: export all alike, or set data.window.",
    ),
    "range": Kind(
        "warning",
        "floating-point pictures that leave 0..1",
        "Set data.window in the recipe to their lowest and highest.",
    ),
    "large": Kind(
        "warning",
        "slides that are too large to be looked at here",
        "Training reads a coarser level of them, by data.mpp.",
    ),
    "no_depth_unit": Kind(
        "warning",
        "depth maps of which nothing says what their values mean",
        f"Add 'depth_unit:' with {UNITS}; until then no model can be given depth.",
    ),
    "depth_scale": Kind(
        "warning",
        "depth at distances that cameras don't measure",
        "Check depth_unit and depth_invalid in dataset.yaml; of what is no distance, say relative.",
    ),
    "depth_unlike": Kind(
        "warning",
        "depth maps that look as if in another unit than most",
        "Look at them: cut to 8 bits, or in another unit, they mislead a model. Export them as the others.",
    ),
    "depth_coarse": Kind(
        "warning",
        "distances in 8 bits, which hold 255 of them",
        "Export depth itself, as 16-bit mm or as floats; if it is one that was drawn for people, say relative.",
    ),
    "depth_saturated": Kind(
        "warning",
        "depth with many values at the end of what its file holds",
        "If that means 'not measured', add the value to depth_invalid in dataset.yaml.",
    ),
    "depth_beside": Kind(
        "warning",
        "depth of another camera that misses its picture",
        "Check intrinsics (of pictures of this size), depth_intrinsics, and which way depth_to_colour goes.",
    ),
    "nothing_measured": Kind(
        "warning", "depth maps in which nothing is measured", "Export them again; until then they count as absent."
    ),
    "unlike_spacing": Kind(
        "warning",
        "volumes with a spacing unlike that of most",
        "Check the units of their headers; where they are right, data.slices.spacing brings all to one.",
    ),
    "unlocated": Kind(
        "warning",
        "volumes that don't say where they are in the patient",
        "Whether their masks lie right can be told by their sizes alone: export them with their geometry.",
    ),
    "depth_alone": Kind("warning", "depth maps without a picture", "They are not used."),
    "no_split": Kind("warning", "usual splits that aren't there", f"Name others in the recipe; {FIX} draws them."),
    "mask_alone": Kind("warning", "masks without a picture", "They are not used."),
    "unknown_stems": Kind("warning", "names in groups without a picture", "Correct the names in dataset.yaml."),
    # Notes: what was decided, and what to know.
    "decided": Kind("note", "decisions taken without being told", "Write them into dataset.yaml to be sure of them."),
    "orientations": Kind(
        "note", "ways in which volumes lie in their files", "Models are shown all of them as radiologists hang them."
    ),
    "exif": Kind(
        "note", "pictures turned by their orientation tag", f"Other programs may not: {FIX} turns the pixels."
    ),
    "grey_and_colour": Kind(
        "note", "pictures in grey among pictures in colour", "A model of three channels takes both."
    ),
    "narrow_range": Kind("note", "16-bit pictures that use 12 bits or fewer", "They look black: set data.window."),
    "wide_masks": Kind("note", "masks of 16 bits or more", f"They are read all the same; {FIX} writes 8 bits."),
    "alpha": Kind("note", "masks with transparency", f"It is not looked at; {FIX} drops it."),
    "no_depth": Kind(
        "note", "pictures without depth among pictures with depth", "A model is told that nothing is measured there."
    ),
    "unlisted": Kind("note", "pictures in no split", "They are not used."),
    "nothing_drawn": Kind(
        "note",
        "pictures with masks of background alone",
        "Right where nothing is to be seen; draw the others, or they teach that there is nothing.",
    ),
    "again": Kind("note", "pictures that are in their split twice, pixel for pixel", "They count twice."),
    "other_files": Kind("note", "files of types that aren't read here", "They are not used."),
}
