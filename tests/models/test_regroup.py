"""A checkpoint to start from with other classes."""

import numpy as np
import pytest
import torch

from fashionlib import models


@pytest.mark.parametrize("count", [2, 3, 5], ids=lambda count: f"{count}-classes")
def test_the_last_layer_is_made_of_the_old_one_and_the_rest_is_the_same(tmp_path, count):
    """Also where the number of classes stays the same (5) and their order does not."""
    torch.manual_seed(0)
    old = models.build("detail_vit_s", 5, scale="mini")
    path = models.save(old, tmp_path / "old.safetensors", old.metadata)
    values = {2: [0, 1, 1, 0, 0], 3: [0, 2, 1, 1, 0], 5: [0, 4, 3, 2, 1]}[count]
    names = ["background", *map(str, range(count - 1))]
    new = models.load(models.with_classes(path, tmp_path / "new.safetensors", names, np.array(values)))
    assert new.metadata["classes"] == names
    before, after = old.state_dict(), new.state_dict()
    sized = [name for name in before if "conv_seg" in name]
    assert len(sized) == 2 and before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before if name not in sized)
    for name in sized:
        assert torch.equal(after[name][0], before[name][0])
        for value in range(1, count):
            members = [before[name][i] for i in range(5) if values[i] == value]
            torch.testing.assert_close(after[name][value], sum(members) / len(members))
