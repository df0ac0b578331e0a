"""Dead letters: what could not be classified, to read, mend, send back or drop."""

from __future__ import annotations

from dashboard.dead_letters.browse import pages as browse
from dashboard.dead_letters.bulk import pages as bulk
from dashboard.dead_letters.letter import pages as letter
from dashboard.pages import Pages

pages = Pages()
for each in (browse, bulk, letter):
    pages.routes.extend(each.routes)
