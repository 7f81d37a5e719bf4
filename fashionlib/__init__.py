"""Fashion photos with the background gone: a thin library behind six numbered steps.

raw data -> label maps and splits -> a run -> per-epoch checkpoints -> validation curve
-> picked epoch -> Table I -> figures -> cut-outs.

Every arrow is one module and one notebook; stages meet only in files:

``sources``   anything -> ``raw/<data>/`` in the iMaterialist (Fashion) 2020 layout
``prepare``   raw -> ``data/<data>/`` (photos, label maps, splits)
``train``     data -> ``runs/<data>/<run>/`` (one weight file an epoch, history)
``evaluate``  runs -> validation curve, picked epochs, test scores
``report``    results -> Table I and the figures
``cutout``    photo -> RGBA with the background gone
"""

__version__ = "0.1.0"
