"""The ground that every stage stands on; it knows no stage.

classes        the classes, their groups and colours
paths          where raw/, data/, runs/, results/ and figures/ lie
files          atomic writes, folder locks, full disks
outputs        output folders that a stage may claim, filled whole or not at all
checked_files  readers of text, JSON and CSV that others wrote
run_files      readers of history.csv and of a notebook's parameters
processes      pools of worker processes
engine         MMSegmentation, imported once and quietly
"""
