"""``results/REPRODUCTION.md``: the paper claim by claim, in the form of the ML Reproducibility Challenge.

The prose is in ``assets/reproduction.md``; verdicts and intervals are computed from the committed studies.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from fashionlib.core import paths
from fashionlib.core.classes import BACKGROUND
from fashionlib.core.files import write_text
from fashionlib.report.studies import Results, in_points
from fashionlib.report.table1 import markdown

HERE = "ccp"  # the data of our studies
SUPPORTED, NOT_SUPPORTED, NOT_TESTABLE = "supported", "not supported", "not testable here"
OPPOSITE = "the opposite, here"
LEARNT = 0.06  # mIoU; the background alone gives 0.03
_FULL = "Needs iMaterialist 2020 and the ADE20K weights: `fashionlib reproduce --data imaterialist`."

Verdict = tuple[str, str]  # one of the four, and the row that says so


@dataclass(frozen=True)
class Pair:
    """A claim that arm `higher` of a study scores more than arm `lower`."""

    study: str
    higher: str
    lower: str
    measure: str = "mIoU"

    def __call__(self, studies: dict[str, Results]) -> Verdict:
        """Supported if the 95 % interval of the difference lies above 0.

        Not testable without an interval, and where neither arm has `LEARNT`.
        """
        mine = studies.get(self.study)
        found = mine.difference(self.higher, self.lower, self.measure) if mine else None
        if found is None:
            return NOT_TESTABLE, f"No seed of both arms of the study `{self.study}` is stored."
        row = (
            f'[{self.study}]({HERE}/studies/{self.study}.md): "{self.higher}" against "{self.lower}", '
            f"{self.measure}: {in_points(found)}, {found.seeds} seed{'s' if found.seeds > 1 else ''}"
        )
        if found.verdict == "tie":
            row += f"; a tie, {100 * found.detectable:.1f} points would have been detected"
        if self.measure == "mIoU" and max(found.a, found.b) < LEARNT:
            return NOT_TESTABLE, f"{row}; neither has learnt more than the background and a little clothing"
        told = {"A": SUPPORTED, "B": OPPOSITE, "u": NOT_TESTABLE}.get(found.verdict[0], NOT_SUPPORTED)
        return told, row


def _not_testable(_: dict[str, Results]) -> Verdict:
    return NOT_TESTABLE, _FULL


def _rare_classes(_: dict[str, Results]) -> Verdict:
    """What the rarer half of the classes has of the lost IoU and of the wrong pixels, in Table I."""
    table = pd.read_csv(paths.published_results(HERE) / "per_class.csv")
    table = table[(table.pixels > 0) & (table["class"] != BACKGROUND)]
    shares = []
    for _, rows in table.groupby("run"):
        rare = rows.pixels <= rows.pixels.median()
        wrong, lost = rows.pixels * (1 - rows.accuracy), 1 - rows.IoU
        shares.append((lost[rare].sum() / lost.sum(), wrong[rare].sum() / wrong.sum()))
    (low, _), (_, high) = min(shares), max(shares, key=lambda share: share[1])
    row = (
        f"[table1]({HERE}/table1.md): the rarer half of the classes has at least {100 * low:.0f} % of "
        f"the lost IoU and at most {100 * high:.0f} % of the wrong pixels, in every run"
    )
    return (SUPPORTED if low > high else NOT_SUPPORTED), row


def _overfits(studies: dict[str, Results]) -> Verdict:
    """How far SETR's validation mIoU at batch 2 ends below its best epoch; a point counts as a fall."""
    curves = studies["batch"].epochs if "batch" in studies else pd.DataFrame(columns=["arm", "run", "mIoU"])
    curves = curves[curves.arm.isin(["PUP, batch 2", "MLA, batch 2"])].groupby("run").mIoU
    if not len(curves):
        return NOT_TESTABLE, "No run of SETR at batch 2 is stored."
    lost = 100 * (curves.max() - curves.last())
    row = (
        f"[batch]({HERE}/studies/batch.md): SETR at batch 2 ends {lost.mean():.1f} points of validation mIoU "
        f"below the best epoch, {lost.max():.1f} at most, {len(lost)} runs of 8 epochs (the paper: 15)"
    )
    return (SUPPORTED if lost.mean() > 1 else NOT_SUPPORTED), row


def _background(_: dict[str, Results]) -> Verdict:
    """The shipped cut-out model's person IoU beside GrabCut's on the same test photos."""
    table = pd.read_csv(paths.PROJECT / "results" / "cutouts" / "scores.csv")
    mine = table[table.data == "ccp-person"].drop_duplicates("method").set_index("method")
    ours, grabcut = mine[mine.model.str.startswith("detail", na=False)].iloc[0], mine.loc["GrabCut"]
    row = (
        f"[cutouts](cutouts/scores.md): person IoU {100 * ours.person_IoU:.1f} "
        f"({100 * ours.person_IoU_low:.1f} to {100 * ours.person_IoU_high:.1f}) on {ours.photos} photos, "
        f"GrabCut {100 * grabcut.person_IoU:.1f}"
    )
    return (SUPPORTED if ours.person_IoU_low > grabcut.person_IoU_high else NOT_SUPPORTED), row


CLAIMS: tuple[tuple[str, Callable[[dict[str, Results]], Verdict]], ...] = (
    ("Segmenter ViT-B is best in aAcc and mIoU (Table I)", _not_testable),
    (
        "Segmenter's mask transformer is the better decoder (Table I; there encoder and batch differ too)",
        Pair("decoders", "mask transformer", "MLA"),
    ),
    (
        "… and on a frozen encoder",
        Pair("decoders", "mask transformer, frozen encoder", "MLA, frozen encoder"),
    ),
    ("… and trained four times as long", Pair("decoders_long", "mask transformer", "MLA")),
    ("The encoder's size decides", Pair("encoder_size", "mini-L", "mini-T")),
    ("ViT-T is too small", Pair("encoder_size", "ViT-S", "ViT-T")),
    (
        "A batch of 2 makes SETR PUP's validation curve irregular",
        Pair("batch", "PUP, batch 2", "PUP, batch 8", "irregularity"),
    ),
    ("… and SETR MLA's", Pair("batch", "MLA, batch 2", "MLA, batch 8", "irregularity")),
    ("SETR overfits: its validation mIoU falls again", _overfits),
    ("Small and rare objects cost mIoU and hardly aAcc", _rare_classes),
    (
        "Transformers have good potential for background removal (tried with our own cut-out model)",
        _background,
    ),
    ("Wish: a larger batch helps SETR PUP", Pair("batch", "PUP, batch 8", "PUP, batch 2")),
    ("Wish: patches of 8 pixels, at equal photos", Pair("patch", "patch 8", "patch 16")),
    ("… and at equal compute", Pair("patch", "patch 8", "patch 16, equal compute")),
    ("Wish: ViT-L in Segmenter", _not_testable),
    (
        "Wish: balanced classes, by weights",
        Pair("imbalance", "weights 1/sqrt(frequency)", "cross-entropy"),
    ),
    (
        "… by photos drawn more often",
        Pair("imbalance", "rare photos oversampled", "cross-entropy"),
    ),
    (
        "… by a loss in which every class weighs the same (Lovász)",
        Pair("imbalance", "cross-entropy + Lovász", "cross-entropy"),
    ),
)


def write(studies: dict[str, Results]) -> str:
    """Write ``results/REPRODUCTION.md`` and return it; `studies` are those of which anything is stored."""
    found = [(claim, *test(studies)) for claim, test in CLAIMS]
    cells = pd.DataFrame(found, columns=["claim", "verdict", "the row that says so"])
    headlines = "\n".join(f"- **{each.question}** {each.verdict()}" for each in studies.values())
    template = (paths.ASSETS / "reproduction.md").read_text(encoding="utf-8")
    page = template.format(claims=markdown(cells), headlines=headlines)
    write_text(paths.PROJECT / "results" / "REPRODUCTION.md", page)
    return page
