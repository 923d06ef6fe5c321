"""Code in the pages: what can be run is run, all else is at least taken by what would read it."""

from __future__ import annotations

import ast

import pytest
import yaml

from rllib_lsp import HIROConfig, LSPConfig, make_env
from rllib_lsp.cli.algorithm import GROUP
from rllib_lsp.cli.document import parse
from rllib_lsp.cli.experiment import check_experiments
from rllib_lsp.core.presets import build_settings
from rllib_lsp.core.settings import PlannerSettings
from rllib_lsp.envs.rendering import import_simulator
from rllib_lsp.lsp.env_runner import LSPEnvRunner
from tests.pages import CHECKPOINT, PAGES, blocks, page, table


def named_blocks(language):
    return [
        pytest.param(code, id=f"{path.name}-{number}")
        for path in PAGES
        for number, code in enumerate(blocks(path.read_text(), language))
    ]


@pytest.mark.parametrize("code", named_blocks("python"))
def test_every_snippet_is_python(code):
    assert ast.parse(code).body


@pytest.mark.parametrize("code", named_blocks("yaml"))
def test_every_yaml_is_an_experiment_or_options(code, tmp_path):
    document = parse(code, "snippet.yaml")
    if all(isinstance(spec, dict) and "run" in spec for spec in document.data.values()):
        assert check_experiments(document)
        return
    (tmp_path / "agent.pt").touch()
    options = document.data
    if "transfer" in options:
        options["transfer"]["checkpoint"] = str(tmp_path)
    config = HIROConfig() if "goals" in options else LSPConfig()
    if "input" in options:
        # Recorded by a snippet of its page, see test_docs.
        options["input"] = "sampler"
        options["offline_only"] = False
    config.environment("CartPole-v1").update_from_dict(options).validate()


def test_the_readme_runs_as_it_is_written(checkpoint):
    tune, act = blocks(page("README.md"), "python")
    names = {}
    exec(tune, names)
    assert names["config"].training_ratio == 64
    act = CHECKPOINT.sub(repr(str(checkpoint)), act)
    exec(act.replace("action_repeat=2", "action_repeat=100"), names)
    assert names["done"]


def test_environments_of_the_tasks_page_are_made_and_drawn():
    first, pictures = blocks(page("docs/tasks.md"), "python")
    names = {}
    exec(first, names)
    names["env"].reset(seed=0)
    try:
        import_simulator(render=True)
    except RuntimeError:
        pytest.skip("no OpenGL on this machine")
    exec(pictures, names)
    assert names["frame"].shape == (240, 320, 3)


@pytest.fixture(scope="module")
def extended(ray_session):
    """What the page of extensions defines, and what one short training with each config gave."""
    names, results = {"__name__": "extended"}, []
    tiny = 'size="tiny", batch_size=2, batch_length=8, training_ratio=0.5, learning_starts=40'
    few = ".reporting(min_sample_timesteps_per_iteration=80)"
    for code in blocks(page("docs/extending.md"), "python"):
        exec(code.replace('size="small")', f"{tiny}){few}"), names)
        config = names.pop("config", None)
        if config is not None:
            algorithm = config.build_algo()
            results.append((algorithm, algorithm.train()))
    yield names, results
    for algorithm, _ in results:
        algorithm.stop()


def test_extensions_run_as_they_are_written(extended):
    names, results = extended
    assert len(results) == 6
    own, encoder, planner, reward, callback, algorithm = results
    assert all(result["replay"]["updates_lifetime"] >= 1 for _, result in results)
    assert 0 < own[1]["env_runners"]["info"]["final_distance"] < 1.5
    for maker, part in ((encoder, "RoundEncoder"), (planner, "Shooting")):
        agent = maker[0].get_module().agent
        assert names[part] in (type(agent), type(agent.world_model.encoder))
    learned = encoder[0].learner_group.get_state()["learner"]["rl_module"]["default_policy"]
    assert "agent.world_model.encoder.around.weight" in learned
    # The best of many earns at least what they earn on average.
    assert planner[1]["env_runners"]["planner_gain"] >= 0
    assert "evaluation" in reward[1]
    assert callback[1]["begin_at"] in (0.5, 0.9)
    assert callback[0].env_runner.env.get_attr("begin_at") == (callback[1]["begin_at"],)
    assert type(algorithm[0]).__name__ == "Cautious"


def test_beams_of_the_extended_room_are_distances_to_its_walls(extended):
    names, _ = extended
    room = names["Room"]({})
    room.reset(seed=0)
    room.place[:] = 0.0
    ranges = room._observe()["ranges"]
    assert ranges[0] == pytest.approx(1.0)
    assert ranges[2] == pytest.approx(2**0.5, rel=1e-5)


def test_an_entry_point_is_of_the_group_that_the_command_reads():
    (block,) = blocks(page("docs/extending.md"), "toml")
    assert block.startswith(f'[project.entry-points."{GROUP}"]\n')


def test_the_table_of_symbols_has_the_defaults():
    settings = build_settings({})
    for _, _, option, default in table(page("docs/concepts.md"), "Notation"):
        part, name = option.strip("`").split(".")
        value = getattr(getattr(settings, part), name)
        value = value[0] if isinstance(value, tuple) else value
        assert yaml.safe_load(default.strip("`")) == value, option


@pytest.mark.parametrize(
    ("env", "options"),
    [("dm_control/cartpole-swingup-v0", {}), ("rllib_lsp/point-reach-v0", {})],
)
def test_a_row_of_the_replay_is_as_large_as_the_page_says(env, options):
    rows = {row[0]: row for row in table(page("docs/performance.md"), "Memory")}
    probe = make_env(env, **options)
    numbers = probe.observation_space.shape[0] + probe.action_space.shape[0]
    skills = PlannerSettings().skills * build_settings({}).skills.dim
    config = LSPConfig().environment(env, env_config=options).training(size="tiny")
    config.validate()
    fragment, _ = LSPEnvRunner(config=config).sample_fragment(4, random="actions")
    stored = sum(v.nbytes for key, v in fragment.rows.items() if key != "truncated") / 4
    assert stored == 4 * (numbers + 1) + 8 * skills + 3
    assert rows[f"`{env}`"][1] == f"{stored:.0f} B"
