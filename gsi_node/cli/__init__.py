"""The command line of graphs/math_solver.py. It knows the solver by a protocol only."""
