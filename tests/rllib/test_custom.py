"""Modules, learners, metrics and evaluations of a user's own, as RLlib documents them."""

import numpy as np
import pytest
import torch
from ray.rllib.callbacks.callbacks import RLlibCallback
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS
from ray.rllib.utils.test_utils import check_train_results_new_api_stack

from rllib_lsp.lsp.learner import LSPTorchLearner
from rllib_lsp.lsp.rl_module import METRICS, LSPTorchRLModule
from tests.rllib.conftest import Match


class ProbedModule(LSPTorchRLModule):
    """Has a head of its own, and says what is in a batch."""

    def setup(self):
        super().setup()
        self.probe = torch.nn.Linear(1, self.model_config["probe_width"])

    def _forward_train(self, batch, **kwargs):
        output = super()._forward_train(batch, **kwargs)
        reward = batch["reward"].unsqueeze(-1)
        output["probe_loss"] = (self.probe(reward) - reward).square().mean()
        output[METRICS]["reward_in_batch"] = reward.mean()
        return output


class ProbedLearner(LSPTorchLearner):
    """Trains the module's own head, with an optimizer of its own."""

    def configure_optimizers_for_module(self, module_id, config=None):
        super().configure_optimizers_for_module(module_id, config)
        parameters = list(self.module[module_id].unwrapped().probe.parameters())
        self.register_optimizer(
            module_id=module_id,
            optimizer_name="probe",
            optimizer=torch.optim.SGD(parameters),
            params=parameters,
            lr_or_lr_schedule=config.learner_config_dict["probe_lr"],
        )

    def compute_loss_for_module(self, *, module_id, config, batch, fwd_out):
        self._probe_loss = fwd_out["probe_loss"]
        self.metrics.log_value((module_id, "probe_loss"), self._probe_loss.item(), window=1)
        return super().compute_loss_for_module(
            module_id=module_id, config=config, batch=batch, fwd_out=fwd_out
        )

    def compute_gradients(self, loss_per_module, **kwargs):
        super().compute_gradients(loss_per_module, **kwargs)
        self._probe_loss.backward()
        return {ref: parameter.grad for ref, parameter in self._params.items()}

    def apply_gradients(self, gradients_dict):
        super().apply_gradients(gradients_dict)
        self.get_optimizer("default_policy", "probe").step()


class Metrics(RLlibCallback):
    def on_algorithm_init(self, *, algorithm, metrics_logger, **kwargs):
        metrics_logger.log_value("capacity", algorithm.replay.capacity, window=1)

    def on_train_result(self, *, algorithm, metrics_logger, result, **kwargs):
        result["updates"] = algorithm.progress["updates"]

    def on_evaluate_start(self, *, algorithm, metrics_logger, **kwargs):
        metrics_logger.log_value("evaluations", 1, reduce="lifetime_sum")

    def on_evaluate_end(self, *, evaluation_metrics, **kwargs):
        evaluation_metrics["doubled"] = 2 * evaluation_metrics[ENV_RUNNER_RESULTS]["best"]


def best_of_two(algorithm, runners):
    runner = runners.local_env_runner
    episodes = runner.sample(num_episodes=2, explore=False)
    best = max(episode.get_return() for episode in episodes)
    # RLlib takes the results from its logger, not from what is returned.
    runner.metrics.log_value("best", best, window=1)
    algorithm.metrics.aggregate([runner.get_metrics()], key=("evaluation", ENV_RUNNER_RESULTS))
    steps = sum(len(episode) for episode in episodes)
    return {"best": best}, steps, steps


@pytest.fixture
def trained(build, tiny):
    config = (
        tiny()
        .environment(Match)
        .reporting(min_sample_timesteps_per_iteration=120)
        .rl_module(
            rl_module_spec=RLModuleSpec(module_class=ProbedModule, model_config={"probe_width": 3})
        )
        .training(learner_class=ProbedLearner, learner_config_dict={"probe_lr": 0.1})
        .callbacks(Metrics)
        .evaluation(
            evaluation_interval=1,
            evaluation_duration=1,
            custom_evaluation_function=best_of_two,
        )
    )
    algorithm = build(config)
    probe = algorithm.get_module().probe.weight.detach().clone()
    return algorithm, probe, [algorithm.train() for _ in range(2)]


def test_modules_learners_metrics_and_evaluations_of_ones_own(trained):
    algorithm, probe, (first, second) = trained
    check_train_results_new_api_stack(second)
    # A module and a learner, which trains the module's head; runners have it, too.
    learned = second["learners"]["default_policy"]
    for name in ("probe_loss", "reward_in_batch", "world_model_loss"):
        assert np.isfinite(learned[name]), name
    assert learned["probe_learning_rate"] == pytest.approx(0.1)
    assert algorithm.get_module().probe.weight.shape == (3, 1)
    assert not torch.equal(algorithm.get_module().probe.weight, probe)
    state = algorithm.learner_group.get_state()["learner"]["rl_module"]["default_policy"]
    np.testing.assert_array_equal(
        algorithm.get_module().probe.weight.detach(), state["probe.weight"]
    )
    # Metrics of callbacks, and an evaluation.
    assert first["capacity"] == algorithm.config.replay_capacity
    assert second["updates"] == algorithm.progress["updates"] > first["updates"]
    # RLlib puts a result together before it evaluates.
    assert second["evaluations"] == 1
    evaluation = second["evaluation"]
    best = evaluation[ENV_RUNNER_RESULTS]["best"]
    assert best == pytest.approx(evaluation[ENV_RUNNER_RESULTS]["episode_return_max"], rel=1e-5)
    assert evaluation["doubled"] == 2 * best
    assert np.isfinite(second[ENV_RUNNER_RESULTS]["episode_return_mean"])


def test_heads_of_ones_own_begin_alike_in_several_learners(build, tiny):
    spec = RLModuleSpec(module_class=ProbedModule, model_config={"probe_width": 3})
    config = tiny().rl_module(rl_module_spec=spec).learners(num_learners=2)
    # Without a seed in common they would begin apart.
    algorithm = build(config.debugging(seed=None))
    first, second = (
        answer.get()
        for answer in algorithm.learner_group.foreach_learner(
            lambda learner: learner.module["default_policy"].probe.weight.detach().clone()
        )
    )
    assert torch.equal(first, second)
