"""`rllib train file` with the packaged tiny example: trained, checkpointed, resumed, acting."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from rllib_lsp import load_agent, make_env

EXAMPLES = Path(__file__).parents[2] / "tuned_examples"


@pytest.mark.usefixtures("ray_session")
def test_the_tiny_example_trains_resumes_and_acts(rllib, tmp_path):
    example, storage = EXAMPLES / "lsp-tiny.yaml", ("--storage-path", tmp_path)
    first = rllib("train", "file", example, *storage)
    assert first.exit_code == 0, first.output
    (trial,) = (tmp_path / "lsp-tiny").glob("LSP_*/")
    summary = json.loads((trial / "summary.json").read_text())
    assert summary["unit"] == "frames"
    assert summary["experience"] >= 2400
    assert summary["status"] == "TERMINATED"
    assert np.isfinite(summary["last_return"])
    for part in ("frames 2,4", "updates/s", "env steps/s", "planner gain", "ETA", "evaluation"):
        assert part in first.stdout, part

    frames = "env_runners/num_frames_sampled_lifetime"
    second = rllib("train", "file", example, *storage, "--resume", "--stop", f"{frames}=3200")
    assert second.exit_code == 0, second.output
    results = [json.loads(line) for line in (trial / "result.json").read_text().splitlines()]
    sampled = [result["env_runners"]["num_frames_sampled_lifetime"] for result in results]
    assert sampled[-1] >= 3200
    assert sampled == sorted(sampled)
    # The resumed run has its replay: the rows of the first one are still there.
    assert results[-1]["replay"]["rows"] >= sampled[-1] / 4

    checkpoint = json.loads((trial / "summary.json").read_text())["checkpoint"]
    agent = load_agent(checkpoint, seed=0)
    env = make_env("dm_control/cartpole-swingup-v0", action_repeat=4)
    observation, _ = env.reset(seed=0)
    for _ in range(15):
        observation, *_ = env.step(agent.act(observation))
    env.close()
    assert np.isfinite(observation).all()


def test_the_core_imports_neither_ray_nor_an_environment():
    code = (
        "import sys, rllib_lsp, rllib_lsp.core.hiro.learning, rllib_lsp.replay\n"
        "rllib_lsp.load_agent\n"
        "print(sorted({'ray', 'gymnasium', 'dm_control', 'mujoco'} & set(sys.modules)))"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert output.stdout.strip() == "[]", output.stderr


def resolved(output):
    """What a dry run prints of the options, without the line before them."""
    return yaml.safe_load(output.split("\n", 1)[1])


def test_a_dry_run_shows_every_option_as_it_is_resolved(rllib, tmp_path):
    file = tmp_path / "paper.yaml"
    file.write_text(
        "shown:\n"
        "  run: LSP\n"
        "  env: dm_control/cartpole-swingup-v0\n"
        "  stop: {training_iteration: 1}\n"
        "  config:\n"
        "    planner: {candidates: 24}\n"
        "    batch_length: 20\n"
        "    preset: paper\n"
    )
    arguments = ("train", "file", file, "--storage-path", tmp_path / "results", "--dry-run")
    result = rllib(*arguments)
    assert result.exit_code == 0, result.output
    options = resolved(result.stdout)
    assert options["preset"] == "paper"
    # What the preset says, of training and of each part, ...
    assert (options["batch_size"], options["training_ratio"]) == (50, 500.0)
    assert options["learning_rates"] == {"world_model": 6e-4}
    assert options["world_model"]["latent"] == "gaussian"
    assert options["skills"] | {"mi": "objective", "duration": [10]} == options["skills"]
    # ... unless the file says otherwise, wherever in it `preset` stands.
    assert options["batch_length"] == 20
    assert (options["planner"]["candidates"], options["planner"]["elites"]) == (24, 4)
    # And the command line has the last word.
    again = rllib(*arguments, "--set", "planner.candidates=12", "--set", "preset=modern")
    options = resolved(again.stdout)
    assert (options["planner"]["candidates"], options["planner"]["elites"]) == (12, 8)
    assert (options["batch_size"], options["world_model"]["latent"]) == (16, "categorical")
    assert not (tmp_path / "results").exists()


BAD = {
    "typo in an option": ("  config: {training_ratoi: 8}", ["training_ratoi", "training_ratio"]),
    "typo in a group": ("  config: {planner: {candidats: 8}}", ["candidats", "candidates"]),
    "unknown algorithm": ("  run: LPS", ["LPS", "LSP"]),
    "unknown env": ("  env: dm_control/cartpole-swingop-v0", ["swingop", "cartpole-swingup"]),
    "wrong size": ("  config: {size: tinny}", ["tinny", "tiny"]),
    "observations": ("  env: Blackjack-v1", ["a Tuple is no Box", "FlattenObservation"]),
    "missing env": ("  env:", ["env"]),
}


@pytest.mark.parametrize("case", BAD)
def test_mistakes_are_one_paragraph_before_any_actor_starts(rllib, tmp_path, case):
    line, parts = BAD[case]
    lines = {
        "run": "  run: LSP",
        "env": "  env: dm_control/cartpole-swingup-v0",
        "config": "  config: {size: tiny}",
    }
    lines[line.split(":")[0].strip()] = line
    file = tmp_path / "bad.yaml"
    file.write_text("\n".join(["bad:", *lines.values(), "  stop: {training_iteration: 1}", ""]))
    result = rllib("train", "file", file, "--storage-path", tmp_path / "results")
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "results").exists()
    for part in parts:
        assert part in result.output, result.output
