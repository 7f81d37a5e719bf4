"""SETR-PUP at 512 x 512, full scale, activation checkpointing, bf16, SGD with momentum: parameters,
momentum and the tensors that autograd keeps at the worst moment of a step, recomputed layers included.
Micro-batches of 1, 2 and 4 are measured; a larger one is extrapolated, since what a photo adds is constant
(asserted to 2 %). Gradients of accumulated micro-batches equal the large batch's with drop-path 0 and fixed
batch-norm statistics (tests/train/test_memory.py); in training, batch norm sees one micro-batch at a time,
which is why the largest true micro-batch matters. GB are 10^9 bytes.
"""

from collections.abc import Iterator

import torch

from tests.benchmarks.attention import batch, pair, saved
from tests.benchmarks.frame import Line, leaner
from tests.benchmarks.saved_tensors import fixed_bytes

GB = 1e9


def measure() -> Iterator[Line]:
    torch.set_num_threads(2)
    stock, _, lean = pair("setr_pup")
    fixed = fixed_bytes(lean, "SGD")
    kept = {n: saved(lean, *batch(n), "bf16") for n in (1, 2, 4)}
    a_photo = (kept[4] - kept[1]) / 3
    assert abs(kept[2] - kept[1] - a_photo) < 0.02 * a_photo, kept
    stock_kept = saved(stock, *batch(1), "fp32")
    base = kept[1] - a_photo
    yield leaner(
        "SETR-PUP, one photo: what autograd keeps", ("stock fp32", stock_kept), ("lean bf16", kept[1])
    )
    total = fixed + kept[2]
    theirs = f"stock fp32, 8 at once: {(fixed + 8 * stock_kept) / GB:.1f} GB"
    mine = f"lean bf16: {total / GB:.2f} GB, of which {fixed / GB:.2f} parameters, gradients, momentum"
    what = "SETR-PUP, total batch 8 by accumulation (4 x 2): peak in GB"
    yield Line(what, theirs, mine, total / GB, target="<= 8")
    for bar, target in ((8, ">= 4"), (11, ">= 6")):
        room = bar * GB - fixed
        theirs, mine = int(room // stock_kept), int((room - base) // a_photo)
        what = f"SETR-PUP, largest true micro-batch within {bar} GB: photos"
        yield Line(what, f"stock fp32: {theirs}", f"lean bf16: {mine}", mine, target=target)
