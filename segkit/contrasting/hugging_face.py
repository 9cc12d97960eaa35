"""A text encoder out of a folder of Hugging Face's transformers, which is imported only when one is asked for."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from torch import Tensor, nn

from segkit.contrasting.text_encoder import TextEncoder, mean_of
from segkit.contrasting.tokens import Tokens, padded
from segkit.errors import ModelError, UsageError
from segkit.one_line import one_line

REFUSED = ("auto_map", "quantization_config", "attn_implementation", "custom_pipelines")
"""Keys of a configuration that name code or files from elsewhere."""
LOOKED_AT = 1024  # texts at once, when their lengths are counted
_FAULTS = (OSError, ValueError, TypeError, KeyError, AttributeError, ImportError, RuntimeError, SafetensorError)
"""What transformers raises of a folder that is damaged, or not of the kind that is asked for."""


class HuggingFaceText(TextEncoder):
    """A language model's last hidden states, averaged over the tokens: texts → [B, width]; see :meth:`from_folder`.

    It keeps its configuration and its tokenizer as text, so that a saved model needs the folder no more.

    Args:
        config: the configuration, as JSON has it.
        tokenizer: the fast tokenizer, as ``tokenizer.json`` has it.
        padding: id of the token to pad with.
        length: tokens of a text at most.

    Raises:
        UsageError: transformers isn't there, or a length that leaves no token of a text.
        ModelError: a configuration or a tokenizer that can't be built from.
    """

    def __init__(self, config: Mapping[str, Any], tokenizer: str, *, padding: int, length: int) -> None:
        super().__init__()
        transformers = _transformers()
        self._tokenizer_text, self.padding, self.length = tokenizer, padding, length
        self._config = {key: value for key, value in config.items() if not key.startswith("_") and key not in REFUSED}
        kept = dict(self._config)
        if any("backbone" in key for key in _keys(kept)):  # transformers would fetch what it names
            raise ModelError("this text encoder's description names another model to fetch; refused")
        try:
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_str(tokenizer)
            built = transformers.AutoConfig.for_model(kept.pop("model_type"), **kept)
            self.model: nn.Module = _without_pooler(_kind(built).from_config(built, trust_remote_code=False).float())
        except Exception as error:  # tokenizers raises plain Exception
            raise ModelError(f"this text encoder can't be built from its description: {one_line(error)}") from error
        around = self._tokenizer.num_special_tokens_to_add(False)
        if length <= around:
            raise UsageError(
                f"length={length}: this tokenizer puts {around} tokens around a text; take {around + 1} or more, which "
                "says little, or 64"
            )
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(length)
        self.width = int(built.hidden_size)

    @classmethod
    def from_folder(cls, folder: str | Path, *, length: int = 64) -> "HuggingFaceText":
        """The encoder that ``save_pretrained`` wrote to a folder, its tokenizer beside it.

        Nothing is fetched, no code out of the folder is run, and weights are read from ``.safetensors`` alone.

        Args:
            folder: with ``config.json``, ``model.safetensors`` and the tokenizer's files.
            length: tokens of a text at most; fewer where the model or its tokenizer takes fewer.

        Raises:
            UsageError: transformers isn't there, or the folder is none of its.
            ModelError: a damaged folder, one without safetensors or a tokenizer, of a model that isn't one of text, or
                of one whose tokenizer is another's.
        """
        transformers = _transformers()
        folder = Path(folder)
        if not (folder / "config.json").is_file():
            raise UsageError(f"{folder}: not a Hugging Face model's folder (no config.json); name one on this machine")
        if not any(folder.glob("*.safetensors")):
            raise ModelError(
                f"{folder}: no .safetensors in it, and other weights can run code; save it by "
                "save_pretrained(…, safe_serialization=True) where you trust it"
            )
        local = {"local_files_only": True, "trust_remote_code": False}
        try:
            config = transformers.AutoConfig.from_pretrained(folder, **local).get_text_config()
            with _without_bars():
                model, report = _kind(config).from_pretrained(
                    folder, config=config, use_safetensors=True, dtype="float32", output_loading_info=True, **local
                )
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **local)
            missing = sorted(key for key in report["missing_keys"] if "pooler" not in key)
            if missing:
                raise ValueError(f"it has no weights for {missing[0]} and {len(missing) - 1} more")
            _check_tokenizer(tokenizer, folder, int(model.config.vocab_size))
            text = tokenizer.backend_tokenizer.to_str()
        except _FAULTS as error:
            raise ModelError(f"{folder}: not a text encoder that can be used: {one_line(error)}") from error
        limits = (length, tokenizer.model_max_length, _places(model) or length)
        padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        values = json.loads(model.config.to_json_string(use_diff=False))
        encoder = cls(values, text, padding=padding, length=min(limits))
        encoder.model.load_state_dict(_without_pooler(model).state_dict())
        return encoder

    def tokenize(
        self,
        texts: Sequence[str],
        *,
        spell: float = 0.0,  # noqa: ARG002 - its tokenizer knows parts of words by itself
        generator: np.random.Generator | None = None,  # noqa: ARG002 - the same
    ) -> Tokens:
        """Texts as the folder's tokenizer has them, with the tokens that it puts around them."""
        found = self._tokenizer.encode_batch(list(texts))
        return padded([text.ids or [self.padding] for text in found], self.padding)

    def forward(self, tokens: Tokens) -> Tensor:
        """One vector a text, float [B, width]."""
        states: Tensor = self.model(input_ids=tokens.ids, attention_mask=tokens.mask.long()).last_hidden_state
        return mean_of(states, tokens.mask)

    def cut(self, texts: Sequence[str]) -> int:
        """How many texts are longer than ``length``."""
        parts = (texts[at : at + LOOKED_AT] for at in range(0, len(texts), LOOKED_AT))
        return sum(bool(text.overflowing) for part in parts for text in self._tokenizer.encode_batch(list(part)))

    def description(self) -> dict[str, Any]:
        """Its configuration and its tokenizer."""
        return {
            "name": "hugging_face",
            "config": self._config,
            "tokenizer": self._tokenizer_text,
            "padding": self.padding,
            "length": self.length,
        }


def _keys(values: Any) -> Iterator[str]:
    """All keys of a description, at any depth."""
    if isinstance(values, Mapping):
        yield from values
        values = list(values.values())
    for value in values if isinstance(values, list) else ():
        yield from _keys(value)


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise UsageError(
            f'text encoders of Hugging Face need transformers ({error}): pip install "segkit[text]"; or leave '
            "'text' out, for a small Transformer trained from nothing"
        ) from None
    if int(transformers.__version__.partition(".")[0]) < 5:
        raise UsageError(
            f"text encoders of Hugging Face need transformers 5 or newer, this is {transformers.__version__}: "
            'pip install -U "segkit[text]"'
        )
    return transformers


def _kind(config: Any) -> Any:
    """The class of transformers that reads texts with this configuration: of a model of two towers, the text's."""
    from transformers import AutoModel, AutoModelForTextEncoding
    from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES

    if config.model_type in MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES:
        return AutoModelForTextEncoding
    if config.is_encoder_decoder or not hasattr(config, "vocab_size") or not hasattr(config, "hidden_size"):
        raise ValueError(f"{config.model_type!r} is not a kind of model that reads texts alone")
    return AutoModel


def _check_tokenizer(tokenizer: Any, folder: Path, words: int) -> None:
    """Raise ValueError unless the tokenizer is the folder's, a fast one, and gives ids of a model of so many words.

    Where its files are missing, transformers makes one up that knows no word.
    """
    files = [name for name in tokenizer.vocab_files_names.values() if isinstance(name, str)]
    if not any((folder / name).is_file() for name in files):
        raise ValueError(f"there is no tokenizer in it ({' or '.join(files)}); save the model's own beside it")
    if not tokenizer.is_fast:
        raise ValueError("its tokenizer has no fast form; save it with a tokenizer.json")
    ids = set(tokenizer.get_vocab().values())
    if ids <= set(tokenizer.all_special_ids):
        raise ValueError("its tokenizer knows no words; save the model's own beside it")
    largest = max(*ids, tokenizer.pad_token_id or 0)
    if largest >= words:
        raise ValueError(
            f"its tokenizer has ids up to {largest:,}, the model only {words:,} words; it is another's, or tokens were "
            "added to it alone (resize_token_embeddings)"
        )


def _places(model: Any) -> int | None:
    """Tokens that the model has positions for; None where nothing limits them.

    In RoBERTa's family positions are counted from behind the padding's id, so that fewer fit than the table has.
    """
    count: int | None = getattr(model.config, "max_position_embeddings", None)
    tables = [table for name, table in model.named_modules() if name.endswith("position_embeddings")]
    padding = [place for table in tables if (place := getattr(table, "padding_idx", None)) is not None]
    return count - (max(padding) + 1 if padding else 0) if count else None


@contextmanager
def _without_bars() -> Iterator[None]:
    """Transformers without the bar that it draws for every start."""
    logging = _transformers().utils.logging  # whose functions have no types
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _without_pooler(model: nn.Module) -> nn.Module:
    """The model without the layer that some have behind the hidden states: nothing would ever teach it."""
    if getattr(model, "pooler", None) is not None:
        model.register_module("pooler", None)
    return model
