"""Numbers printed in Anderson, *Regularization and Applications of a Network Structure Deep Image Prior*."""

from __future__ import annotations

import pandas as pd

from .pictures import Cast
from .report import Table, number

SOURCE = "Anderson, Regularization and Applications of a Network Structure Deep Image Prior"

# Table 1, blur of 5 pixels: (picture, noise): Wiener, ADMM + TV of weight 5e-3 and 5e-2, Wiener and then the network.
DECONVOLUTION = {
    ("house", 1e-3): (24.9376, 23.5814, 22.4688, 24.8879),
    ("house", 1e-2): (23.5545, 23.5759, 22.4694, 23.4526),
    ("house", 1e-1): (18.1195, 23.0354, 22.3920, 17.6956),
    ("parrots", 1e-3): (26.6473, 25.9782, 25.2714, 25.7898),
    ("parrots", 1e-2): (25.8921, 25.9751, 25.2696, 25.2730),
    ("parrots", 1e-1): (19.6848, 25.3060, 25.1263, 19.5468),
}
# Table 2: picture: noise: NLM, BM3D or CBM3D, network. Noise added, then clipped to [0, 1].
DENOISING = {
    ("cameraman", 5e-3): (31.3169, 47.1748, 28.7472),
    ("cameraman", 1e-2): (31.2866, 42.4136, 28.6989),
    ("cameraman", 5e-2): (30.3413, 32.6561, 28.1155),
    ("cameraman", 1e-1): (26.8188, 29.1090, 27.12),
    ("cameraman", 5e-1): (9.0870, 18.5934, 18.17),
    ("hill", 5e-3): (32.1112, 46.4566, 29.6394),
    ("hill", 1e-2): (32.0878, 41.3285, 29.1170),
    ("hill", 5e-2): (31.3310, 32.5035, 29.5311),
    ("hill", 1e-1): (27.4636, 29.7353, 28.7299),
    ("hill", 5e-1): (9.0704, 20.9436, 19.0584),
    ("f16", 5e-3): (36.6710, 47.5239, 29.4907),
    ("f16", 1e-2): (36.5363, 43.1490, 29.2364),
    ("f16", 5e-2): (33.3319, 35.6655, 28.3844),
    ("f16", 1e-1): (26.6053, 32.6968, 28.5641),
    ("f16", 5e-1): (9.2171, 19.1744, 18.1657),
    ("baboon", 5e-3): (28.2113, 46.1411, 21.2136),
    ("baboon", 1e-2): (28.1641, 40.4113, 20.9389),
    ("baboon", 5e-2): (26.8323, 29.2229, 21.0951),
    ("baboon", 1e-1): (22.9737, 25.8018, 21.1132),
    ("baboon", 5e-1): (9.0955, 18.0825, 17.2367),
}
# Table 3: (picture, prior): compression 1, 2, 4, 8.
SINGLE_PIXEL = {
    ("logo", "TV"): (51.1815, 43.1129, 17.6178, 15.7656),
    ("logo", "NLM"): (47.8160, 42.3209, 33.6182, 16.4523),
    ("logo", "BM3D"): (56.1739, 50.2682, 42.1280, 20.9842),
    ("logo", "DIP"): (18.9983, 23.4179, 13.5192, 10.9844),
    ("barbara", "TV"): (38.1158, 28.9712, 23.7100, 20.2931),
    ("barbara", "NLM"): (40.1670, 31.2341, 25.4420, 20.1481),
    ("barbara", "BM3D"): (41.6852, 31.8059, 26.2328, 21.6473),
    ("barbara", "DIP"): (23.3253, 20.7045, 19.0856, 16.7318),
}
COMPRESSIONS = (1, 2, 4, 8)
# The pictures of each table.
TABLES = {
    number: tuple(dict.fromkeys(name for name, _ in table))
    for number, table in ((1, DECONVOLUTION), (2, DENOISING), (3, SINGLE_PIXEL))
}


def side_by_side(records: list[dict[str, object]], title: str, caption: str, cast: Cast) -> tuple[Table, str]:
    """ "published | ours | difference" for records with those two numbers, as a table and as text.

    Where stand-ins were used nothing is compared: their names and our numbers remain.
    """
    frame = pd.DataFrame(records)
    if not records:
        return Table(title, frame, caption), ""
    if cast.genuine:
        frame["difference"] = frame["ours"] - frame["published"]
        caption = f"{caption} Published: {SOURCE}."
    else:
        title = title.removeprefix("Published and ours, ")
        frame["picture"] = [cast.pictures[str(name)].name for name in frame["picture"]]
        frame = frame.drop(columns="published")
        caption = f"{caption} Given the papers' pictures, --images DIR, published numbers stand beside ours."
    text = frame.copy()
    for column in {"published", "ours", "±", "difference"} & set(frame):
        text[column] = [number(value, 2) for value in frame[column]]
    return Table(title, frame, caption, {"noise": 3}), text.to_string(index=False)


REDUCED = " These pictures are reduced: they have more detail per pixel than the published ones."


def pixels(size: float | None) -> int | str:
    """The side of a picture in words: a table's missing number stands for its own size."""
    return "full" if size is None or pd.isna(size) else int(size)


def counts(frame: pd.DataFrame) -> str:
    """How many cells are met."""
    if "difference" not in frame:
        return "Not compared: these are not the papers' pictures."
    known = frame["difference"].dropna()
    return f"{int((known >= 0).sum())} of {len(known)} cells reach the published number."
