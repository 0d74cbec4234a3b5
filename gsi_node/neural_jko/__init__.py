"""Importance-corrected neural JKO sampling (arXiv 2407.20444): flows as JKO steps, rejection–resampling between.

targets → config → train (a stage a layer) → stack (samples, evaluates its density, saves); run keeps all in a folder.
"""
