"""The users of a server: who there is, what each may do with a database, and changing that."""

from collections.abc import Iterator
from typing import Any

import pytest

from arangopipe_ops.admin import GRANTED, change_password, create_user, grant, permissions, remove_user, users
from arangopipe_ops.errors import Conflict, Invalid, NotFound


def new_of(db: Any, before: set[str]) -> list[Any]:
    return [each for each in users(db) if each["name"] not in before]


@pytest.fixture
def before(db: Any) -> Iterator[set[str]]:
    """Who was there before the test; those it makes are removed, as a server's users outlast a database."""
    names = {each["name"] for each in users(db)}
    yield names
    for each in new_of(db, names):
        remove_user(db, each["name"])


@pytest.mark.parametrize("role", GRANTED)
@pytest.mark.usefixtures("before")
def test_a_role_is_what_was_granted(db: Any, role: str) -> None:
    """A user has the role that was granted last, on the database and its collections, and nothing elsewhere."""
    create_user(db, "ann", "secret", "writer")
    grant(db, "ann", role)
    found = permissions(db, "ann")
    assert (found["role"], found["database"], found["collections"]) == (role, *GRANTED[role])
    assert (found["active"], found["elsewhere"]) == (True, {})


@pytest.mark.usefixtures("before")
def test_a_mixture_is_no_role(db: Any) -> None:
    """Levels that are not a role's are told as they are; collections have that of the database unless it is another."""
    create_user(db, "ann", "secret", "reader")
    db.update_permission("ann", "rw", db.name)
    found = permissions(db, "ann")
    assert (found["role"], found["database"], found["collections"]) == (None, "rw", "ro")
    db.reset_permission("ann", db.name, "*")
    assert permissions(db, "ann")["role"] == "owner"


@pytest.mark.usefixtures("before")
def test_rights_on_other_databases_are_told(db: Any) -> None:
    """A right on any database is told beside that on this one, whose own level counts."""
    create_user(db, "ann", "secret", "reader")
    db.update_permission("ann", "ro", "*")
    db.update_permission("ann", "none", db.name)
    found = permissions(db, "ann")
    assert (found["database"], found["elsewhere"]["*"]) == ("none", "ro")


@pytest.mark.parametrize("name", ["ann", "Ann Ä", "a/b?c#d%20", "<b>"])
def test_any_name_will_do(db: Any, before: set[str], name: str) -> None:
    """A user of any name is made, listed, changed and removed, and no other one."""
    create_user(db, "a", "secret", "reader")
    create_user(db, name, "secret", "reader")
    db.update_user("a", active=False)
    assert new_of(db, before) == sorted(
        [{"name": "a", "active": False}, {"name": name, "active": True}], key=lambda each: str(each["name"])
    )
    grant(db, name, "owner")
    change_password(db, name, "another")
    assert (permissions(db, name)["role"], permissions(db, "a")["role"]) == ("owner", "reader")
    remove_user(db, name)
    assert [each["name"] for each in new_of(db, before)] == ["a"]


@pytest.mark.parametrize(("name", "password", "role"), [(" ", "x", "reader"), ("x", "", "reader"), ("x", "x", "king")])
def test_a_user_that_cannot_be(db: Any, before: set[str], name: str, password: str, role: str) -> None:
    """A user without a name, a password or a role that there is, is not made."""
    with pytest.raises(Invalid):
        create_user(db, name, password, role)
    assert new_of(db, before) == []


@pytest.mark.usefixtures("before")
def test_a_name_that_is_taken_or_unknown(db: Any) -> None:
    """A name is taken once, and what changes a user wants one that is there; passwords are in no message."""
    create_user(db, "ann", "secret", "reader")
    with pytest.raises(Conflict, match="ann is a user already") as told:
        create_user(db, "ann", "hidden", "owner")
    assert told.value.__cause__ is None
    assert permissions(db, "ann")["role"] == "reader"
    for change in (
        lambda: permissions(db, "bob"),
        lambda: grant(db, "bob", "reader"),
        lambda: change_password(db, "bob", "hidden"),
        lambda: remove_user(db, "bob"),
    ):
        with pytest.raises(NotFound, match="bob") as lost:
            change()
        assert "hidden" not in str(lost.value)
    with pytest.raises(Invalid):
        change_password(db, "ann", "")
    with pytest.raises(Invalid):
        grant(db, "ann", "king")
