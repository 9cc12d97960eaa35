"""Predictions of frames as they come, from a camera, a video or any other iterable."""

from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np

from segkit.allocator import reused_memory
from segkit.data.depth_format import DepthFormat
from segkit.data.picture import Picture, open_picture
from segkit.data.reader import Pixels
from segkit.errors import DataError, UsageError
from segkit.prediction.depth import Given, check_meaning
from segkit.prediction.prediction import Prediction
from segkit.prediction.settings import Kept

if TYPE_CHECKING:
    from segkit.prediction.predictor import Predictor

Found = TypeVar("Found")

LOOKING = 0.5  # seconds after which Ctrl-C is looked for again; Windows waits without it
LEAVING = 1.0  # seconds that a camera has, when nobody wants its frames any more, before it is left alone

Shown = str | Path | Pixels | Picture
Frame = Shown | tuple[Shown, Given | None]
"""A picture as ``Predictor.predict`` takes it; with its depth, or another second modality, a pair."""


def predict_stream(
    predictor: "Predictor",
    frames: Iterable[Frame],
    *,
    threshold: float | Kept = "kept",
    depth_format: DepthFormat | None = None,
) -> Generator[Prediction, None, None]:
    """Predictions of frames as they come, in order, from a camera, a video or any other iterable.

    One frame is read ahead while the model works; :mod:`segkit.prediction.video` has frames of files and cameras. No
    further frame is taken than the one after that whose prediction was asked for. What the iterable or a frame raises
    is raised when it is that frame's turn. Closing the generator closes the frames, where they can be closed; a source
    that waits for a frame which doesn't come is left alone, and holds nothing up.

    Args:
        predictor: which predicts.
        frames: each a picture as ``Predictor.predict`` takes it, arrays as RGB (of OpenCV's ``frame[..., ::-1]``), or a
            pair of that and its depth, which may be None; arrays are named ``frame_000000`` and so on.
        threshold: as in ``Predictor.predict``.
        depth_format: what values of depth mean; by default what they meant in training.
    """
    if depth_format is not None:
        check_meaning(depth_format, predictor.model.reader)
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

    with reused_memory():
        reader = _Reader(following)
        waiting = reader.begin()
        try:
            for number in count():
                try:
                    while not waiting.done():
                        wait([waiting], LOOKING)
                    frame = waiting.result()
                    if frame is None:
                        return
                    waiting = reader.begin()
                    shown, depth = frame
                    meaning = None if depth is None else depth_format
                    found = predictor.predict(shown, depth=depth, depth_format=meaning, threshold=threshold)
                except DataError as error:
                    raise DataError(f"frame {number}: {error}") from error
                yield found if found.source is not None else replace(found, name=f"frame_{number:06}")
        finally:
            reader.end()
            wait([waiting], LEAVING)
            if isinstance(source, Generator) and waiting.done():  # else the thread is in it
                source.close()


class _Reader(Generic[Found]):
    """Does the same work again and again in one thread, which the program doesn't wait for when it ends."""

    def __init__(self, work: Callable[[], Found]) -> None:
        self._work = work
        self._asked: Queue[Future[Found] | None] = Queue()
        Thread(target=self._serve, name="frames", daemon=True).start()

    def begin(self) -> "Future[Found]":
        """Do it once more."""
        future: Future[Found] = Future()
        self._asked.put(future)
        return future

    def end(self) -> None:
        """Let the thread end after the work in hand."""
        self._asked.put(None)

    def _serve(self) -> None:
        while (future := self._asked.get()) is not None:
            try:
                future.set_result(self._work())
            except BaseException as error:  # raised where the result is asked for
                future.set_exception(error)


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
