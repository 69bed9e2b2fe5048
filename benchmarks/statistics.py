"""Means over seeds with their 95 % intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd


def half_width(values: Sequence[float]) -> float:
    """Half the 95 % interval of the mean, by Student's t; nan for fewer than two values."""
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return math.nan
    return float(t.ppf(0.975, n - 1) * pd.Series(values).std(ddof=1) / math.sqrt(n))


def over_seeds(frame: pd.DataFrame, values: Sequence[str]) -> pd.DataFrame:
    """One row per setting: the mean over ``seed`` of each of ``values``, and ``± value`` where there are several seeds.

    Columns that are neither settings nor values are taken from the first seed.
    """
    if "seed" not in frame.columns or frame["seed"].nunique() < 2:
        return frame
    settings = frame.attrs["settings"]
    keys = [name for name in settings if name != "seed"]
    groups = frame.groupby(keys, sort=False, dropna=False)
    means = groups[list(values)].mean()
    widths = groups[list(values)].agg(lambda column: half_width(list(column))).add_prefix("± ")
    rest = groups.first().drop(columns=[*values, "seed"], errors="ignore")
    merged = pd.concat([rest, means, widths], axis=1).reset_index()
    merged["seeds"] = groups.size().to_numpy()
    return merged


def measured(row: pd.Series) -> dict[str, float]:
    """Our PSNR in one row of a table, with its interval where there are several seeds."""
    return {"ours": float(row["PSNR"])} | ({"±": float(row["± PSNR"])} if "± PSNR" in row else {})
