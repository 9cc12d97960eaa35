"""The splits of an imported dataset, from those of its source."""

from collections.abc import Collection, Mapping, Sequence

from segkit.data.splits import SHARES, hashed_groups

Splits = dict[str, tuple[str, ...]]


def settled(splits: Mapping[str, Sequence[str]], names: Collection[str]) -> tuple[Splits, tuple[str, ...]]:
    """The splits to write, none where they are better drawn, and what was decided.

    Where there is a test split but nothing to validate on, some of the training cases are put aside for that, in the
    order of a hash of their names, as where a dataset has no splits at all.

    Args:
        splits: the source's.
        names: of all cases.

    >>> settled({"train": ["a", "b", "c"], "test": ["d"]}, "abcd")[0]
    {'train': ('b', 'c'), 'val': ('a',), 'test': ('d',)}
    """
    known = {split: tuple(name for name in listed if name in names) for split, listed in splits.items()}
    known = {split: listed for split, listed in known.items() if listed}
    if not known:
        return {}, ("the source has no splits: they are drawn by a hash of the names when the dataset is opened",)
    if set(known) == {"train"} and len(known["train"]) == len(names):
        return {}, ("the source has a training split alone: splits are drawn by a hash of the names on opening",)
    if "val" in known or len(known.get("train", ())) < 2:
        return known, ()
    order = [stem for group in hashed_groups(known["train"], {}) for stem in group]
    count = max(1, round(SHARES["val"] * len(order)))
    drawn = {"train": tuple(sorted(order[:-count])), "val": tuple(sorted(order[-count:]))}
    note = f"the source has no validation split: {count} of its {len(order)} training cases, by a hash of their names"
    return {**drawn, **{split: listed for split, listed in known.items() if split != "train"}}, (note,)
