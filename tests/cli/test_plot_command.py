"""`rllib plot`: pictures of real checkpoints, and what they show."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image
from tensorboardX.proto.event_pb2 import Event
from typer.testing import CliRunner

from rllib_lsp import LSPConfig, load_agent, make_env
from rllib_lsp.cli.checkpoint import open_checkpoint
from rllib_lsp.core.agent import Agent
from rllib_lsp.core.presets import build_settings
from rllib_lsp.plots.agents import PlotError, Subject, episode
from rllib_lsp.plots.open_loop import Window, predict, record
from rllib_lsp.plots.plan import trace_plan
from rllib_lsp.plots.runs import RunError, read_runs
from rllib_lsp.plots.skills import INSIDE, OUTSIDE, fixed_skills, skill_paths
from tests.cli.test_bad_input import assert_one_paragraph
from tests.cli.test_evaluate_command import can_render  # noqa: F401

ENV = "rllib_lsp/point-reach-line-v0"
TASK = {"time_limit": 3.0}
RESULTS = Path(__file__).parents[2] / "benchmarks/results"
TINY = f"""
point:
  run: LSP
  env: {ENV}
  stop: {{training_iteration: 2}}
  config:
    seed: {{grid_search: [0, 1]}}
    env_config: {json.dumps(TASK)}
    size: tiny
    skills: {{dim: 2}}
    batch_size: 2
    batch_length: 12
    training_ratio: 2
    learning_starts: 30
    min_sample_timesteps_per_iteration: 120
    callbacks_class: rllib_lsp.OpenLoopPictures
"""


@pytest.fixture(scope="module")
def experiment(ray_session, tmp_path_factory) -> Path:
    """Two seeds of a tiny LSP that has seen a few episodes of the point mass."""
    from rllib_lsp.cli.app import app

    directory = tmp_path_factory.mktemp("plotted")
    (directory / "tiny.yaml").write_text(TINY)
    words = ["train", "file", str(directory / "tiny.yaml"), "--storage-path", str(directory)]
    result: Result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    return directory / "point"


@pytest.fixture(scope="module")
def trial(experiment: Path) -> Path:
    return sorted(experiment.glob("LSP_*/"))[0]


@pytest.fixture(scope="module")
def subject(trial: Path) -> Subject:
    module = open_checkpoint(trial).module
    return Subject(load_agent(module).agent, make_env(ENV, **TASK), "LSP", ENV)


def is_picture(path: Path) -> bool:
    """Whether there is a picture with at least something drawn on it."""
    if path.suffix == ".pdf":
        return path.read_bytes().startswith(b"%PDF") and path.stat().st_size > 5_000
    return np.asarray(Image.open(path).convert("L")).std() > 5


def drawn(result: Result, path: Path) -> bool:
    assert result.exit_code == 0, result.output
    assert f"picture: {path}" in result.stdout
    return is_picture(path)


def test_curves_of_seeds_and_of_files(rllib, experiment, tmp_path):
    path = tmp_path / "curves.png"
    file = RESULTS / "lsp-point-reach.json"
    assert drawn(rllib("plot", "curves", experiment, f"published={file}", "-o", path), path)
    seeds, published = read_runs([(None, experiment), ("published", file)])
    assert (seeds.label, len(seeds.seeds)) == ("point", 2)
    assert published.metric.startswith("evaluation/")
    assert [list(point) for point in published.seeds[0]] == json.loads(file.read_text())["runs"][0][
        "evaluation_returns"
    ]
    pdf = tmp_path / "success.pdf"
    assert drawn(rllib("plot", "curves", experiment, "-m", "success", "-o", pdf), pdf)


def test_decisions_of_other_algorithms_are_counted_as_the_frames_that_they_are(trial, tmp_path):
    other = tmp_path / "PPO_other"
    other.mkdir()
    options = json.loads((trial / "params.json").read_text())
    results = [json.loads(line) for line in (trial / "result.json").read_text().splitlines()]
    for result in results:
        del result["env_runners"]["num_frames_sampled_lifetime"]
    (other / "result.json").write_text("\n".join(map(json.dumps, results)))
    decisions = [result["num_env_steps_sampled_lifetime"] for result in results]
    for repeat, unit in ((None, "steps"), (2, "frames")):
        env_config = TASK | ({"action_repeat": repeat} if repeat else {})
        (other / "params.json").write_text(json.dumps(options | {"env_config": env_config}))
        (run,) = read_runs([(None, other)], "kl")
        assert run.unit == unit
        assert [x for x, _ in run.seeds[0]] == [n * (repeat or 1) for n in decisions]


def test_runs_of_a_file_without_a_point_are_passed_over(tmp_path):
    content = json.loads((RESULTS / "lsp-point-reach.json").read_text())
    empty = {key: [] if isinstance(v, list) else v for key, v in content["runs"][0].items()}
    file = tmp_path / "results.json"
    file.write_text(json.dumps(content | {"runs": [empty, *content["runs"]]}))
    (run,) = read_runs([(None, file)])
    assert len(run.seeds) == len(content["runs"])
    file.write_text(json.dumps(content | {"runs": [empty]}))
    with pytest.raises(RunError, match="none of its runs has a point"):
        read_runs([(None, file)])


def test_trials_with_other_options_are_other_runs(experiment, trial, tmp_path):
    other = tmp_path / "point/LSP_other"
    other.mkdir(parents=True)
    for name in ("result.json", "params.json"):
        (other / name).write_bytes((trial / name).read_bytes())
    options = json.loads((other / "params.json").read_text()) | {"training_ratio": 9}
    (other / "params.json").write_text(json.dumps(options))
    runs = read_runs([(None, experiment), (None, other)], "kl")
    assert [(run.label, len(run.seeds)) for run in runs] == [
        ("point, training_ratio=2", 2),
        ("point, training_ratio=9", 1),
    ]
    assert {run.metric for run in runs} == {"learners/default_policy/kl"}
    assert len(read_runs([("one", experiment), ("one", other)])[0].seeds) == 3


def test_skills_lead_from_one_start_to_different_places(rllib, trial, subject):
    path = open_checkpoint(trial).path
    path = path.parent / f"{path.name}-skills.png"
    assert drawn(rllib("plot", "skills", trial, "--skills", 4, "--decisions", 10), path)
    skills = fixed_skills(2, 4, seed=0)
    np.testing.assert_allclose(np.linalg.norm(skills, axis=1), [INSIDE, OUTSIDE] * 2)
    shown = skill_paths(subject, skills, decisions=10)
    paths = np.array(shown.paths)
    assert paths.shape == (4, 11, 2)
    np.testing.assert_array_equal(paths[:, 0], np.zeros((4, 2)))
    ends = paths[:, -1]
    assert len({tuple(end) for end in ends.round(6)}) == 4
    # The skill was held all the time, and nothing was planned.
    held = {"skill": torch.ones(1, 2), "steps_left": torch.tensor([5]), "held": torch.tensor([0])}
    steps = list(episode(subject, held))[1:]
    assert len(steps) == 30
    assert all(bool((step.extras["skill"] == 1).all()) for step in steps)
    assert not any(step.extras["planned"] for step in steps)


@pytest.mark.parametrize(("dim", "count"), [(1, 6), (3, 16)])
def test_skills_of_other_dimensions_are_inside_and_outside(dim, count):
    lengths = np.linalg.norm(fixed_skills(dim, count, seed=0), axis=1)
    assert len(lengths) == count
    assert 0.3 * count <= (lengths < 1).sum() <= 0.7 * count


def test_ways_of_two_agents_through_the_same_arenas(rllib, trial, lsp_checkpoint, tmp_path):
    path = tmp_path / "ways.png"
    arguments = ("plot", "transfer", trial, f"untrained={lsp_checkpoint}", "--env", ENV)
    result = rllib(*arguments, "--episodes", 2, "-o", path)
    # The other one has skills of another size, which is no matter to who looks at the way only.
    assert drawn(result, path)
    from rllib_lsp.cli.ways import ways_of

    first, again = (ways_of(trial, None, range(3, 4))[0][0] for _ in range(2))
    assert first.places == again.places
    assert len(first.places) == 31
    assert first.skills[0] == 0
    assert first.success in (0.0, 1.0)
    assert len(first.layout.posts) == 5
    env = make_env(ENV, **TASK)
    env.reset(seed=3)
    np.testing.assert_array_equal(env.unwrapped.layout.target, first.layout.target)


def test_a_prediction_knows_what_was_seen_and_no_more(rllib, trial, subject, tmp_path):
    path = tmp_path / "model.pdf"
    result = rllib("plot", "model", trial, "--decisions", 20, "-o", path)
    assert drawn(result, path)
    assert "of the deviation of what happened" in result.stdout
    window = record(subject, 20)
    shown = predict(subject.agent, window, 5, subject.generator())
    later = {key: part.clone() for key, part in window.observation.items()}
    later["observation"][5:] += 3.0
    other = Window(later, window.action, window.reward)
    unseen = predict(subject.agent, other, 5, subject.generator())
    np.testing.assert_array_equal(shown.predicted["observation"], unseen.predicted["observation"])
    later["observation"][4] += 3.0
    seen = predict(subject.agent, other, 5, subject.generator())
    assert np.abs(shown.predicted["observation"] - seen.predicted["observation"]).max() > 1e-3
    assert shown.error() < unseen.error()


@pytest.mark.usefixtures("can_render")
def test_images_become_strips(rllib, ray_session, tmp_path):
    options = {**TASK, "pixels": 32, "keep_vectors": True}
    config = LSPConfig().environment(ENV, env_config=options).training(size="tiny")
    algorithm = config.debugging(seed=0).build_algo()
    try:
        checkpoint = algorithm.save_to_path(tmp_path / "checkpoint")
    finally:
        algorithm.stop()
    path = tmp_path / "strips.png"
    assert drawn(rllib("plot", "model", checkpoint, "--decisions", 8, "-o", path), path)
    height = np.asarray(Image.open(path)).shape[0]
    assert height > 700


def test_a_plan_as_it_was_made(rllib, trial, subject, tmp_path):
    path = tmp_path / "plan.png"
    assert drawn(rllib("plot", "plan", trial, "--number", 1, "-o", path), path)
    shown = trace_plan(subject)
    settings = subject.agent.settings
    planner = settings.planner
    assert len(shown.candidates) == planner.iterations
    assert shown.candidates[0].shape == (planner.candidates, planner.skills, 2)
    assert all(len(c) == len(r) for c, r in zip(shown.candidates, shown.returns, strict=True))
    horizon = planner.skills * settings.skills.longest
    assert shown.imagined.shape == (len(shown.candidates[-1]) + 1, horizon + 1, 2)
    assert shown.happened.shape == (horizon + 1, 2)
    # What the agent itself said of this plan, and the skill it took from it.
    *_, step = list(zip(range(2), episode(subject), strict=False))[-1]
    assert step.extras["planner_gain"].item() == pytest.approx(shown.after - shown.before, abs=1e-5)
    np.testing.assert_array_equal(step.extras["skill"][0], shown.chosen[0])
    assert subject.agent.watch_plan is None
    with pytest.raises(PlotError, match=r"has 3 plans, counted from 0: there is no 7"):
        trace_plan(subject, 7)


def test_who_has_neither_skills_nor_plans(subject):
    settings = build_settings({"skills": {"dim": 0}, "planner": {"method": "none"}}, size="tiny")
    agent = Agent(subject.agent.spec, subject.agent.action_spec, settings)
    dreamer = Subject(agent, subject.env, "Dreamer", ENV)
    with pytest.raises(PlotError, match=r"Dreamer has no skills.* checkpoint of LSP"):
        skill_paths(dreamer, np.zeros((1, 0)))
    with pytest.raises(PlotError, match=r"Dreamer does not plan.* checkpoint of LSP"):
        trace_plan(dreamer)


BAD = {
    "address": (["curves", "mine=s3://bucket/run"], ["s3:/bucket/run: is an address", "Copy it"]),
    "address of a checkpoint": (["skills", "s3://bucket/run"], ["is an address", "Copy it"]),
    "wrong path": (["skills", "nowhere"], ["no such directory", "checkpoint_00000N"]),
    "no results": (
        ["curves", str(RESULTS.parent)],
        ["benchmarks: holds no results", "`rllib train`"],
    ),
    "other file": (
        ["curves", str(RESULTS / "env-rates.json")],
        ["env-rates.json: holds no learning curves", "benchmarks/results"],
    ),
    "file type": (["curves", "x", "-o", "x.svg"], ["--output x.svg", ".png or .pdf"]),
    "no directory": (["curves", "x", "-o", "no/where.png"], ["no directory no", "Make it first"]),
    "nothing to foretell": (
        ["model", "x", "--context", "9", "--decisions", "9"],
        ["--context 9", "more --decisions"],
    ),
}


@pytest.mark.parametrize(("words", "parts"), BAD.values(), ids=BAD)
def test_mistakes(rllib, words, parts):
    assert_one_paragraph(rllib("plot", *words), parts)


def test_wrong_kinds_of_checkpoint(rllib, trained, trial, tmp_path):
    for picture in ("skills", "model", "plan"):
        result = rllib("plot", picture, trained.checkpoint)
        assert_one_paragraph(result, ["PPO has no world model", "checkpoint of LSP"])
    result = rllib("plot", "transfer", trained.checkpoint, "-o", tmp_path / "x.png")
    assert_one_paragraph(result, ["does not say where on the floor", "rllib_lsp/point-"])
    result = rllib("plot", "skills", trial, "--env", "rllib_lsp/quadruped-reach-v0")
    assert_one_paragraph(result, ["quadruped-reach", "Leave out --env"])
    result = rllib("plot", "curves", trial, "--metric", "sucess")
    assert_one_paragraph(result, ["no number `sucess`", "Did you mean `success`?"])


def events(trial: Path):
    """All summaries in TensorBoard's file: (tag, value). A record is length, check, data, check."""
    (file,) = trial.glob("events.out.tfevents.*")
    data, position = file.read_bytes(), 0
    while position < len(data):
        (length,) = struct.unpack_from("<Q", data, position)
        event = Event.FromString(data[position + 12 : position + 12 + length])
        yield from ((value.tag, value) for value in event.summary.value)
        position += 12 + length + 4


def test_tensorboard_has_groups_and_pictures(trial):
    found: dict[str, list] = {}
    for tag, value in events(trial):
        found.setdefault(tag, []).append(value)
    learner = "ray/tune/learners/default_policy"
    for name in ("kl", "mutual_information_bound", "world_model_loss", "reconstruction_loss"):
        assert np.isfinite(found[f"{learner}/{name}"][-1].simple_value), name
    assert "ray/tune/env_runners/planner_gain" in found
    assert 0 < found["ray/tune/open_loop/error"][0].simple_value < np.inf
    (picture,) = found["ray/tune/open_loop/picture"]
    assert picture.image.height > 200
    assert picture.image.encoded_image_string.startswith(b"\x89PNG")
    # Files of text do not hold all its numbers.
    first = json.loads((trial / "result.json").read_text().splitlines()[0])
    assert first["open_loop"]["picture"] == "a picture of " + " x ".join(
        map(str, (3, picture.image.height, picture.image.width))
    )
