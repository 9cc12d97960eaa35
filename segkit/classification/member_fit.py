"""Whether classifiers fit together: what they say is about the same classes, of the same view of an image."""

from collections.abc import Sequence

from segkit.classification.classifier import Classifier
from segkit.errors import ModelError, UsageError
from segkit.evaluation.seen import check_unseen
from segkit.labelled.images import LabelledImages


def check_members(members: Sequence[Classifier], names: Sequence[str]) -> None:
    """Nothing, where members go together.

    Raises:
        UsageError: other classes, in number, name or order, another view or other channels than the first member's.
    """
    first = members[0]
    for name, member in zip(names[1:], members[1:], strict=True):
        for what, theirs, ours in (
            ("classes", member.classes, first.classes),
            ("view", member.view, first.view),
            ("channels", member.channels, first.channels),
        ):
            if theirs != ours:
                raise UsageError(f"member {name!r} has {what} {theirs}, {names[0]!r} has {ours}; they must agree")


def check_data(name: str, member: Classifier, data: LabelledImages, *, unseen: str | None = None) -> None:
    """Nothing, where a classifier is of the classes of a dataset, and wasn't trained on the ``unseen`` split of it.

    Raises:
        ModelError: it has other classes than the dataset.
        UsageError: by what is kept with it, it was trained on the split.
    """
    if member.classes != data.classes:
        raise ModelError(f"{name} has classes {list(member.classes)}, {data.path} {list(data.classes)}")
    if unseen is not None:
        check_unseen(name, member.about, data.name, unseen)
