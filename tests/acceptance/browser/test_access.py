"""The first user, logging in and out, what each role sees, and guessing: by keyboard, and on a phone."""

from __future__ import annotations

from typing import Any

from schemas.names import Role
from tests.acceptance.browser.conftest import Visitor
from tests.acceptance.conftest import Place
from worker.desk import users

PASSWORD = "correct horse battery"


def log_in(page: Any, name: str, password: str = PASSWORD) -> None:
    """By the keyboard alone: the first field has the focus."""
    page.keyboard.type(name)
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")


def focused(page: Any) -> str:
    return str(page.evaluate("document.activeElement.name || document.activeElement.id"))


def test_from_an_empty_installation_to_users_with_roles(visitor: Visitor, place: Place) -> None:
    visitor.expected.update({403, 422})  # type: ignore[attr-defined]
    # Given nobody: this machine needs no login, and is shown the way
    page = visitor("/login")
    page.get_by_role("link", name="Make the first user").click()
    page.get_by_label("Name").fill("Anna")
    assert "admin" == page.get_by_label("Role").input_value()
    page.get_by_label("Password, at least 10 characters").fill("Anna")
    page.get_by_label("The same again").fill("Anna")
    # When the password is her name, that is said beside its field, which has the focus
    page.get_by_role("button", name="Make the user").click()
    assert "The password must not be the name." == page.locator("#new-password-problem").inner_text()
    assert ("password", "Anna") == (focused(page), page.get_by_label("Name").input_value())
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    # then everything is closed, in other windows too
    page.wait_for_url("**/login?next=%2Fusers")
    other = visitor("/dashboard")
    assert other.url.endswith("/login?next=%2Fdashboard")
    # When the admin logs in, in any case, the page asked for comes, and another user can be made
    log_in(page, "ANNA")
    page.wait_for_url("**/users")
    assert "Anna" == page.locator(".who").inner_text()
    new = page.locator("section", has_text="A new user")
    new.get_by_label("Name").fill("bo")
    new.get_by_label("Password, at least 10 characters").fill(PASSWORD)
    new.get_by_label("The same again").fill(PASSWORD)
    new.get_by_role("button", name="Make the user").click()
    assert "The user can log in now." == page.get_by_role("status").filter(has_text="user").inner_text()
    # but the last admin cannot be demoted: it is said beside the field
    row = page.get_by_role("row").filter(has_text="Anna")
    row.get_by_text("Change Anna").click()
    row.get_by_label("Role").select_option("viewer")
    row.get_by_role("button", name="Change the role").click()
    problem = page.get_by_role("row").filter(has_text="Anna").locator(".problem")
    assert "This is the last admin who can log in. Make another one first." == problem.inner_text()
    # When the viewer logs in, there is no way to what viewers may not do
    log_in(other, "bo")
    other.wait_for_url("**/dashboard")
    links = other.get_by_role("navigation", name="Pages").get_by_role("link").all_inner_texts()
    assert {"Dashboard", "Quality"} <= set(links)
    assert not {"Review", "Dead letters", "Users"} & set(links)
    answer = other.goto("/review")
    assert 403 == answer.status
    assert "This page is for the role reviewer." in other.locator("main").inner_text()
    # As a reviewer there is, from the next page on
    users.set_role(place.engine, "bo", Role.REVIEWER)
    assert 200 == other.goto("/review").status
    # and after logging out there is nothing
    other.get_by_role("button", name="Log out").click()
    other.wait_for_url("**/login")
    other.goto("/review")
    assert other.url.endswith("/login?next=%2Freview")
    # A look back shows no more than the login
    other.go_back()
    assert 0 == other.get_by_role("button", name="Log out").count()


def test_guessing_ones_account_and_a_phone_in_chinese(visitor: Visitor, place: Place) -> None:
    visitor.expected.update({422, 429})  # type: ignore[attr-defined]
    users.create(place.engine, "anna", PASSWORD, Role.ADMIN)
    users.create(place.engine, "王小明", PASSWORD, Role.ADMIN)
    # Given a phone that speaks Chinese
    page = visitor("/login", locale="zh-CN", width=360, height=740)
    assert "登录" == page.locator("h1").inner_text()
    # When somebody types a wrong password, it is said, and the password has the focus
    log_in(page, "王小明", "not the password")
    assert "用户名或密码错误，或该用户已停用。" == page.get_by_role("alert").inner_text()
    assert ("password", "王小明") == (focused(page), page.get_by_label("用户名").input_value())
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/try")
    # then the pages of users and of one's own account fit the screen
    for path in ("/users", "/account"):
        page.goto(path)
        assert 360 >= page.evaluate("document.documentElement.scrollWidth"), path
    page.goto("/users")
    page.get_by_text("更改 anna").click()
    assert 360 >= page.evaluate("document.documentElement.scrollWidth")
    # and another password ends no work in this browser
    page.locator(".who").click()
    page.get_by_label("当前密码").fill(PASSWORD)
    page.get_by_label("新密码，至少 10 个字符").fill("another password")
    page.get_by_label("再输入一次").fill("another password")
    page.keyboard.press("Enter")
    page.get_by_text("密码已修改，其他浏览器上的登录均已退出。").wait_for()
    page.get_by_role("button", name="在所有浏览器中退出").click()
    page.wait_for_url("**/login")
    # When a password is guessed until the limit
    guesser = visitor("/login")
    for _ in range(place.settings.login_attempts - 1):
        guesser.get_by_label("Name").fill("anna")
        guesser.get_by_label("Password").fill("not the password")
        guesser.keyboard.press("Enter")
        guesser.get_by_role("alert").wait_for()
    # then even the right one must wait
    guesser.get_by_label("Name").fill("anna")
    guesser.get_by_label("Password").fill(PASSWORD)
    guesser.keyboard.press("Enter")
    guesser.get_by_text("Too many attempts have failed.").wait_for()
    assert guesser.url.endswith("/login")
