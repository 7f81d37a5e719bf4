"""What a borrowed GPU is asked for, tried on the CPU."""

import pandas as pd
from click.testing import CliRunner

from fashionlib import models
from tools.gpu import checks, steps


def test_steps_of_the_papers_models_beside_stock(tmp_path):
    out = tmp_path / "steps.csv"
    done = CliRunner().invoke(steps.main, ["--small", "--out", str(out)])
    assert done.exit_code == 0, done.output
    table = pd.read_csv(out)
    assert tuple(table.columns) == steps.COLUMNS
    keys = {(name, kind) for name in models.PAPER for kind in ("ours", "stock")}
    assert set(zip(table.model, table.kind, strict=True)) == keys and len(table) == 3 * len(keys)
    assert (table.images_per_second > 0).all()


def test_a_model_that_fails_leaves_the_others_their_rows(tmp_path, monkeypatch):
    def measure(name, small):
        if name == models.PAPER[1]:
            raise RuntimeError("CUDA out of memory")
        yield dict(model=name)

    monkeypatch.setattr(steps, "measure", measure)
    out = tmp_path / "steps.csv"
    done = CliRunner().invoke(steps.main, ["--out", str(out)])
    assert done.exit_code == 1 and f"FAILED: {models.PAPER[1]}" in done.output
    assert pd.read_csv(out).model.tolist() == [models.PAPER[0], *models.PAPER[2:]]


def test_checks_hold_and_a_failed_one_does_not_end_them(tmp_path, monkeypatch):
    def stock(_):
        raise ValueError("not\nequal")

    monkeypatch.setattr(checks, "stock", stock)  # the same as tests/models/test_fast.py, there with more rows
    out = tmp_path / "checks.txt"
    done = CliRunner().invoke(checks.main, ["--out", str(out)])
    lines = out.read_text().splitlines()
    assert done.exit_code == 1 and done.output.splitlines() == lines
    assert lines.pop(1) == "FAILED stock, cpu: ValueError: not equal"
    assert [line.split(",")[0] for line in lines] == ["ok bf16", "ok resumed", "ok scored", "ok sync_bn"]
    assert "bit-equal: True" in lines[1] and lines[2].startswith("ok scored, cpu: 0 of")
