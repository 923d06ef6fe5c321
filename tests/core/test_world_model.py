"""The world model on windows: what it remembers, what it forgets, what it foretells."""

import torch


def without_luck(agent):
    agent.world_model.rssm.latent.sample = lambda p, generator=None, shared=1: p.chunk(2, -1)[0]
    return agent


@torch.no_grad()
def test_a_window_is_filtered_as_it_is_step_by_step(make_agent):
    agent = without_luck(make_agent(world_model={"latent": "gaussian"}))
    rssm = agent.world_model.rssm
    embedding = torch.randn(2, 6, agent.world_model.encoder.size)
    action = 2.0 * torch.randn(2, 6, 2)
    is_first = torch.zeros(2, 6, dtype=torch.bool)
    is_first[:, 0] = is_first[0, 3] = True
    whole = rssm.observe(embedding, action, is_first).states
    state = rssm.initial(2)
    for t in range(6):
        state = rssm.observe_step(state, embedding[:, t], action[:, t], is_first[:, t])
        torch.testing.assert_close(state.features, whole.features[:, t])
    # Nothing of the episode before is left, the action included.
    action[0, 3] = 0.0
    anew = rssm.observe(embedding[:1, 3:], action[:1, 3:], is_first[:1, 3:]).states
    torch.testing.assert_close(whole.features[:1, 3:], anew.features)
    # Beyond the border all actions do the same.
    torch.testing.assert_close(
        rssm.imagine_step(state, 3.0 * action[:, 1].sign()).features,
        rssm.imagine_step(state, action[:, 1].sign()).features,
    )


@torch.no_grad()
def test_the_continue_loss_is_of_the_probability_that_is_told(make_agent):
    model = make_agent().world_model
    features = torch.randn(8, 3, model.rssm.feature_size)
    terminated = torch.rand(8, 3) < 0.3
    p = model.continues(features)
    expected = -torch.where(terminated, 1 - p, p).log().mean()
    torch.testing.assert_close(model._continue_loss(features, terminated), expected)
