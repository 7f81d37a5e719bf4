"""All notebooks in one command.

plan  which notebooks run, with which parameters, and what they read and write
run   those that are not up to date, each in a process of its own
"""
