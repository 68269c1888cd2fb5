"""Many systems, seeds and protocols on one corpus: a grid that can be interrupted, shared and grown.

`plan` says what there is to do, `place` where it lies, `cell` does one part of it, `runner` all of it, and `report` makes
tables, plots and comparisons of whatever is there.
"""
