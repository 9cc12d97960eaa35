"""A hundred ways to damage a dataset, a recipe, a model or a picture, each with what the program must say of it.

Each case breaks a copy of a small working folder (the dataset ``cells``, pictures in ``images``, masks of a second
reader in ``second_reader``, the model ``runs/demo/model``) and names the command that then meets the damage.
"""

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
import yaml
from PIL import Image

TRAIN = "train demo --data cells --out out"
EVALUATE = "evaluate runs/demo/model cells -o out"
PREDICT = "predict runs/demo/model images -o out"

USAGE, DATA = 2, 3
MODEL = DATA  # a model that can't be used has the same exit code


@dataclass(frozen=True)
class Case:
    """One damage.

    Attributes:
        name: what is wrong.
        command: what is run then, in the damaged folder.
        code: the exit code it must have.
        says: what the line on stderr must hold: the file, key or value, and what to do about it.
        damage: breaks the working folder.
    """

    name: str
    command: str
    code: int
    says: tuple[str, ...]
    damage: Callable[[Path], None]


def first(folder: Path, kind: str, split: str = "train") -> Path:
    """The first file of a split in ``cells/KIND``."""
    return folder / "cells" / kind / f"{describe(folder)['splits'][split][0]}.png"


def tensors(folder: Path, member: str = "swin_fpn") -> Path:
    """The file of a member's tensors."""
    [path] = (folder / "runs" / "demo" / "model").glob(f"{member}.*.safetensors")
    return path


def describe(folder: Path, **changes: Any) -> dict[str, Any]:
    """The dataset's description, after changing keys; None removes one."""
    path = folder / "cells" / "dataset.yaml"
    description = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        description[key] = value
        if value is None:
            del description[key]
    path.write_text(yaml.safe_dump(description))
    return description


def describing(**changes: Any) -> Callable[[Path], None]:
    """A damage that changes keys of ``dataset.yaml``."""
    return lambda folder: void(describe(folder, **changes))


def void(_: object) -> None:
    """Nothing, whatever is given."""


def bytes_of(kind: str, change: Callable[[bytes], bytes], split: str = "train") -> Callable[[Path], None]:
    """A damage that changes the bytes of a split's first file."""
    return lambda folder: void(first(folder, kind, split).write_bytes(change(first(folder, kind, split).read_bytes())))


def array_of(kind: str, change: Callable[[Any], Any], split: str = "train") -> Callable[[Path], None]:
    """A damage that changes the values of a split's first file."""

    def damage(folder: Path) -> None:
        path = first(folder, kind, split)
        cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))

    return damage


def every_mask(change: Callable[[Any], Any]) -> Callable[[Path], None]:
    """A damage that changes the values of all masks."""

    def damage(folder: Path) -> None:
        for path in (folder / "cells" / "masks").iterdir():
            cv2.imwrite(str(path), change(cv2.imread(str(path), cv2.IMREAD_UNCHANGED)))

    return damage


def picture(name: str, values: Any, **options: Any) -> Callable[[Path], None]:
    """A damage that puts a picture of these values in the place of the first one to predict."""

    def damage(folder: Path) -> None:
        (folder / "images" / "well_01.png").unlink()
        path = folder / "images" / name
        if path.suffix == ".tif":
            tifffile.imwrite(path, values, **options)
        else:
            Image.fromarray(values).save(path, **options)

    return damage


def content(path: str, data: bytes | str) -> Callable[[Path], None]:
    """A damage that gives a file other content."""
    return lambda folder: void((folder / path).write_bytes(data.encode() if isinstance(data, str) else data))


def removed(path: str) -> Callable[[Path], None]:
    """A damage that removes a file or folder."""

    def damage(folder: Path) -> None:
        target = folder / path
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return damage


def recipe(text: str) -> Callable[[Path], None]:
    """A recipe of one's own, in ``own.yaml``."""
    return content("own.yaml", text)


def model_description(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """A damage that changes ``segkit.json``."""

    def damage(folder: Path) -> None:
        path = folder / "runs" / "demo" / "model" / "segkit.json"
        description = json.loads(path.read_text())
        change(description)
        path.write_text(json.dumps(description))

    return damage


def zipped(change: Callable[[zipfile.ZipFile, Path], Any]) -> Callable[[Path], None]:
    """A damaged zip of the model, ``model.zip``."""

    def damage(folder: Path) -> None:
        with zipfile.ZipFile(folder / "model.zip", "w") as archive:
            change(archive, folder / "runs" / "demo" / "model")

    return damage


def add_all(archive: zipfile.ZipFile, model: Path) -> None:
    """The whole model into a zip."""
    for path in sorted(model.iterdir()):
        archive.write(path, path.name)


def half(data: bytes) -> bytes:
    """The first half."""
    return data[: len(data) // 2]


def nothing(_: Path) -> None:
    """No damage: the command itself is wrong."""


OWN = "train own.yaml --data cells --out out"
MINIMAL = "name: own\nmodel: {backbone: {name: stem, width: 4}}\ntrain: {epochs: 1, workers: 0}\ndata: {crop: 32}\n"
GREY = np.zeros((40, 40), np.uint8)
COLOUR = np.zeros((40, 40, 3), np.uint8)

DATASETS = [
    Case("the dataset's folder is missing", TRAIN, DATA, ("cells", "no such folder"), removed("cells")),
    Case("the dataset is a file", TRAIN, DATA, ("cells",), lambda f: (removed("cells")(f), (f / "cells").touch())[1]),
    Case("images/ is missing", TRAIN, DATA, ("cells/images", "images/ and masks/"), removed("cells/images")),
    Case("masks/ is missing", TRAIN, DATA, ("cells/masks", "images/ and masks/"), removed("cells/masks")),
    Case("a picture is missing", TRAIN, DATA, ("without a picture",), lambda f: first(f, "images").unlink()),
    Case("a mask is missing", TRAIN, DATA, ("without a mask",), lambda f: first(f, "masks").unlink()),
    Case(
        "a test mask is missing",
        EVALUATE,
        DATA,
        ("'test'", "without a mask"),
        lambda f: first(f, "masks", "test").unlink(),
    ),
    Case("a picture is cut short", TRAIN, DATA, ("images/", "cut short"), bytes_of("images", half)),
    Case("a picture is empty", TRAIN, DATA, ("images/", "the file is empty"), bytes_of("images", lambda _: b"")),
    Case(
        "a picture is text", TRAIN, DATA, ("images/", "can't be decoded"), bytes_of("images", lambda _: b"hello" * 99)
    ),
    Case(
        "a picture is damaged inside",
        TRAIN,
        DATA,
        ("images/",),
        bytes_of("images", lambda b: b[:200] + bytes(900) + b[1100:]),
    ),
    Case(
        "a picture is a folder",
        TRAIN,
        DATA,
        ("images/",),
        lambda f: (first(f, "images").unlink(), first(f, "images").mkdir())[1],
    ),
    Case("a mask is cut short", TRAIN, DATA, ("masks/",), bytes_of("masks", half)),
    Case("a mask is empty", TRAIN, DATA, ("masks/",), bytes_of("masks", lambda _: b"")),
    Case("a mask is another size", TRAIN, DATA, ("masks/", "32×64", "64×64"), array_of("masks", lambda m: m[:, :32])),
    Case("a mask has an unknown id", TRAIN, DATA, ("masks/", "7"), array_of("masks", lambda m: m * 7)),
    Case(
        "a mask looks interpolated",
        TRAIN,
        DATA,
        ("masks/", "interpolated"),
        array_of("masks", lambda m: cv2.blur(m * 255, (5, 5))),
    ),
    Case(
        "all masks look interpolated",
        TRAIN,
        DATA,
        ("masks/", "interpolated"),
        every_mask(lambda m: cv2.blur(m * 255, (5, 5))),
    ),
    Case("a mask is in colour", TRAIN, DATA, ("masks/",), array_of("masks", lambda m: np.stack([m, m * 2, m * 3], -1))),
    Case("a test mask has an unknown id", EVALUATE, DATA, ("masks/", "9"), array_of("masks", lambda m: m * 9, "test")),
    Case(
        "masks are JPEG",
        TRAIN,
        DATA,
        (
            "masks",
            "blur class ids",
        ),
        lambda f: [p.rename(p.with_suffix(".jpg")) for p in (f / "cells/masks").iterdir()] and None,
    ),
    Case(
        "two pictures have one name",
        TRAIN,
        DATA,
        ("same name",),
        lambda f: void(shutil.copy(first(f, "images"), first(f, "images").with_suffix(".tif"))),
    ),
    Case("dataset.yaml is no YAML", TRAIN, DATA, ("dataset.yaml",), content("cells/dataset.yaml", "a: [1,")),
    Case("dataset.yaml is empty", TRAIN, DATA, ("cells",), content("cells/dataset.yaml", "")),
    Case("dataset.yaml is binary", TRAIN, DATA, ("dataset.yaml",), content("cells/dataset.yaml", b"\xff\xfe\x00\x80")),
    Case("dataset.yaml is a list", TRAIN, DATA, ("dataset.yaml",), content("cells/dataset.yaml", "- a\n- b\n")),
    Case("a key is misspelt", TRAIN, DATA, ("dataset.yaml", "splitz", "splits"), describing(splitz={"train": []})),
    Case("an unknown task", TRAIN, DATA, ("dataset.yaml", "task"), describing(task="segmentation")),
    Case(
        "three classes for a binary task",
        TRAIN,
        DATA,
        ("dataset.yaml",),
        describing(task="binary", classes=["a", "b", "c"]),
    ),
    Case("a class twice", TRAIN, DATA, ("dataset.yaml", "cell"), describing(classes=["cell", "cell"])),
    Case("an unknown background", TRAIN, DATA, ("dataset.yaml", "ground"), describing(background="ground")),
    Case("no training split", TRAIN, USAGE, ("no split 'train'",), describing(splits={"val": ["cells_000"]})),
    Case("an empty training split", TRAIN, DATA, ("'train' is empty",), describing(splits={"train": []})),
    Case(
        "an empty test split",
        EVALUATE,
        DATA,
        ("'test' is empty",),
        lambda f: void(describe(f, splits={**describe(f)["splits"], "test": []})),
    ),
    Case(
        "no test split",
        EVALUATE,
        USAGE,
        ("no split 'test'",),
        lambda f: void(describe(f, splits={"train": describe(f)["splits"]["train"]})),
    ),
    Case(
        "a split lists what isn't there",
        TRAIN,
        DATA,
        ("nobody", "without a picture"),
        lambda f: void(describe(f, splits={**describe(f)["splits"], "train": ["nobody"]})),
    ),
    Case(
        "the region of interest is missing",
        TRAIN,
        DATA,
        (
            "fov",
            "'roi:' in dataset.yaml",
        ),
        describing(roi="fov"),
    ),
    Case("an ignore_index out of range", TRAIN, DATA, ("dataset.yaml", "ignore_index"), describing(ignore_index=300)),
    Case("a palette with no colour", TRAIN, DATA, ("dataset.yaml", "palette"), describing(palette={"cell": "reddish"})),
    Case(
        "pictures of six channels",
        TRAIN,
        DATA,
        ("6 channels",),
        lambda f: (
            first(f, "images").unlink(),
            tifffile.imwrite(
                first(f, "images").with_suffix(".tif"),
                np.zeros((64, 64, 6), np.uint8),
                photometric="minisblack",
                planarconfig="contig",
            ),
        )[1],
    ),
    Case(
        "a picture with NaN",
        TRAIN,
        DATA,
        ("not finite",),
        lambda f: (
            first(f, "images").unlink(),
            tifffile.imwrite(first(f, "images").with_suffix(".tif"), np.full((64, 64), np.nan, np.float32)),
        )[1],
    ),
    Case(
        "floats of an unknown range",
        TRAIN,
        DATA,
        ("window",),
        lambda f: (
            first(f, "images").unlink(),
            tifffile.imwrite(first(f, "images").with_suffix(".tif"), np.full((64, 64), 900, np.float32)),
        )[1],
    ),
]

RECIPES = [
    Case(
        "no such recipe",
        "train demos --data cells --out out",
        USAGE,
        ("no recipe 'demos'", "did you mean 'demo'"),
        nothing,
    ),
    Case(
        "no such recipe file",
        "train nowhere.yaml --data cells --out out",
        USAGE,
        ("nowhere.yaml", "no such recipe file"),
        nothing,
    ),
    Case("the recipe is empty", OWN, USAGE, ("own.yaml",), recipe("")),
    Case("the recipe is no YAML", OWN, USAGE, ("own.yaml", "line 3"), recipe("name: own\nmodel: [a,\n")),
    Case("the recipe is binary", OWN, USAGE, ("own.yaml",), content("own.yaml", b"\x80\x81\x82\xff")),
    Case(
        "the recipe is a picture",
        "train images/well_01.png --data cells --out out",
        USAGE,
        ("images/well_01.png",),
        nothing,
    ),
    Case(
        "a wrong key",
        OWN,
        USAGE,
        ("own.yaml", "train.epoch", "did you mean 'epochs'"),
        recipe(MINIMAL.replace("epochs", "epoch")),
    ),
    Case(
        "a wrong section",
        OWN,
        USAGE,
        ("own.yaml", "trains", "did you mean 'train'"),
        recipe(MINIMAL.replace("train:", "trains:")),
    ),
    Case(
        "a word where a number belongs",
        OWN,
        USAGE,
        ("own.yaml", "train.epochs", "many"),
        recipe(MINIMAL.replace("epochs: 1", "epochs: many")),
    ),
    Case(
        "a negative number of epochs",
        OWN,
        USAGE,
        ("train.epochs", "-1"),
        recipe(MINIMAL.replace("epochs: 1", "epochs: -1")),
    ),
    Case("no model", OWN, USAGE, ("own.yaml", "model"), recipe("name: own\n")),
    Case("no name", OWN, USAGE, ("own.yaml", "name"), recipe(MINIMAL.replace("name: own\n", ""))),
    Case("a name with a slash", OWN, USAGE, ("own.yaml", "name"), recipe(MINIMAL.replace("name: own", "name: ../own"))),
    Case(
        "an unknown backbone",
        OWN,
        USAGE,
        ("swin_tinny", "did you mean 'swin_tiny'"),
        recipe(MINIMAL.replace("{name: stem, width: 4}", "swin_tinny")),
    ),
    Case("an unknown option of a backbone", OWN, USAGE, ("wide",), recipe(MINIMAL.replace("width: 4", "wide: 4"))),
    Case("an unknown neck", OWN, USAGE, ("bifpn",), recipe(MINIMAL.replace("width: 4}", "width: 4}, neck: bifpn"))),
    Case("an unknown loss", OWN, USAGE, ("dise", "did you mean 'dice'"), recipe(MINIMAL + "loss: {dise: 1}\n")),
    Case("a loss of negative weight", OWN, USAGE, ("dice",), recipe(MINIMAL + "loss: {dice: -1}\n")),
    Case(
        "an unknown augmentation",
        OWN,
        USAGE,
        ("HorizontalFlop", "HorizontalFlip"),
        recipe(MINIMAL.replace("crop: 32", "crop: 32, augment: [{HorizontalFlop: {}}]")),
    ),
    Case(
        "class weights for other classes",
        OWN,
        USAGE,
        ("class_weights", "3"),
        recipe(MINIMAL + "class_weights: [1, 2, 3]\n"),
    ),
    Case(
        "a split to validate on that isn't there",
        OWN,
        USAGE,
        ("no split 'dev'",),
        recipe(MINIMAL.replace("crop: 32", "crop: 32, validate_on: dev")),
    ),
    Case(
        "best weights without validation",
        OWN,
        USAGE,
        ("keep=best", "validate_on"),
        recipe(MINIMAL.replace("crop: 32", "crop: 32, validate_on: null")),
    ),
    Case(
        "two members of one name",
        OWN,
        USAGE,
        ("'a'",),
        recipe("name: own\nensemble: {members: [{name: a, backbone: stem}, {name: a, backbone: stem}]}\n"),
    ),
    Case(
        "weights for another number of members",
        OWN,
        USAGE,
        ("2 weights for 1",),
        recipe("name: own\nensemble: {weights: [1, 2], members: [{name: a, backbone: stem}]}\n"),
    ),
    Case("an override without a value", f"{TRAIN} train.epochs", USAGE, ("train.epochs", "key=value"), nothing),
    Case("an override of nothing", f"{TRAIN} train.epoch=3", USAGE, ("train.epoch", "did you mean 'epochs'"), nothing),
    Case("an override of no YAML", f"{TRAIN} train.epochs=[1", USAGE, ("train.epochs=[1",), nothing),
    Case(
        "an override of a member that isn't there",
        f"{TRAIN} ensemble.members.7.stem=1",
        USAGE,
        ("ensemble.members.7",),
        nothing,
    ),
    Case(
        "ImageNet's mean for grey pictures",
        OWN,
        USAGE,
        ("imagenet", "3 channels"),
        recipe(MINIMAL.replace("crop: 32", "crop: 32, channels: 1, normalisation: imagenet")),
    ),
    Case(
        "a window that falls",
        OWN,
        USAGE,
        ("data.window", "rising"),
        recipe(MINIMAL.replace("crop: 32", "crop: 32, window: [9, 3]")),
    ),
    Case("no dataset", "train demo --out out", USAGE, ("no dataset given", "--data"), nothing),
    Case("resuming what never began", f"{TRAIN} --resume", USAGE, ("resume",), nothing),
]

MODELS = [
    Case("no such model", "predict nowhere images -o out", MODEL, ("nowhere",), nothing),
    Case("a run in the place of its model", "predict runs/demo images -o out", MODEL, ("runs/demo/model",), nothing),
    Case(
        "a picture in the place of a model",
        "predict images/well_01.png images -o out",
        MODEL,
        ("images/well_01.png",),
        nothing,
    ),
    Case("the description is missing", PREDICT, MODEL, ("runs/demo/model",), removed("runs/demo/model/segkit.json")),
    Case(
        "the description is cut short",
        PREDICT,
        MODEL,
        ("segkit.json",),
        lambda f: (
            (f / "runs/demo/model/segkit.json").write_bytes(half((f / "runs/demo/model/segkit.json").read_bytes()))
            and None
        ),
    ),
    Case("the description is empty", PREDICT, MODEL, ("segkit.json",), content("runs/demo/model/segkit.json", "")),
    Case("a later format", PREDICT, MODEL, ("format", "99"), model_description(lambda d: d.update(format=99))),
    Case(
        "an unknown architecture",
        PREDICT,
        MODEL,
        ("resnet51",),
        model_description(lambda d: d["members"][0]["architecture"].update(backbone="resnet51")),
    ),
    Case("no members", PREDICT, MODEL, ("members",), model_description(lambda d: d.update(members=[]))),
    Case(
        "weights of another number",
        PREDICT,
        MODEL,
        ("weights",),
        model_description(lambda d: d["combination"]["options"].update(weights=[[1.0]])),
    ),
    Case("the tensors are missing", PREDICT, MODEL, ("swin_fpn.", ".safetensors"), lambda f: tensors(f).unlink()),
    Case(
        "the tensors are cut short",
        PREDICT,
        MODEL,
        ("swin_fpn.", ".safetensors"),
        lambda f: void(tensors(f).write_bytes(half(tensors(f).read_bytes()))),
    ),
    Case(
        "the tensors were changed",
        PREDICT,
        MODEL,
        ("swin_fpn.", ".safetensors"),
        lambda f: void(tensors(f).write_bytes(tensors(f).read_bytes()[:-1] + b"\x01")),
    ),
    Case(
        "the tensors are another member's",
        PREDICT,
        MODEL,
        ("swin_fpn.", ".safetensors"),
        lambda f: void(shutil.copy(tensors(f, "stem_unet"), tensors(f))),
    ),
    Case(
        "the tensors are out of the folder",
        PREDICT,
        MODEL,
        ("../",),
        model_description(lambda d: d["members"][0].update(file="../../../secret.safetensors")),
    ),
    Case(
        "a zip that leaves its folder",
        "predict model.zip images -o out",
        MODEL,
        (
            "model.zip",
            "names no format",
        ),
        zipped(lambda z, _: z.writestr("../../segkit.json", "{}")),
    ),
    Case(
        "a zip without a model",
        "predict model.zip images -o out",
        MODEL,
        ("model.zip",),
        zipped(lambda z, _: z.writestr("readme.txt", "hello")),
    ),
    Case(
        "a zip cut short",
        "predict model.zip images -o out",
        MODEL,
        ("model.zip",),
        lambda f: (zipped(add_all)(f), (f / "model.zip").write_bytes(half((f / "model.zip").read_bytes())))[0],
    ),
    Case(
        "a pickle in the place of a model",
        "predict model.pth images -o out",
        MODEL,
        ("model.pth",),
        content("model.pth", b"\x80\x04\x95\x00\x00."),
    ),
    Case(
        "a model of another task",
        EVALUATE,
        MODEL,
        ("task",),
        describing(task="multiclass", classes=["background", "cell", "other"]),
    ),
]

PICTURES = [
    Case(
        "no pictures match",
        "predict runs/demo/model nothing/*.png -o out",
        DATA,
        ("nothing/*.png", "no picture matches"),
        nothing,
    ),
    Case(
        "the pictures' folder is empty",
        "predict runs/demo/model empty -o out",
        DATA,
        ("empty",),
        lambda f: (f / "empty").mkdir(),
    ),
    Case(
        "a picture to predict is cut short",
        PREDICT,
        DATA,
        ("well_01.png", "cut short"),
        lambda f: (f / "images/well_01.png").write_bytes(half((f / "images/well_01.png").read_bytes())) and None,
    ),
    Case(
        "a picture to predict is empty",
        PREDICT,
        DATA,
        ("well_01.png", "the file is empty"),
        content("images/well_01.png", b""),
    ),
    Case(
        "a picture to predict is text",
        PREDICT,
        DATA,
        ("well_01.png", "decoded"),
        content("images/well_01.png", "hello, I am text"),
    ),
    Case(
        "a picture with two channels",
        PREDICT,
        DATA,
        ("two.tif", "2 channels"),
        picture("two.tif", np.zeros((40, 40, 2), np.uint8), photometric="minisblack", planarconfig="contig"),
    ),
    Case(
        "pictures one after the other in time",
        PREDICT,
        DATA,
        ("times.tif",),
        picture("times.tif", np.zeros((7, 40, 40), np.uint8), imagej=True, metadata={"axes": "TYX"}),
    ),
    Case(
        "floats out of range",
        PREDICT,
        DATA,
        ("wide.tif", "window"),
        picture("wide.tif", np.full((40, 40), 300, np.float32)),
    ),
    Case(
        "a picture with infinity",
        PREDICT,
        DATA,
        ("far.tif", "not finite"),
        picture("far.tif", np.full((40, 40), np.inf, np.float32)),
    ),
    Case("complex numbers", PREDICT, DATA, ("waves.tif",), picture("waves.tif", np.zeros((40, 40), np.complex64))),
    Case(
        "two pictures to predict have one name",
        PREDICT,
        DATA,
        ("well_01",),
        lambda f: Image.open(f / "images/well_01.png").save(f / "images/well_01.bmp"),
    ),
    Case("a negative tile", f"{PREDICT} --tile=-8", USAGE, ("tile", "-8"), nothing),
    Case("an overlap of all", f"{PREDICT} --overlap 1.5", USAGE, ("overlap", "1.5"), nothing),
    Case("a threshold of percent", f"{PREDICT} --threshold 50", USAGE, ("threshold", "50"), nothing),
    Case("a threshold in words", f"{PREDICT} --threshold half", USAGE, ("threshold",), nothing),
    Case(
        "the output is a file",
        "predict runs/demo/model images -o taken",
        USAGE,
        ("taken",),
        lambda f: (f / "taken").touch(),
    ),
    Case(
        "masks that are missing are scored",
        "evaluate second_reader cells -o out",
        DATA,
        ("second_reader", "no mask for"),
        lambda f: (f / "second_reader" / first(f, "masks", "test").name).unlink(),
    ),
    Case(
        "masks of another size are scored",
        "evaluate second_reader cells -o out",
        DATA,
        ("second_reader",),
        lambda f: void(
            cv2.imwrite(str(f / "second_reader" / first(f, "masks", "test").name), np.zeros((8, 8), np.uint8))
        ),
    ),
    Case("an unknown split", f"{EVALUATE} --split tests", USAGE, ("no split 'tests'", "did you mean 'test'"), nothing),
    Case("an unknown command", "predikt runs/demo/model images", USAGE, ("predikt",), nothing),
    Case("a recipe that isn't shipped is shown", "config show demos", USAGE, ("demos", "demo"), nothing),
    Case("a recipe for no time", "init cells --hours 0 -o out.yaml", USAGE, ("hours",), nothing),
    Case("a recipe under a picture's name", "init cells -o out.png", USAGE, ("out.png", ".yaml"), nothing),
    Case(
        "a recipe for a folder that isn't there",
        "init nowhere -o out.yaml",
        DATA,
        ("nowhere", "no such folder"),
        nothing,
    ),
]

CASES = [*DATASETS, *RECIPES, *MODELS, *PICTURES]
