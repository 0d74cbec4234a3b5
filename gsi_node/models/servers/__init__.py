"""Language models behind servers: HTTP, dialects, start-up probes."""
