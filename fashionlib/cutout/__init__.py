"""Cut-outs: the clothes of a photo, or the person who wears them, without the ground.

photos            files <-> upright RGB, with what travels beside the pixels
segment, vote     which pixels belong to what is kept; a dress or a top and a skirt, not both
edges             how opaque they are, and their colour without the old ground
quality           how good the cut-out probably is; calibrate fits that to real IoU
cut               one photo through those above
compose           crop, size, background, contact sheet
options, single   what is made of a photo, and its files
sources, report   which photos become which files, and what came of them
keys, engines     what is done already; several photos at once, in threads or processes
batch, preview    folders of photos, and a page that shows what came of them
on_ray            the same on a cluster
about             the model's facts: data, licences
panel             what notebook 06 shows, and its panel to choose by hand
"""

from fashionlib.cutout.compose import contact_sheet
from fashionlib.cutout.cut import remove_background
from fashionlib.cutout.segment import load_model

__all__ = ["contact_sheet", "load_model", "remove_background"]
