"""The section ``captions`` of a recipe: how images and their captions are brought into one space."""

from pydantic import Field, model_validator

from segkit.sections import Part, Strict


class CaptionsRecipe(Strict):
    """Learn which caption belongs to which image, by symmetric InfoNCE with a learned temperature."""

    text: Part = Field(
        Part(name="transformer"),
        description="what reads captions: transformer (width, depth, heads), trained from nothing; or {name: "
        "hugging_face, folder: …}, a model of transformers on this machine",
    )
    length: int = Field(64, ge=2, description="tokens of a caption at most; what is beyond is cut off")
    words: int = Field(
        8192, ge=0, description="known to the transformer at most: the most frequent of the training captions"
    )
    spell: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="share of the known words that are spelt in letters while training, as unknown ones always are",
    )
    dim: int = Field(256, ge=1, description="of the space that both are projected to")
    temperature: float = Field(0.07, ge=0.01, le=1, description="that InfoNCE begins with")

    @model_validator(mode="after")
    def _own_words(self) -> "CaptionsRecipe":
        for key in ("words", "spell"):
            if self.text.name == "hugging_face" and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"captions.{key} is of the transformer; hugging_face has its own words, leave it out")
        return self
