"""The ground that every stage stands on; it knows no stage.

classes        the classes, their groups and colours
paths          where raw/, data/, runs/, results/ and figures/ lie
files          atomic writes, folder locks, full disks
outputs        output folders that a stage may claim, filled whole or not at all
checked_files  readers of text, JSON and CSV that others wrote
run_files      readers of recipe.json and history.csv
parameters     the parameters of a notebook, read from its cells
processes      pools of worker processes
download       files from the web, resumed where they broke off
engine         MMSegmentation, imported once and quietly
"""
