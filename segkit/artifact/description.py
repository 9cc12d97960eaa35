"""What every saved model says of itself in ``segkit.json``, whatever its kind."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict
from torch import nn

from segkit.artifact.store import ModelFiles, ModelFolder

FORMAT = 2


class Description(BaseModel, ABC):
    """The content of ``segkit.json``; a kind of model is a subclass that knows how to write and rebuild it.

    Attributes:
        format: :data:`FORMAT`.
        segkit: version of the program that wrote it.
        kind: which kind, as ``segkit.artifact.kinds`` calls it.
        about: what the model was trained on, its figures, and what else was noted.
        what: what such a model is, as messages name it.
        takers: what takes such a model, where something else is given one.
    """

    model_config = ConfigDict(extra="forbid")
    what: ClassVar[str]
    takers: ClassVar[str]
    draws_masks: ClassVar[bool] = False
    format: int
    segkit: str
    kind: str
    about: dict[str, Any]

    @classmethod
    @abstractmethod
    def facts(cls, model: Any, target: ModelFolder) -> dict[str, Any]:
        """The kind's own fields of a model; its tensors are written by ``target.keep``.

        Raises:
            UsageError: the model can't be built again from what is written.
        """

    @abstractmethod
    def build(self, source: ModelFiles) -> nn.Module:
        """The model; ``about`` is set by who asks.

        Raises:
            ModelError: damaged, or it asks for something that isn't in it.
            ValueError, TypeError, RuntimeError, SafetensorError: it doesn't fit itself; who asks says where.
        """

    @abstractmethod
    def card(self) -> str:
        """The model card's middle: its title, what it is, its parts; Markdown that ends with an empty line."""

    tags: ClassVar[str]
    use: ClassVar[str]

    def readme(self) -> str:
        """The model card: what it is, what it was trained on, how good it is, how to use it."""
        trained = "".join(f"- {key}: {value}\n" for key, value in self.about.get("trained_on", {}).items())
        metrics = "".join(f"- {key}: {value}\n" for key, value in self.about.get("metrics", {}).items())
        return (
            f"---\nlibrary_name: segkit\npipeline_tag: {self.tags}\n---\n\n{self.card()}"
            f"## Trained on\n\n{trained or '- not recorded'}\n\n## Measured\n\n{metrics or '- not recorded'}\n\n"
            f"## Use\n\n```python\n{self.use}\n```\n"
        )
