"""What a model is asked for by names and numbers: each checked, with its default where it was left out."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import inf, isfinite
from numbers import Integral
from typing import Any, get_args

from segkit.data.reader import Window
from segkit.data.window_names import NAMED, NamedWindow
from segkit.errors import UsageError
from segkit.parts import plain
from segkit.task import Task, named_background

Named = str | Mapping[str, Any]  # a part: its name, or {"name": …, option: value}

CELL = 8  # pixels of the image along a side of a coarse map's cell, where only the map's size is given
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def channel_count(channels: object) -> int:
    """The number of channels as a plain int; UsageError where it is none."""
    if isinstance(channels, bool) or not isinstance(channels, Integral) or int(channels) < 1:
        raise UsageError(f"in_channels={channels!r}: expected a whole number, 1 or more")
    return int(channels)


def grids(
    input_size: Sequence[int] | None, output_size: Sequence[int] | None
) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """(height, width) that images are brought to, and of the coarse map; a coarse map alone means 8 times its size.

    Raises:
        UsageError: not two sides of 1 or more, or a coarse map larger than the image.
    """
    sizes = []
    for name, size in (("input_size", input_size), ("output_size", output_size)):
        sides: list[object] = list(size) if isinstance(size, Sequence) else [size]
        whole = all(isinstance(side, Integral) and int(side) >= 1 for side in sides)
        if size is not None and (len(sides) != 2 or not whole):
            raise UsageError(f"{name} is {size!r}; expected [height, width], both whole and 1 or more")
        sizes.append(None if size is None else (int(size[0]), int(size[1])))
    taken, learnt = sizes
    if learnt is not None:
        taken = taken or (CELL * learnt[0], CELL * learnt[1])
        if learnt[0] > taken[0] or learnt[1] > taken[1]:
            raise UsageError(f"output_size {list(learnt)} is larger than input_size {list(taken)}")
    return taken, learnt


def normalisation(
    mean: Sequence[float] | None, std: Sequence[float] | None, channels: int
) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of each channel in 0..1: those given, else ImageNet's for three, else 0.5 and 0.25.

    Raises:
        UsageError: not one value a channel.
    """
    mean = mean if mean is not None else (IMAGENET_MEAN if channels == 3 else (0.5,) * channels)
    std = std if std is not None else (IMAGENET_STD if channels == 3 else (0.25,) * channels)
    for name, values in (("mean", mean), ("std", std)):
        if not isinstance(values, Sequence):
            raise UsageError(f"{name}={values!r}: expected a list of {channels}, one a channel")
    if not len(mean) == len(std) == channels:
        raise UsageError(f"mean has {len(mean)} and std {len(std)} values for {channels} channels; give one each")
    if not all(isfinite(value) for value in mean) or not all(0 < value < inf for value in std):
        raise UsageError(f"mean={list(mean)}, std={list(std)}: expected finite numbers, those of std above 0")
    return mean, std


def part(named: Named) -> dict[str, Any]:
    """A part's name and options, as keyword arguments for ``create``."""
    values = {"name": named} if isinstance(named, str) else dict(named) if isinstance(named, Mapping) else {}
    if not isinstance(values.get("name"), str):
        raise UsageError(f"{named!r}: expected a name, or {{'name': …, option: value}}")
    taken = sorted({"in_channels", "channels", "strides", "stride", "classes"} & values.keys())
    if taken:
        raise UsageError(f"{values['name']}: {taken[0]} is no option; it follows from the rest of the model")
    return {key: value if key == "weights" else plain(value) for key, value in values.items()}


@contextmanager
def naming(key: str) -> Iterator[None]:
    """Turn what a part's constructor complains of into a UsageError that says which part of the model it is."""
    try:
        yield
    except (ValueError, TypeError) as error:
        message = str(error)
        named = message.startswith((key, f"no {key} is"))
        raise UsageError(message if named else f"{key}: {message}") from error


def without_weights(named: Mapping[str, Any]) -> dict[str, Any]:
    """A backbone's name and options without weights to start from, its parts' too."""
    shape = {key: value for key, value in named.items() if key != "weights"}
    if "of" in shape:
        shape["of"] = [without_weights(part(each)) for each in shape["of"]]
    return shape


def class_names(classes: int | Sequence[str]) -> tuple[str, ...]:
    """The classes' names, made up where their number is given.

    Raises:
        UsageError: no name, or one twice.
    """
    if not isinstance(classes, int | Sequence) or isinstance(classes, bool):
        raise UsageError(f"classes={classes!r}: expected names, or their number")
    if isinstance(classes, int):
        classes = [f"class_{i}" for i in range(classes)]
    names = tuple(classes)
    if not names or len(set(names)) < len(names):
        raise UsageError(f"classes {list(names)}: expected at least one name, each different")
    return names


def background_id(background: int | str | None, names: tuple[str, ...], task: Task) -> int | None:
    """The background's id: of its name, or what the classes themselves say; UsageError where it is none of them."""
    if isinstance(background, str):
        if background not in names:
            raise UsageError(f"background {background!r} is not one of the classes {list(names)}")
        return names.index(background)
    if background is None:
        if task == "binary":
            return 0 if len(names) == 2 else None
        return named_background(names) if task == "multiclass" else None
    if type(background) is not int or not 0 <= background < len(names):
        raise UsageError(f"background {background}: expected a class id from 0 to {len(names) - 1}")
    return background


def task_of(task: Task | None, classes: Sequence[str]) -> Task:
    """The task asked for; by default one or two classes mean ``binary``, more mean ``multiclass``.

    Raises:
        UsageError: no such task, or ``binary`` of more than two classes.
    """
    if task is not None and task not in get_args(Task):
        raise UsageError(f"task {task!r}: expected one of {', '.join(get_args(Task))}")
    task = task or ("binary" if len(classes) <= 2 else "multiclass")
    if task == "binary" and len(classes) > 2:
        raise UsageError(f"task 'binary' with {len(classes)} classes; name two at most, or choose another task")
    return task


def given_window(window: Window | NamedWindow | None) -> Window | None:
    """The window that is meant: two rising intensities, a window of CT by its name, or a way to find one.

    Raises:
        UsageError: none of these.
    """
    found = NAMED[window] if isinstance(window, str) and window in NAMED else window
    if found is None or found in ("picture", "file"):
        return found
    if isinstance(found, str) or not found[0] < found[1]:
        raise UsageError(
            f"window {window!r}: expected two rising intensities, 'picture', 'file', one of {', '.join(NAMED)}, or None"
        )
    return found
