"""What `fs51.v1` is: names, order, groups and versions of the 51 features, and the hash that identifies them.

A model answers only for the exact columns it was trained on, so service and manifest compare this hash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from tradekit.bars import GRANULARITY_NAMES

DEFINITION_VERSION: Final = "fs51.v1"
MAX_FILL: Final = 12
"""Longest gap, in bars, that is bridged with flat bars; a longer one resets the product."""
READY_BARS: Final = 350
"""Bars since the last reset from which recursive features have forgotten their start (1e-10)."""
FACTOR_BARS: Final = 169
"""Bars of the market factor that the 168-return windows need."""
LAGS: Final = (1, 2, 4, 8, 24, 72, 168)
"""Bars over which the log returns are taken."""
SPARSE_WINDOW: Final = 168
SPARSE_SHARE: Final = 0.20

_GROUPS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("returns", ("ret_1", "ret_2", "ret_4", "ret_8", "ret_24", "ret_72", "ret_168", "ret_z_24")),
    (
        "trend",
        (
            "sma_dist_20",
            "sma_dist_50",
            "sma_dist_168",
            "ppo_12_26",
            "macd_hist_atr",
            "adx_14",
            "di_diff_14",
            "aroon_osc_25",
            "linreg_slope_24",
        ),
    ),
    (
        "momentum",
        ("rsi_14", "stoch_k_14", "stoch_d_14_3", "ultosc_7_14_28", "trix_12", "er_24", "up_share_24"),
    ),
    (
        "volatility",
        (
            "vol_cc_24",
            "vol_ratio_24_168",
            "parkinson_24",
            "garman_klass_24",
            "yang_zhang_24",
            "natr_14",
            "bb_width_20",
            "bb_pctb_20",
            "downside_share_24",
        ),
    ),
    ("volume", ("relvol_24", "relvol_24_168", "vwap_dist_24", "obv_flow_24", "cmf_20", "mfi_14")),
    ("candle", ("body", "upper_wick", "lower_wick", "range_atr")),
    ("time", ("hour_sin", "hour_cos", "dow_sin", "dow_cos")),
    ("cross-asset", ("mkt_ret_24", "beta_168", "corr_168", "resid_ret_24")),
)


@dataclass(frozen=True, slots=True)
class Feature:
    """One column: its place, name, group, and the version of its formula."""

    index: int
    name: str
    group: str
    version: int


def _features() -> tuple[Feature, ...]:
    named = [(name, group) for group, names in _GROUPS for name in names]
    return tuple(Feature(index, name, group, 1) for index, (name, group) in enumerate(named))


FEATURES: Final = _features()
NAMES: Final = tuple(feature.name for feature in FEATURES)
FEATURE_COUNT: Final = len(FEATURES)
INDEX: Final = {feature.name: feature.index for feature in FEATURES}


def feature_set_hash(granularity: int) -> str:
    """sha256 over one line per feature (`index,name,version`), then g, max_fill, ready and the definition."""
    lines = [f"{feature.index},{feature.name},{feature.version}" for feature in FEATURES]
    lines += [str(granularity), str(MAX_FILL), str(READY_BARS), DEFINITION_VERSION]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


_SETS: Final = {feature_set_hash(granularity): NAMES for granularity in GRANULARITY_NAMES}


def names_of(set_hash: str) -> tuple[str, ...]:
    """Names of the features of a set in their order, by its hash; empty for a hash that is not known here.

    A later set is added beside this one, so that what is stored under an older hash keeps its names.
    """
    return _SETS.get(set_hash, ())
