"""All six notebooks in one command.

plan  which notebooks run, with which parameters, and the files that they read and write
run   runs those that are not up to date, each in a process of its own
"""
