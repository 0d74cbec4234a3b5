"""One step of a method: rules, stages, the exact law; without LangGraph."""
