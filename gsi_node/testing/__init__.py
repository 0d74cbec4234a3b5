"""The contract of StepModel and Reward as checks for a backend of your own: no test framework needed.

from gsi_node.testing import check_reward, check_step_model

check_step_model(lambda: MyModel(), tolerance=1e-4)     # raises ContractBroken, which says what and where
check_reward(MyReward())
"""

from __future__ import annotations

from gsi_node.errors import ContractBroken
from gsi_node.testing.models import CHECKS, Subject, check_step_model
from gsi_node.testing.rewards import check_reward

__all__ = ["CHECKS", "ContractBroken", "Subject", "check_reward", "check_step_model"]
