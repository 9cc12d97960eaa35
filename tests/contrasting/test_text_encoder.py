import json
import shutil
import sys

import pytest
import torch

from segkit.contrasting.text_encoder import TextTransformer, mean_of
from segkit.contrasting.text_towers import create_text, rebuild_text
from segkit.contrasting.tokens import Tokenizer, Tokens
from segkit.errors import ModelError, UsageError

CAPTIONS = ["a photo of a cat", "a photo of a dog", "a cat", "a dog"]


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return TextTransformer(Tokenizer.fit(CAPTIONS, length=16), width=16, depth=2, heads=2).eval()


@torch.no_grad()
def test_a_block_is_pytorchs_with_the_same_weights(encoder):
    block = encoder.blocks[0]
    peer = torch.nn.TransformerEncoderLayer(
        16, 2, 64, dropout=0, activation="gelu", batch_first=True, norm_first=True
    ).train()
    names = {
        "self_attn.in_proj_weight": block.qkv.weight,
        "self_attn.in_proj_bias": block.qkv.bias,
        "self_attn.out_proj.weight": block.out.weight,
        "self_attn.out_proj.bias": block.out.bias,
        "linear1.weight": block.mlp[0].weight,
        "linear1.bias": block.mlp[0].bias,
        "linear2.weight": block.mlp[2].weight,
        "linear2.bias": block.mlp[2].bias,
        **{f"norm{i}.{name}": p for i in (1, 2) for name, p in getattr(block, f"norm{i}").named_parameters()},
    }
    peer.load_state_dict(names)
    x, mask = torch.randn(3, 5, 16), torch.tensor([[1] * 5, [1] * 3 + [0] * 2, [1] + [0] * 4]).bool()
    expected = peer(x, src_key_padding_mask=~mask)
    torch.testing.assert_close(block(x, mask)[mask], expected[mask], atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_padding_changes_nothing(encoder):
    short, long = CAPTIONS[2], CAPTIONS[0]
    alone = encoder(encoder.tokenize([short]))[0]
    beside = encoder(encoder.tokenize([short, long]))[0]
    torch.testing.assert_close(alone, beside, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_the_order_of_words_matters(encoder):
    one, other = encoder(encoder.tokenize(["a cat of dog", "a dog of cat"]))
    assert (one - other).abs().max() > 1e-3


def test_mean_over_the_tokens_that_are_there():
    x = torch.tensor([[[1.0], [3.0], [100.0]]])
    assert mean_of(x, torch.tensor([[True, True, False]])).item() == 2


def test_every_parameter_learns(encoder):
    encoder(encoder.tokenize(["a photo of a cat", "fox"])).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


@torch.no_grad()
def test_it_is_built_again_from_its_description(encoder):
    other = rebuild_text(encoder.description()).eval()
    other.load_state_dict(encoder.state_dict())
    tokens = other.tokenize(CAPTIONS)
    assert torch.equal(other(tokens), encoder(encoder.tokenize(CAPTIONS)))
    assert encoder.cut(["a " * 40, "a"]) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "transformers"}, "did you mean 'transformer'"),
        ({"width": 10, "heads": 4}, "heads must divide the width"),
        ({"widht": 10}, "Did you mean 'width'"),
        ({"name": "hugging_face"}, "name its folder"),
        ({"name": "hugging_face", "folder": "nowhere"}, "nowhere: not a Hugging Face model's folder"),
    ],
)
def test_wrong_names_and_options_are_explained(options, message):
    with pytest.raises(UsageError, match=message):
        create_text(**options)


def test_a_description_of_another_kind_is_refused():
    with pytest.raises(UsageError, match="no text encoder is called 'lstm'"):
        rebuild_text({"name": "lstm"})


# ------------------------------------------------------------------------------------------- a Hugging Face folder

BERT = {
    "vocab_size": 9,
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "max_position_embeddings": 12,
}


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def bert(transformers, tmp_path_factory):
    """A tiny BERT with its tokenizer, as ``save_pretrained`` writes them."""
    from tokenizers import Tokenizer as Fast
    from tokenizers import models, pre_tokenizers, processors

    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "photo", "of", "cat", "dog"]
    fast = Fast(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=fast, pad_token="[PAD]", unk_token="[UNK]", model_max_length=10
    )
    torch.manual_seed(0)
    transformers.BertModel(transformers.BertConfig(**BERT)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@torch.no_grad()
def test_a_hugging_face_folder_gives_the_mean_of_its_last_hidden_states(transformers, bert):
    encoder = create_text("hugging_face", folder=str(bert)).eval()
    peer = transformers.BertModel.from_pretrained(bert).eval()
    tokens = encoder.tokenize(["a photo of a cat", "dog"])
    assert tokens.ids.tolist() == [[2, 4, 5, 6, 4, 7, 3], [2, 8, 3, 0, 0, 0, 0]]
    states = peer(input_ids=tokens.ids[1:, :3]).last_hidden_state
    torch.testing.assert_close(encoder(tokens)[1], states[0].mean(0), atol=1e-6, rtol=1e-5)
    assert (encoder.width, encoder.length) == (8, 10)
    assert encoder.tokenize(["a " * 30]).ids.shape == (1, 10)


def test_a_hugging_face_encoder_learns_and_is_built_again_without_its_folder(bert):
    encoder = create_text("hugging_face", folder=str(bert))
    assert all(p.requires_grad and p.dtype == torch.float32 for p in encoder.parameters())
    tokens = encoder.tokenize(["a photo of a cat dog " * 3])
    encoder(tokens).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    other = rebuild_text(encoder.description()).eval()
    other.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        assert torch.equal(other(other.tokenize(CAPTIONS)), encoder.eval()(encoder.tokenize(CAPTIONS)))


def test_captions_that_are_cut_off_are_counted(bert):
    encoder = create_text("hugging_face", folder=str(bert))
    assert encoder.cut(["a " * 8, "a " * 9, "cat", "dog " * 50]) == 2  # ten tokens, two of them around the words


def test_an_empty_text_has_a_vector_too(bert):
    encoder = create_text("hugging_face", folder=str(bert)).eval()
    assert torch.isfinite(encoder(encoder.tokenize(["", "cat"]))).all()
    assert torch.isfinite(encoder(Tokens(torch.tensor([[2]]), torch.tensor([[True]])))).all()


def test_folders_that_are_no_text_encoder_are_refused(transformers, bert, tmp_path):
    with pytest.raises(UsageError, match=r"no config\.json"):
        create_text("hugging_face", folder=str(tmp_path))
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text((bert / "config.json").read_text())
    (pickled / "pytorch_model.bin").write_bytes(b"code")
    with pytest.raises(ModelError, match=r"no \.safetensors in it"):
        create_text("hugging_face", folder=str(pickled))
    seeing = tmp_path / "seeing"
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.ViTModel(transformers.ViTConfig(**small, image_size=8, patch_size=4)).save_pretrained(seeing)
    with pytest.raises(ModelError, match="'vit' is not a kind of model that reads texts"):
        create_text("hugging_face", folder=str(seeing))
    partial = tmp_path / "partial"
    deeper = transformers.BertConfig(**{**BERT, "num_hidden_layers": 2})
    transformers.BertModel.from_pretrained(bert).save_pretrained(partial)
    deeper.save_pretrained(partial)
    (partial / "tokenizer.json").write_text((bert / "tokenizer.json").read_text())
    with pytest.raises(ModelError, match="it has no weights for"):
        create_text("hugging_face", folder=str(partial))


def test_weights_that_are_cut_off_are_told(bert, tmp_path):
    shutil.copytree(bert, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(ModelError, match="cut: not a text encoder that can be used"):
        create_text("hugging_face", folder=str(tmp_path / "cut"))


def test_a_length_that_leaves_no_token_of_a_text_is_refused(bert):
    with pytest.raises(UsageError, match="length=2: this tokenizer puts 2 tokens around a text; take 3 or more"):
        create_text("hugging_face", folder=str(bert), length=2)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file, _: [each.unlink() for each in file.parent.glob("*token*")], "there is no tokenizer in it"),
        (lambda file, words: write_words(file, {word: i for word, i in words.items() if i < 2}), "knows no words"),
        (lambda file, words: write_words(file, {**words, "fox": 11}), "has ids up to 11, the model only 9 words"),
    ],
)
def test_a_tokenizer_that_is_missing_or_another_models_is_refused(bert, tmp_path, capfd, damage, message):
    folder = shutil.copytree(bert, tmp_path / "bert")
    file = folder / "tokenizer.json"
    damage(file, json.loads(file.read_text())["model"]["vocab"])
    with pytest.raises(ModelError, match=message) as caught:
        create_text("hugging_face", folder=str(folder))
    assert str(caught.value).startswith(f"{folder}: ")
    assert "\n" not in str(caught.value)
    assert "Loading weights" not in capfd.readouterr().err


def write_words(file, words):
    values = json.loads(file.read_text())
    values["model"]["vocab"] = words
    file.write_text(json.dumps(values))


def test_positions_that_begin_behind_the_padding_leave_room_for_fewer_tokens(transformers, bert, tmp_path):
    folder = shutil.copytree(bert, tmp_path / "roberta")
    torch.manual_seed(0)
    config = transformers.RobertaConfig(**BERT, pad_token_id=1)
    transformers.RobertaModel(config).save_pretrained(folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text()) | {"model_max_length": 1000}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    encoder = create_text("hugging_face", folder=str(folder)).eval()
    assert encoder.length == 10
    assert torch.isfinite(encoder(encoder.tokenize(["cat " * 50]))).all()


def test_code_from_a_folder_is_never_run(bert, tmp_path):
    folder = tmp_path / "bert"
    shutil.copytree(bert, folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}, "model_type": "own"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text("raise SystemExit('run')")
    with pytest.raises(ModelError, match="not a text encoder that can be used"):
        create_text("hugging_face", folder=str(folder))


def test_where_transformers_is_missing_it_is_said(monkeypatch, bert):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UsageError, match=r'pip install "segkit\[text\]"'):
        create_text("hugging_face", folder=str(bert))


@pytest.mark.parametrize("key", ["backbone", "backbone_config", "use_timm_backbone"])
def test_a_description_that_names_another_model_to_fetch_is_refused(key, transformers, bert):
    description = create_text("hugging_face", folder=str(bert)).description()
    description["config"] = {**description["config"], "inner": [{key: "hf-hub:somebody/s"}]}
    with pytest.raises(ModelError, match="names another model to fetch; refused"):
        rebuild_text(description)


def test_transformers_of_before_are_told(monkeypatch, bert):
    monkeypatch.setattr(sys.modules["transformers"], "__version__", "4.57.1")  # imported lazily
    with pytest.raises(UsageError, match=r"need transformers 5 or newer, this is 4\.57\.1: pip install -U"):
        create_text("hugging_face", folder=str(bert))
