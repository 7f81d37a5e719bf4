"""Shared utilities of all stages; imports none of the stages.

classes        class names, groups and colours
paths          locations of raw/, data/, runs/, results/ and figures/
files          atomic writes, folder locks, disk errors
outputs        safe output folders, filled atomically
checked_files  validating readers of text, JSON and CSV
run_files      readers of history.csv and of a notebook's parameters
processes      pools of worker processes, and the cores there are
pictures       what cut-outs and figures both draw
engine         MMSegmentation, imported once and quietly
"""
