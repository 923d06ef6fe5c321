"""TD3: its targets and losses against closed forms, its delays, and a task that it learns."""

import pytest
import torch
import torch.nn.functional as F

from rllib_lsp.core.hiro.settings import LevelSettings
from rllib_lsp.core.hiro.td3 import Level, Optimizers, Transitions


def make_level(inputs=3, actions=2, **options):
    torch.manual_seed(0)
    return Level(inputs, actions, LevelSettings(**{"hidden": (16, 16), **options}))


def make_steps(batch=32, seed=0):
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=draw)

    ones = torch.ones(batch)
    return Transitions(
        normal(batch, 3), normal(batch, 2).clamp(-1, 1), normal(batch), normal(batch, 3), ones, ones
    )


def optimizers(level, rate=1e-3):
    parts = (level.actor, level.critic)
    return Optimizers(*(torch.optim.Adam(p.parameters(), rate, fused=True) for p in parts))


def critic_by_hand(critic, which, inputs, action):
    x = torch.cat([inputs, action], -1)
    layers = list(zip(critic.weights, critic.biases, strict=True))
    for index, (weight, bias) in enumerate(layers):
        x = x @ weight[which] + bias[which]
        x = F.relu(x) if index < len(layers) - 1 else x
    return x[:, 0]


def test_both_critics_are_two_separate_networks():
    level, steps = make_level(), make_steps()
    both = level.critic(steps.inputs, steps.action)
    for which in range(2):
        expected = critic_by_hand(level.critic, which, steps.inputs, steps.action)
        torch.testing.assert_close(both[which], expected)
    torch.testing.assert_close(level.critic.first(steps.inputs, steps.action), both[0])
    assert not torch.allclose(both[0], both[1])


def test_targets_without_noise_are_r_plus_gamma_times_the_smaller_twin():
    level = make_level(target_noise=0.0, reward_scale=0.1, gamma=0.9)
    steps = make_steps()
    steps.goes_on[::3] = 0.0
    action = level.target_actor(steps.next_inputs)
    smaller = torch.minimum(
        *(critic_by_hand(level.target_critic, i, steps.next_inputs, action) for i in range(2))
    )
    expected = 0.1 * steps.reward + 0.9 * steps.goes_on * smaller
    torch.testing.assert_close(level.returns(steps), expected)
    torch.testing.assert_close(level.returns(steps)[::3], 0.1 * steps.reward[::3])


def test_the_targets_noise_is_clipped_and_so_is_its_action():
    level = make_level(target_noise=10.0, target_noise_clip=0.5, gamma=1.0)
    with torch.no_grad():
        level.target_actor[-2].weight.zero_()
        level.target_actor[-2].bias.fill_(0.2)
        seen = []
        level.target_critic.register_forward_hook(lambda _, args, out: seen.append(args[1]))
    level.returns(make_steps(4000))
    mean = float(torch.tanh(torch.tensor(0.2)))
    assert float(seen[0].min()) == pytest.approx(mean - 0.5, abs=1e-6)
    assert float(seen[0].max()) == pytest.approx(mean + 0.5, abs=1e-6)


def test_losses_count_only_what_is_a_step():
    level, steps = make_level(), make_steps()
    target = torch.randn(32)
    steps.weight[16:] = 0.0
    half = Transitions(*(part[:16] for part in steps))
    torch.testing.assert_close(
        level.critic_loss(steps, target), level.critic_loss(half, target[:16])
    )
    torch.testing.assert_close(level.actor_loss(steps), level.actor_loss(half))
    both = level.critic(half.inputs, half.action)
    expected = sum(F.huber_loss(values, target[:16]) for values in both)
    torch.testing.assert_close(level.critic_loss(steps, target), expected)
    values = critic_by_hand(level.critic, 0, half.inputs, level.actor(half.inputs))
    torch.testing.assert_close(level.actor_loss(steps), -values.mean())


def test_actor_and_targets_have_every_second_turn_and_targets_follow_slowly():
    level = make_level(target_rate=0.25)
    turns = optimizers(level)

    def copies():
        return {name: value.clone() for name, value in level.state_dict().items()}

    before = copies()
    logged = level.update(make_steps(), turns)
    after = copies()
    assert "actor_loss" not in logged
    for name, value in after.items():
        moved = name.startswith("critic") or name == "updates"
        assert torch.equal(value, before[name]) != moved, name
    logged = level.update(make_steps(seed=1), turns)
    assert "actor_loss" in logged
    again = copies()
    for name, value in again.items():
        assert not torch.equal(value, after[name]), name
        if name.startswith("target_"):
            followed = again[name.removeprefix("target_")]
            torch.testing.assert_close(value, torch.lerp(after[name], followed, 0.25))


def test_the_actors_loss_leaves_the_critic_alone():
    level = make_level(policy_every=1)
    turns = optimizers(level)
    turns.critic.param_groups[0]["lr"] = 0.0
    before = [parameter.clone() for parameter in level.critic.parameters()]
    level.update(make_steps(), turns)
    for parameter, value in zip(level.critic.parameters(), before, strict=True):
        assert torch.equal(parameter, value)


def test_it_learns_what_is_asked_for():
    """One step: reward -|a - x| summed over two dimensions."""
    level = make_level(2, 2, hidden=(64, 64))
    turns, draw = optimizers(level, 3e-3), torch.Generator().manual_seed(0)
    x = torch.rand(64, 2, generator=draw) * 1.6 - 0.8
    with torch.no_grad():
        before = float((level.actor(x) - x).abs().mean())
    for _ in range(400):
        asked, action = (torch.rand(64, 2, generator=draw) * 2 - 1 for _ in range(2))
        reward = -(action - asked).abs().sum(-1)
        nothing, ones = torch.zeros(64), torch.ones(64)
        steps = Transitions(asked, action, reward, asked, nothing, ones)
        level.update(steps, turns, draw)
    with torch.no_grad():
        after = float((level.actor(x) - x).abs().mean())
    assert after < 0.15 < before


def test_exploring_actions_stay_in_the_box():
    level = make_level(noise=2.0)
    action = level.act(torch.randn(500, 3), True, torch.Generator().manual_seed(0))
    assert action.abs().max() == 1
