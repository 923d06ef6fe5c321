"""Search spaces written in YAML."""

from __future__ import annotations

import pytest
from ray import tune

from rllib_lsp.cli.document import parse
from rllib_lsp.cli.messages import InputError
from rllib_lsp.cli.search_space import check, is_plain, samples, to_tune


def test_samples_use_every_alternative_at_any_depth():
    config = {"a": {"grid_search": [1, 2, 3]}, "b": {"c": {"uniform": [0.1, 0.9]}}, "d": 4}
    assert list(samples(config)) == [
        {"a": 1, "b": {"c": 0.1}, "d": 4},
        {"a": 2, "b": {"c": 0.9}, "d": 4},
        {"a": 3, "b": {"c": 0.1}, "d": 4},
    ]


def test_spaces_in_lists_and_tunes_own_are_found():
    config = {"a": [{"choice": [1, 2]}, 3], "b": tune.uniform(4.0, 5.0)}
    first, second = samples(config)
    assert (first["a"], second["a"]) == ([1, 3], [2, 3])
    assert 4 <= first["b"] <= 5
    assert to_tune(config)["a"][0].categories == [1, 2]
    assert not is_plain({"x": config["a"]})
    assert is_plain({"x": [1, {"choice": 2, "other": 3}]})


def test_a_literal_config_is_its_own_only_sample():
    config = {"a": 1, "b": {"choice": 2, "other": 3}}
    assert list(samples(config)) == [config]


def test_a_range_of_whole_numbers_ends_before_its_upper_end():
    assert [s["a"] for s in samples({"a": {"randint": [1, 8]}})] == [1, 7]
    assert {tune.randint(1, 3).sample() for _ in range(50)} == {1, 2}


@pytest.mark.parametrize(
    "space",
    ["{grid_search: 3}", "{choice: []}", "{uniform: [2, 1]}", "{loguniform: [0, 1.0]}",
     "{randint: [0.1, 0.9]}", "{lograndint: [0, 9]}"],
)  # fmt: skip
def test_malformed(space):
    document = parse(f"a:\n  lr: {space}\n", "f.yaml")
    with pytest.raises(InputError, match=r"f\.yaml:2.*wants.*e\.g\."):
        check(document, (), document.data)
