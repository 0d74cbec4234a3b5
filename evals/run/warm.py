"""Imported once by the server that forks the workers: everything heavy that a worker needs, and no tensor touched."""

from __future__ import annotations

import evals.run.solve
import gsi_node.models.transformers
import gsi_node.rewards.prm.in_process

LOADED = (evals.run.solve, gsi_node.models.transformers, gsi_node.rewards.prm.in_process)
