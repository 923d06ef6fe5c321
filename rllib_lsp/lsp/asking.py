"""Questions to the agents that learn, in whatever process they do it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ray.rllib.core import DEFAULT_MODULE_ID

if TYPE_CHECKING:
    from ray.rllib.core.learner.learner_group import LearnerGroup

T = TypeVar("T")


def ask_agents(group: LearnerGroup, question: Callable[[Any], T]) -> list[T]:
    """What `question(agent)` gives in each learner. Raises what it raised in one of them."""

    def ask(learner: Any) -> T:
        return question(learner.module[DEFAULT_MODULE_ID].unwrapped().agent)

    answers = [result.get() for result in group.foreach_learner(ask)]
    for answer in answers:
        # RLlib hands over what an actor raised as a value.
        if isinstance(answer, Exception):
            raise answer
    return answers
