"""``torchrun … -m fashionlib.train RECIPE.json``: one process of a distributed run."""

import json
import os
import sys
from pathlib import Path

import torch

from fashionlib.train import Recipe, train

if __name__ == "__main__":
    # Before anything asks for its rank. MMEngine's own start-up insists on CUDA.
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        train(Recipe.from_dict(json.loads(Path(sys.argv[1]).read_text())))
    finally:
        torch.distributed.destroy_process_group()
