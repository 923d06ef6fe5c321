"""The sequence replay against a naive record of what was added."""

import numpy as np
import pytest

from rllib_lsp.replay import ReplayError, SequenceReplay


def fragment(stream, start, count):
    """Rows whose values tell stream and position: 1000·stream + position."""
    position = np.arange(start, start + count)
    return {
        "value": (1000 * stream + position).astype(np.float32),
        "vector": np.stack([position, -position], 1).astype(np.float32),
    }


def assert_windows_are_runs(sample):
    value = sample["value"]
    np.testing.assert_array_equal(np.diff(value, axis=1), np.ones_like(value[:, 1:]))
    np.testing.assert_array_equal(sample["vector"][..., 0], value % 1000)


def test_windows_follow_their_stream_through_interleaved_fragments():
    replay = SequenceReplay(1000, seed=0)
    for start in range(0, 60, 6):
        for stream in range(3):
            replay.add(stream, fragment(stream, start, 6))
    sample = replay.sample(64, 20)
    assert sample["value"].shape == (64, 20)
    assert sample["vector"].shape == (64, 20, 2)
    assert_windows_are_runs(sample)
    assert set(np.unique(sample["value"] // 1000)) == {0, 1, 2}


@pytest.mark.parametrize("capacity", [37, 64, 100])
def test_windows_stay_whole_while_old_rows_are_overwritten(capacity):
    replay = SequenceReplay(capacity, seed=0)
    random = np.random.default_rng(0)
    position = [0, 0]
    for _ in range(200):
        stream, count = int(random.integers(2)), int(random.integers(1, 9))
        replay.add(stream, fragment(stream, position[stream], count))
        position[stream] = (position[stream] + count) % 900
        if position[stream] < count:
            position[stream] = 0
            replay.add(stream, fragment(stream, 0, 1), continues=False)
            position[stream] = 1
        assert len(replay) <= capacity
        if replay.can_sample(8):
            sample = replay.sample(16, 8)
            runs = np.diff(sample["value"], axis=1)
            assert (runs == 1).all()


def test_windows_begin_where_they_may():
    replay = SequenceReplay(50, seed=0)
    assert not replay.can_sample(4, "here")
    for start in range(0, 90, 9):
        rows = fragment(0, start, 9)
        replay.add("a", rows | {"here": rows["value"] % 7 == 3})
        # One that has begun is no window yet.
        assert replay.can_sample(4, "here") == (start + 9 > 3 + 3)
    starts = replay.sample(2000, 4, "here")["value"][:, 0]
    assert sorted(set(starts.tolist())) == [45, 52, 59, 66, 73, 80]
    assert min(np.unique(starts, return_counts=True)[1]) > 2000 / 6 * 0.7
    with pytest.raises(ReplayError, match="No stream holds 51 consecutive rows"):
        replay.sample(1, 51, "here")


def test_every_window_is_equally_likely():
    replay = SequenceReplay(100, seed=0)
    replay.add("a", fragment(0, 0, 30))
    replay.add("b", fragment(1, 0, 20))
    length, draws = 11, 20_000
    starts = replay.sample(draws, length)["value"][:, 0]
    _, counts = np.unique(starts, return_counts=True)
    windows = (30 - length + 1) + (20 - length + 1)
    assert len(counts) == windows
    expected = draws / windows
    # Five standard deviations of a binomial count.
    assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_a_lost_fragment_is_not_bridged():
    replay = SequenceReplay(100, seed=0)
    replay.add(0, fragment(0, 0, 10))
    replay.add(0, fragment(0, 20, 10), continues=False)
    assert_windows_are_runs(replay.sample(64, 8))
    assert not replay.can_sample(11)


def test_a_saved_replay_is_restored_exactly(tmp_path):
    replay = SequenceReplay(64, seed=0)
    for start in range(0, 90, 5):
        for stream in range(2):
            replay.add(stream, fragment(stream, start, 5))
    replay.save(tmp_path)
    restored = SequenceReplay(64, seed=99)
    restored.load(tmp_path)
    assert len(restored) == len(replay) == 64
    for _ in range(3):
        windows = restored.sample(32, 10)
        assert_windows_are_runs(windows)
        for key, value in replay.sample(32, 10).items():
            np.testing.assert_array_equal(windows[key], value)
    for length in (5, 10, 30, 31, 32, 33):
        assert restored.can_sample(length) == replay.can_sample(length), length
    # Streams go on where they were.
    for one in (replay, restored):
        one.add(1, fragment(1, 90, 30))
    assert restored.can_sample(40)
    windows = restored.sample(32, 40)
    for key, value in replay.sample(32, 40).items():
        np.testing.assert_array_equal(windows[key], value)


def test_restoring_into_a_larger_replay_keeps_everything(tmp_path):
    replay = SequenceReplay(64, seed=0)
    for start in range(0, 100, 10):
        replay.add(0, fragment(0, start, 10))
    replay.save(tmp_path)
    large = SequenceReplay(200, seed=0)
    large.load(tmp_path)
    assert len(large) == 64
    large.add(0, fragment(0, 100, 50))
    assert len(large) == 114
    assert large.sample(1, 114)["value"][0].tolist() == list(range(36, 150))


def test_restoring_into_a_smaller_replay_keeps_the_newest(tmp_path):
    replay = SequenceReplay(100, seed=0)
    replay.add(0, fragment(0, 0, 100))
    replay.save(tmp_path)
    small = SequenceReplay(30, seed=0)
    small.load(tmp_path)
    assert set(small.sample(2000, 1)["value"][:, 0]) == set(range(70, 100))
    assert_windows_are_runs(small.sample(16, 30))
    small.add(0, fragment(0, 100, 10))
    assert small.sample(1, 30)["value"][0].tolist() == list(range(80, 110))


def test_bytes_count_what_is_filled():
    replay = SequenceReplay(1000)
    replay.add(0, fragment(0, 0, 10))
    assert replay.nbytes == 10 * (4 + 8)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda r, _: r.sample(2, 50), "50 consecutive rows"),
        (lambda r, _: r.add(0, {"value": np.zeros(0)}), "equally many rows, from 1"),
        (lambda r, _: r.add(0, {"value": np.zeros(3)}), "vector"),
        (lambda r, _: r.add(0, fragment(0, 0, 101)), "from 1 to 100"),
        (lambda r, path: r.load(path / "none"), "Cannot read the replay"),
        (lambda r, _: SequenceReplay(1), "at least 2"),
    ],
)
def test_misuse_is_named(tmp_path, act, message):
    replay = SequenceReplay(100, seed=0)
    replay.add(0, fragment(0, 0, 10))
    with pytest.raises(ReplayError, match=message):
        act(replay, tmp_path)


def test_every_column_keeps_its_type(tmp_path):
    def images(count, start=0):
        shades = np.arange(start, start + count, dtype=np.uint8)
        rows = {"pixels": np.broadcast_to(shades[:, None, None, None], (count, 8, 8, 3)).copy()}
        return rows | {"is_first": shades == start, "walker/.. pos": shades.astype(np.float32)}

    types = {"pixels": np.uint8, "is_first": bool, "walker/.. pos": np.float32}
    replay = SequenceReplay(40, seed=0)
    replay.add(0, images(30))
    replay.add(0, images(30, start=30))
    replay.save(tmp_path)
    restored = SequenceReplay(40, seed=1)
    restored.load(tmp_path)
    restored.add(0, images(3, start=60))
    for one in (replay, restored):
        sample = one.sample(8, 3)
        assert {key: value.dtype for key, value in sample.items()} == types
        assert sample["pixels"].shape == (8, 3, 8, 8, 3)
        np.testing.assert_array_equal(sample["pixels"][:, :, 0, 0, 0], sample["walker/.. pos"])
    assert replay.nbytes == 40 * (8 * 8 * 3 + 1 + 4)
