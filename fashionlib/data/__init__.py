"""Data pipeline: from photos and masks to label maps, splits and training crops.

In processing order:

sources/      converters to ``raw/<data>``, the layout of Kaggle's iMaterialist (Fashion) 2020
raw           reader, validator and writer of ``raw/<data>``
descriptions  reader of its label_descriptions.json
rle           conversion between run-length codes, masks and label maps
audit         one-page report on a raw folder
splits        train, val and test splits
prepared      reader and writer of the files in ``data/<data>``: photos, label maps, lists of ids
prepare       preparation of ``data/<data>`` from ``raw/<data>``
dataset       ``data/<data>`` as an MMSegmentation data set
transforms    resize, crop, flip and colour of a training photo
"""
