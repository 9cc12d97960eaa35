"""What lies beside the masks: weights by earlier members' errors, a teacher's maps, unlabelled pictures."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

import segkit
from segkit.data.batches import collate
from segkit.data.dataset import SegmentationDataset
from segkit.data.folder import Sample, open_dataset
from segkit.data.reader import Reader
from segkit.errors import ModelError, RecipeError, UsageError
from segkit.recipe import Recipe
from segkit.recipe_file import load_recipe
from segkit.training.beside import FULL, Boosted, Taught, spread_loss
from segkit.training.digest import data_digest
from segkit.training.losses import build_loss
from segkit.training.plan import build_segmenter, make_plans
from segkit.training.population import measure_norms
from segkit.training.run import train
from segkit.training.teacher import mistakes, teach, wrongness

SMALL = {"backbone": {"name": "stem", "width": 4}, "neck": {"name": "unet", "widths": [4]}}


def loss_of(task="binary", classes=2):
    return build_loss({"cross_entropy": 1.0}, task=task, classes=classes)


def test_what_is_beside_moves_as_the_mask_does(cells):
    folder = open_dataset(cells)
    samples = folder.samples("train")
    dataset = SegmentationDataset(folder, samples, Reader(), crop=32, augment="strong", seed=1)
    plain = [dataset[2, i] for i in range(len(samples))]
    dataset.beside = [np.repeat(folder.read_mask(sample)[..., None] * 100, 2, axis=2) for sample in samples]
    items = [dataset[2, i] for i in range(len(samples))]
    for item, before in zip(items, plain, strict=True):
        assert torch.equal(item["image"], before["image"])
        assert torch.equal(item["target"], before["target"])
        outside = item["target"] == 255
        for layer in item["beside"]:
            assert torch.equal(layer.long(), torch.where(outside, 255, item["target"] * 100))
    assert collate(items)["beside"].shape == (len(items), 2, 32, 32)
    assert "beside" not in collate(plain)


def test_a_picture_without_a_mask_is_ignored(cells):
    folder = open_dataset(cells)
    sample = Sample("new", folder.samples("train")[0].image)
    dataset = SegmentationDataset(folder, [sample], Reader(), crop=None)
    assert (dataset[0, 0]["target"] == 255).all()


def test_a_boosted_loss_is_the_loss_with_weights():
    logits, target = torch.randn(2, 1, 4, 5), torch.randint(0, 2, (2, 4, 5))
    beside = torch.randint(0, FULL + 1, (2, 1, 4, 5), dtype=torch.uint8)
    weight = 1 + 3 * beside[:, 0].float() / FULL
    torch.testing.assert_close(Boosted(loss_of(), 3.0)(logits, target, None, beside), loss_of()(logits, target, weight))
    target[0, 0] = beside[0, 0, 0] = 255  # outside
    assert Boosted(loss_of(), 3.0)(logits, target, None, beside).isfinite()


def test_a_taught_loss_is_a_mixture():
    logits, target = torch.randn(2, 3, 4, 5), torch.randint(0, 3, (2, 4, 5))
    soft = torch.randint(0, FULL + 1, (2, 4, 4, 5), dtype=torch.uint8)
    loss = loss_of("multiclass", 3)
    hard, taught = loss(logits, target), loss(logits, soft[:, :3].float() / FULL)
    torch.testing.assert_close(Taught(loss, 0.25, 3)(logits, target, None, soft), 0.25 * taught + 0.75 * hard)
    unlabelled = torch.full_like(target, 255)
    torch.testing.assert_close(Taught(loss, 0.25, 3)(logits, unlabelled, None, soft), 0.25 * taught)
    torch.testing.assert_close(Taught(loss, 1.0, 3)(logits, unlabelled, None, soft), taught)


def test_the_spread_is_learnt_where_the_picture_is():
    logits = torch.tensor([0.0, 3.0, -1.0]).view(1, 1, 1, 3)
    beside = torch.tensor([[7, 7, 7], [FULL, 0, 255]], dtype=torch.uint8).view(1, 2, 1, 3)
    expected = (-torch.tensor(0.0).sigmoid().log() - torch.tensor(-3.0).sigmoid().log()) / 2
    torch.testing.assert_close(spread_loss(logits, beside), expected)


@pytest.mark.parametrize(
    ("task", "p", "truth", "expected"),
    [
        ("binary", [[[0.2, 0.9, 0.4]]], [[0, 1, 255]], [[0.2, 0.1, 0]]),
        ("multiclass", [[[0.2]], [[0.5]], [[0.3]]], [[2]], [[0.7]]),
        ("multilabel", [[[0.2]], [[0.5]]], [[[0]], [[1]]], [[0.5]]),
    ],
)
def test_how_wrong_a_pixel_is(task, p, truth, expected):
    found = wrongness(np.array(p, np.float32), np.array(truth, np.uint8), task)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_boosted_member_is_weighted_by_those_before_it(recipe, cells, tmp_path, monkeypatch):
    seen = []
    real = Boosted.forward

    def spy(self, logits, target, weight, beside):
        seen.append(beside)
        return real(self, logits, target, weight, beside)

    monkeypatch.setattr(Boosted, "forward", spy)
    asked = load_recipe(recipe(train={"epochs": 1}), ["ensemble.members.1.boost=4", "data.augment=none"])
    run = train(asked, cells, out=tmp_path, console=False)
    folder = open_dataset(cells)
    first = segkit.load(run.directory / "members" / "first" / "model")
    first.about = {"predict": asked.predict.model_dump()}
    ensemble = segkit.Ensemble([first])
    ensemble.about = first.about
    found = mistakes(ensemble, folder.samples("train"), folder, tmp_path / "kept", inside_roi=True)
    values = {value for maps in found for value in np.unique(maps).tolist()}
    assert seen
    assert set(torch.cat(seen).unique().tolist()) <= values | {255}
    assert len(set(torch.cat(seen).unique().tolist()) - {255}) > 1


@pytest.fixture
def teacher(cells, tmp_path):
    torch.manual_seed(0)
    members = [segkit.Segmenter.create(**SMALL, classes=["background", "cell"]) for _ in range(2)]
    segkit.save(segkit.Ensemble(members), tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.fixture
def student():
    return Recipe.model_validate(
        {
            "name": "student",
            "model": SMALL,
            "data": {"crop": 32, "augment": "light"},
            "train": {"epochs": 2, "batch": 4, "workers": 0, "precision": "fp32", "ema": 0.5},
            "predict": {"tile": 32},
        }
    )


def test_a_student_has_an_ensembles_disagreement(teacher, student, cells, tmp_path):
    run = segkit.distill(teacher, cells, student, out=tmp_path, console=False)
    loaded = segkit.load(run.directory / "model")
    assert loaded.disagrees
    image = torch.rand(1, 3, 20, 31)
    found = loaded.statistics(image)
    assert found.mutual_information.shape == found.entropy.shape == (1, 20, 31)
    assert (found.mutual_information <= found.entropy).all()
    assert found.std is None
    torch.testing.assert_close(found.probabilities, loaded.probabilities(image))
    prediction = segkit.Predictor(loaded).predict(cells / "images" / "cells_000.png")
    assert prediction.disagreement.shape == prediction.entropy.shape
    assert not (run.directory / "checkpoints").exists()


def test_the_second_head_changes_nothing_else(teacher, student, cells):
    torch.manual_seed(0)
    model = segkit.Segmenter.create(**SMALL, classes=2, spread=True)
    levels, spread = model.forward_with_spread(torch.rand(2, 3, 16, 16))
    spread.sum().backward()
    moved = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert moved == {"spread"}
    torch.testing.assert_close(levels[0].shape, torch.Size([2, 1, 16, 16]))


def test_a_student_of_a_single_model_has_no_second_head(student, cells, tmp_path):
    segkit.save(segkit.Segmenter.create(**SMALL, classes=["background", "cell"]), tmp_path / "single")
    run = segkit.distill(tmp_path / "single", cells, student, out=tmp_path, console=False)
    assert run.model.spread is None


def test_unlabelled_pictures_are_learnt_from_too(teacher, student, cells, tmp_path):
    for number in range(3):
        (tmp_path / "more").mkdir(exist_ok=True)
        shutil.copy(cells / "images" / f"cells_00{number}.png", tmp_path / "more" / f"new_{number}.png")
    run = segkit.distill(teacher, cells, student, unlabelled=tmp_path / "more", out=tmp_path, console=False)
    log = (run.directory / "log.txt").read_text()
    assert "the teacher looks at 11 pictures" in log
    assert run.model.about["trained_on"]["pictures"] == 8


def test_a_student_that_was_stopped_goes_on(teacher, student, cells, tmp_path):
    whole = segkit.distill(teacher, cells, student, out=tmp_path / "a", console=False)
    again = segkit.distill(teacher, cells, student, out=tmp_path / "b", console=False)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name])


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"share": 0}, UsageError, "share=0: Input should be greater than 0"),
        ({"unlabelled": "nowhere"}, UsageError, "teacher.unlabelled: nowhere: no such folder of pictures"),
    ],
)
def test_what_a_teacher_can_not_do(teacher, student, cells, tmp_path, how, error, message):
    with pytest.raises(error, match=message):
        segkit.distill(teacher, cells, student, out=tmp_path, console=False, **how)


def test_a_teacher_of_other_classes_is_refused(student, cells, tmp_path):
    segkit.save(segkit.Segmenter.create(**SMALL, classes=["a", "b", "c"]), tmp_path / "other")
    with pytest.raises(ModelError, match="the model's task is multiclass, that of cells is binary"):
        segkit.distill(tmp_path / "other", cells, student, out=tmp_path, console=False)


def test_folds_have_no_teacher(student, teacher, cells, tmp_path):
    with pytest.raises(RecipeError, match="folds: the teacher has seen all of them"):
        segkit.distill(teacher, cells, student, ["folds=2"], out=tmp_path, console=False)


def test_a_dataset_is_no_folder_of_unlabelled_pictures(teacher, student, cells, tmp_path):
    with pytest.raises(UsageError, match=r"cells: a dataset, whose masks are pictures too; name .*cells.images"):
        segkit.distill(teacher, cells, student, unlabelled=cells, out=tmp_path, console=False)
    with pytest.raises(UsageError, match="no pictures there but the dataset's own"):
        segkit.distill(teacher, cells, student, unlabelled=cells / "masks", out=tmp_path, console=False)


def test_volumes_are_no_unlabelled_pictures(teacher, student, cells, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "scan.nii.gz").write_bytes(b"")
    with pytest.raises(UsageError, match=r"scan.nii.gz: a volume; pictures alone are taken there"):
        segkit.distill(teacher, cells, student, unlabelled=tmp_path / "more", out=tmp_path, console=False)


def test_a_recipe_with_a_teacher_has_no_other(teacher, student, cells, tmp_path):
    named = load_recipe(student, [f"teacher={{model: {teacher}}}"])
    with pytest.raises(UsageError, match="student: the recipe names a teacher itself"):
        segkit.distill(teacher, cells, named, out=tmp_path, console=False)


def test_many_maps_are_not_open_at_once(cells, tmp_path):
    folder, ensemble = open_dataset(cells), segkit.Ensemble([segkit.Segmenter.create(**SMALL, classes=2)])
    samples = folder.samples("train")
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    found = mistakes(ensemble, samples, folder, tmp_path, inside_roi=True)
    after = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    assert after <= before
    assert [maps.shape for maps in found] == [(48, 48, 1)] * len(samples)


def test_the_second_heads_statistics_are_measured_too():
    torch.manual_seed(0)
    model = segkit.Segmenter.create({"name": "stem", "width": 4}, neck="unet", classes=2, spread=True)
    measure_norms(model, [torch.rand(4, 3, 32, 32) for _ in range(3)])
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean.abs().sum() > 0, name
            assert module.num_batches_tracked == 3


def test_a_start_gives_its_weights_and_not_its_normalisation(cells, tmp_path):
    torch.manual_seed(3)
    first = segkit.Segmenter.create(**SMALL, classes=["background", "cell"], mean=[0.1] * 3, std=[9.0] * 3)
    segkit.save(first, tmp_path / "first")
    values = {"name": "on", "model": {**SMALL, "start": str(tmp_path / "first")}, "data": {"crop": 32}}
    folder = open_dataset(cells)
    (plan,) = make_plans(Recipe.model_validate(values), folder)
    model = build_segmenter(plan, folder)
    assert torch.equal(model.head.classify.weight, first.head.classify.weight)
    assert model.mean.flatten().tolist() == pytest.approx(plan.mean)
    other = {**values, "model": {**values["model"], "neck": {"name": "unet", "widths": [8]}}}
    with pytest.raises(RecipeError, match=r"on: model.start=.*first: of another shape: neck\S+ is \[.*\] there, \["):
        make_plans(Recipe.model_validate(other), folder)
    with pytest.raises(ModelError, match=r"on: model.start=nowhere: nowhere: no model there"):
        make_plans(Recipe.model_validate({**values, "model": {**SMALL, "start": "nowhere"}}), folder)


def test_trainings_from_one_model_have_one_ancestor_whatever_their_auxiliary_heads(cells, tmp_path):
    first = segkit.Segmenter.create("resnet18", neck="fpn", classes=["background", "cell"])
    first.about = {"trained_on": {"dataset": open_dataset(cells).name, "splits": "val"}}
    segkit.save(first, tmp_path / "first")
    ancestors = []
    for seed in (0, 1):
        values = {
            "name": f"on{seed}",
            "model": {"backbone": "resnet18", "neck": "fpn", "auxiliary": 1, "start": str(tmp_path / "first")},
            "data": {"crop": 32},
            "train": {"epochs": 1, "seed": seed, "workers": 0},
        }
        run = train(Recipe.model_validate(values), cells, out=tmp_path, console=False)
        ancestors.append(run.model.about["ancestor"])
        assert run.model.about["trained_on"]["splits"] == "train, val"  # what it began with has seen val
    assert ancestors[0] == ancestors[1]


def test_another_teacher_is_not_gone_on_with(teacher, student, cells):
    folder = open_dataset(cells)
    plans = make_plans(student, folder)
    ensemble = segkit.load(teacher)
    first = data_digest(plans, folder, ensemble)
    assert data_digest(plans, folder, segkit.load(teacher)) == first
    ensemble.temperature = 2.0
    assert data_digest(plans, folder, ensemble) != first


def test_what_is_wrong_outside_the_region_counts_where_it_is_learnt(cells, tmp_path):
    place = tmp_path / "cells"
    shutil.copytree(cells, place)
    (place / "roi").mkdir()
    for mask in (place / "masks").iterdir():
        roi = np.zeros((48, 48), np.uint8)
        roi[:24] = 1
        cv2.imwrite(str(place / "roi" / mask.name), roi)
    (place / "dataset.yaml").write_text((place / "dataset.yaml").read_text() + "roi: roi\n")
    folder, ensemble = open_dataset(place), segkit.Ensemble([segkit.Segmenter.create(**SMALL, classes=2)])
    samples = folder.samples("train")[:1]
    inside, everywhere = (
        mistakes(ensemble, samples, folder, tmp_path / str(only), inside_roi=only)[0] for only in (True, False)
    )
    assert (inside[24:] == 0).all()
    assert (everywhere[24:] > 0).all()
    assert (inside[:24] == everywhere[:24]).all()


@pytest.mark.parametrize("inside", [True, False])
def test_a_teacher_teaches_outside_the_region_of_interest_only_where_that_is_trained_on(cells, tmp_path, inside):
    data = Path(shutil.copytree(cells, tmp_path / "cells"))
    description = yaml.safe_load((data / "dataset.yaml").read_text())
    (data / "dataset.yaml").write_text(yaml.safe_dump({**description, "roi": "fov"}))
    (data / "fov").mkdir()
    for file in (data / "masks").iterdir():
        region = np.ones_like(cv2.imread(str(file), cv2.IMREAD_UNCHANGED))
        region[:10] = 0
        cv2.imwrite(str(data / "fov" / file.name), region)
    model = segkit.Segmenter.create(**SMALL, classes=["background", "cell"]).eval()
    folder = open_dataset(data)
    for maps in teach(model, folder.samples("train")[:2], folder, tmp_path / "kept", print, inside_roi=inside):
        assert bool((maps[:10] == 255).all()) is inside
        assert not (maps[10:] == 255).any()


def test_what_a_teacher_has_seen_its_student_has_seen(teacher, student, cells, tmp_path):
    members = list(segkit.load(teacher).members)
    members[1].about = {"trained_on": {"dataset": "cells", "splits": "train, val"}}
    segkit.save(segkit.Ensemble(members), tmp_path / "knows")
    run = segkit.distill(tmp_path / "knows", cells, student, ["train.epochs=1"], out=tmp_path, console=False)
    assert run.model.about["trained_on"]["splits"] == "train, val"
    with pytest.raises(UsageError, match="the model was trained on split 'val' of cells"):
        segkit.trust(run.model, cells)
