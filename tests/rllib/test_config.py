"""Wrong configurations: each is refused at `validate`, with value, reason and fix."""

import gymnasium as gym
import numpy as np
import pytest
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from rllib_lsp import LSPConfig
from rllib_lsp.core.presets import PRESETS, SIZES, build_settings
from rllib_lsp.core.settings import PARTS


class Spaces(gym.Env):
    """An environment of any spaces; it is never stepped."""

    def __init__(self, config):
        self.observation_space = config.get("observation", gym.spaces.Box(-1, 1, (2,)))
        self.action_space = config.get("action", gym.spaces.Box(-1, 1, (1,)))


class AsPicture(ConnectorV2):
    """Says that it makes small pictures of observations."""

    def recompute_output_observation_space(self, *spaces):
        return gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)

    def __call__(self, *, batch, **kwargs):
        return batch


def env(**spaces):
    return lambda config: config.environment(Spaces, env_config=spaces)


def training(**options):
    return lambda config: config.training(**options)


BAD = {
    "size": (training(size="tinny"), ["size = 'tinny'", "did you mean 'tiny'"]),
    "precision": (training(precision="half"), ["precision = 'half'", "float32, bfloat16"]),
    "compiled update": (
        lambda config: config.framework(
            torch_compile_learner=True, torch_compile_learner_what_to_compile="complete_update"
        ),
        ["torch_compile_learner_what_to_compile", "Leave this option out"],
    ),
    "compiled runner": (
        lambda config: config.framework(torch_compile_worker=True),
        ["torch_compile_worker = True", "torch_compile_learner"],
    ),
    "nested typo": (
        training(planner={"candidats": 8}),
        ["planner.candidats", "did you mean 'candidates'"],
    ),
    "type": (training(planner={"candidates": 8.5}), ["8.5", "float", "of type int"]),
    "string number": (training(behaviour={"gamma": "0.9"}), ["'0.9'", "of type float"]),
    "NaN": (training(behaviour={"entropy": float("nan")}), ["entropy is NaN"]),
    "elites": (training(planner={"elites": 64}), ["elites = 64", "smaller than candidates"]),
    "latent": (training(world_model={"latent": "gauss"}), ["'gauss'", "categorical, gaussian"]),
    "imagine": (training(skills={"imagine": "cem?"}), ["'cem?'", "replay, prior, mix"]),
    "gamma": (training(gamma=1.5), ["gamma = 1.5", "[0, 1]"]),
    "duration": (
        training(skills={"duration": 20}),
        ["horizon = 15", "20 decisions", "lower skills.duration"],
    ),
    "starts": (
        training(behaviour={"starts": 2000}),
        ["starts = 2000", "512 decisions of a batch", "enlarge the batch"],
    ),
    "std": (training(behaviour={"min_std": 2.0}), ["min_std = 2.0", "min_std <= max_std"]),
    "group": (training(planner=3), ["planner = 3", "dict of options"]),
    "ratio": (training(training_ratio=0), ["training_ratio = 0", "above 0"]),
    "plain rate": (training(lr=-1e-3), ["lr = -0.001", "above 0"]),
    "train batch": (
        training(train_batch_size_per_learner=256),
        ["train_batch_size_per_learner = 256 would do nothing", "batch_size windows"],
    ),
    "clip by": (training(grad_clip_by="value"), ["grad_clip_by = 'value'", "to a norm"]),
    "actions as they are": (
        lambda config: config.environment(normalize_actions=False),
        ["normalize_actions = False would do nothing", "always scaled"],
    ),
    "filter": (
        lambda config: config.env_runners(observation_filter="MeanStdFilter"),
        ["observation_filter = 'MeanStdFilter'", "connector"],
    ),
    "runner": (
        lambda config: config.env_runners(env_runner_cls=SingleAgentEnvRunner),
        ["env_runner_cls = SingleAgentEnvRunner cannot plan", "LSPEnvRunner"],
    ),
    "in flight": (
        lambda config: config.env_runners(max_requests_in_flight_per_env_runner=0),
        ["max_requests_in_flight_per_env_runner = 0", "at least 1"],
    ),
    "clip": (training(grad_clip=-1), ["grad_clip = -1", "above 0, or None"]),
    "batch": (training(batch_size=0), ["batch_size = 0", "at least 1"]),
    "length": (training(batch_length=1), ["batch_length = 1", "at least 2"]),
    "capacity": (training(replay_capacity=20), ["replay_capacity = 20", "at least 64"]),
    "rate": (training(learning_rates={"policy": -1.0}), ["learning_rates.policy = -1.0"]),
    "rate group": (training(learning_rates={"actor": 1e-4}), ["actor", "policy, value"]),
    "learners": (
        lambda c: c.learners(num_learners=3),
        ["batch_size = 16", "num_learners = 3", "multiple of 3"],
    ),
    "multi-discrete": (
        env(action=gym.spaces.MultiDiscrete([2, 3])),
        ["MultiDiscrete([2 3])", "TransformAction"],
    ),
    "planned choices": (
        lambda c: training(planner={"space": "actions"})(env(action=gym.spaces.Discrete(3))(c)),
        ["planner.space = 'actions'", "discrete", "choose skills"],
    ),
    "nothing to plan": (
        training(skills={"dim": 0}),
        ["planner.method = 'cem'", "without skills", "set planner.method to none"],
    ),
    "no teacher": (
        training(planner={"method": "none"}),
        ["planner.method = 'none'", "skills.learn_prior to false", "evaluation_config"],
    ),
    "no ensemble": (
        training(behaviour={"disagreement": 1.0}),
        ["behaviour.disagreement = 1.0", "set world_model.ensemble"],
    ),
    "one head": (training(world_model={"ensemble": 1}), ["ensemble = 1", "one head"]),
    "no deviation": (training(planner={"min_std": 0.0}), ["min_std = 0.0", "planner.min_std"]),
    "no information": (
        training(skills={"predictor_min_std": 1.0}),
        ["predictor_min_std = 1.0", "less than 1"],
    ),
    "include": (training(planner={"include": ["best"]}), ["'best'", "current"]),
    "durations": (training(skills={"duration": [5, 0]}), ["(5, 0)", "at least 1"]),
    "duration type": (training(skills={"duration": [5, "x"]}), ["'x'", "of type int"]),
    "reward function": (
        training(planner={"reward_fn": "no_such_module:f"}),
        ["no_such_module:f", "cannot be imported"],
    ),
    "reward path": (training(planner={"reward_fn": "somewhere"}), ["package.module:name"]),
    "predictor features": (
        training(skills={"predictor_features": ["speed"]}),
        ["'speed'", "there are observation"],
    ),
    "freeze": (
        lambda c: c.transfer("/", freeze=["polcy"]),
        ["transfer.freeze", "did you mean 'policy'"],
    ),
    "no source": (
        lambda c: c.update_from_dict({"transfer": {"freeze": ["policy"]}}),
        ["transfer.checkpoint is missing", "checkpoint_000003"],
    ),
    "lost source": (
        lambda c: c.transfer("/no/such/place"),
        ["transfer.checkpoint", "/no/such/place", "checkpoint_000003"],
    ),
    "keep and reset": (
        lambda c: c.transfer("/", keep=["value"], reset=["value"]),
        ["both name value"],
    ),
    "unbounded": (env(action=gym.spaces.Box(-np.inf, np.inf, (1,))), ["bound", "inf"]),
    "image": (
        env(observation=gym.spaces.Box(0, 255, (8, 8, 3), np.uint8)),
        ["8, 8, 3", "ResizeObservation"],
    ),
    "text": (env(observation=gym.spaces.Text(5)), ["Text", "TransformObservation"]),
    "unknown env": (
        lambda c: c.environment("dm_control/walker-wlak-v0"),
        ["walker-wlak", "dm_control/walker-walk-v0"],
    ),
    "unknown gym env": (lambda c: c.environment("Pendulumm-v1"), ["Pendulumm"]),
    "env option": (
        lambda c: c.environment("dm_control/walker-walk-v0", env_config={"action_repeat": 0}),
        ["action_repeat", "0"],
    ),
    "fragment": (
        lambda c: c.env_runners(rollout_fragment_length="auto"),
        ["rollout_fragment_length = 'auto'", "at least 1"],
    ),
    "vector": (
        lambda c: c.env_runners(gym_env_vectorize_mode="async"),
        ["gym_env_vectorize_mode = 'async'", "raise num_env_runners"],
    ),
    "remote recording": (
        lambda c: c.offline_data(output="s3://bucket/episodes"),
        ["output = 's3://bucket/episodes'", "local or mounted"],
    ),
    "recorded columns": (
        lambda c: c.offline_data(output="here", output_write_episodes=False),
        ["output_write_episodes = False", "input_read_episodes=True"],
    ),
    "no recording": (
        lambda c: c.offline_data(input_=["/no/such/episodes"]),
        ["/no/such/episodes does not exist", "offline_data(output=..."],
    ),
    "input": (lambda c: c.offline_data(input_=lambda _: None), ["input_ =", "a list of paths"]),
    "nothing recorded": (
        lambda c: c.offline_data(offline_updates=3),
        ["offline_updates", "need recorded episodes", "input_="],
    ),
    "learner connector": (
        lambda c: c.training(learner_connector=lambda *_: []),
        ["learner_connector", "replayed rows", "env_to_module_connector"],
    ),
    "own pipeline": (
        lambda c: c.env_runners(add_default_connectors_to_env_to_module_pipeline=False),
        ["add_default_connectors_to_env_to_module_pipeline = False", "yours"],
    ),
    "connected space": (
        lambda c: c.env_runners(env_to_module_connector=lambda *_: AsPicture()),
        ["8, 8, 3", "ResizeObservation"],
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_refused_with_reason_and_fix(case):
    change, parts = BAD[case]
    config = LSPConfig().environment(Spaces)
    with pytest.raises(ValueError, match=r"(?s).+") as caught:
        change(config).validate()
    for part in parts:
        assert part in str(caught.value), str(caught.value)


def test_a_good_configuration_passes():
    config = LSPConfig().environment("dm_control/walker-walk-v0", env_config={"action_repeat": 2})
    config.validate()
    assert config.settings().planner.candidates > config.settings().planner.elites


@pytest.mark.parametrize("key", ["lrr", "planer", "trainingratio", "env_runners", "settings"])
def test_unknown_keys_are_refused(key):
    with pytest.raises(ValueError, match=f"no option '{key}'"):
        LSPConfig().update_from_dict({key: 1})


def test_groups_merge_over_calls_and_dicts_and_sizes():
    config = LSPConfig().training(size="tiny", planner={"candidates": 12})
    config.update_from_dict({"planner": {"iterations": 4}, "gamma": 0.9})
    settings = config.settings()
    assert settings.planner.candidates == 12
    assert settings.planner.iterations == 4
    assert settings.planner.elites == SIZES["tiny"]["planner"]["elites"]
    assert settings.behaviour.gamma == 0.9


def test_a_config_survives_tunes_round_trip():
    config = LSPConfig().environment("dm_control/walker-walk-v0").training(planner={"skills": 3})
    again = LSPConfig().update_from_dict(config.to_dict())
    assert again.settings() == config.settings()
    assert again.env == config.env


@pytest.mark.parametrize("size", SIZES)
def test_every_named_size_is_valid(size):
    for preset in PRESETS:
        settings = build_settings({}, preset=preset, size=size)
        assert set(PARTS) == set(vars(settings))


def test_a_preset_sets_options_which_a_user_overrides():
    config = LSPConfig().training(planner={"candidates": 40}).preset("paper")
    config.training(batch_size=8, behaviour={"entropy": 0.1})
    settings = config.settings()
    assert settings.world_model.latent == "gaussian"
    assert settings.planner.iterations == 4
    assert (settings.planner.candidates, settings.behaviour.entropy) == (40, 0.1)
    assert (config.batch_size, config.batch_length, config.training_ratio) == (8, 50, 500.0)
    # In a dict, the order of the keys does not matter.
    again = LSPConfig().update_from_dict(
        {"batch_size": 8, "planner": {"candidates": 40}, "size": "small", "preset": "paper"}
    )
    assert (again.batch_size, again.batch_length) == (8, 50)
    assert (
        again.settings().world_model.deterministic == SIZES["small"]["world_model"]["deterministic"]
    )
    assert again.settings().world_model.latent == "gaussian"
    assert LSPConfig().preset("paper").preset("modern").settings() == LSPConfig().settings()
    with pytest.raises(ValueError, match="did you mean 'modern'"):
        LSPConfig().preset("modren")


def test_learning_rates_override_lr():
    config = LSPConfig().training(lr=1e-3, learning_rates={"policy": 5e-5})
    assert config.learning_rate("policy") == 5e-5
    assert config.learning_rate("value") == 1e-3
