"""The package's own tasks: navigation of a point mass and of dm_control's quadruped.

Registered by entry point: importing this imports no simulator. Every task of a family has
the same observation and action spaces, so that a world model transfers between them.
The keyword arguments of all of them are the fields of ``task.Task``.
"""

from __future__ import annotations

from typing import Any

import gymnasium

_POINT = "rllib_lsp.envs.tasks.point_mass:PointMass"
_QUADRUPED = "rllib_lsp.envs.tasks.quadruped:Quadruped"

_REACH: dict[str, Any] = {"reward": "reach"}
_LINE: dict[str, Any] = {"reward": "reach", "layout": "line", "target_ring": (4.5, 4.5)}
_COVE: dict[str, Any] = {"reward": "reach", "layout": "cove", "target_ring": (4.5, 4.5)}
_SPARSE: dict[str, Any] = {"reward": "sparse", "target_ring": (4.0, 5.0)}

TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "point-explore": (_POINT, {"reward": "none"}),
    "point-reach": (_POINT, _REACH),
    "point-reach-line": (_POINT, _LINE),
    "point-reach-cove": (_POINT, _COVE),
    "point-reach-sparse": (_POINT, _SPARSE),
    "quadruped-walk": (_QUADRUPED, {"reward": "walk", "start": "random"}),
    "quadruped-walk-obstacles": (_QUADRUPED, {"reward": "walk", "layout": "scattered"}),
    "quadruped-reach": (_QUADRUPED, _REACH),
    "quadruped-reach-line": (_QUADRUPED, _LINE),
    "quadruped-reach-cove": (_QUADRUPED, _COVE),
    "quadruped-reach-sparse": (_QUADRUPED, _SPARSE),
}

for _name, (_entry_point, _task) in TASKS.items():
    gymnasium.register(f"rllib_lsp/{_name}-v0", _entry_point, kwargs=_task)
