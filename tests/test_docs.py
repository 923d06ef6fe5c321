"""What the documentation says of options, baselines and files is so."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
import torch
import yaml

from rllib_lsp.core.hiro.settings import GoalSettings, LevelSettings
from rllib_lsp.core.models import COMPONENTS
from rllib_lsp.core.presets import PRESETS, build_settings
from rllib_lsp.core.settings import PARTS
from rllib_lsp.core.transfer import KEPT
from rllib_lsp.hiro.algorithm import HIRO
from rllib_lsp.hiro.config import HIROConfig
from rllib_lsp.lsp.baselines import BASELINES
from rllib_lsp.lsp.config import TRAINING_PRESETS, LSPConfig
from tests.pages import CHECKPOINT, PAGES, ROOT, blocks, page, table

ALGORITHM, TRANSFER = page("docs/algorithm.md"), page("docs/transfer.md")
PIPELINES = page("docs/pipelines.md")


def code(text):
    return re.findall(r"`([^`]+)`", text)


def resolved(preset):
    """Every option of a preset: {`part.name` or `name`: value}."""
    groups = dataclasses.asdict(build_settings({}, preset=preset))
    nested = {f"{part}.{name}": value for part in PARTS for name, value in groups[part].items()}
    return nested | TRAINING_PRESETS[preset]


def as_option(value):
    """As it stands in a page: a list of one is that one."""
    several = isinstance(value, tuple)
    return (value[0] if len(value) == 1 else list(value)) if several else value


def test_the_table_of_presets_names_every_difference_and_nothing_else():
    modern, paper = resolved("modern"), resolved("paper")
    expected = {
        name: (as_option(paper[name]), as_option(modern[name]))
        for name in modern
        if paper[name] != modern[name]
    }
    written = {
        code(option)[0]: tuple(yaml.safe_load(code(cell)[0]) for cell in values)
        for option, *values in table(ALGORITHM, "Two presets")
    }
    assert written == expected
    assert set(PRESETS) == {"modern", "paper"}


@pytest.mark.parametrize(("heading", "part"), [("Skills", "skills"), ("Planner", "planner")])
def test_the_tables_of_options_are_complete(heading, part):
    names = [name for row in table(ALGORITHM, heading) for name in code(row[0])]
    written = {name.removeprefix(f"{part}.") for name in names}
    options = {field.name for field in dataclasses.fields(getattr(build_settings({}), part))}
    # The planner's weight of `mppi` is documented at its default only.
    assert written == options - {"temperature"}


def test_the_table_of_baselines_is_what_their_configs_do():
    rows = {code(row[0])[0]: row for row in table(ALGORITHM, "Baselines")}
    algorithms = {**BASELINES, "HIRO": HIRO}
    assert set(rows) == set(algorithms)
    for name, (_, config, difference, example) in rows.items():
        made = algorithms[name].get_default_config()
        assert type(made).__name__ == code(config)[0]
        # HIRO's only option there is one that may be set.
        for option in code(difference) if name in BASELINES else ():
            key, value = option.split(": ", 1)
            if key in ("skills", "planner", "transfer"):
                given = made.transfer_options if key == "transfer" else getattr(made, key)
                wanted = yaml.safe_load(value)
            else:
                part, key = key.split(".")
                given, wanted = getattr(made, part), {key: yaml.safe_load(value)}
            assert {k: given[k] for k in wanted} == wanted, option
        (target,) = re.findall(r"\((.*)\)", example)
        assert f"run: {name}\n" in (ROOT / "docs" / target).read_text()


def test_the_page_of_hiro_names_every_option_and_its_yaml_is_taken():
    text = page("docs/hiro.md")
    written = {name for row in table(text, "Options") for name in code(row[0])}
    levels, goals = (
        {f"{part}.{field.name}" for field in dataclasses.fields(settings)}
        for part, settings in (("low", LevelSettings), ("goals", GoalSettings))
    )
    assert written == levels | goals | {"levels", "updates_per_round"}
    defaults = HIROConfig().settings()
    for name, value, _ in table(text, "Options"):
        part, _, option = code(name)[0].rpartition(".")
        if value and part:
            default = getattr(getattr(defaults, part), option)
            assert yaml.safe_load(code(value)[0]) == as_option(default), name
    (block,) = blocks(text, "yaml")
    for spec in yaml.safe_load(block).values():
        HIROConfig().environment(spec["env"]).update_from_dict(spec["config"]).validate()


def test_the_table_of_components_says_which_are_kept():
    rows = {code(row[0])[0]: row[2] for row in table(TRANSFER, "Components")}
    assert set(rows) == {*COMPONENTS, "replay"}
    assert {name for name, fate in rows.items() if fate == "kept"} == set(KEPT)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_page_of_the_layout_names_every_module_of_core_and_lsp():
    text = page("docs/layout.md")
    for path in [*(ROOT / "rllib_lsp/core").glob("*.py"), *(ROOT / "rllib_lsp/lsp").glob("*.py")]:
        if path.stem != "__init__":
            assert re.search(rf"(?<!\w){re.escape(path.name)}", text), path.name


def test_a_reward_of_ones_own_runs_as_it_is_written(checkpoint):
    (snippet,) = blocks(ALGORITHM, "python")
    code, found = CHECKPOINT.subn(repr(str(checkpoint)), snippet)
    assert found == 1
    names = {}
    exec(code, names)
    agent = names["agent"]
    assert agent.agent.reward_fn is names["cart_to_the_right"]
    assert agent.act(torch.zeros(5).numpy()).shape == (1,)
    imagined = torch.tensor([[1.0, 0, 0, 0, 0], [-2.0, 0, 0, 0, 0]])
    assert names["cart_to_the_right"]({"observation": imagined}, None, None).tolist() == [0, -3]


def test_transfer_in_python_runs_as_it_is_written(checkpoint):
    for snippet in blocks(TRANSFER, "python"):
        code, found = CHECKPOINT.subn(repr(str(checkpoint)), snippet)
        assert found == 1
        names = {}
        exec(code, names)
        config = names["config"]
        assert isinstance(config, LSPConfig)
        config.validate()
        assert config.transfer_options["checkpoint"] == str(checkpoint)


@pytest.mark.usefixtures("ray_session")
def test_pipelines_run_as_they_are_written(tmp_path, monkeypatch):
    """In networks of a few units, and for one iteration each."""
    monkeypatch.chdir(tmp_path)
    tiny = 'size="tiny", batch_size=4, batch_length=8, training_ratio=0.5, learning_starts=50'
    few = ".reporting(min_sample_timesteps_per_iteration=70)"
    short = '"Pendulum-v1", env_config={"max_episode_steps": 30}'
    names, results = {}, []
    for snippet in blocks(PIPELINES, "python"):
        code = snippet.replace('size="small")', f"{tiny}){few}").replace('"Pendulum-v1"', short)
        exec(code.replace("evaluation_interval=5", "evaluation_interval=1"), names)
        config = names.pop("config", None)
        if config is not None and "build_algo" not in code:
            algorithm = config.build_algo()
            results.append(algorithm.train())
            algorithm.stop()
    evaluated, called, connected, measured, own, pretrained, shared = results
    assert np.isfinite(evaluated["evaluation"]["env_runners"]["episode_return_mean"])
    assert 0 <= called["env_runners"]["upright"] <= 1
    assert called["env_runners"]["chunks"] >= 1
    assert connected["num_env_steps_sampled_lifetime"] >= 70
    assert measured["updates"] >= 1
    assert measured["evaluation"]["env_runners"]["best"] < 0
    assert own["learners"]["counted"] == own["replay"]["updates_lifetime"]
    assert own["learners"]["default_policy"]["replayed_reward"] < 0
    assert pretrained["replay"]["updates_lifetime"] == 10
    assert pretrained["num_env_steps_sampled_lifetime"] == 0
    trained = shared["learners"]["__all_modules__"]["num_env_steps_trained_lifetime"]
    assert trained == shared["replay"]["updates_lifetime"] * 4 * 8
    (block,) = blocks(PIPELINES, "yaml")
    LSPConfig().environment("Pendulum-v1").update_from_dict(yaml.safe_load(block)).validate()
