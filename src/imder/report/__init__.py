"""Self-contained HTML reports of runs and benchmarks: what was trained on what, how well it works, and whether recovery helps.

Figures and tables come from the same code as those of `imder.evaluation` and `imder.benchmarking`; here they are arranged on a page.
"""
