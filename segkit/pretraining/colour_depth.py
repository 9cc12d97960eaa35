"""The objective ``colour_depth``: both backbones of a bridged segmenter learn from pictures and their depth alone."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from segkit.contrasting.colour_depth import ColourDepth
from segkit.contrasting.colour_depth_recipe import ColourDepthRecipe
from segkit.contrasting.pairs import PairBatches, pair_samples, whole_size
from segkit.contrasting.retrieval import nearest_of, ranks
from segkit.contrasting.scoring import Retrieval, retrieve
from segkit.data.dataset import SegmentationDataset
from segkit.data.folder import Sample, open_dataset
from segkit.data.normalisation import channel_statistics
from segkit.data.reader import Reader
from segkit.errors import DataError, RecipeError
from segkit.files import atomic_path
from segkit.pretraining.backbone_file import BACKBONE, write_backbone
from segkit.pretraining.digest import digest_of
from segkit.pretraining.objective import Batch, Batches
from segkit.pretraining.recipe import PretrainRecipe
from segkit.training.normalisation import depth_encoding, image_normalisation


class ColourDepthObjective:
    """Pairs of a picture and its depth, from a dataset's folder; see :class:`segkit.pretraining.objective.Objective`.

    Args:
        recipe: with a section ``colour_depth``.
        device: where batches go.
    """

    def __init__(self, recipe: PretrainRecipe, device: torch.device) -> None:
        assert recipe.colour_depth is not None
        assert recipe.model.depth is not None
        data = recipe.data
        assert data.path is not None
        if recipe.train.batch < 2:
            raise RecipeError("train.batch=1: a pair is told from the others of its batch; take 2 or more")
        self.recipe, self.device = recipe, device
        self.options: ColourDepthRecipe = recipe.colour_depth
        self.headline = "r1" if self.options.image else "dense_r1"
        self.folder = open_dataset(data.path, masks=False)
        self.samples = pair_samples(self.folder, data.train_on)
        self.held_out = pair_samples(self.folder, [data.validate_on]) if data.validate_on else []
        if self.folder.depth_format is None:
            raise DataError(f"{self.folder.path / 'dataset.yaml'}: nothing says what depth means; add 'depth_unit:'")
        self.reader = Reader(
            channels=data.channels, depth=self.folder.depth_format, depth_channels=self.folder.depth_channels
        )
        mean, std = image_normalisation(
            data.normalisation,
            data.channels,
            lambda: channel_statistics(self.samples, self.folder, self.reader),
        )
        asked = self.options.encoding
        encoding = depth_encoding(
            asked.model_dump() if asked is not None else None,
            self.samples,
            self.folder,
            size=whole_size(data.shape, self.options),
        )
        self.dataset = self.folder.name
        read_by = (mean, std, encoding, self.folder.depth_format, self.folder.alignment)
        self.digest = digest_of(read_by, _rows(self.samples), _rows(self.held_out))
        model = ColourDepth.create(
            recipe.model.backbone.model_dump(),
            recipe.model.depth.model_dump(),
            options=self.options,
            mean=mean,
            std=std,
            encoding=encoding,
            depth_format=self.folder.depth_format,
            depth_channels=self.folder.depth_channels,
        )
        self.colour_depth = model
        self.model: nn.Module = model
        self._pairs: PairBatches | None = None
        self._whole: SegmentationDataset | None = None

    def prepare(self) -> list[str]:
        """Read the pictures; what is to be said of them."""
        data, train = self.recipe.data, self.recipe.train
        self._pairs = PairBatches(
            self.folder,
            self.samples,
            self.reader,
            size=data.shape,
            options=self.options,
            batch=train.batch,
            seed=train.seed,
            workers=train.workers,
            device=self.device,
            cache=data.cache,
        )
        notes = [*self.folder.notes, f"{len(self.samples)} pictures with depth to train on"]
        if self.held_out:
            self._whole = SegmentationDataset(
                self.folder, self.held_out, self.reader, crop=None, size=data.shape, cache=data.cache, depth=True
            )
            count = len(self.held_out)
            notes.append(
                f"{count} pictures of {data.validate_on} held out: r1 is {1 / count:.1%} by chance, "
                f"r5 {min(1, 5 / count):.1%}, if something is measured in the depth of all"
            )
        return notes

    def epoch(self, number: int) -> Batches:
        """The batches of an epoch."""
        assert self._pairs is not None, "prepare() comes first"
        return _Epoch(self._pairs, number)

    def loss(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """The weighted sum of the losses between pictures and between places; each, and the temperatures."""
        found = self.model(batch["image"], batch["depth"], batch["place"], batch["offset"])
        return self.colour_depth.loss(found, batch["measured"], batch["place"])

    def validate(self) -> dict[str, float]:
        """How the held-out pictures and their depth find each other."""
        assert self._whole is not None, "prepare() comes first, and data.validate_on"
        return retrieve(self.colour_depth, self._whole).figures

    def save(self, run: Path) -> None:
        """Write ``backbone.safetensors`` and ``depth.safetensors``, which start a bridged segmenter.

        ``projections.safetensors`` is the rest of the model, the temperatures among it; ``retrieval.csv`` says of every
        held-out picture with measured depth what it found.
        """
        model = self.colour_depth
        write_backbone(model.colour, run / BACKBONE)
        write_backbone(model.depth, run / "depth.safetensors")
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        with atomic_path(run / "projections.safetensors") as temporary:
            save_file({name: state[name] for name in state if not name.startswith(("colour.", "depth."))}, temporary)
        if self._whole is not None and self.options.image:
            with torch.no_grad():
                found = retrieve(model, self._whole)  # by the weights that are kept
            _table(run / "retrieval.csv", found)


class _Epoch:
    """The batches of one epoch."""

    def __init__(self, pairs: PairBatches, number: int) -> None:
        self.pairs, self.number = pairs, number

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.pairs.set_epoch(self.number)
        return iter(self.pairs)


def create(recipe: PretrainRecipe, device: torch.device) -> ColourDepthObjective:
    """The objective of a recipe with a section ``colour_depth``.

    Raises:
        DataError: a dataset without depth, or with too few pictures that have it.
        RecipeError, UsageError: values that don't go together, unknown parts or splits.
    """
    return ColourDepthObjective(recipe, device)


def _rows(samples: Sequence[Sample]) -> list[tuple[str, list[int]]]:
    """Names, and the sizes of their files."""
    files = ((sample.name, (sample.image, sample.depth)) for sample in samples)
    return [(name, [file.stat().st_size for file in both if file is not None]) for name, both in files]


def _table(path: Path, found: Retrieval) -> None:
    """Of held-out pictures with measured depth, how many others come before their own, and which is most similar."""
    columns = [("to_depth", found.colour, found.depth), ("to_colour", found.depth, found.colour)]
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["picture", *(f"{what}_{way}" for way, *_ in columns for what in ("rank", "nearest"))])
        cells = [(ranks(a, b).tolist(), nearest_of(a, b).tolist()) for _, a, b in columns]
        for number, name in enumerate(found.names):
            row = [value for rank, near in cells for value in (rank[number] + 1, found.names[near[number]])]
            writer.writerow([name, *row])
