"""Process reward models, in process and behind a server."""
