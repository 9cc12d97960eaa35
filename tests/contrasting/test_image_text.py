import json

import pytest
import torch
import torch.nn.functional as F

import segkit
from segkit.artifact import check_draws_masks
from segkit.contrasting.image_text import ImageText
from segkit.errors import ModelError, UsageError
from segkit.labelled.view import View

SWIN = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3, "drop_path": 0.0}
TEXT = {"name": "transformer", "width": 8, "depth": 1, "heads": 2}
CAPTIONS = ["a photo of a cat", "a photo of a dog", "a cat", "a dog"]


@pytest.fixture
def model():
    torch.manual_seed(0)
    view = View(size=(12, 12))
    return ImageText.create(SWIN, captions=CAPTIONS, text=TEXT, dim=6, temperature=0.1, view=view).eval()


@torch.no_grad()
def test_images_and_texts_become_unit_vectors_of_one_space(model):
    image = torch.rand(3, 3, 13, 17)
    seen, read = model.encode_images(image), model.encode_texts(CAPTIONS)
    assert (seen.shape, read.shape) == ((3, 6), (4, 6))
    torch.testing.assert_close(seen.norm(dim=1), torch.ones(3))
    torch.testing.assert_close(read.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(model.similarity(image, CAPTIONS), seen @ read.T)
    first, second = model(image, model.text.tokenize(CAPTIONS[:3]))
    torch.testing.assert_close(F.cosine_similarity(first, second), (seen * read[:3]).sum(1))


@torch.no_grad()
def test_many_texts_are_read_as_each_alone(model):
    texts = [f"a cat {'a ' * (number % 7)}" for number in range(300)]
    torch.testing.assert_close(model.encode_texts(texts)[270], model.encode_texts([texts[270]])[0])


def test_both_encoders_and_the_temperature_learn(model):
    model.train()
    first, second = model(torch.rand(4, 3, 12, 12), model.text.tokenize([*CAPTIONS[:3], "fox"]))
    model.contrast(first, second, group=torch.arange(4)).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        if not name.endswith(("position", "token.weight")):
            assert parameter.grad.abs().sum() > 0, name
    assert model.text.token.weight.grad.abs().sum() > 0
    assert "contrast.log_scale" in model.state_dict()
    before = model.temperature
    torch.optim.SGD(model.parameters(), 0.1).step()
    assert model.temperature != before


@torch.no_grad()
def test_training_draws_pairs_together(model):
    torch.manual_seed(0)
    image, tokens = torch.rand(4, 3, 12, 12), model.text.tokenize(CAPTIONS)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    with torch.enable_grad():
        for _ in range(60):
            optimizer.zero_grad()
            loss = model.contrast(*model(image, tokens))
            loss.backward()
            optimizer.step()
    assert model.similarity(image, CAPTIONS).argmax(1).tolist() == [0, 1, 2, 3]


@torch.no_grad()
def test_saved_and_loaded_it_is_equal(model, tmp_path):
    model.about = {"trained_on": {"images": 4}}
    other = segkit.load(segkit.save(model, tmp_path / "model"))
    image = torch.rand(2, 3, 12, 12)
    assert torch.equal(other.encode_images(image), model.encode_images(image))
    assert torch.equal(other.encode_texts(["a cat", "fox"]), model.encode_texts(["a cat", "fox"]))
    assert (other.view, other.about, other.temperature) == (model.view, model.about, model.temperature)
    assert "5 known words" in (tmp_path / "model" / "README.md").read_text()
    with pytest.raises(ModelError, match=r"a model of images and texts, .* and masks are needed"):
        check_draws_masks(other)


@torch.no_grad()
def test_with_a_hugging_face_tower_too_and_without_its_folder(tmp_path):
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path / "bert"
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    transformers.BertModel(transformers.BertConfig(vocab_size=6, **sizes)).save_pretrained(folder)
    words = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "a", "cat", "dog", "photo"])}
    fast = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=fast, pad_token="[PAD]").save_pretrained(folder)
    model = ImageText.create(SWIN, text={"name": "hugging_face", "folder": str(folder)}, dim=6).eval()
    segkit.save(model, tmp_path / "model")
    folder.rename(tmp_path / "gone")
    other = segkit.load(tmp_path / "model")
    assert torch.equal(other.encode_texts(CAPTIONS), model.encode_texts(CAPTIONS))
    assert str(tmp_path) not in (tmp_path / "model" / "segkit.json").read_text()


def test_what_cannot_be_built_is_explained(model, tmp_path):
    with pytest.raises(UsageError, match="did you mean 'swin_tiny'"):
        ImageText.create("swin_tiny_", captions=CAPTIONS)
    with pytest.raises(UsageError, match="no text encoder is called"):
        ImageText.create(SWIN, text="lstm")
    with pytest.raises(UsageError, match="temperature is 3"):
        ImageText.create(SWIN, captions=CAPTIONS, text=TEXT, temperature=3)
    with pytest.raises(UsageError, match="expected a list of texts"):
        ImageText.create(SWIN, captions="a cat")
    with pytest.raises(UsageError, match="expected a list of one text or more"):
        model.encode_texts("a cat")
    with pytest.raises(UsageError, match="expected a list of one text or more"):
        model.encode_texts([])
    with pytest.raises(ValueError, match="this model takes"):
        model.encode_images(torch.rand(1, 1, 12, 12))
    alone = ImageText(model.image.backbone, model.text, mean=[0.5] * 3, std=[0.5] * 3)
    with pytest.raises(UsageError, match=r"ImageText\.create"):
        segkit.save(alone, tmp_path / "alone")


def test_a_description_that_asks_for_more_is_refused(model, tmp_path):
    segkit.save(model, tmp_path / "model")
    path = tmp_path / "model" / "segkit.json"
    said = json.loads(path.read_text())
    said["architecture"]["backbone"] = {"name": "somebody.code:Net"}
    path.write_text(json.dumps(said))
    with pytest.raises(ModelError, match="code that is not part of the model"):
        segkit.load(tmp_path / "model")
    said["architecture"] = {"backbone": SWIN, "text": {"name": "lstm"}, "dim": 6, "in_channels": 3}
    path.write_text(json.dumps(said))
    with pytest.raises(ModelError, match="no text encoder is called 'lstm'"):
        segkit.load(tmp_path / "model")
