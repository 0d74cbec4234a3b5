"""The mathematics alone: numpy and float64; no torch, no langgraph, no I/O."""
