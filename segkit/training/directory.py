"""A run's folder: it appears whole, knows how far the run is, and is found again while the run is unfinished."""

import itertools
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from pydantic import BaseModel, ConfigDict, ValidationError

from segkit.artifact import DESCRIPTION
from segkit.errors import DataError, ModelError, RecipeError, UsageError
from segkit.files import exclusive, move, remove_temporary, write_whole
from segkit.recipe_file import load_as
from segkit.sections import RunRecipe

CHECKPOINTS = "checkpoints"
STATE = "state.json"
FREE = ("data.path", "data.cache", "train.workers")  # keys that change where and how fast, not what


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: Literal[1] = 1
    data: str
    minutes: dict[str, float] = {}


class RunDirectory:
    """The folder of an unfinished run.

    ``checkpoints/state.json`` in it holds the dataset's digest and, of each finished member, how long it took. It is
    there as soon as the folder is, and is removed when the run is finished: so a run is unfinished while it is there.

    Raises:
        ModelError: the state can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._state = self._read_state()

    @property
    def minutes(self) -> Mapping[str, float]:
        """Of each finished member."""
        return self._state.minutes

    @property
    def scratch(self) -> Path:
        """Folder for what is needed until the run is finished, and then removed."""
        return self.path / CHECKPOINTS

    def checkpoint(self, member: str) -> Path:
        """Where the checkpoint of a member in training is."""
        return self.path / CHECKPOINTS / f"{member}.pt"

    @property
    def going_on(self) -> str:
        """What --resume will do, in words: a run of less than half a minute has no checkpoint."""
        begun = self.minutes or any((self.path / CHECKPOINTS).glob("*.pt"))
        return f"the same command with --resume {'goes on' if begun else 'begins again: it was too soon to keep more'}"

    def check_data(self, digest: str, dataset: Path) -> None:
        """Refuse (DataError) a dataset whose digest is not that of the run's beginning."""
        if digest != self._state.data:
            raise DataError(
                f"{dataset}: other data, or another teacher, than {self.path} began with, so it can't be "
                "resumed; put them back, or leave --resume out to start a new run"
            )

    def finish_member(self, name: str, minutes: float) -> None:
        """Note that a member's model is saved; its checkpoint is no longer needed."""
        self._state.minutes[name] = minutes
        _write_state(self._state_path, self._state)
        self.checkpoint(name).unlink(missing_ok=True)

    def finish(self) -> None:
        """Note that there is nothing left to do."""
        self._state_path.unlink()
        shutil.rmtree(self.path / CHECKPOINTS, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what a killed process left half done: hidden temporary files, and models without a description."""
        remove_temporary(self.path)
        for model in [self.path / "model", *self.path.glob("members/*/model")]:
            if model.is_dir() and not (model / DESCRIPTION).is_file():
                shutil.rmtree(model)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other processes out for the time of the block, however this one ends.

        Raises:
            UsageError: another process trains in the folder, or has finished meanwhile.
        """
        if not self._state_path.is_file():
            raise UsageError(f"nothing to resume: {self.path} was finished by another process meanwhile")
        with (self.path / CHECKPOINTS / "lock").open("a") as lock:
            if not exclusive(lock):
                raise UsageError(f"{self.path}: another process is training this run; wait for it or end it")
            self._state = self._read_state()  # it may have been another's until now
            yield
        if not self._state_path.is_file():  # some systems keep a folder while the lock in it is open
            shutil.rmtree(self.path / CHECKPOINTS, ignore_errors=True)

    @property
    def _state_path(self) -> Path:
        return self.path / CHECKPOINTS / STATE

    def _read_state(self) -> _State:
        try:
            return _State.model_validate_json(self._state_path.read_bytes())
        except (OSError, ValidationError) as error:
            reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
            raise ModelError(f"{self._state_path}: damaged ({reason}); start this run again without --resume") from None


def new_run(out: Path, recipe: RunRecipe, digest: str) -> RunDirectory:
    """Make ``out/NAME``, or the first of ``NAME-2``, ``NAME-3``, … that isn't there, with recipe and state in it.

    The folder is filled under a hidden name first, so that whatever bears a run's name can be resumed.

    Raises:
        UsageError: the folder can't be made.
    """
    hidden = out / f".{uuid4().hex}"
    try:
        out.mkdir(parents=True, exist_ok=True)
        hidden.mkdir()
        write_whole(hidden / "recipe.yaml", recipe.to_yaml())
        _write_state(hidden / CHECKPOINTS / STATE, _State(data=digest))
        for number in itertools.count(1):
            directory = out / (recipe.name if number == 1 else f"{recipe.name}-{number}")
            if os.path.lexists(directory):
                continue
            try:
                move(hidden, directory)
                break
            except OSError:
                if not os.path.lexists(directory):  # else another process was quicker
                    raise
    except OSError as error:
        raise UsageError(f"{out}: can't make the run's folder ({error.strerror}); choose another --out") from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)  # which is the run's folder by now, or nothing
    return RunDirectory(directory)


def unfinished_run(out: Path, recipe: RunRecipe) -> RunDirectory:
    """The newest unfinished run of a recipe in ``out``.

    Raises:
        UsageError: there is none.
        RecipeError: there are, but with another recipe; the first key that differs is named.
    """
    runs = _runs(out, recipe.name)
    unfinished = [run for run in runs if (run / CHECKPOINTS / STATE).is_file()]
    if not unfinished:
        found = f"{runs[0]} is finished" if runs else f"there is no {out / recipe.name}"
        raise UsageError(f"nothing to resume: {found}; leave --resume out to start a new run")
    differences = []
    for run in unfinished:
        try:
            difference = _difference(load_as(type(recipe), run / "recipe.yaml"), recipe)
        except RecipeError as error:  # of another command, or another version's
            difference = str(error)
        if difference is None:
            return RunDirectory(run)
        differences.append(difference)
    raise RecipeError(
        f"{unfinished[0]} began with another recipe: {differences[0]}; resume takes the recipe and overrides of the "
        "beginning, or leave --resume out to start a new run"
    )


def _runs(out: Path, name: str) -> list[Path]:
    """Folders of the runs of a name, the newest first."""
    pattern = re.compile(rf"{re.escape(name)}(-\d+)?")
    runs = [path for path in out.glob(f"{name}*") if pattern.fullmatch(path.name) and (path / "recipe.yaml").is_file()]
    return sorted(runs, key=lambda run: (run / "recipe.yaml").stat().st_mtime_ns, reverse=True)


def _difference(began: RunRecipe, now: RunRecipe) -> str | None:
    """The first key, in the recipe's order, that isn't as it was; None where all that counts is."""
    before, after = _flat(began.model_dump(mode="json")), _flat(now.model_dump(mode="json"))
    for key in [*after, *before]:
        if before.get(key) != after.get(key) and not any(f".{key}".endswith(f".{free}") for free in FREE):
            return f"{key} was {before.get(key)!r}, is {after.get(key)!r}"
    return None


def _flat(value: Any, key: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys, items of lists by number."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = {dotted: leaf for name, item in items for dotted, leaf in _flat(item, f"{key}.{name}".strip(".")).items()}
    return inner or {key: value}


def _write_state(path: Path, state: _State) -> None:
    write_whole(path, state.model_dump_json(indent=2))
