"""A recipe: every number of a training run, resolved, in one frozen record.

The numbers live in three places, each once: the paper's in its text, MMSegmentation's in the
configs it ships (`fashionlib.models.config`), ours in `PRESETS` and `_own`. A recipe is the model's
shipped config, changed by a preset, changed by the caller; it remembers where each value came from.
"""

from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from typing import Any

from fashionlib import models
from fashionlib.core import paths
from fashionlib.core.classes import check_name
from fashionlib.train import allowed

PAPER, CONFIG, OURS, CALLER = "paper", "MMSegmentation config", "ours", "given"

_ADAMW = dict(
    batch=8, optimizer="AdamW", weight_decay=0.05, schedule="cosine", clip_grad=1.0, resize_range=(0.75, 1.5)
)
_GENTLE = dict(
    _ADAMW, lr=1e-4, head_lr_mult=10.0, layer_decay=0.8, min_lr=1e-6, warmup=0.05, test_mode="whole"
)
PRESETS: dict[str, dict[str, Any]] = {
    # the paper's recipe for its four models; for the other rows their own config's
    "paper": dict(epochs=15),
    # from scratch on the drawn sample, minutes on a laptop: SGD at 0.001 is made for fine-tuning
    "quick": dict(
        _ADAMW,
        epochs=10,
        lr=1e-3,
        head_lr_mult=1.0,
        min_lr=1e-5,
        warmup=0.1,
        photometric=False,
        precision="fp32",  # some CPUs are quicker in bf16, but the sample's numbers are to be the same on all
    ),
    # a pretrained encoder on a small data set: gentle below, brisk above
    "finetune": dict(_GENTLE, epochs=15),
    # `finetune` for comparisons on two CPU cores (results/ccp): fewer epochs, crops at a fifth of a photo's
    # sides (in whole patches: 224 x 154 with patches of 14), the encoder's lower half as it was pretrained
    "study": dict(
        _GENTLE, epochs=8, crop=(224, 160), resize_base=(1120, 280), test_resize=(1120, 280), freeze=6
    ),
}


def _own(preset: str, model: str, scale: str, init: str) -> dict[str, Any]:
    """Settings of a preset that are specific to a model, its scale or its initial weights."""
    spec, own = models.spec(model), {}
    if preset == "quick" and spec.family == "Segmenter":
        # at 0.001 a deep one stays on a plateau, for two epochs or six, by how a machine rounds
        own = dict(lr=3e-4)
    if preset == "quick" and spec.family == "SETR":
        own = dict(batch=4, epochs=8)  # learns quicker from more and smaller steps
    if preset == "paper" and model == "segmenter_vit_l" and scale == "full":
        own = dict(crop=(512, 512))  # as the paper's four; its shipped config has 640
    if preset == "study" and init == "none":  # nothing pretrained that would have to be spared
        own |= dict(freeze=None, layer_decay=None, lr=5e-4, head_lr_mult=1.0)
    return own


# what the paper states (section III-C) for its four models; anything else in a recipe is not from it
_STATED = dict(
    epochs=15,
    optimizer="SGD",
    lr=1e-3,
    momentum=0.9,
    schedule="poly",
    resize_range=(0.5, 2.0),
    crop=(512, 512),
    flip=0.5,
    class_weight="none",
    loss="cross_entropy",
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights of a run, and how it is run. Make one with `from_preset`.

    Sizes are (height, width) in pixels, `resize_base` and `test_resize` (long, short) as
    MMSegmentation has them; `batch` counts photos an optimiser step sees, over all GPUs and
    accumulated steps; `warmup` is a fraction of all iterations; `lr` is the encoder's.
    """

    model: str
    data: str
    preset: str
    scale: str = "full"
    init: str = "none"
    variant: str = ""
    # schedule
    epochs: int = 15
    batch: int
    batch_is: str = "total"  # "total", or "per_gpu": the paper does not say which it means
    accumulate: int = 1
    optimizer: str
    lr: float
    momentum: float
    weight_decay: float
    head_lr_mult: float
    layer_decay: float | None = None
    freeze: int | None = None  # the encoder's embeddings and this many lower layers stay as they are
    patch: int | None = None  # side length of the encoder's patches in pixels: 8, 14 or 16; None: the row's
    norm: str = "batch"  # of heads and convolutional encoders: batch, frozen_batch or group (models.build)
    schedule: str
    power: float
    min_lr: float
    warmup: float = 0.0
    clip_grad: float | None = None
    # photos
    photos: int | None = None
    oversample_thr: float | None = None  # fraction of photos below which a class is oversampled (LVIS)
    # the decode head's loss; auxiliary heads keep their cross-entropy
    class_weight: str = "none"  # in the cross-entropy; "inverse", "sqrt_inverse": of its share of the pixels
    loss: str = "cross_entropy"  # "focal"; "lovasz", "dice": cross-entropy plus that
    crop: tuple[int, int]
    resize_base: tuple[int, int]
    resize_range: tuple[float, float]
    cat_max_ratio: float
    flip: float
    photometric: bool
    # testing
    test_mode: str
    test_resize: tuple[int, int]
    # machine
    seed: int = 0
    gpus: int = 1
    workers: int = 2
    activation_checkpointing: bool = False  # less memory, about a third more time
    precision: str = "auto"
    compile: bool = False  # the encoder through torch.compile
    trust_checkpoint: bool | None = None  # load the file `init` even where that lets it run code
    origin: dict[str, str] = field(default_factory=dict, compare=False)

    @classmethod
    def from_preset(cls, preset: str, *, model: str, data: str, **overrides) -> "Recipe":
        """The recipe of `preset` for `model` on `data`; an override of None means the preset's value.

        Raises:
            ValueError: an invalid name or value, with what is allowed.
        """
        for name in overrides:
            allowed.refuse_old_name(name)
            check_name(name, _SETTINGS, "setting")
        given = {name: _plain(value) for name, value in overrides.items() if value is not None}
        run = dict(model=model, data=data, preset=preset)
        for name, value in (run | given).items():  # before a config is made of them
            allowed.check(name, value, _KINDS[name])
        check_name(preset, PRESETS, "preset")
        row, scale = models.spec(model), given.get("scale", "full")
        if check_name(scale, models.SCALES, "scale") != "full" and row.own:
            raise ValueError(f"scale={scale!r}: a config file's model has one scale: give scale='full'.")
        patch = given.get("patch")
        ours = PRESETS[preset] | _own(preset, model, scale, given.get("init", "none"))
        if "crop" in ours:
            ours["crop"] = models.whole_patches(ours["crop"], models.patch_size(row, scale, patch))
        crop = given.get("crop", ours.get("crop"))
        values = _defaults(model) | _from_config(model, scale, crop, patch) | ours | given | run
        origin = {name: _origin(name, values[name], preset, model, given) for name in _SETTINGS}
        if "variant" not in given:
            apart = [f"{given['photos']}photos"] if given.get("photos") else []
            values["variant"] = "-".join(apart + ([f"s{given['seed']}"] if given.get("seed") else []))
        recipe = cls(**values, origin=origin)
        recipe.check()
        return recipe

    @property
    def name(self) -> str:
        """The run's key in runs/, history/ and every table."""
        return paths.run_name(self.model, self.scale, self.init, self.variant)

    @property
    def architecture(self) -> dict[str, Any]:
        """The settings that shape the network, as keywords of `models.build` and `models.metadata_for`."""
        return dict(scale=self.scale, crop=self.crop, patch=self.patch, norm=self.norm)

    @property
    def photos_per_step(self) -> int:
        """Photos one process holds at once: the micro-batch that memory must hold."""
        return self.batch // self._shares

    @property
    def _shares(self) -> int:
        return (1 if self.batch_is == "per_gpu" else self.gpus) * self.accumulate

    def check(self) -> None:
        """Raise ValueError for the first setting that is out of range or contradicts another."""
        for name in _KINDS:
            allowed.check(name, getattr(self, name), _KINDS[name])
        for name, choices in (
            ("scale", models.SCALES),
            ("batch_is", ("total", "per_gpu")),
            ("optimizer", ("SGD", "AdamW")),
            ("schedule", ("poly", "cosine")),
            ("test_mode", ("slide", "whole")),
            ("class_weight", ("none", "inverse", "sqrt_inverse")),
            ("loss", models.LOSSES),
            ("precision", models.PRECISIONS),
        ):
            check_name(getattr(self, name), choices, name)
        if self.resize_range[0] > self.resize_range[1]:
            raise ValueError(f"resize_range={self.resize_range}: the smaller number comes first.")
        paths.run_folder(self.data, self.name)  # refuses a variant that can't name a folder
        share = self._shares
        if self.batch % share:
            raise ValueError(
                f"batch={self.batch} can't be shared by gpus={self.gpus} x accumulate={self.accumulate}: "
                f"make it a multiple of {share}."
            )
        models.check_norm(self.model, self.norm)
        patch = models.patch_size(self.model, self.scale, self.patch)
        if patch and any(side % patch for side in self.crop):
            raise ValueError(
                f"crop={self.crop}: both sides must be multiples of the patch size {patch} of {self.model}."
            )
        if self.loss == "focal" and self.class_weight != "none":
            raise ValueError(f"class_weight={self.class_weight!r} is for cross-entropy, not loss='focal'.")
        plain = (self.loss, self.class_weight) == ("cross_entropy", "none")
        if models.spec(self.model).own_loss and not plain:
            raise ValueError(f"{self.model} has a loss of its own: leave out loss and class_weight.")
        layers = models.layers(self.model, self.scale)
        if self.freeze is not None and not 0 <= self.freeze <= layers:
            raise ValueError(f"freeze={self.freeze}: {self.model} has {layers} transformer layers to freeze.")

    def to_dict(self) -> dict:
        """JSON-ready, without `origin`."""
        values = asdict(self)
        del values["origin"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict) -> "Recipe":
        """The recipe from the result of `to_dict`."""
        return cls(**{name: _plain(value) for name, value in values.items()})


_KINDS = {f.name: f.type for f in fields(Recipe) if f.name != "origin"}
_SETTINGS = tuple(name for name in _KINDS if name not in ("model", "data", "preset"))


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _defaults(model: str) -> dict[str, Any]:
    own = {f.name: f.default for f in fields(Recipe) if f.default is not MISSING}
    return own | dict(batch=models.spec(model).paper_batch or 8)


@cache
def _from_config(
    model: str, scale: str, crop: tuple[int, int] | None, patch: int | None = None
) -> dict[str, Any]:
    """The settings that the row's shipped MMSegmentation config fixes."""
    cfg = models.config(model, scale=scale, crop=crop, patch=patch)
    wrapper, poly = cfg.optim_wrapper, cfg.param_scheduler[0]
    transforms = {t["type"]: t for t in cfg.train_pipeline}
    head = wrapper.get("paramwise_cfg", {}).get("custom_keys", {}).get("head", {})
    size = tuple(cfg.model.data_preprocessor.size)
    resize = models.test_resize(cfg, scale, crop)
    return dict(
        optimizer=wrapper.optimizer.type,
        lr=wrapper.optimizer.lr,
        momentum=wrapper.optimizer.momentum,
        weight_decay=wrapper.optimizer.weight_decay,
        head_lr_mult=head.get("lr_mult", 1.0),
        schedule="poly",
        power=poly.power,
        min_lr=poly.eta_min,
        norm="batch",
        crop=size,
        resize_base=resize,
        resize_range=tuple(transforms["RandomResize"]["ratio_range"]),
        cat_max_ratio=transforms["RandomCrop"]["cat_max_ratio"],
        flip=transforms["RandomFlip"]["prob"],
        photometric="PhotoMetricDistortion" in transforms,
        test_mode=cfg.model.test_cfg.mode,
        test_resize=resize,
    )


def _origin(name: str, value: Any, preset: str, model: str, given: dict) -> str:
    if name in given:
        return CALLER
    paper_row = models.spec(model).paper_batch
    if preset == "paper" and paper_row and (name == "batch" or (name in _STATED and _STATED[name] == value)):
        return PAPER
    if name in PRESETS[preset] or name not in (shipped := _shipped(model)):
        return OURS
    return CONFIG if value == shipped[name] else OURS


@cache
def _shipped(model: str) -> dict[str, Any]:
    """The row's settings at the crop of its shipped config, whatever ours is."""
    return _from_config(model, "full", models.shipped_crop(model))
