"""The same steps without LangGraph: `solve` decides one after the other, in a plain loop."""

from gsi_node import GSIConfig, Models, load_model, load_reward, solve

models = Models(load_model("pocket:draft"), load_model("pocket:base"), load_reward("pocket"))
for method in ("gsi", "sbon-base"):
    found = solve("Solve for x: 3x + 5 = 20.", models, GSIConfig(method=method, n=4))
    tokens = {role: bill.generated_tokens for role, bill in found.usage.items()}
    print(f"{method:10} answer {found.answer} in {len(found.steps)} steps, generated {tokens}")
