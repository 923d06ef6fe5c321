"""Components: every weight belongs to exactly one, and each can be frozen or taken over alone."""

import pytest
import torch

from rllib_lsp.core.actions import ActionSpec
from rllib_lsp.core.agent import Agent
from rllib_lsp.core.models import COMPONENTS
from rllib_lsp.core.presets import build_settings
from rllib_lsp.core.saved_agent import read_agent, save_agent
from rllib_lsp.core.transfer import KEPT, TransferError, table, transfer

AGENTS = {
    "modern": {},
    "paper": {"preset": "paper"},
    "Dreamer": {"skills": {"dim": 0}, "planner": {"method": "none"}},
    "PlaNet": {"planner": {"space": "actions"}},
    "ensemble": {"world_model": {"ensemble": 3}},
    "objective, no prior": {"skills": {"mi": "objective", "learn_prior": False}},
    "discrete": {"action": ActionSpec(3, discrete=True)},
}


@pytest.fixture
def source(make_agent, tmp_path):
    """A saved agent as `transfer` takes it, of the given options."""

    def make(**options):
        with open(tmp_path / "agent.pt", "wb") as stream:
            save_agent(make_agent(seed=1, **options), stream)
        return read_agent(tmp_path)

    return make


BEHAVIOUR = ("policy", "skill_predictor", "skill_value")


def copied(agent):
    return {key: value.clone() for key, value in agent.state_dict().items()}


@pytest.mark.parametrize("name", AGENTS)
def test_every_weight_is_in_exactly_one_component(make_agent, name):
    agent = make_agent(**AGENTS[name])
    keys = [key for component in COMPONENTS for key in agent.component(component)]
    assert sorted(keys) == sorted(agent.state_dict())


def test_images_are_a_part_of_the_world_model():
    spec = {"pixels": (16, 16, 3), "speed": (2,)}
    agent = Agent(spec, ActionSpec(2), build_settings({}, size="tiny"))
    keys = [key for component in COMPONENTS for key in agent.component(component)]
    assert sorted(keys) == sorted(agent.state_dict())
    assert any("image_networks" in key for key in agent.component("world_model"))


@pytest.mark.parametrize("name", AGENTS)
def test_freezing_stops_a_component_and_no_other(make_agent, name):
    for component in COMPONENTS:
        agent = make_agent(**AGENTS[name])
        before = {key for key, p in agent.named_parameters() if p.requires_grad}
        agent.freeze((component,))
        after = {key for key, p in agent.named_parameters() if p.requires_grad}
        assert before - after == before & set(agent.component(component))
        grouped = {id(p) for group in agent.parameter_groups().values() for p in group}
        assert grouped == {id(p) for p in agent.parameters() if p.requires_grad}


def test_a_group_without_anything_to_train_is_none(make_agent):
    agent = make_agent()
    agent.freeze(("policy", "reward"))
    # The reward is only a part of what the world model's loss trains.
    assert set(agent.parameter_groups()) == set(agent.settings.groups) - {"policy"}
    agent.freeze(tuple(COMPONENTS))
    assert agent.parameter_groups() == {}


def test_the_usual_components_are_taken_over_and_the_rest_is_left_alone(make_agent, source):
    agent, theirs = make_agent(), source()
    before = copied(agent)
    rows = transfer(agent, theirs)
    for component in COMPONENTS:
        origin = theirs["weights"] if component in KEPT else before
        for key, value in agent.component(component).items():
            assert torch.equal(value, origin[key]), key
    fates = {row.component: row.fate for row in rows}
    kept = {"world_model", "policy", "skill_predictor", "skill_value"}
    assert {name for name, fate in fates.items() if fate == "kept"} == kept
    assert set(fates) == set(COMPONENTS) - {"ensemble"}
    assert sum(row.parameters for row in rows) == sum(
        v.numel() for v in agent.state_dict().values()
    )


def test_keep_and_reset_override_what_is_usual(make_agent, source):
    agent, theirs = make_agent(), source()
    before = copied(agent)
    transfer(agent, theirs, keep=["reward", "skill_prior"], reset=["policy"])
    for component, origin in (
        ("reward", theirs["weights"]),
        ("skill_prior", theirs["weights"]),
        ("policy", before),
        ("value", before),
    ):
        for key, value in agent.component(component).items():
            assert torch.equal(value, origin[key]), key


@pytest.mark.parametrize("who", ["source", "target"])
def test_what_one_side_lacks_is_passed_over_unless_it_was_asked_for(make_agent, source, who):
    ensemble = {"world_model": {"ensemble": 3}}
    agent = make_agent(**(ensemble if who == "target" else {}))
    theirs = source(**(ensemble if who == "source" else {}))
    fates = {row.component: row.fate for row in transfer(agent, theirs)}
    assert fates.get("ensemble") == ("reset" if who == "target" else None)
    lacking = "the source" if who == "target" else "this agent"
    with pytest.raises(TransferError, match=f"'ensemble': {lacking} has no ensemble"):
        transfer(agent, theirs, keep=["ensemble"])


@pytest.mark.parametrize(
    ("options", "component", "parts"),
    [
        ({"action": ActionSpec(5)}, "world_model", ["(5, False) there", "(2, False) here"]),
        ({"world_model": {"latent": "gaussian"}}, "world_model", ["transfer.reset"]),
        ({"behaviour": {"hidden": 8}}, "policy", ["put policy into transfer.reset"]),
        ({"skills": {"dim": 2}}, "policy", ["policy.network.0.weight"]),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_changed(
    make_agent, source, options, component, parts
):
    agent = make_agent()
    before = copied(agent)
    with pytest.raises(TransferError, match=f"The {component} of the source") as caught:
        transfer(agent, source(**options))
    for part in parts:
        assert part in str(caught.value), str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in agent.state_dict().items())


def test_what_does_not_fit_can_be_left_out(make_agent, source):
    narrow = source(behaviour={"hidden": 8})
    agent = make_agent()
    rows = transfer(agent, narrow, reset=["policy", "skill_predictor", "skill_value"])
    assert [row.component for row in rows if row.fate == "kept"] == ["world_model"]


def test_only_options_of_the_component_itself_have_to_be_the_same(make_agent, source):
    theirs = source(behaviour={"block": "elu"})
    agent = make_agent()
    with pytest.raises(TransferError, match=r"The policy of the source .*behaviour\.block is elu"):
        transfer(agent, theirs)
    fates = {row.component: row.fate for row in transfer(agent, theirs, reset=BEHAVIOUR)}
    assert fates["world_model"] == "kept"


def test_the_table_has_a_line_for_each_component(make_agent, source):
    agent = make_agent()
    lines = table(transfer(agent, source()), frozen=["policy"]).splitlines()
    assert lines[0].split() == ["component", "taken", "over", "parameters"]
    assert len(lines) == len(COMPONENTS)  # All but the ensemble, and the head.
    assert len({len(line) for line in lines}) == 1
    (policy,) = (line for line in lines if line.startswith("policy"))
    count = sum(p.numel() for p in agent.policy.parameters())
    assert policy.split() == ["policy", "kept,", "frozen", f"{count:,}"]
