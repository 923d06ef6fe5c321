"""Every file of tuned_examples: the command takes it, and what it describes really trains."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
from ray.tune.search.variant_generator import generate_variants

from rllib_lsp.cli.algorithm import find_algorithm
from rllib_lsp.cli.document import load
from rllib_lsp.cli.search_space import to_tune
from rllib_lsp.core.saved_agent import FILE_NAME
from rllib_lsp.envs.rendering import import_simulator

EXAMPLES = Path(__file__).parents[2] / "tuned_examples"
FILES = sorted(EXAMPLES.rglob("*.yaml"))
NAMES = [str(path.relative_to(EXAMPLES)) for path in FILES]

TINY = {
    "batch_size": 2, "learning_starts": 20,
    "training_ratio": 8.0, "rollout_fragment_length": 10, "num_cpus_for_main_process": 1,
    "min_sample_timesteps_per_iteration": 40, "evaluation_interval": 0, "pretrain_updates": 0,
}  # fmt: skip
TINY_LSP = TINY | {
    "size": "tiny", "batch_length": 8, "behaviour": {"starts": 8, "hidden": 16},
    "planner": {"candidates": 8, "elites": 2},
}  # fmt: skip
TINY_HIRO = TINY | {
    "low": {"hidden": [16]}, "high": {"hidden": [16]}, "goals": {"duration": 5},
}  # fmt: skip


def experiments(path):
    """(name, spec) of every experiment of a file that runs an algorithm of this package."""
    return [(name, spec) for name, spec in load(path).data.items() if spec["run"] != "PPO"]


def points(path):
    """Every point of every search space: (test's name, algorithm, config)."""
    for name, spec in experiments(path):
        config = {"env": spec["env"], **spec["config"]}
        for number, (changes, point) in enumerate(generate_variants(to_tune(config))):
            told = "-".join(str(value) for value in changes.values())
            yield f"{name}-{told or number}", spec["run"], point


def made_tiny(run, config):
    """The same options with the smallest networks and batches."""
    tiny = copy.deepcopy(config)
    for key, value in (TINY_HIRO if run == "HIRO" else TINY_LSP).items():
        tiny[key] = {**tiny.get(key, {}), **value} if isinstance(value, dict) else value
    return tiny


def one_iteration(run, config, directory=None):
    """What one iteration of an algorithm says, and its checkpoint if a directory is given."""
    algorithm_class = find_algorithm(run, "test")
    settings = algorithm_class.get_default_config().update_from_dict(made_tiny(run, config))
    algorithm = settings.build_algo()
    try:
        return algorithm.train(), directory and algorithm.save_to_path(directory)
    finally:
        algorithm.stop()


def assert_learned(result):
    learned = result["learners"]["default_policy"]
    assert learned.get("world_model_loss", learned.get("low_critic_loss")) > 0
    numbers = {key: value for key, value in learned.items() if isinstance(value, float)}
    assert all(np.isfinite(value) for value in numbers.values()), numbers
    assert result["replay"]["updates_lifetime"] >= 2


def skip_without_renderer(config):
    if config.get("env_config", {}).get("pixels"):
        try:
            import_simulator(render=True)
        except RuntimeError:
            pytest.skip("no OpenGL on this machine")


def needs_a_source(config):
    return "transfer" in config


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_the_command_takes_it(rllib, tmp_path, path):
    arguments = []
    for _, spec in load(path).data.items():
        skip_without_renderer(spec["config"])
        if needs_a_source(spec["config"]):
            # Only whether there is an agent is looked at before a trial starts.
            (tmp_path / FILE_NAME).touch()
            arguments = ["--set", f"transfer.checkpoint={tmp_path}"]
    result = rllib("train", "file", path, *arguments, "--dry-run")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_a_file_is_one_experiment_of_its_name_that_ends_and_is_kept(path):
    ((name, spec),) = load(path).data.items()
    expected = f"ablation-{path.stem}" if path.parent.name == "ablations" else path.stem
    assert name == expected
    assert spec["stop"]
    assert spec["checkpoint_config"]["checkpoint_at_end"]
    assert path.read_text().startswith("# ")


POINTS = [
    point
    for path in FILES
    for point in points(path)
    if path.stem != "lsp-tiny" and not needs_a_source(point[2])
]


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize(("run", "config"), [p[1:] for p in POINTS], ids=[p[0] for p in POINTS])
def test_every_point_trains(run, config):
    skip_without_renderer(config)
    result, _ = one_iteration(run, config)
    assert_learned(result)


def test_what_was_explored_without_reward_is_taken_to_a_task(ray_session, tmp_path, capsys):
    ((_, explore, config),) = points(EXAMPLES / "lsp-point-explore.yaml")
    explored, checkpoint = one_iteration(explore, config, tmp_path)
    assert_learned(explored)
    assert explored["learners"]["default_policy"]["ensemble_loss"] > 0
    for stem, policy in (
        ("lsp-point-transfer", "kept"),
        ("lsp-fixed-policy-point-transfer", "kept, frozen"),
    ):
        ((_, run, config),) = points(EXAMPLES / f"{stem}.yaml")
        config["transfer"]["checkpoint"] = checkpoint
        result, _ = one_iteration(run, config)
        assert_learned(result)
        printed = capsys.readouterr().out
        lines = [line for line in printed.splitlines() if line.startswith("policy ")]
        assert [policy in line for line in lines] == [True]
        assert ("frozen" in lines[0]) == ("frozen" in policy)


@pytest.mark.parametrize("stem", ["lsp-point-transfer", "lsp-fixed-policy-point-transfer"])
def test_a_transfer_asks_for_its_checkpoint(rllib, stem):
    file = EXAMPLES / f"{stem}.yaml"
    missing = rllib("train", "file", file, "--dry-run")
    assert missing.exit_code == 2
    assert "transfer.checkpoint is missing: name the checkpoint directory" in missing.stderr
    lost = rllib("train", "file", file, "--set", "transfer.checkpoint=/no/such/place", "--dry-run")
    assert lost.exit_code == 2
    assert "--set transfer.checkpoint" in lost.stderr
    assert "No agent.pt in /no/such/place" in lost.stderr


COMPARED = (
    "dreamer", "lsp-random-skills", "planet", "lsp-paper", "lsp-pixels",
)  # fmt: skip


@pytest.mark.parametrize("name", COMPARED)
def test_what_is_compared_has_the_same_budget_and_evaluation(name):
    (lsp,), (other,) = (
        load(EXAMPLES / f"{stem}-cartpole-swingup.yaml").data.values() for stem in ("lsp", name)
    )
    shared = ["env", "stop"]
    assert [other[key] for key in shared] == [lsp[key] for key in shared]
    same = {"seed", "num_envs_per_env_runner", "evaluation_interval", "evaluation_duration"}
    if name in COMPARED[:3]:
        same |= {"env_config", "size", "batch_size", "batch_length", "training_ratio"}
    for key in same:
        assert other["config"][key] == lsp["config"][key], key
    if name == "lsp-random-skills":
        assert other["config"] == lsp["config"]
