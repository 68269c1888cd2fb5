"""Comparing systems on one corpus: a grid of models, seeds and protocols that can be interrupted, shared and extended.

`benchmark` is the entry point; `plan` lists the cells, `folder` holds their files, `cell` runs one and `runner` all of
them, and `report` makes tables, plots and comparisons of the finished ones.
"""
