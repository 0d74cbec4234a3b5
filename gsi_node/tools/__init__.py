"""Commands that load by spec: benchmarks, the doctor."""
