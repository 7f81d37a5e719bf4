"""Other data sets -> ``raw/<data>`` in the layout of Kaggle's iMaterialist (Fashion) 2020."""
