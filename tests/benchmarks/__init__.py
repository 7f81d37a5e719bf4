"""What this project claims about speed and memory, measured: `make bench` writes results/benchmarks.md.

A number is a ratio against the alternative, measured in the same run, after the two were found to
give the same answers. Each module here is a section: ``measure()`` yields its `Line`s.
"""
