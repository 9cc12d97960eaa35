import threading
import time

import cv2
import numpy as np
import pytest

from segkit.errors import DataError, UsageError
from segkit.prediction.predictor import Predictor

RNG = np.random.default_rng(0)
FRAMES = [RNG.integers(0, 256, (20, 30, 3), dtype=np.uint8) for _ in range(4)]


def test_each_frame_is_predicted_as_if_alone_and_in_order(binary):
    predictor = Predictor(binary, device="cpu")
    found = list(predictor.stream(FRAMES, threshold=0.25))
    assert [prediction.name for prediction in found] == [f"frame_{number:06}" for number in range(4)]
    for prediction, frame in zip(found, FRAMES, strict=True):
        np.testing.assert_array_equal(prediction.labels, predictor.predict(frame, threshold=0.25).labels)


def test_frames_may_be_files(binary, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), FRAMES[0][..., ::-1])
    named, unnamed = Predictor(binary, device="cpu").stream([tmp_path / "a.png", FRAMES[0]])
    assert (named.name, unnamed.name) == ("a", "frame_000001")
    np.testing.assert_array_equal(named.labels, unnamed.labels)


def test_one_frame_is_read_ahead_and_no_more(binary):
    taken, threads = [], set()

    def camera():
        for number in range(9):
            taken.append(number)
            threads.add(threading.current_thread())
            yield FRAMES[0]

    stream = Predictor(binary, device="cpu").stream(camera())
    assert taken == []
    for number in range(3):
        next(stream)
        time.sleep(0.05)
        assert taken == list(range(number + 2))
    assert threading.current_thread() not in threads


def test_closing_the_stream_closes_the_camera(binary):
    closed = []

    def camera():
        try:
            while True:
                yield FRAMES[0]
        finally:
            closed.append(True)

    stream = Predictor(binary, device="cpu").stream(camera())
    next(stream)
    stream.close()
    assert closed == [True]


def test_what_a_camera_raises_comes_after_the_frames_before_it(binary):
    def camera():
        yield FRAMES[0]
        raise OSError("unplugged")

    stream = Predictor(binary, device="cpu").stream(camera())
    next(stream)
    with pytest.raises(OSError, match="unplugged"):
        next(stream)


def test_a_frame_that_is_no_image_is_an_error_in_its_turn(binary):
    stream = Predictor(binary, device="cpu").stream([FRAMES[0], np.zeros((2, 2, 2, 2), np.uint8)])
    next(stream)
    with pytest.raises(DataError, match=r"got \[2, 2, 2, 2\]; expected a path, or an array"):
        next(stream)


def test_of_no_frames_there_are_no_predictions(binary):
    assert list(Predictor(binary, device="cpu").stream([])) == []


def test_a_frame_that_is_none_or_does_not_fit_is_named_by_its_number(binary):
    predictor = Predictor(binary, device="cpu")
    with pytest.raises(DataError, match="frame 1: None is no frame"):
        list(predictor.stream([FRAMES[0], None, FRAMES[1]]))
    with pytest.raises(DataError, match="frame 2: image: the picture has 7 channels"):
        list(predictor.stream([*FRAMES[:2], np.zeros((9, 9, 7), np.uint8)]))


@pytest.mark.parametrize("frames", ["clip.mp4", 0, None])
def test_a_path_or_a_cameras_number_alone_is_no_stream(binary, frames):
    with pytest.raises(UsageError, match=rf"^{frames}: expected frames one after the other; .*video\.frames_of gives"):
        list(Predictor(binary, device="cpu").stream(frames))


def test_one_picture_is_not_taken_for_frames_of_a_row_each(binary):
    predictor = Predictor(binary, device="cpu")
    with pytest.raises(UsageError, match=r"an array \[9, 9, 3\] is one picture; give \[picture\]"):
        list(predictor.stream(np.zeros((9, 9, 3), np.uint8)))
    assert len(list(predictor.stream(np.zeros((2, 9, 9, 3), np.uint8)))) == 2


@pytest.mark.parametrize("frame", [(), (FRAMES[0],), (FRAMES[0], None, None)])
def test_a_tuple_is_a_picture_and_its_depth(binary, frame):
    with pytest.raises(DataError, match=rf"frame 0: got a tuple of {len(frame)}; expected a picture, or a pair"):
        list(Predictor(binary, device="cpu").stream([frame]))


def test_a_camera_may_fill_one_array_again_and_again(binary):
    taken = threading.Event()

    def camera():
        buffer = np.empty_like(FRAMES[0])
        for frame in FRAMES:
            buffer[:] = frame
            yield buffer
            taken.set()

    class Slow(Predictor):
        def predict(self, *arguments, **options):
            taken.wait(0.2)  # until the next frame is being read
            taken.clear()
            time.sleep(0.01)
            return super().predict(*arguments, **options)

    found = list(Slow(binary, device="cpu").stream(camera()))
    for prediction, frame in zip(found, FRAMES, strict=True):
        np.testing.assert_array_equal(prediction.probabilities[0], frame[..., 0].astype(np.float32) / 255)


def test_a_camera_that_stops_holds_nothing_up(binary, monkeypatch):
    monkeypatch.setattr("segkit.prediction.stream.LEAVING", 0.05)
    goes_on = threading.Event()

    def camera():
        yield FRAMES[0]
        goes_on.wait()

    stream = Predictor(binary, device="cpu").stream(camera())
    assert next(stream).name == "frame_000000"
    began = time.perf_counter()
    stream.close()
    assert time.perf_counter() - began < 2
    goes_on.set()
