"""Settings for every test: hypothesis without deadlines, since the machines that run these tests are shared."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("shared", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("shared")
