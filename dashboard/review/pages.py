"""The review queue: people say whether results are right, and correct them."""

from __future__ import annotations

from dashboard.pages import Pages
from dashboard.review.history import pages as history
from dashboard.review.queue import pages as queue

pages = Pages()
for each in (queue, history):
    pages.routes.extend(each.routes)
