"""How segmenters and ensembles of them are written and rebuilt."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import safetensors.torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from segkit import combining
from segkit.artifact.description import Description
from segkit.artifact.parts import check_parts
from segkit.artifact.store import DESCRIPTION, ModelFiles, ModelFolder, TensorFile, Tensors, portable
from segkit.data.reader import Reader
from segkit.ensemble import Ensemble
from segkit.errors import ModelError, UsageError
from segkit.model import Segmenter
from segkit.one_line import one_line
from segkit.task import Task


class _Member(TensorFile):
    name: str
    architecture: dict[str, Any]
    about: dict[str, Any]


class _Combined(BaseModel):
    """How an ensemble's members are combined; what was learnt for it is in a file, if there is anything."""

    model_config = ConfigDict(extra="forbid")
    name: str
    options: dict[str, Any]
    file: str | None
    sha256: str | None
    temperatures: list[float]
    temperature: float


class Segmentation(Description):
    """A ``Segmenter``, or an ``Ensemble`` of several."""

    what: ClassVar[str] = "a model that draws masks"
    takers: ClassVar[str] = "it is for 'segkit predict' and 'segkit evaluate' on a dataset of masks"
    draws_masks: ClassVar[bool] = True
    tags: ClassVar[str] = "image-segmentation"
    use: ClassVar[str] = (
        'import segkit\n\nprediction = segkit.Predictor("path/of/this/folder").predict("image.png")\n'
        'prediction.save("masks")'
    )
    kind: Literal["segmenter", "ensemble"]
    task: Task
    classes: list[str]
    background: int | None
    reader: Reader
    members: list[_Member] = Field(min_length=1)
    combination: _Combined | None

    @classmethod
    def facts(cls, model: Segmenter | Ensemble, target: ModelFolder) -> dict[str, Any]:
        """Task, classes, reader, members and how they are combined; UsageError where one wasn't built by name."""
        names, segmenters = _members_of(model)
        for name, segmenter in zip(names, segmenters, strict=True):  # before anything is written
            if not isinstance(segmenter, Segmenter) or segmenter.architecture is None:
                raise UsageError(
                    f"{name}: only models built with Segmenter.create can be saved; one from elsewhere is made anew, "
                    "with its ensemble, where it is used"
                )
        members = []
        for name, segmenter in zip(names, cast("list[Segmenter]", segmenters), strict=True):
            file = target.keep(name, _tensors(segmenter))
            about = segmenter.about if isinstance(model, Ensemble) else {}
            members.append({"name": name, **file.model_dump(), "architecture": segmenter.architecture, "about": about})
        return {
            "task": model.task,
            "classes": list(model.classes),
            "background": model.background,
            "reader": model.reader,
            "members": members,
            "combination": _combined(model, target) if isinstance(model, Ensemble) else None,
        }

    def build(self, source: ModelFiles) -> Segmenter | Ensemble:
        """The model; members of an ensemble with their own ``about``."""
        members = [_segmenter(source, self, each) for each in self.members]
        if self.kind == "segmenter":
            return members[0]
        for member, described in zip(members, self.members, strict=True):
            member.about = described.about
        if self.combination is None:
            raise ModelError(f"{source.path}: {DESCRIPTION} doesn't say how the members are combined; copy it again")
        return _ensemble(source, members, self, self.combination)

    def card(self) -> str:
        """Title, task, classes and members."""
        parts = [(each.name, each.architecture["backbone"], each.architecture["neck"]) for each in self.members]
        members = "".join(
            f"- {name}: {backbone['name']} backbone, {neck['name']} neck\n" for name, backbone, neck in parts
        )
        mpp = self.reader.mpp
        resolution = "" if mpp is None else f" at {mpp:g} microns per pixel"
        return (
            f"# A segkit {self.kind}\n\n"
            f"Task: {self.task}. Classes: {', '.join(self.classes)}. "
            f"Input: {self.reader.channels} channels{resolution}.\n\n"
            f"## Members\n\n{members}\n"
        )


def member_digests(model: Segmenter | Ensemble) -> dict[str, str]:
    """SHA-256 of each member's tensors, by its name: what saving records of them."""
    names, segmenters = _members_of(model)
    contents = (safetensors.torch.save(portable(_tensors(member))) for member in segmenters)
    return {name: hashlib.sha256(content).hexdigest() for name, content in zip(names, contents, strict=True)}


def _segmenter(source: ModelFiles, description: Segmentation, member: _Member) -> Segmenter:
    path: Path = source.path
    check_parts(path, member.name, member.architecture, ("backbone", "neck", "head", "depth", "bridge"))
    tensors = source.tensors(member.file, member.sha256)
    try:
        segmenter = Segmenter.create(
            **member.architecture,
            classes=description.classes,
            task=description.task,
            background=description.background,
            window=description.reader.window,
            slices=description.reader.slices,
            mpp=description.reader.mpp,
            **(_second_modality(description.reader) if "depth" in member.architecture else {}),
        )
        segmenter.load_state_dict(tensors)
    except (ValueError, TypeError, RuntimeError, LookupError, AttributeError, ArithmeticError) as error:
        message = f"{path}: member {member.name!r} can't be built from its description: {one_line(error)}"
        raise ModelError(message) from error
    segmenter.background = description.background
    return segmenter


def _second_modality(reader: Reader) -> dict[str, Any]:
    return {"depth_format": reader.depth, "depth_channels": reader.depth_channels}


def _ensemble(source: ModelFiles, members: list[Segmenter], description: Segmentation, combined: _Combined) -> Ensemble:
    first = members[0]
    try:
        combination = combining.create(
            combined.name, members=len(members), maps=first.maps, task=first.task, **combined.options
        )
        if _learnt(combination):
            combination.load_state_dict(source.tensors(combined.file or "", combined.sha256 or ""))
        return Ensemble(
            members,
            names=[member.name for member in description.members],
            combination=combination,
            temperatures=combined.temperatures,
            temperature=combined.temperature,
        )
    except ModelError:
        raise
    except (UsageError, ValueError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        raise ModelError(f"{source.path / DESCRIPTION}: {one_line(error)}") from None


def _combined(model: Ensemble, target: ModelFolder) -> dict[str, Any]:
    """How the members are combined; what was learnt for it is written."""
    combination = model.combination
    learnt = _learnt(combination)
    # A member can't be called so: names of members begin with a letter or digit.
    file = target.keep("_combination", learnt).model_dump() if learnt else {"file": None, "sha256": None}
    return {
        "name": combination.name,
        "options": combination.options(),
        **file,
        "temperatures": list(model.temperatures),
        "temperature": model.temperature,
    }


def _learnt(combination: combining.Combination) -> Tensors:
    """What can't be said by its options, which people can read: all its tensors, or none."""
    state: Tensors = combination.state_dict()
    return {} if state.keys() <= combination.options().keys() else state


def _members_of(model: Segmenter | Ensemble) -> tuple[tuple[str, ...], list[nn.Module]]:
    if isinstance(model, Ensemble):
        return model.names, list(model.members)
    return ("model",), [model]


def _tensors(member: nn.Module) -> Tensors:
    return {name: tensor for name, tensor in member.state_dict().items() if not name.startswith("auxiliary.")}
