"""A frozen agent does something that it was never trained for: it plans for another reward.

    python examples/zero_shot_reward.py CHECKPOINT [--out results.json]

CHECKPOINT is that of an agent of a point mass, such as the one that
`rllib train file tuned_examples/lsp-point-explore.yaml` ends with. The new task is to go to a
place, and to stay there; no weight is changed for it. The same agent without the reward function
shows what it would have done.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from rllib_lsp import load_agent, make_env
from rllib_lsp.core.settings import RewardFunction

PLACES = [(1.5, 1.5), (-1.5, 1.5), (1.5, -1.5), (-1.5, -1.5)]
"""In metres from the start."""


def go_to(place: tuple[float, float], position: slice) -> RewardFunction:
    """Minus the distance to `place`, from the model's idea of where the body is."""

    def reward(observation: Mapping[str, Tensor], features: Tensor, actions: Tensor) -> Tensor:
        where = observation["observation"][..., position]
        return -(where - where.new_tensor(place)).norm(dim=-1)

    return reward


def episode(
    checkpoint: Path, env_id: str, decisions: int, place: tuple[float, float], with_reward_fn: bool
) -> dict[str, float]:
    """Mean distance to the place (the return of the new task, per decision), and the last one."""
    env = make_env(env_id)
    position: slice = env.get_wrapper_attr("slices")["position"]
    planner = {"reward_fn": go_to(place, position)} if with_reward_fn else {}
    agent = load_agent(checkpoint, seed=0, planner=planner)
    observation, _ = env.reset(seed=0)
    distances = []
    for _ in range(decisions):
        observation, *_ = env.step(agent.act(observation))
        distances.append(float(np.linalg.norm(observation[position] - place)))
    return {"return": -float(np.sum(distances)), "final_distance": distances[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--env", default="rllib_lsp/point-explore-v0")
    parser.add_argument("--decisions", type=int, default=200, help="of an episode")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = [
        {"place": place, "reward_fn": given}
        | episode(arguments.checkpoint, arguments.env, arguments.decisions, place, given)
        for place in PLACES
        for given in (False, True)
    ]
    for row in rows:
        how = "with reward_fn" if row["reward_fn"] else "as it is"
        print(
            f"to {row['place']!s:13} {how:14} return {row['return']:7.1f}  "
            f"ends {row['final_distance']:.2f} m away"
        )
    if arguments.out:
        arguments.out.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
