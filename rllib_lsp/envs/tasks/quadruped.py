"""Navigation of dm_control's quadruped: its model, its sensors, its walking reward."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from dm_control import mujoco
from dm_control.suite import quadruped
from gymnasium import spaces
from lxml import etree  # type: ignore[import-untyped]
from mujoco import mj_fwdPosition, mjtJoint, mjtSensor

from rllib_lsp.envs.tasks.navigation import ASSETS, Navigation
from rllib_lsp.envs.tasks.task import Task


class Quadruped(Navigation):
    """Four legs, twelve actuators, control every 0.02 s.

    Observes the 78 numbers of the suite's walk task (neither place nor heading), ``target``
    and ``posts``. Keyword arguments: the fields of ``Task``.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 50}

    def __init__(self, render_mode: str | None = None, **task: Any):
        physics = mujoco.Physics.from_xml_string(_model(), ASSETS)
        super().__init__(physics, "torso", 0.02, Task(**task), render_mode)

    def _bind(self) -> None:
        super()._bind()
        self._senses = _Senses(self.physics)

    def _body_spaces(self) -> dict[str, spaces.Space]:
        senses = self._body_observation()
        return {key: spaces.Box(-np.inf, np.inf, sense.shape) for key, sense in senses.items()}

    def _body_observation(self) -> dict[str, np.ndarray]:
        return self._senses.read()

    def _place_body(self) -> None:
        """As in the suite: from the middle of the floor up by 1 cm until nothing touches."""
        model, data = self.physics.model, self.physics.data
        data.qpos[:3] = 0.0
        data.qpos[3:7] = self._orientation()
        mj_fwdPosition(model.ptr, data.ptr)
        while data.ncon:
            data.qpos[2] += 0.01
            mj_fwdPosition(model.ptr, data.ptr)

    def _orientation(self) -> np.ndarray:
        if self.task.start == "random":
            quaternion = self.np_random.standard_normal(4)
            return quaternion / np.linalg.norm(quaternion)
        half = self.np_random.uniform(-np.pi, np.pi) / 2
        return np.array([np.cos(half), 0, 0, np.sin(half)])

    def _upright(self) -> float:
        return float(self._rotation[2, 2])

    def _speed(self) -> float:
        return self._senses.forward_velocity()


class _Senses:
    """The suite's observations, bit for bit (tests compare them).

    The suite looks every joint and sensor up by name in every step, which takes longer than
    the physics; here their addresses are looked up once.
    """

    def __init__(self, physics: mujoco.Physics):
        model, data = physics.model, physics.data
        hinges = model.jnt_type == mjtJoint.mjJNT_HINGE
        self._positions, self._velocities = model.jnt_qposadr[hinges], model.jnt_dofadr[hinges]
        self._velocimeter = _addresses(model, mjtSensor.mjSENS_VELOCIMETER)
        self._imu = _addresses(model, mjtSensor.mjSENS_GYRO, mjtSensor.mjSENS_ACCELEROMETER)
        self._toes = _addresses(model, mjtSensor.mjSENS_FORCE, mjtSensor.mjSENS_TORQUE)
        # Views into the simulator's memory.
        self._qpos, self._qvel, self._act = data.qpos, data.qvel, data.act
        self._sensors = data.sensordata
        self._upright = data.xmat[model.name2id("torso", "body"), 8:]

    def read(self) -> dict[str, np.ndarray]:
        sensors = self._sensors
        legs = (self._qpos[self._positions], self._qvel[self._velocities], self._act)
        return {
            "egocentric_state": np.concatenate(legs, dtype=np.float32),
            "torso_velocity": sensors[self._velocimeter].astype(np.float32),
            "torso_upright": self._upright.astype(np.float32),
            "imu": sensors[self._imu].astype(np.float32),
            "force_torque": np.arcsinh(sensors[self._toes]).astype(np.float32),
        }

    def forward_velocity(self) -> float:
        return float(self._sensors[self._velocimeter[0]])


def _addresses(model: Any, *kinds: mjtSensor) -> np.ndarray:
    """Where in ``sensordata`` the numbers of all sensors of these kinds lie, in model order."""
    sensors = np.flatnonzero(np.isin(model.sensor_type, kinds))
    begins, sizes = model.sensor_adr[sensors], model.sensor_dim[sensors]
    return np.concatenate([np.arange(b, b + n) for b, n in zip(begins, sizes, strict=True)])


def _model() -> bytes:
    """The suite's quadruped without walls, ball and terrain, in our arena."""
    root = etree.fromstring(quadruped.make_model(floor_size=12))
    etree.SubElement(root, "include", file="arena.xml")
    torso = root.find(".//body[@name='torso']")
    etree.SubElement(
        torso, "camera", name="chase", mode="trackcom", pos="-4 0 3", xyaxes="0 -1 0 .6 0 .8"
    )
    return etree.tostring(root)
