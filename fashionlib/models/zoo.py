"""The table of models: each row lists only its differences from the config that MMSegmentation ships."""

import re
from dataclasses import dataclass, field

_WEIGHTS = "https://mmassets.onedl.ai/mmsegmentation/v0.5/"  # as in the package's metafile.yaml

# ViT-S as DINOv2 publishes it, the same under every decoder
_VIT_S = dict(
    patch_size=14, embed_dims=384, num_layers=12, num_heads=6, drop_rate=0.0, patch_bias=True,
    final_norm=True, with_cls_token=True, norm_cfg=dict(type="LN", eps=1e-6), out_indices=(2, 5, 8, 11),
    interpolate_mode="bicubic",
)  # fmt: skip
_AT_518 = dict(patch=14, crop=(518, 518), dinov2="vit_s")
IMAGENET = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375])


@dataclass(frozen=True)
class ModelSpec:
    """One row of the table.

    `config` is a path below MMSegmentation's configs. `change` and, at scale ``mini``, `mini` are merged into
    its ``model``; their ``auxiliary_head`` is merged into each auxiliary head. ``_delete_=True`` replaces a
    dict instead. `crop` (height, width) and `patch` are in pixels. `paper_batch` is the batch size in the
    paper's section III-C, None for models that the paper did not train. `own` is the ``model`` of someone's
    own config file, in place of that of `config` (`fashionlib.models.specs`).
    """

    name: str
    family: str
    encoder: str
    decoder: str
    config: str
    mini: dict
    patch: int | None = 16
    change: dict = field(default_factory=dict)
    crop: tuple[int, int] | None = None  # None: the config's
    ade20k: str | None = None
    dinov2: str | None = None
    paper_batch: int | None = None
    own: dict | None = None

    def encoder_at(self, scale: str) -> str:
        """Name of the encoder at a scale: ``mini-B`` is the small version of a ``ViT-B``."""
        return self.encoder if scale == "full" else f"mini-{self.encoder.removeprefix('ViT-')}"

    @property
    def ade20k_url(self) -> str | None:
        """URL of MMSegmentation's ADE20K checkpoint, None where none is published for this row.

        `ade20k` is ``<family>/<name>_<date>-<hash>.pth``; the server has a folder for each name.
        """
        return self.ade20k and _WEIGHTS + re.sub(r"/(.+)(_\d{8}_.+)", r"/\1/\1\2", self.ade20k)

    @property
    def batch_norm(self) -> bool:
        """Whether the network has batch norms; Segmenter's decoders have none."""
        return self.family != "Segmenter"

    @property
    def own_loss(self) -> bool:
        """Whether the decode head has another loss than one plain cross-entropy."""
        plain = {"type": "CrossEntropyLoss"}
        loss = self.own["decode_head"].get("loss_decode", plain) if self.own else plain
        other = not isinstance(loss, dict) or loss.get("type") != plain["type"] or loss.get("use_sigmoid")
        return self.family == "Detail" or bool(other)


# Width x layers of the scale `mini`, in the real sizes' order: T 128 x 4, S 128 x 5, B 160 x 5, L 160 x 6
def _mini_vit(dims: int, layers: int, **more) -> dict:
    return dict(embed_dims=dims, num_layers=layers, num_heads=dims // 32, patch_size=8, **more)


def _mini_segmenter(dims: int, layers: int) -> dict:
    head = dict(in_channels=dims, channels=dims, embed_dims=dims, num_heads=dims // 32)
    return dict(backbone=_mini_vit(dims, layers), decode_head=head)


def _mini_linear(dims: int, layers: int) -> dict:
    return dict(backbone=_mini_vit(dims, layers), decode_head=dict(in_channels=dims, channels=dims))


def _mini_setr(dims: int, layers: int, decode: dict = {}, auxiliary: dict = {}) -> dict:  # noqa: B006  (never changed)
    """Mini SETR: outputs of the last four layers, every auxiliary head, a quarter of the channels."""
    head = dict(in_channels=dims, channels=64)
    return dict(
        backbone=_mini_vit(dims, layers, out_indices=_last_four(layers)),
        decode_head=head | decode, auxiliary_head=head | auxiliary,
    )  # fmt: skip


def _last_four(layers: int) -> tuple[int, ...]:
    return tuple(range(layers - 4, layers))


# PUP's decode head doubles in every stage: 2 x 2 x 2 undoes patch 8 (the shipped four: patch 16)
PUP_AT_8 = dict(decode_head=dict(num_convs=3), auxiliary_head=dict(num_convs=1))


def _mini_pup(dims: int, layers: int) -> dict:
    return _mini_setr(dims, layers, PUP_AT_8["decode_head"], PUP_AT_8["auxiliary_head"])


def _mini_mla(dims: int, layers: int) -> dict:
    return dict(
        backbone=_mini_vit(dims, layers, out_indices=_last_four(layers)),
        neck=dict(in_channels=[dims] * 4, out_channels=64),
        decode_head=dict(in_channels=(64,) * 4, channels=192, mla_channels=48),
        auxiliary_head=dict(in_channels=64, channels=64),
    )


def _wide(dims: int) -> dict:
    """The shipped linear decoder at another encoder width; MMSegmentation configures it for ViT-S only."""
    return dict(
        backbone=dict(embed_dims=dims, num_heads=dims // 64),
        decode_head=dict(in_channels=dims, channels=dims),
    )


_S_SEGMENTER = dict(data_preprocessor=IMAGENET, backbone=_VIT_S)
_S_SETR = dict(backbone=_VIT_S, decode_head=dict(in_channels=384), auxiliary_head=dict(in_channels=384))
_SEG, _SETR = "segmenter/segmenter_vit-{}_8xb1-160k_ade20k-512x512.py", "setr/setr_vit-l{}_ade20k-512x512.py"
_MLA, _PUP, _NAIVE = (_SETR.format(d) for d in ("-mla_8xb1-160k", "_pup_8xb2-160k", "_naive_8xb2-160k"))

_ROWS = (
    # the paper's four
    ModelSpec(
        "segmenter_vit_t", "Segmenter", "ViT-T", "mask transformer", _SEG.format("t_mask"),
        mini=_mini_segmenter(128, 4), paper_batch=8,
        ade20k="segmenter/segmenter_vit-t_mask_8x1_512x512_160k_ade20k_20220105_151706-ffcf7509.pth",
    ),
    ModelSpec(
        "segmenter_vit_b", "Segmenter", "ViT-B", "mask transformer", _SEG.format("b_mask"),
        mini=_mini_segmenter(160, 5), paper_batch=4, dinov2="vit_b",
        ade20k="segmenter/segmenter_vit-b_mask_8x1_512x512_160k_ade20k_20220105_151706-bc533b08.pth",
    ),
    ModelSpec(
        "setr_mla", "SETR", "ViT-L", "MLA", _MLA, mini=_mini_mla(160, 6), paper_batch=2, dinov2="vit_l",
        ade20k="setr/setr_mla_512x512_160k_b8_ade20k_20210619_191118-c6d21df0.pth",
    ),
    ModelSpec(
        "setr_pup", "SETR", "ViT-L", "PUP", _PUP, mini=_mini_pup(160, 6), paper_batch=2, dinov2="vit_l",
        ade20k="setr/setr_pup_512x512_160k_b16_ade20k_20210619_191343-7e0ce826.pth",
    ),
    # decoders that the paper describes, and its future work
    ModelSpec(
        "setr_naive", "SETR", "ViT-L", "naive", _NAIVE, mini=_mini_setr(160, 6), dinov2="vit_l",
        ade20k="setr/setr_naive_512x512_160k_b16_ade20k_20210619_191258-061f24f5.pth",
    ),
    ModelSpec(
        "segmenter_vit_t_linear", "Segmenter", "ViT-T", "linear", _SEG.format("s_fcn"),
        mini=_mini_linear(128, 4), change=_wide(192),
    ),
    ModelSpec(
        "segmenter_vit_b_linear", "Segmenter", "ViT-B", "linear", _SEG.format("s_fcn"),
        mini=_mini_linear(160, 5), change=_wide(768), dinov2="vit_b",
    ),
    ModelSpec(
        "segmenter_vit_l", "Segmenter", "ViT-L", "mask transformer",
        "segmenter/segmenter_vit-l_mask_8xb1-160k_ade20k-512x512.py",
        mini=_mini_segmenter(160, 6), dinov2="vit_l",
        ade20k="segmenter/segmenter_vit-l_mask_8x1_512x512_160k_ade20k_20220105_162750-7ef345be.pth",
    ),
    # one pretrained encoder under every decoder of the paper
    ModelSpec(
        "segmenter_vit_s", "Segmenter", "ViT-S", "mask transformer", _SEG.format("s_mask"),
        mini=_mini_segmenter(128, 5), change=_S_SEGMENTER, **_AT_518,
    ),
    ModelSpec(
        "segmenter_vit_s_linear", "Segmenter", "ViT-S", "linear", _SEG.format("s_fcn"),
        mini=_mini_linear(128, 5), change=_S_SEGMENTER, **_AT_518,
    ),
    ModelSpec(
        "setr_vit_s_naive", "SETR", "ViT-S", "naive", _NAIVE, mini=_mini_setr(128, 5), change=_S_SETR,
        **_AT_518,
    ),
    ModelSpec(
        "setr_vit_s_pup", "SETR", "ViT-S", "PUP", _PUP, mini=_mini_pup(128, 5), change=_S_SETR,
        **_AT_518,
    ),
    ModelSpec(
        "setr_vit_s_mla", "SETR", "ViT-S", "MLA", _MLA, mini=_mini_mla(128, 5),
        change=dict(backbone=_VIT_S, neck=dict(in_channels=[384] * 4)), **_AT_518,
    ),
    # ours: the shipped cut-out model's architecture
    ModelSpec(
        "detail_vit_s", "Detail", "ViT-S", "detail", _SEG.format("s_fcn"),
        mini=dict(
            backbone=_mini_vit(128, 5, out_indices=_last_four(5), detail=(16, 32)),
            decode_head=dict(in_channels=(*[128] * 4, 16, 32), channels=32, widths=(64, 48)),
        ),
        change=dict(
            data_preprocessor=IMAGENET, backbone=_VIT_S | dict(type="DetailViT"),
            decode_head=dict(
                _delete_=True, type="DetailHead", in_channels=(*[384] * 4, 32, 64), channels=64,
                dropout_ratio=0.1, loss_decode=dict(type="CrossEntropyLoss", loss_weight=1.0),
            ),
        ),
        **_AT_518,
    ),
    # the predecessors that the paper names
    ModelSpec(
        "unet", "U-Net", "UNet-S5-D16", "FCN", "unet/unet-s5-d16_fcn_4xb4-160k_cityscapes-512x1024.py",
        mini=dict(
            backbone=dict(base_channels=16), decode_head=dict(in_channels=16, channels=16),
            auxiliary_head=dict(in_channels=32, channels=16),
        ),
        patch=None, crop=(512, 512),
    ),
    ModelSpec(
        "deeplabv3plus_r50", "DeepLabV3+", "ResNet-50", "ASPP",
        "deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512.py",
        mini=dict(
            backbone=dict(base_channels=16), auxiliary_head=dict(in_channels=256, channels=32),
            decode_head=dict(in_channels=512, channels=64, c1_in_channels=64, c1_channels=16),
        ),
        patch=None,
        ade20k="deeplabv3plus/deeplabv3plus_r50-d8_512x512_160k_ade20k_20200615_124504-6135c7e0.pth",
    ),
)  # fmt: skip

MODELS: dict[str, ModelSpec] = {row.name: row for row in _ROWS}
PAPER = tuple(row.name for row in _ROWS if row.paper_batch)
SCALES = ("full", "mini")
MINI_CROP = (128, 128)
PATCHES = (8, 14, 16)
NORMS = ("batch", "frozen_batch", "group")
