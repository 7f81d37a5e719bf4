"""Fashion photos with the background gone: a thin library behind numbered notebooks.

raw data -> label maps and splits -> a run -> per-epoch checkpoints -> validation curve -> picked epoch
-> Table I -> figures -> cut-outs.

Stages meet only in files, and a module imports only from its own room or an earlier one:

    core        classes, paths, files, processes: what every room stands on
    data        anything -> ``raw/<data>`` -> label maps and splits in ``data/<data>`` -> training crops
    models      the table of networks, initial weights, checkpoints, inference
    train       data -> ``runs/<data>/<run>``: one weight file an epoch, and the history
    evaluate    runs -> validation scores, picked epochs, test scores
    report      scores -> Table I and the figures
    cutout      photo -> RGBA with the background gone

On top: ``cli``, ``notebook``, ``reproduce``, ``doctor``, ``export``, ``study``.
"""

__version__ = "0.1.0"
