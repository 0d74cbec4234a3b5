"""What it means that a server did not answer: its status, its silence, or bytes that are none of an answer."""

from __future__ import annotations

from gsi_node.errors import BackendError, BackendUnavailable, ConfigError, SpecError
from gsi_node.models.servers.answers import Illegible
from gsi_node.models.servers.reach import Reach
from gsi_node.models.servers.replica import Failed

_BUSY = (408, 425, 429, 500, 502, 503, 504)


def refused(status: int, words: str, path: str, after: float, reach: Reach) -> Failed:
    """A status other than 200, also in a stream. words: the server's, as they may be shown. after: seconds."""
    said = f": {words}" if words else ""
    if status in _BUSY:
        again = after <= reach.longest_retry_after
        fix = "Send fewer requests at a time, or add replicas" if status == 429 else "Look into the server's log"
        return Failed(f"status {status}{said}", BackendUnavailable, fix=fix, again=again, after=after, down=True)
    if status in (401, 403):
        variable = reach.api_key_env
        fix = f"Set the environment variable {variable} to the server's key (?api_key_env=NAME for another)"
        return Failed(f"status {status}: the server wants a key, or another one", ConfigError, fix=fix, again=False)
    if status == 404:
        fix = "Check MODEL and the path in the spec against what the server lists (GET /v1/models)"
        return Failed(f"status 404 for {path}{said}", SpecError, fix=fix, again=False)
    if 300 <= status < 400:
        fix = "Write the address that it redirects to: none is followed, since a key must not reach another server"
        return Failed(f"status {status}, a redirect", SpecError, fix=fix, again=False)
    if any(word in said.lower() for word in ("context", "too long", "maximum model length", "max_model_len")):
        fix = "Lower max_steps, max_tokens or max_step_tokens, or start the server with a longer context"
        return Failed(f"the request does not fit{said}", ConfigError, fix=fix, again=False)
    return Failed(f"status {status}{said}", BackendError, fix="Change what the server names", again=False)


def unreadable(error: Illegible) -> Failed:
    """Bytes that cannot be used."""
    return Failed(str(error), fix="Look into the server's log, and at proxies before it", down=True)


def late(what: str) -> Failed:
    """Nothing within the time of an attempt."""
    return Failed(
        f"no {what}",
        BackendUnavailable,
        fix="Raise ?timeout=SECONDS (an attempt) or ?deadline=SECONDS (all of them), or look whether the server is "
        "overloaded",
        down=True,
    )
