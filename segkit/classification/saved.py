"""How a classifier is written and rebuilt."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from segkit.artifact.description import Description
from segkit.artifact.parts import check_parts
from segkit.artifact.store import ModelFiles, ModelFolder, TensorFile
from segkit.classification.classifier import Classifier
from segkit.errors import UsageError
from segkit.labelled.view import View


class SavedClassifier(Description):
    """A ``Classifier``."""

    what: ClassVar[str] = "a classifier, which gives a whole image one label"
    takers: ClassVar[str] = (
        "it is for 'segkit predict', 'segkit evaluate' on labelled images, and segkit.classification.prediction"
    )
    tags: ClassVar[str] = "image-classification"
    use: ClassVar[str] = (
        "import segkit\nfrom segkit.classification.prediction import classify\n\n"
        'classifier = segkit.load("path/of/this/folder")\nprint(classify(classifier, ["image.png"])[0].best())'
    )
    kind: Literal["classifier"]
    classes: list[str] = Field(min_length=1)
    view: View | None
    architecture: dict[str, Any]
    tensors: TensorFile

    @classmethod
    def facts(cls, model: Classifier, target: ModelFolder) -> dict[str, Any]:
        """Classes, view, backbone and the tensors' file; UsageError where it wasn't built by name."""
        if model.architecture is None:
            raise UsageError("only classifiers built with Classifier.create can be saved")
        return {
            "classes": list(model.classes),
            "view": model.view,
            "architecture": model.architecture,
            "tensors": target.keep("model", model.state_dict()),
        }

    def build(self, source: ModelFiles) -> Classifier:
        """The classifier, with the tensors that were saved."""
        check_parts(source.path, "model", self.architecture, ("backbone",))
        model = Classifier.create(**self.architecture, classes=self.classes, view=self.view)
        model.load_state_dict(source.tensors(self.tensors.file, self.tensors.sha256))
        return model

    def card(self) -> str:
        """Title, classes, view and backbone."""
        names = ", ".join(self.classes[:20]) + (", …" if len(self.classes) > 20 else "")
        view = "" if self.view is None else f", {' × '.join(map(str, self.view.size))} pixels of the image's centre"
        return (
            f"# A segkit classifier\n\nOne of {len(self.classes)} classes for a whole image: {names}. "
            f"Input: {self.architecture['in_channels']} channels{view}.\n\n"
            f"Backbone: {self.architecture['backbone']['name']}.\n\n"
        )
