"""Draw curves as SVG, side by side: PATH, with the data as JSON on standard input."""

from __future__ import annotations

import json
import sys

import matplotlib as mpl
from matplotlib import pyplot as plt

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "benchmarks"  # the same data make the same file
mpl.rcParams["svg.fonttype"] = "none"


def main(path: str) -> None:
    shown = json.load(sys.stdin)
    figure, places = plt.subplots(1, len(shown["panels"]), figsize=(4.5 * len(shown["panels"]), 3.2))
    for place, panel in zip(places, shown["panels"], strict=True):
        place.plot(panel["x"], panel["y"], marker="o")
        place.set(xscale="log", xlabel=panel["x_label"], ylabel=panel["y_label"])
        place.set_xticks(panel["x"], [f"{x:,g}" for x in panel["x"]])
        place.minorticks_off()
        place.set_ylim(bottom=0)
        place.grid(visible=True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main(*sys.argv[1:])
