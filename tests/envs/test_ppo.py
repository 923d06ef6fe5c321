"""RLlib's own PPO trains on a task of this package: two small iterations of its tuned example.

Its results hold the metrics of the task, which ``TaskMetrics`` logs.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rllib_lsp.cli.app import app

TASK_METRICS = {
    "distance",
    "final_distance",
    "forward_velocity",
    "path_length",
    "still_return",
    "success",
    "time_to_target",
    "upright_fraction",
    "visited_cells",
}
EXAMPLE = Path(__file__).parents[2] / "tuned_examples" / "ppo-point-reach.yaml"


@pytest.mark.usefixtures("ray_session")
def test_ppo_trains_on_the_point_mass(tmp_path: Path) -> None:
    arguments = ["train", "file", str(EXAMPLE), "--storage-path", str(tmp_path)]
    arguments += ["--stop", "training_iteration=2", "--no-checkpoint-at-end"]
    arguments += ["--set", "train_batch_size_per_learner=400", "--set", "num_envs_per_env_runner=2"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (file,) = tmp_path.glob("ppo-point-reach/PPO_*/result.json")
    runners = [json.loads(line)["env_runners"] for line in file.read_text().splitlines()]
    assert [runner["num_env_steps_sampled_lifetime"] for runner in runners] == [400, 800]
    for runner in runners:
        assert runner["episode_len_mean"] == 200
        assert math.isfinite(runner["episode_return_mean"])
        info = runner["info"]
        assert set(info) == TASK_METRICS
        assert 0 <= info["success"] <= 1
        assert info["final_distance"] == info["distance"] > 0
