"""Logging in and out, one's own account, and the users that an administrator keeps."""

from __future__ import annotations

from dashboard.access import account, login, users_page
from dashboard.pages import Pages

pages = Pages()
pages.routes.extend([*login.pages.routes, *account.pages.routes, *users_page.pages.routes])
