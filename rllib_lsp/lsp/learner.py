"""The learner: each loss trains its own parameter group with its own optimizer.

Several learners hold the same parameters and average their gradients. Torch's DDP would expect one
backward pass through one wrapped module; here there is one for each loss, and one message for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import torch.distributed as dist
from ray.rllib.core.learner.torch.torch_learner import TorchLearner

from rllib_lsp.core import learning
from rllib_lsp.core.agent import Agent
from rllib_lsp.core.parallel import average_gradients, begin_alike, learners
from rllib_lsp.lsp.config import LSPConfig
from rllib_lsp.lsp.rl_module import LOSSES, METRICS
from rllib_lsp.lsp.threads import learner_threads

if TYPE_CHECKING:
    from ray.rllib.core.learner.learner_group import LearnerGroup

MAX_SKIPPED_IN_A_ROW = 10
NORM = "_gradient_norm"
TOTAL_LOSS = TorchLearner.TOTAL_LOSS_KEY
GENERATORS = "generators"
Key = TypeVar("Key")


class LSPTorchLearner(TorchLearner):
    """World model, policy, value and skill predictor, one update of all per batch."""

    config: LSPConfig

    def build(self) -> None:
        # RLlib leaves the learner on one thread.
        torch.set_num_threads(learner_threads(self.config))
        # RLlib would compile the whole forward pass: loops over time, unrolled, for many minutes.
        self._torch_compile_forward_train = False
        super().build()
        if self.config.torch_compile_learner:
            for module_id in self.module.keys():  # noqa: SIM118 (a MultiRLModule is no dict)
                learning.compile_steps(
                    self._agent(module_id),
                    backend=self.config.torch_compile_learner_dynamo_backend,
                    mode=self.config.torch_compile_learner_dynamo_mode,
                )
        if learners() > 1:
            # Each draws noise of its own for its share of the batch.
            torch.manual_seed(torch.initial_seed() + dist.get_rank())
        self._losses: dict[str, dict[str, torch.Tensor]] = {}
        self._scalars: dict[tuple[str, str], torch.Tensor] = {}
        self._skipped_in_a_row = 0

    def _make_modules_ddp_if_necessary(self) -> None:
        """In place of wrapping modules, which begin alike; see `compute_gradients`."""
        for module_id in self.module.keys():  # noqa: SIM118 (a MultiRLModule is no dict)
            # All of it: a user's module may have heads besides the agent.
            begin_alike(self.module[module_id].unwrapped().state_dict().values())

    def _uncompiled_update(self, batch: dict[str, Any], **kwargs: Any) -> tuple[Any, Any, Any]:
        """RLlib's, which expects modules that are wrapped for DDP.

        What is logged is fetched once, at the end: a device is never waited for in between.
        """
        half = self.config.precision == "bfloat16"
        with torch.autocast(self._device.type, torch.bfloat16, enabled=half):
            forward = self.module.forward_train(batch)
        losses = self.compute_losses(fwd_out=forward, batch=batch)
        gradients = self.compute_gradients(losses)
        self.apply_gradients(self.postprocess_gradients(gradients))
        logged, self._scalars = fetch(self._scalars), {}
        self._log(logged)
        return forward, {module_id: logged[module_id, TOTAL_LOSS] for module_id in losses}, {}

    def _log(self, scalars: dict[tuple[str, str], float]) -> None:
        """Log an update's scalars, by module and name.

        Raises FloatingPointError when many updates in a row had a step skipped.
        """
        for key, value in scalars.items():
            # RLlib logs the total itself.
            if key[1] != TOTAL_LOSS:
                self.metrics.log_value(key, value, window=100)
        norms = [value for (_, name), value in scalars.items() if name.endswith(NORM)]
        skipped = not all(norm < float("inf") for norm in norms)
        self._skipped_in_a_row = self._skipped_in_a_row + 1 if skipped else 0
        if self._skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise FloatingPointError(
                f"Gradients were NaN or infinite in {MAX_SKIPPED_IN_A_ROW} updates in a row. "
                f"Lower the learning rate, check the scale of rewards and observations, and "
                f"continue from the last checkpoint."
            )

    def _agent(self, module_id: str) -> Agent:
        return self.module[module_id].unwrapped().agent

    def configure_optimizers_for_module(
        self, module_id: str, config: LSPConfig | None = None
    ) -> None:
        assert config is not None
        for name, parameters in self._agent(module_id).parameter_groups().items():
            self.register_optimizer(
                module_id=module_id,
                optimizer_name=name,
                optimizer=torch.optim.Adam(parameters, eps=config.adam_epsilon, fused=True),
                params=parameters,
                lr_or_lr_schedule=config.learning_rate(name),
            )

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """RLlib's, and the generators of the noise, so that a restored run repeats itself."""
        return {**super().get_state(*args, **kwargs), GENERATORS: self._generators()}

    def _generators(self) -> dict[str, Any]:
        generators = {"cpu": torch.get_rng_state().numpy()}
        if self._device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self._device).numpy()
        return generators

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        # A checkpoint holds the first learner's: the others go on with noise of their own.
        if GENERATORS in state and (learners() == 1 or dist.get_rank() == 0):
            torch.set_rng_state(torch.from_numpy(state[GENERATORS]["cpu"]))
            if self._device.type == "cuda" and "cuda" in state[GENERATORS]:
                cuda = torch.from_numpy(state[GENERATORS]["cuda"])
                torch.cuda.set_rng_state(cuda, self._device)

    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
        """Moments as they were, rates as configured: Tune's schedulers change rates between."""
        super()._set_optimizer_state(state)
        for module_id in self.module.keys():  # noqa: SIM118 (a MultiRLModule is no dict)
            for name in self._agent(module_id).parameter_groups():
                optimizer = self.get_optimizer(module_id, name)
                rate = self.config.learning_rate(name)
                for group in optimizer.param_groups:
                    group["eps"] = self.config.adam_epsilon
                if isinstance(rate, int | float):
                    self._set_optimizer_lr(optimizer, rate)

    def compute_loss_for_module(
        self, *, module_id: str, config: LSPConfig, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> torch.Tensor:
        """The sum of the losses, for RLlib's records; gradients are taken one by one."""
        losses = self._losses[module_id] = fwd_out[LOSSES]
        total = torch.stack([loss.detach() for loss in losses.values()]).sum()
        scalars = {**fwd_out[METRICS], TOTAL_LOSS: total}
        self._scalars |= {(module_id, name): value.detach() for name, value in scalars.items()}
        return total

    def compute_gradients(self, loss_per_module: dict[str, Any], **kwargs: Any) -> dict[Any, Any]:
        for optimizer in self._optimizer_parameters:
            optimizer.zero_grad(set_to_none=True)
        for module_id in loss_per_module:
            learning.backward(self._agent(module_id), self._losses.pop(module_id))
        average_gradients(self._params.values())
        return {ref: parameter.grad for ref, parameter in self._params.items()}

    def postprocess_gradients(self, gradients_dict: dict[Any, Any]) -> dict[Any, Any]:
        """Nothing here: `apply_gradients` clips, with the norms it needs anyway."""
        return gradients_dict

    def apply_gradients(self, gradients_dict: dict[Any, Any]) -> None:
        """Clip and step each group; a group with a non-finite gradient is left as it is."""
        del gradients_dict  # They lie in the parameters already.
        for module_id in self.module.keys():  # noqa: SIM118 (a MultiRLModule is no dict)
            agent = self._agent(module_id)
            optimizers = {
                name: self.get_optimizer(module_id, name) for name in agent.parameter_groups()
            }
            norms = learning.step(agent, optimizers, self.config.grad_clip)
            self._scalars |= {(module_id, name + NORM): norm for name, norm in norms.items()}


def fetch(scalars: Mapping[Key, torch.Tensor]) -> dict[Key, float]:
    """Scalars of a device as numbers, in one transfer for all."""
    values = torch.stack([value.float() for value in scalars.values()]).tolist()
    return dict(zip(scalars, values, strict=True))


def check_learners(group: LearnerGroup, when: str) -> None:
    """RLlib goes on without a learner that failed, until it has none: here it ends the run.

    Raises RuntimeError; what came before the last checkpoint is not lost.
    """
    lost = 0 if group.is_local else len(group) - group._worker_manager.num_healthy_actors()
    if lost:
        raise RuntimeError(
            f"{lost} of {len(group)} learners failed {when}; the log names the error. The others "
            f"would learn something else: go on from the last checkpoint (--resume, or "
            f"max_failures, which does so by itself)."
        )
