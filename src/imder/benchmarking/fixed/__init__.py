"""Comparing ways to fill in missing modalities for *fixed models*, which were trained on complete clips alone.

A fixed model (`model`) predicts from complete clips. Where a modality is missing, a filler (`fillers`) puts raw features in
its place, once or in several draws over which predictions are averaged. `compare.compare_fillers` runs the experiment:
`experiment` fits and predicts, `folder` keeps the predictions of each cell, `results` evaluates them and `report` writes
tables.
"""
