"""How a model of images and texts is written and rebuilt."""

from typing import Any, ClassVar, Literal

from segkit.artifact.description import Description
from segkit.artifact.parts import check_parts
from segkit.artifact.store import ModelFiles, ModelFolder, TensorFile
from segkit.contrasting.image_text import ImageText
from segkit.errors import UsageError
from segkit.labelled.view import View


class SavedImageText(Description):
    """An ``ImageText``: its vocabulary, or its text encoder's tokenizer, is part of the architecture."""

    what: ClassVar[str] = "a model of images and texts, which says how well they fit each other"
    takers: ClassVar[str] = "it is for segkit.contrasting.zero_shot"
    tags: ClassVar[str] = "zero-shot-image-classification"
    use: ClassVar[str] = (
        "import segkit\nfrom segkit.contrasting.zero_shot import zero_shot\n\n"
        'model = segkit.load("path/of/this/folder")\n'
        'classes = {"cat": ["a photo of a cat"], "dog": ["a photo of a dog", "a puppy"]}\n'
        'print(zero_shot(model, ["image.png"], classes)[0].best())'
    )
    kind: Literal["image_text"]
    view: View | None
    architecture: dict[str, Any]
    tensors: TensorFile

    @classmethod
    def facts(cls, model: ImageText, target: ModelFolder) -> dict[str, Any]:
        """View, architecture and the tensors' file; UsageError where it wasn't built by name."""
        if model.architecture is None:
            raise UsageError("only models built with ImageText.create can be saved")
        return {
            "view": model.view,
            "architecture": model.architecture,
            "tensors": target.keep("model", model.state_dict()),
        }

    def build(self, source: ModelFiles) -> ImageText:
        """The model, with the tensors that were saved."""
        check_parts(source.path, "model", self.architecture, ("backbone",))
        model = ImageText.rebuild(self.architecture, view=self.view)
        model.load_state_dict(source.tensors(self.tensors.file, self.tensors.sha256))
        return model

    def card(self) -> str:
        """Title, view, backbone and text encoder."""
        view = "" if self.view is None else f", {' × '.join(map(str, self.view.size))} pixels of the image's centre"
        text = self.architecture["text"]
        known = f", {len(text['words'])} known words" if "words" in text else ""
        return (
            f"# A segkit model of images and texts\n\nUnit vectors of {self.architecture['dim']} numbers for both. "
            f"Input: {self.architecture['in_channels']} channels{view}.\n\n"
            f"Backbone: {self.architecture['backbone']['name']}. Text encoder: {text['name']}{known}.\n\n"
        )
