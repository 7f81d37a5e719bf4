"""From anybody's photos and masks to label maps, splits and training crops.

In the order in which the data meet them:

sources/      other data sets -> ``raw/<data>`` in the layout of Kaggle's iMaterialist (Fashion) 2020
raw           ``raw/<data>``, read, checked and written
rle           run-length code <-> mask, and codes -> label map
audit         one page about a raw folder
splits        photos -> train, val and test
prepared      the files of ``data/<data>``: photos, label maps, lists of ids, written and read
prepare       raw -> ``data/<data>``
dataset       ``data/<data>`` as an MMSegmentation data set
transforms    resize, crop, flip and colour of a training photo
"""
