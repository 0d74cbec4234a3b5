"""First of what the server that forks the workers imports: Ctrl-C reaches it too, and the driver alone decides."""

from __future__ import annotations

import signal

signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # blocked until here
