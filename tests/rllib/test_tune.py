"""`LSP` by name in a real Tune sweep."""

import pytest
from ray import tune


@pytest.mark.usefixtures("ray_session")
def test_a_sweep_by_name_trains_with_each_value(tiny, tmp_path):
    config = tiny(lr=tune.grid_search([1e-3, 1e-4]), learning_starts=100)
    results = tune.Tuner(
        "LSP",
        param_space=config,
        run_config=tune.RunConfig(
            storage_path=str(tmp_path), stop={"training_iteration": 1}, verbose=0
        ),
    ).fit()
    assert len(results) == 2
    assert not results.errors
    rates = {
        result.metrics["learners"]["default_policy"]["policy_learning_rate"] for result in results
    }
    assert sorted(rates) == pytest.approx([1e-4, 1e-3])
