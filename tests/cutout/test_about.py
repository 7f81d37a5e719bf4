"""What a model says about itself."""

from cutout_stub import PERSON

from fashionlib import models
from fashionlib.cutout import segment


def test_about_names_model_data_and_licences(tmp_path):
    info = models.metadata_for("segmenter_vit_t", PERSON, "mini") | {
        "run": "my-run",
        "epoch": 7,
        "recipe": {"preset": "quick"},
        "data": "ccp-person",
        "class_set": "person",
        "init_report": {"source": "DINOv2 here", "licence": "Apache-2.0 there", "note": "Beware."},
    }
    real = models.build("segmenter_vit_t", len(PERSON), scale="mini")
    path = models.save(real, tmp_path / "model.safetensors", info)
    text = segment.about(path)
    facts = (
        "segmenter_vit_t",
        "my-run, epoch 7, preset quick",
        "bag, wallet",
        "class set person",
        "released under Apache-2.0",
        "DINOv2 here",
        "Apache-2.0 there",
        "Beware.",
        "THIRD_PARTY.md",
    )
    for fact in facts:
        assert fact in text
    again = info["init_report"] | {
        "source": "cache/b.pth",
        "note": "It started from cache/a.pth. It started from DINOv2 here. Beware.",
    }
    text = segment.about(models.save(real, path, info | {"init_report": again}))
    assert "cache/" not in text and "Beware." in text
    assert "DINOv2 here, trained in 2 earlier runs, each from what the one before had learnt." in text
    (tmp_path / "model.md").write_text("# A card")
    assert str(tmp_path / "model.md") in segment.about(path)
