"""The node alone over the pocket models, for LangGraph's own tools (langgraph.json): one can look into its inner nodes,
stop before them, and write into its checkpoints. The models are small, and loaded when this file is imported.
"""

from gsi_node import GSIConfig, compile_gsi, load_model, load_reward

__all__ = ["graph"]

# In a chat each question stands alone: the pocket models know one at a time.
graph = compile_gsi(
    draft=load_model("pocket:draft"),
    base=load_model("pocket:base"),
    reward=load_reward("pocket"),
    config=GSIConfig(n=8, earlier_messages="ignore"),
)
