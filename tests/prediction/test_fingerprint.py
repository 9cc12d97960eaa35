import numpy as np
import pytest
import torch

from segkit.artifact import load, save
from segkit.ensemble import Ensemble
from segkit.errors import ModelError
from segkit.model import Segmenter
from segkit.prediction.fingerprint import fingerprint
from segkit.prediction.predictor import Predictor


def of(model, *, threshold=0.5, kinds=("mask",), **settings):
    return fingerprint(Predictor(model, device="cpu", **settings), threshold=threshold, kinds=kinds)


def test_what_changes_the_outputs_changes_the_fingerprint(build):
    def model(**changes):
        return build(**{"task": "binary", "classes": ["background", "vessel"], **changes})

    found = [
        of(model()),
        of(model(), tile=64),
        of(model(), overlap=0.25),
        of(model(), tta="flip"),
        of(model(), precision="fp16"),
        of(model(), threshold=0.4),
        of(model(), kinds=("mask", "entropy")),
        of(model(window=(0, 9))),
        of(model(classes=["background", "cell"])),
    ]
    other = model()
    with torch.no_grad():
        other.scale += 1e-6
    found.append(of(other))
    assert len(set(found)) == len(found)


def test_how_fast_it_goes_is_no_part_of_it(build):
    model = build("binary", ["background", "vessel"])
    assert of(model) == of(model, batch=1) == of(build("binary", ["background", "vessel"]))


def test_low_precision_weights_count_too(build):
    models = [build("binary", ["background", "vessel"]).to(torch.bfloat16) for _ in range(2)]
    assert of(models[0]) == of(models[1])
    with torch.no_grad():
        models[1].scale += 1
    assert of(models[0]) != of(models[1])


def test_a_model_without_tensors_says_what_it_is(build):
    one, other = (build("binary", ["background", "vessel"]) for _ in range(2))
    one.digest, other.digest = "1", "2"
    assert of(one) != of(other)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_model_loaded_by_the_predictor_is_the_one_loaded_before(tmp_path, precision):
    torch.manual_seed(0)
    members = [
        Segmenter.create({"name": name, **options}, neck="fpn", classes=2).eval()
        for name, options in (
            ("stem", {"width": 4, "depth": 3}),
            ("swin", {"embed_dim": 8, "depths": [1, 1], "heads": [1, 2]}),
        )
    ]
    save(Ensemble(members, [0.3, 0.7], temperature=1.5), tmp_path / "model")
    pixels = np.random.default_rng(0).integers(0, 256, (50, 40, 3), np.uint8)
    given, own = (
        Predictor(load(tmp_path / "model"), precision=precision),
        Predictor(tmp_path / "model", precision=precision),
    )
    assert given.model_digest is None
    assert fingerprint(given, threshold=0.5, kinds=()) == fingerprint(own, threshold=0.5, kinds=())
    assert np.array_equal(given.predict(pixels).probabilities, own.predict(pixels).probabilities)
    loaded, ready = ({id(tensor) for tensor in part.parameters()} for part in (own.model, own.prepared))
    assert loaded == ready  # one set of weights


def test_no_model_at_the_path(tmp_path):
    with pytest.raises(ModelError, match=r"nothing: no model there"):
        Predictor(tmp_path / "nothing")
