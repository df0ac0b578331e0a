"""The plots of the dashboard, one constant statement each, in the order in which they stand on the page."""

from dashboard.overview.plots.confidence import CONFIDENCE
from dashboard.overview.plots.dead_letters import DEAD_LETTERS
from dashboard.overview.plots.latency import INFER, QUEUE
from dashboard.overview.plots.plot import Chart, Plot, Series
from dashboard.overview.plots.sentiment import SENTIMENT, SOURCES
from dashboard.overview.plots.teams import TEAMS
from dashboard.overview.plots.throughput import THROUGHPUT

PLOTS = {plot.name: plot for plot in (SENTIMENT, SOURCES, TEAMS, CONFIDENCE, QUEUE, INFER, THROUGHPUT, DEAD_LETTERS)}

__all__ = ["PLOTS", "Chart", "Plot", "Series"]
