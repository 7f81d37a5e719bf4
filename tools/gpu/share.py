"""How many training steps a second a GPU makes with several processes at once.

`python -m tools.gpu.share --processes 1 --processes 15` says what running many small models side by side
gains, with or without NVIDIA's multi-process service.
"""

import multiprocessing
import time

import click
import torch

from fashionlib import models


def work(seconds: float, ready, counts) -> None:
    """Make training steps of a ViT-S at the crops of the preset `study` for some seconds."""
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = models.build("segmenter_vit_s", 28, crop=(224, 154)).to(device)
    optimiser = torch.optim.AdamW(model.parameters(), fused=True)
    photos = torch.rand(8, 3, 224, 154, device=device)
    labels = torch.randint(0, 28, (8, 224, 154), device=device)

    def step() -> None:
        with models.autocast(device):
            logits = model.decode_head(model.extract_feat(photos))
            loss = torch.nn.functional.cross_entropy(
                torch.nn.functional.interpolate(logits.float(), labels.shape[1:], mode="bilinear"), labels
            )
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        loss.item()

    step()
    ready.wait(60)
    count, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        step()
        count += 1
    counts.put(count / seconds)


@click.command()
@click.option("--processes", multiple=True, type=int, default=(1, 15))
@click.option("--seconds", default=4.0)
def main(processes, seconds: float) -> None:
    """Print steps a second, all processes together, for each number of processes."""
    context = multiprocessing.get_context("spawn")
    for number in processes:
        ready, counts = context.Barrier(number), context.Queue()
        started = [context.Process(target=work, args=(seconds, ready, counts)) for _ in range(number)]
        for process in started:
            process.start()
        total = sum(counts.get(timeout=120) for _ in started)
        click.echo(f"{number} processes: {total:.0f} steps a second")
        for process in started:
            process.join()


if __name__ == "__main__":
    main()
