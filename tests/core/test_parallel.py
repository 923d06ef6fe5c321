"""Two learners with half a batch each learn what one learns from the whole."""

import copy

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from rllib_lsp.core import learning, parallel
from rllib_lsp.core.parallel import average_gradients, begin_alike

ROWS, LENGTH = 4, 12
STARTS = ROWS * LENGTH
AGENTS = {
    "modern": {"behaviour": {"starts": STARTS}},
    "paper": {"preset": "paper", "behaviour": {"starts": STARTS}, "skills": {"imagine": "mix"}},
    "ensemble and durations": {
        "world_model": {"ensemble": 3},
        "skills": {"duration": [2, 5], "mi": "objective"},
        "behaviour": {"starts": STARTS, "disagreement": 0.1},
    },
}


def without_noise(patch):
    """Whatever is drawn is the same in both learners: their halves differ, their luck does not."""
    patch(torch, "rand", lambda *shape, **options: torch.full(_flat(shape), 0.3))
    patch(torch, "randn", lambda *shape, **options: torch.full(_flat(shape), 0.2))
    patch(torch, "randperm", lambda count, **options: torch.arange(count))
    patch(
        torch,
        "randint",
        lambda high, shape, **options: torch.zeros(shape, dtype=torch.int64) + high - 1,
    )


def _flat(shape):
    return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape


def learn(agent, batch):
    """Gradients of every parameter, and the statistics that are kept between updates."""
    losses, _ = learning.losses(agent, batch)
    learning.backward(agent, losses)
    average_gradients(agent.parameters())
    found = {key: p.grad for key, p in agent.named_parameters() if p.grad is not None}
    return found | {"return_scale": agent.return_scale.scale.clone()}


def half(batch, rank):
    rows = slice(rank * ROWS // 2, (rank + 1) * ROWS // 2)
    observation = {key: value[rows] for key, value in batch.observation.items()}
    rest = {key: value[rows] for key, value in batch._asdict().items() if key != "observation"}
    return type(batch)(observation=observation, **rest)


def one_of_two(rank, folder, cases):
    dist.init_process_group("gloo", f"file://{folder}/rendezvous", rank=rank, world_size=2)
    torch.set_num_threads(1)
    without_noise(setattr)
    found = {}
    for name, (shared, batch) in cases.items():
        # Tensors that are sent to another process lie in memory that both see.
        agent = copy.deepcopy(shared)
        if rank == 1:
            with torch.no_grad():
                for parameter in agent.parameters():
                    parameter.add_(1.0)
        begin_alike(agent.state_dict().values())
        found[name] = learn(agent, half(batch, rank))
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_the_gradient_is_that_of_the_whole_batch(make_agent, make_batch, tmp_path, monkeypatch):
    cases = {}
    for name, options in AGENTS.items():
        agent = make_agent(**options)
        # Zero-initialised heads pass no gradient on.
        for key, parameter in agent.named_parameters():
            if key.endswith("weight") and not parameter.any():
                torch.nn.init.normal_(parameter, std=0.1)
        cases[name] = agent, make_batch(agent, ROWS, LENGTH)
    mp.spawn(one_of_two, (str(tmp_path), cases), nprocs=2)
    without_noise(monkeypatch.setattr)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, (agent, batch) in cases.items():
        whole = learn(agent, batch)
        assert set(whole) == set(first[name])
        for key, value in whole.items():
            torch.testing.assert_close(first[name][key], second[name][key], rtol=0, atol=0)
            # Averages of halves are added up in another order.
            bound = max(1e-6, 1e-4 * value.abs().max().item())
            torch.testing.assert_close(first[name][key], value, rtol=1e-3, atol=bound, msg=key)


@pytest.mark.parametrize(("counted", "wanted"), [([1, 0], 0.5), ([3, 1], 2), ([0, 0], 0.5)])
def test_a_count_is_shared_also_where_there_is_less_than_one_each(monkeypatch, counted, wanted):
    """With one row for two learners the mean of their sums over this is the sum over one."""
    mean = torch.tensor(float(sum(counted)) / 2)
    monkeypatch.setattr(parallel, "learners", lambda: 2)
    monkeypatch.setattr(parallel, "mean_of_learners", lambda value: mean)
    assert parallel.count_of_learners(torch.tensor([counted[0]])).item() == wanted


def test_one_learner_agrees_with_itself(make_agent, make_batch):
    agent = make_agent()
    losses, _ = learning.losses(agent, make_batch(agent))
    learning.backward(agent, losses)
    before = [p.grad.clone() for p in agent.parameters() if p.grad is not None]
    average_gradients(agent.parameters())
    after = [p.grad for p in agent.parameters() if p.grad is not None]
    assert before
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
