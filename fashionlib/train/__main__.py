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
    asked = Path(sys.argv[1])
    try:
        train(Recipe.from_dict(json.loads(asked.read_text())))
    except Exception as error:  # the first to fail says why; the others only lose their connection
        rank = os.environ["RANK"]
        asked.with_name(f"{rank}.error").write_text(f"process {rank}: {type(error).__name__}: {error}.")
        raise
    finally:
        torch.distributed.destroy_process_group()
