"""Wrong configurations: each is refused at `validate`, with value, reason and fix."""

import pathlib

import gymnasium as gym
import numpy as np
import pytest
from ray import tune
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
    "module": (
        lambda config: config.rl_module(model_config={"fcnet_hiddens": [64]}),
        ["model_config = {'fcnet_hiddens': [64]} would do nothing", "training()"],
    ),
    "aggregators": (
        lambda config: config.learners(num_aggregator_actors_per_learner=2),
        ["num_aggregator_actors_per_learner = 2 would do nothing", "from the replay"],
    ),
    "server": (
        lambda config: config.env_runners(use_env_runner_state_server=True),
        ["use_env_runner_state_server = True would do nothing"],
    ),
    "environments": (
        lambda config: config.env_runners(num_envs_per_env_runner=1.5),
        ["num_envs_per_env_runner = 1.5", "an integer of at least 1"],
    ),
    "negative seed": (lambda config: config.debugging(seed=-1), ["seed = -1", "at least 0"]),
    "lessons before": (
        training(learning_starts=0, pretrain_updates=100),
        ["pretrain_updates = 100", "raise learning_starts"],
    ),
    "planned anew": (
        training(planner={"replan_every": 11}),
        ["planner.replan_every = 11", "lasts for 10", "0 plans anew"],
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
    "counted actions": (
        env(action=gym.spaces.Box(0, 10, (2,), np.int32)),
        ["int32", "bounded 1-D Box of floats", "TransformAction"],
    ),
    "no actions": (env(action=gym.spaces.Box(-1, 1, (0,))), ["(0,)", "TransformAction"]),
    "endless ratio": (training(training_ratio=float("inf")), ["training_ratio = inf"]),
    "endless entropy": (training(behaviour={"entropy": float("inf")}), ["entropy is infinite"]),
    "true rate": (training(lr=True), ["lr = True", "a number above 0"]),
    "no discount": (training(gamma=None), ["gamma = None", "a number"]),
    "half a runner": (
        lambda c: c.env_runners(num_env_runners=1.5),
        ["num_env_runners = 1.5", "an integer"],
    ),
    "seed": (lambda c: c.debugging(seed="a"), ["seed = 'a'", "an integer"]),
    "size list": (training(size=["tiny"]), ["size = ['tiny']", "did you mean"]),
    "nothing for the environment": (
        lambda c: c.update_from_dict({"env_config": None}),
        ["env_config = None", "a dict of options"],
    ),
    "old stack": (
        lambda c: c.api_stack(
            enable_rl_module_and_learner=False, enable_env_runner_and_connector_v2=False
        ),
        ["new API stack"],
    ),
    "reward number": (training(planner={"reward_fn": "math:pi"}), ["'math:pi'", "no function"]),
    "evaluation typo": (
        lambda c: c.evaluation(evaluation_config={"planner": {"candidats": 3}}),
        ["evaluation_config", "planner.candidats", "did you mean 'candidates'"],
    ),
    "evaluation key": (
        lambda c: c.evaluation(evaluation_config={"planer": {"candidates": 3}}),
        ["evaluation_config", "'planer'", "Did you mean 'planner'"],
    ),
    "evaluation number": (
        lambda c: c.update_from_dict({"evaluation_config": 5}),
        ["evaluation_config = 5", "a dict of options"],
    ),
    "evaluation reward": (
        lambda c: c.evaluation(evaluation_config={"planner": {"reward_fn": "no_such_module:f"}}),
        ["evaluation_config", "no_such_module:f", "cannot be imported"],
    ),
    "other networks": (
        lambda c: c.evaluation(evaluation_config={"skills": {"dim": 5}}),
        ["evaluation_config", "Options of the planner", "sizes may not"],
    ),
    "other spaces": (
        lambda c: c.evaluation(
            evaluation_config={"env_config": {"action": gym.spaces.Box(-1, 1, (3,))}}
        ),
        ["evaluation_config", "in evaluation", "size=3"],
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
    "path without recording": (
        lambda c: c.offline_data(input_=pathlib.Path("/no/such/episodes")),
        ["/no/such/episodes does not exist"],
    ),
    "no updates": (
        lambda c: c.offline_data(dataset_num_iters_per_learner=-5),
        ["dataset_num_iters_per_learner = -5", "at least 1, or None"],
    ),
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


def test_numbers_of_a_grid_are_as_good_as_pythons():
    config = LSPConfig().environment(Spaces)
    config.training(batch_size=np.int64(8), lr=np.float32(0.5), training_ratio=np.float64(3.0))
    config.training(planner={"candidates": np.int32(12)}, behaviour={"entropy": np.float32(0.5)})
    config.validate()
    assert (config.batch_size, config.lr) == (8, 0.5)
    assert type(config.batch_size) is int
    assert config.settings().planner.candidates == 12
    assert config.settings().behaviour.entropy == 0.5


def test_one_component_needs_no_list():
    config = LSPConfig().update_from_dict({"transfer": {"checkpoint": "/", "keep": "reward"}})
    config.transfer("/", freeze="policy")
    expected = {"checkpoint": "/", "keep": ["reward"], "freeze": ["policy"]}
    assert config.transfer_options == expected


def test_evaluation_may_plan_otherwise_in_another_environment():
    config = LSPConfig().environment(Spaces, env_config={"wind": 0.0})
    config.evaluation(
        evaluation_config={
            "explore": False,
            "env_config": {"wind": 1.0},
            "planner": {"candidates": 128, "method": "none"},
            "num_envs_per_env_runner": 4,
        }
    ).validate()
    evaluation = config.get_evaluation_config_object()
    assert evaluation.env_config == {"wind": 1.0}
    planner = evaluation.settings().planner
    assert (planner.candidates, planner.method) == (128, "none")
    # And training is as it was.
    assert config.env_config == {"wind": 0.0}
    assert config.settings() == LSPConfig().settings()


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


def test_a_config_can_be_printed_with_search_spaces_in_it():
    assert "candidates: 24" in str(LSPConfig().training(planner={"candidates": 24}))
    searched = LSPConfig().training(planner={"candidates": tune.choice([24, 48])})
    assert "LSPConfig" in str(searched)


def test_a_class_made_anew_is_another_environment():
    def make(action):
        class Made(Spaces):
            def __init__(self, config):
                super().__init__({"action": action})

        return Made

    LSPConfig().environment(make(gym.spaces.Discrete(3))).validate()
    with pytest.raises(ValueError, match="MultiDiscrete"):
        LSPConfig().environment(make(gym.spaces.MultiDiscrete([2, 3]))).validate()


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
