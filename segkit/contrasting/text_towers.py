"""Text encoders by name and options: new ones for training, and saved ones as they were."""

from collections.abc import Mapping, Sequence
from typing import Any

from segkit.contrasting.text_encoder import TextEncoder, TextTransformer
from segkit.contrasting.tokens import Tokenizer
from segkit.errors import UsageError
from segkit.parts import checked_options, unknown_name

NAMES = ("transformer", "hugging_face")


def create_text(
    name: str = "transformer", *, captions: Sequence[str] = (), length: int = 64, words: int = 8192, **options: Any
) -> TextEncoder:
    """A text encoder to be trained.

    Args:
        name: ``transformer``, ours, from nothing, with the options ``width``, ``depth`` and ``heads``; or
            ``hugging_face`` with the option ``folder``.
        captions: that training is on; the transformer's vocabulary is that of these.
        length: tokens of a text at most.
        words: of the transformer's vocabulary at most.

    Raises:
        UsageError: an unknown name or option; or transformers isn't there.
        ModelError: a folder that holds no text encoder.
    """
    if name not in NAMES:
        raise UsageError(unknown_name("text encoder", name, NAMES, "no others"))
    if name == "hugging_face" and "folder" not in options:
        raise UsageError("text encoder 'hugging_face': name its folder, {name: hugging_face, folder: …}")
    kind = TextTransformer if name == "transformer" else _hugging_face().from_folder
    given = ("tokenizer",) if name == "transformer" else ("length",)
    try:
        options = checked_options(f"text encoder '{name}'", kind, options, given=given)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if name == "transformer":
        return TextTransformer(Tokenizer.fit(captions, size=words, length=length), **options)
    encoder: TextEncoder = _hugging_face().from_folder(length=length, **options)
    return encoder


def rebuild_text(description: Mapping[str, Any]) -> TextEncoder:
    """The encoder that gave this ``description()``, with first weights.

    Raises:
        ModelError, UsageError, TypeError, ValueError: it doesn't say enough, or something else.
    """
    values = dict(description)
    name = values.pop("name", None)
    if name == "transformer":
        tokenizer = Tokenizer(values.pop("words"), length=values.pop("length"))
        return TextTransformer(tokenizer, **values)
    if name == "hugging_face":
        encoder: TextEncoder = _hugging_face()(**values)
        return encoder
    raise UsageError(unknown_name("text encoder", name, NAMES, "no others"))


def _hugging_face() -> Any:
    from segkit.contrasting.hugging_face import HuggingFaceText

    return HuggingFaceText
