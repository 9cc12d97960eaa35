"""How several classifiers together, combined or under a joint head, are written and rebuilt."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from segkit import combining
from segkit.artifact.description import FORMAT, Description
from segkit.artifact.store import ModelFiles, ModelFolder, TensorFile
from segkit.classification.classifier import Classifier
from segkit.classification.ensemble import ClassifierEnsemble
from segkit.classification.joint import JointClassifier
from segkit.classification.saved import SavedClassifier
from segkit.errors import ModelError, UsageError
from segkit.one_line import one_line


class SavedMember(BaseModel):
    """A classifier with its name; it is described as one that is saved by itself."""

    model_config = ConfigDict(extra="forbid")
    name: str
    model: SavedClassifier


class SavedTogether(Description):
    """Several classifiers that answer as one."""

    takers: ClassVar[str] = SavedClassifier.takers
    tags: ClassVar[str] = SavedClassifier.tags
    use: ClassVar[str] = SavedClassifier.use
    members: list[SavedMember] = Field(min_length=1)

    def built_members(self, source: ModelFiles) -> tuple[list[Classifier], list[str]]:
        """The members and their names."""
        built = []
        for member in self.members:
            try:
                classifier = member.model.build(source).eval()
            except ModelError:
                raise
            except (ValueError, TypeError, RuntimeError) as error:
                raise ModelError(
                    f"{source.path}: member {member.name!r} can't be built from its description: {one_line(error)}"
                ) from error
            classifier.about = member.model.about
            built.append(classifier)
        return built, [member.name for member in self.members]

    def _card(self, title: str) -> str:
        members = "".join(f"- {each.name}: {each.model.architecture['backbone']['name']}\n" for each in self.members)
        classes = self.members[0].model.classes
        names = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
        return (
            f"# A segkit {title}\n\nOne of {len(classes)} classes for a whole image: {names}.\n\n"
            f"## Members\n\n{members}\n"
        )


class SavedClassifierEnsemble(SavedTogether):
    """A ``ClassifierEnsemble``."""

    what: ClassVar[str] = "an ensemble of classifiers, which gives a whole image one label"
    kind: Literal["classifier_ensemble"]
    combination: str
    options: dict[str, Any]
    temperatures: list[float]
    temperature: float

    @classmethod
    def facts(cls, model: ClassifierEnsemble, target: ModelFolder) -> dict[str, Any]:
        """Its members, and how they are combined."""
        return {
            "members": _described(model.names, [*model.members], target),
            "combination": model.combination.name,
            "options": model.combination.options(),
            "temperatures": list(model.temperatures),
            "temperature": model.temperature,
        }

    def build(self, source: ModelFiles) -> ClassifierEnsemble:
        """The ensemble, of members made anew."""
        members, names = self.built_members(source)
        combination = combining.create(
            self.combination, members=len(members), maps=len(members[0].classes), task="multiclass", **self.options
        )
        return ClassifierEnsemble(
            members,
            names=names,
            combination=combination,
            temperatures=self.temperatures,
            temperature=self.temperature,
        )

    def card(self) -> str:
        """Its title and members."""
        return self._card("ensemble of classifiers")


class SavedJointClassifier(SavedTogether):
    """A ``JointClassifier``."""

    what: ClassVar[str] = "classifiers under a joint head, which give a whole image one label"
    kind: Literal["joint_classifier"]
    hidden: int
    dropout: float
    temperature: float
    head: TensorFile

    @classmethod
    def facts(cls, model: JointClassifier, target: ModelFolder) -> dict[str, Any]:
        """Its members, and the joint head."""
        return {
            "members": _described(model.names, model.members, target),
            "hidden": model.joint.top.hidden,
            "dropout": model.joint.top.dropout,
            "temperature": model.temperature,
            # A member's file can't be called so: it is called after what a classifier's is.
            "head": target.keep("_joint_head", model.joint.top.state_dict()),
        }

    def build(self, source: ModelFiles) -> JointClassifier:
        """The classifier, of members made anew."""
        members, names = self.built_members(source)
        model = JointClassifier(
            members, names=names, hidden=self.hidden, dropout=self.dropout, temperature=self.temperature
        )
        model.joint.top.load_state_dict(source.tensors(self.head.file, self.head.sha256))
        return model

    def card(self) -> str:
        """Its title and members."""
        return self._card("joint classifier")


def _described(names: Sequence[str], members: Sequence[Any], target: ModelFolder) -> list[dict[str, Any]]:
    import segkit

    for name, member in zip(names, members, strict=True):  # before anything is written
        if member.architecture is None:
            raise UsageError(f"{name}: only classifiers built with Classifier.create can be saved")
    common = {"format": FORMAT, "segkit": segkit.__version__, "kind": "classifier"}
    return [
        {"name": name, "model": {**common, "about": member.about, **SavedClassifier.facts(member, target)}}
        for name, member in zip(names, members, strict=True)
    ]
