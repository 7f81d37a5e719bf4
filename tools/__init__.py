"""The workshop: how the sample and the shipped cut-out model are made. Not installed; run from a checkout."""
