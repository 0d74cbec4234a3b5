"""How long servers are waited for, how often they are asked, and with which key."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from gsi_node.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Reach:
    """How servers are reached. deadline: seconds a request may take, all its attempts and pauses together. timeout:
    seconds of one attempt. attempts: at most. first_wait, longest_wait: seconds between attempts, doubled each time.
    longest_retry_after: seconds; a server that asks for more is given up. api_key_env: the environment variable that
    holds the key. Raises ConfigError."""

    timeout: float = 120.0
    attempts: int = 9
    deadline: float = 300.0
    first_wait: float = 0.1
    longest_wait: float = 4.0
    longest_retry_after: float = 60.0
    api_key_env: str = "GSI_API_KEY"

    def __post_init__(self) -> None:
        for name in ("timeout", "deadline"):
            seconds = getattr(self, name)
            if not (isfinite(seconds) and seconds > 0):
                raise ConfigError(f"{name} is {seconds}; give a number of seconds above 0")
        if self.attempts < 1:
            raise ConfigError(f"attempts is {self.attempts}; give at least 1")


USUAL = Reach()
