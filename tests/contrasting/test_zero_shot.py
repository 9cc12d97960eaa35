import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from segkit.contrasting.image_text import ImageText
from segkit.contrasting.zero_shot import ZeroShotClassifier, class_vectors, zero_shot
from segkit.errors import UsageError
from segkit.labelled.view import View

SWIN = {"name": "swin", "embed_dim": 8, "depths": [1, 1], "heads": [1, 2], "window": 3}
TEXT = {"name": "transformer", "width": 8, "depth": 1, "heads": 2}
CLASSES = {"cat": ["a photo of a cat", "a cat"], "dog": ["a photo of a dog", "a dog", "a puppy"]}


@pytest.fixture
def model():
    torch.manual_seed(0)
    captions = [caption for each in CLASSES.values() for caption in each]
    return ImageText.create(SWIN, captions=captions, text=TEXT, dim=6, view=View(size=(12, 12))).eval()


@torch.no_grad()
def test_a_class_is_the_mean_of_its_captions_unit_vectors(model):
    vectors = class_vectors(model, CLASSES)
    for vector, captions in zip(vectors, CLASSES.values(), strict=True):
        parts = torch.stack([model.encode_texts([caption])[0] for caption in captions])
        torch.testing.assert_close(vector, F.normalize(parts.mean(0), dim=0))


@torch.no_grad()
def test_probabilities_are_the_softmax_of_cosines_over_the_temperature(model):
    image = torch.rand(5, 3, 12, 12)
    classifier = ZeroShotClassifier(model, CLASSES)
    cosines = model.encode_images(image) @ class_vectors(model, CLASSES).T
    torch.testing.assert_close(classifier.probabilities(image), (cosines / 0.07).softmax(1))
    assert classifier.classes == ("cat", "dog")
    assert classifier(image).argmax(1).tolist() == cosines.argmax(1).tolist()


def test_files_and_arrays_are_brought_to_the_models_view(model, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = zero_shot(model, [tmp_path / "a.png", pixels, np.zeros((30, 20, 3), np.uint8)], CLASSES, precision="fp32")
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = ZeroShotClassifier(model, CLASSES).probabilities(image)[0].numpy()
    for each in found[:2]:
        np.testing.assert_allclose(each.probabilities, expected, atol=1e-5)
    assert found[0].label in CLASSES
    assert [each.error for each in found] == [None] * 3
    missing = zero_shot(model, [tmp_path / "b.png"], CLASSES)
    assert "b.png" in missing[0].error


def test_classes_without_captions_are_refused(model):
    with pytest.raises(UsageError, match="no classes"):
        zero_shot(model, [], {})
    with pytest.raises(UsageError, match="class 'cat': expected a list of one caption or more"):
        zero_shot(model, [], {"cat": "a cat"})
    with pytest.raises(UsageError, match="class 'dog'"):
        zero_shot(model, [], {"cat": ["a cat"], "dog": []})
    with pytest.raises(UsageError, match=r"classes=\['cat', 'dog'\]: expected {class: \[caption"):
        zero_shot(model, [], ["cat", "dog"])
    for given in ([1], 5, ["a cat", None]):
        with pytest.raises(UsageError, match="class 'cat': expected a list of one caption or more"):
            zero_shot(model, [], {"cat": given})


def test_cosines_are_exact_in_low_precision(model):
    classes = {"a": ["a photo of a cat"], "b": ["a dog"]}
    found = ZeroShotClassifier(model, classes).eval()
    image = torch.rand(2, 3, 12, 12)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        seen = found.image(image).float()
        logits = found(image)
    assert logits.dtype == torch.float32
    expected = F.normalize(seen, dim=1) @ found.vectors.T / found.temperature
    torch.testing.assert_close(logits, expected)


def test_texts_are_read_where_their_tower_is(model, monkeypatch):
    """A classifier of the images' half may have moved that alone; ``meta`` stands for a GPU here."""
    seen, plain = [], model._read
    monkeypatch.setattr(model, "_read", lambda tokens: seen.append(tokens.ids.device.type) or plain(tokens))
    model.image.to("meta")
    assert model.encode_texts(["a cat", "a dog"]).device.type == "meta"
    assert seen == ["cpu"]
