"""A trained agent acts, in a process that has torch and needs no Ray.

    python examples/act_from_checkpoint.py CHECKPOINT --env dm_control/cartpole-swingup-v0

CHECKPOINT is what `rllib train` ends with; give the environment and
--action-repeat of the training. An episode takes a few seconds.
"""

from __future__ import annotations

import argparse

from rllib_lsp import load_agent, make_env


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--env", default="dm_control/cartpole-swingup-v0")
    parser.add_argument("--action-repeat", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    env = make_env(arguments.env, action_repeat=arguments.action_repeat)
    agent = load_agent(arguments.checkpoint, seed=arguments.seed)
    agent.reset()  # at the beginning of every episode
    observation, _ = env.reset(seed=arguments.seed)
    earned, decisions, done = 0.0, 0, False
    while not done:
        observation, reward, terminated, truncated, _ = env.step(agent.act(observation))
        earned, decisions, done = earned + float(reward), decisions + 1, terminated or truncated
    print(f"return {earned:.1f} in {decisions} decisions")


if __name__ == "__main__":
    main()
