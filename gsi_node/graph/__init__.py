"""Guided speculative inference as a LangGraph node. The only room of the package that imports langgraph."""
