"""Predictions of frames as they come, from a camera, a video or any other iterable."""

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from segkit.allocator import reused_memory
from segkit.data.picture import Picture, open_picture
from segkit.data.reader import Pixels
from segkit.errors import DataError, UsageError
from segkit.prediction.depth import Given
from segkit.prediction.prediction import Prediction
from segkit.prediction.settings import Kept

if TYPE_CHECKING:
    from segkit.prediction.predictor import Predictor

Shown = str | Path | Pixels | Picture
Frame = Shown | tuple[Shown, Given | None]
"""A picture as ``Predictor.predict`` takes it; with its depth, or another second modality, a pair."""


def predict_stream(
    predictor: "Predictor", frames: Iterable[Frame], *, threshold: float | Kept = "kept"
) -> Generator[Prediction, None, None]:
    """Predictions of frames as they come, in order, from a camera, a video or any other iterable.

    One frame is read ahead while the model works; :mod:`segkit.prediction.video` has frames of files and cameras. No
    further frame is taken than the one after that whose prediction was asked for. What the iterable or a frame raises
    is raised when it is that frame's turn. Closing the generator closes the frames, where they can be closed.

    Args:
        predictor: which predicts.
        frames: each a picture as ``Predictor.predict`` takes it, or a pair of that and its depth; arrays are named
            ``frame_000000`` and so on.
        threshold: as in ``Predictor.predict``.
    """
    source = _one_by_one(frames, predictor.model.reader.channels)

    def following() -> tuple[Pixels | Picture, Given | None] | None:
        for frame in source:
            shown, depth = _pair(frame)
            if shown is None:
                raise DataError("None is no frame; leave out what the camera didn't give")
            if isinstance(shown, str | Path):
                shown = open_picture(shown, limit=predictor.limit, mpp=predictor.model.reader.mpp)
            # Copied: a camera may fill one array again and again, and the next frame is read while this is predicted.
            shown = shown.copy() if isinstance(shown, np.ndarray) else shown
            return shown, depth.copy() if isinstance(depth, np.ndarray) else depth
        return None

    with reused_memory(), ThreadPoolExecutor(1, thread_name_prefix="frames") as ahead:
        try:
            waiting = ahead.submit(following)
            for number in count():
                try:
                    frame = waiting.result()
                    if frame is None:
                        return
                    waiting = ahead.submit(following)
                    shown, depth = frame
                    found = predictor.predict(shown, depth=depth, threshold=threshold)
                except DataError as error:
                    raise DataError(f"frame {number}: {error}") from error
                yield found if found.source is not None else replace(found, name=f"frame_{number:06}")
        finally:
            ahead.shutdown(cancel_futures=True)  # a generator can't be closed while the thread is in it
            if isinstance(source, Generator):
                source.close()


def _one_by_one(frames: Iterable[Frame], channels: int) -> Iterator[Frame]:
    if isinstance(frames, np.ndarray) and frames.ndim < (3 if channels == 1 else 4):
        raise UsageError(f"an array {list(frames.shape)} is one picture; give [picture], or frames [N, H, W, channels]")
    if not isinstance(frames, str | Path):
        with suppress(TypeError):
            return iter(frames)
    raise UsageError(
        f"{frames}: expected frames one after the other; segkit.prediction.video.frames_of gives those of a file"
    )


def _pair(frame: Frame) -> tuple[Shown, Given | None]:
    """A frame and its depth; DataError for a tuple of more or less than two."""
    if not isinstance(frame, tuple):
        return frame, None
    try:
        shown, depth = frame
    except ValueError:
        raise DataError(f"got a tuple of {len(frame)}; expected a picture, or a pair of that and its depth") from None
    return shown, depth
