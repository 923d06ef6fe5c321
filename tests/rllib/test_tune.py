"""`LSP` by name in real Tune runs."""

import json
import time

import numpy as np
import pytest
from ray import tune
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.utils.test_utils import check_train_results_new_api_stack
from ray.tune.schedulers import ASHAScheduler, PopulationBasedTraining


def run_config(path, iterations, **more):
    return tune.RunConfig(
        name="run",
        storage_path=str(path),
        stop={"training_iteration": iterations},
        verbose=0,
        **more,
    )


def learner_of(result):
    return result.metrics["learners"]["default_policy"]


@pytest.mark.usefixtures("ray_session")
def test_a_sweep_by_name_trains_with_each_value(tiny, tmp_path):
    config = tiny(lr=tune.grid_search([1e-3, 1e-4]), learning_starts=100)
    results = tune.Tuner("LSP", param_space=config, run_config=run_config(tmp_path, 1)).fit()
    assert len(results) == 2
    assert not results.errors
    for result in results:
        check_train_results_new_api_stack(result.metrics)
    rates = {learner_of(result)["policy_learning_rate"] for result in results}
    assert sorted(rates) == pytest.approx([1e-4, 1e-3])


class FailsOnce(RLlibCallback):
    """The trial with the lower rate, in its second iteration."""

    def on_train_result(self, *, algorithm, result, **kwargs):
        marker = algorithm.config.env_config["marker"]
        if algorithm.config.lr < 1e-3 and algorithm.iteration == 2 and not marker.exists():
            marker.touch()
            raise RuntimeError("power cut")


def marked_env(context):
    from rllib_lsp import make_env

    return make_env("dm_control/cartpole-swingup-v0", action_repeat=4)


@pytest.mark.usefixtures("ray_session")
def test_asha_on_fractions_of_a_cpu_and_an_experiment_that_is_taken_up_again(tiny, tmp_path):
    """A dict as search space, early stopping, a trial that fails, `Tuner.restore`."""
    tune.register_env("marked", marked_env)
    config = (
        tiny()
        .environment("marked", env_config={"marker": tmp_path / "failed"})
        .callbacks(FailsOnce)
        .resources(num_cpus_for_main_process=0.5)
        .to_dict()
    )
    config["lr"] = tune.grid_search([1e-3, 3e-4])
    tuner = tune.Tuner(
        "LSP",
        param_space=config,
        tune_config=tune.TuneConfig(
            metric="num_env_steps_sampled_lifetime",
            mode="max",
            scheduler=ASHAScheduler(max_t=3, grace_period=3),
        ),
        run_config=run_config(
            tmp_path, 3, checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=1)
        ),
    )
    results = tuner.fit()
    assert [bool(result.error) for result in results] == [False, True]
    assert results[0].metrics["training_iteration"] == 3

    again = tune.Tuner.restore(str(tmp_path / "run"), trainable="LSP", resume_errored=True).fit()
    assert not again.errors
    assert [result.metrics["training_iteration"] for result in again] == [3, 3]
    # Taken up at its checkpoint, not begun anew.
    history = again[1].metrics_dataframe["num_env_steps_sampled_lifetime"].tolist()
    assert len(history) == 3
    assert history[0] < history[1] < history[2]
    assert again[1].metrics["replay"]["rows"] >= 600
    for file in ("progress.csv", "result.json", "params.json"):
        assert (tmp_path / "run" / again[1].path.rsplit("/", 1)[1] / file).is_file()


class LowRatesWin(RLlibCallback):
    """So that it is known who copies whom, and that each is where it must be when it happens.

    The scheduler saves a trial when it knows the scores of both, and copies what it has saved. So
    the better one reports first when the other one has, and the other one again when that is
    saved. Tune's own way to wait, `synch=True`, can wait for ever on a busy machine.
    """

    def on_train_result(self, *, algorithm, result, **kwargs):
        rate, iteration = algorithm.config.lr, algorithm.iteration
        result["score"] = -rate
        marks = algorithm.config.env_config["marks"]
        if rate == 1e-4:
            given = json.dumps(fingerprint(algorithm))
            (marks / f"given {iteration}.json").write_text(given)
        if rate == 1e-3 and iteration == 2:
            (marks / "has reported").touch()
            wait_for(marks / "is saved")
        elif rate == 1e-4 and iteration == 1:
            wait_for(marks / "has reported")
        elif rate == 1e-4 and iteration == 2:
            (marks / "is saved").touch()
            wait_for(marks / "is copied")
        elif rate == 7e-5:
            (marks / "is copied").touch()

    def on_checkpoint_loaded(self, *, algorithm, **kwargs):
        # First what the other one saved; later, where it was paused, its own.
        taken = algorithm.config.env_config["marks"] / f"taken {time.time_ns()}.json"
        taken.write_text(json.dumps(fingerprint(algorithm)))


def fingerprint(algorithm):
    """Of what was learned and collected: weights, moments, rows."""
    learner = algorithm.learner_group._learner
    weights = learner.module["default_policy"].get_state().values()
    moments = learner._get_optimizer_state()["default_policy_policy"]["state"]["state"].values()
    return {
        "weights": float(sum(np.sum(value) for value in weights)),
        "moments": float(sum(np.sum(moment["exp_avg"]) for moment in moments)),
        "rows": len(algorithm.replay),
    }


def wait_for(mark):
    deadline = time.monotonic() + 120
    while not mark.exists():
        assert time.monotonic() < deadline, f"nobody {mark.name}"
        time.sleep(0.05)


@pytest.mark.usefixtures("ray_session")
def test_population_based_training_changes_rates_for_good(tiny, tmp_path):
    tune.register_env("marked", marked_env)
    config = (
        tiny(lr=tune.grid_search([1e-3, 1e-4]))
        .environment("marked", env_config={"marks": tmp_path})
        .resources(num_cpus_for_main_process=0.5)
        .callbacks(LowRatesWin)
    )
    results = tune.Tuner(
        "LSP",
        param_space=config,
        tune_config=tune.TuneConfig(
            metric="score",
            mode="max",
            scheduler=PopulationBasedTraining(
                # By default seconds, and an iteration may take less than one.
                time_attr="training_iteration",
                perturbation_interval=1,
                quantile_fraction=0.5,
                resample_probability=0.0,
                hyperparam_mutations={"lr": tune.uniform(1e-5, 1e-2)},
                custom_explore_fn=lambda config: {**config, "lr": 7e-5},
            ),
        ),
        run_config=run_config(tmp_path, 3),
    ).fit()
    assert not results.errors
    # It began with 1e-3, took over the other's weights and optimizers, which had 1e-4.
    copier = results[0]
    assert copier.config["lr"] == 7e-5
    assert learner_of(copier)["policy_learning_rate"] == pytest.approx(7e-5)
    taken = json.loads(min(tmp_path.glob("taken *.json")).read_text())
    assert taken["moments"] != 0
    assert taken in [json.loads(file.read_text()) for file in tmp_path.glob("given *.json")]
