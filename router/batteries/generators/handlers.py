"""REST handlers to write: one operation on one resource, without a framework, so that the tests run anywhere."""

import random
from collections.abc import Callable

from router.domain.battery import Case

Fields = tuple[tuple[str, str], ...]
"""Name and Python type of each field."""

_RESOURCES: tuple[tuple[str, str, Fields], ...] = (
    ("book", "books", (("title", "str"), ("pages", "int"))),
    ("order", "orders", (("customer", "str"), ("total_cents", "int"))),
    ("ticket", "tickets", (("subject", "str"), ("priority", "int"))),
    ("sensor", "sensors", (("location", "str"), ("interval_s", "int"))),
    ("invoice", "invoices", (("number", "str"), ("amount_cents", "int"))),
    ("track", "tracks", (("artist", "str"), ("seconds", "int"))),
    ("room", "rooms", (("name", "str"), ("seats", "int"))),
    ("parcel", "parcels", (("address", "str"), ("grams", "int"))),
)
_CONTRACT = (
    "Write a Python function `handle(method, path, body, store)` for a small REST API. `method` is an upper-case HTTP method, `path` a text"
    " like '/{plural}' or '/{plural}/7', `body` a dict or None, and `store` a dict from whole-number ids to dicts, which the function may"
    " change. It returns a pair: the status code as an int, and the JSON answer as a dict (or None where there is no content). Use"
    " `http.HTTPStatus` for the codes. A {one} has the fields {fields}.\n\n{task}\n\nEvery other method or path is answered with 404 and"
    " {{'error': 'not found'}}. Answer with one fenced block of Python code, with a docstring and comments."
)


def make(rng: random.Random, count: int) -> list[Case]:
    """Every operation in turn, on the resources in turn."""
    resources = rng.sample(_RESOURCES, len(_RESOURCES))
    made: list[Case] = []
    for number in range(count):
        one, plural, fields = resources[(number // len(_OPERATIONS) + number % len(_OPERATIONS)) % len(resources)]
        task, body, tests = _OPERATIONS[number % len(_OPERATIONS)](one, plural, fields)
        named = ", ".join(f"`{name}` ({kind})" for name, kind in fields)
        made.append(
            Case(
                f"handler-{number + 1:03}",
                _CONTRACT.format(one=one, plural=plural, fields=named, task=task),
                _block(f"Answer one request about {plural}.", body),
                _block("Answer a request.", "    # every request is taken for good\n    return int(HTTPStatus.OK), {'status': 'ok'}\n"),
                expect={"tests": tuple(tests), "uses": ("http.HTTPStatus",)},
            )
        )
    return made


def _block(says: str, body: str) -> str:
    return f'```python\nfrom http import HTTPStatus\n\n\ndef handle(method, path, body, store):\n    """{says}"""\n{body}```'


_ELSE = "    return int(HTTPStatus.NOT_FOUND), {'error': 'not found'}\n"


def _sample(fields: Fields, n: int = 1) -> dict[str, object]:
    return {name: f"{name} {n}" if kind == "str" else 10 * n for name, kind in fields}


def _create(one: str, plural: str, fields: Fields) -> tuple[str, str, list[str]]:
    types = ", ".join(f"'{name}': {kind}" for name, kind in fields)
    task = (
        f"`POST /{plural}` creates a {one}. A missing field, or one of another type, is answered with 400 and {{'error': NAME}}, where NAME"
        f" is the first such field in the order above. Otherwise the {one} gets the id one above the highest in the store (1 in an empty"
        " store), is put into the store as a dict of its fields without the id, and is answered with 201 and the fields and 'id'."
    )
    body = (
        f"    if method == 'POST' and path == '/{plural}':\n"
        "        # the first field that cannot be used is named\n"
        f"        for name, kind in {{{types}}}.items():\n"
        "            if not isinstance((body or {}).get(name), kind):\n"
        "                return int(HTTPStatus.BAD_REQUEST), {'error': name}\n"
        "        made = max(store, default=0) + 1\n"
        f"        store[made] = {{name: body[name] for name in {[name for name, _ in fields]!r}}}\n"
        "        return int(HTTPStatus.CREATED), {**store[made], 'id': made}\n" + _ELSE
    )
    good, text = _sample(fields), next(name for name, kind in fields if kind == "str")
    number = next(name for name, kind in fields if kind == "int")
    tests = [
        f"store = {{}}\nassert handle('POST', '/{plural}', {good!r}, store) == (201, {good | {'id': 1}!r})\n"
        f"assert store == {{1: {good!r}}}",
        f"store = {{4: {_sample(fields, 4)!r}}}\nassert handle('POST', '/{plural}', {good!r}, store) == (201, {good | {'id': 5}!r})",
        f"store = {{}}\nassert handle('POST', '/{plural}', {good | {number: 'many'}!r}, store) == (400, {{'error': {number!r}}})\n"
        "assert store == {}",
        f"assert handle('POST', '/{plural}', None, {{}}) == (400, {{'error': {text!r}}})",
        f"assert handle('PATCH', '/{plural}', None, {{}})[0] == 404",
    ]
    return task, body, tests


def _read(one: str, plural: str, fields: Fields) -> tuple[str, str, list[str]]:
    task = (
        f"`GET /{plural}/ID` answers with 200 and the fields and 'id' of the {one}, with 404 and {{'error': 'no such {one}'}} where the"
        " store has none of that id, and with 400 and {'error': 'bad id'} where ID is not a whole number written in digits."
    )
    body = (
        f"    if method == 'GET' and path.startswith('/{plural}/'):\n"
        f"        asked = path.removeprefix('/{plural}/')\n"
        "        if not (asked.isascii() and asked.isdigit()):  # '-1' and '' are no ids either\n"
        "            return int(HTTPStatus.BAD_REQUEST), {'error': 'bad id'}\n"
        "        if int(asked) not in store:\n"
        f"            return int(HTTPStatus.NOT_FOUND), {{'error': 'no such {one}'}}\n"
        "        return int(HTTPStatus.OK), {**store[int(asked)], 'id': int(asked)}\n" + _ELSE
    )
    known = f"{{7: {_sample(fields, 7)!r}}}"
    tests = [
        f"assert handle('GET', '/{plural}/7', None, {known}) == (200, {_sample(fields, 7) | {'id': 7}!r})",
        f"assert handle('GET', '/{plural}/8', None, {known}) == (404, {{'error': 'no such {one}'}})",
        f"assert handle('GET', '/{plural}/seven', None, {known}) == (400, {{'error': 'bad id'}})",
        f"assert handle('GET', '/other/7', None, {known}) == (404, {{'error': 'not found'}})",
    ]
    return task, body, tests


def _listing(one: str, plural: str, fields: Fields) -> tuple[str, str, list[str]]:
    key = fields[-1][0]
    task = (
        f"`GET /{plural}` lists them: 200 and {{'items': [...], 'total': N}}, each item with its fields and 'id', sorted by `{key}` from"
        f" the largest to the smallest and by id where equal. A `body` may hold 'limit' (default 10) and 'offset' (default 0), which cut"
        f" the list; 'total' counts every {one} all the same. A negative limit or offset is answered with 400 and {{'error': 'bad page'}}."
    )
    body = (
        f"    if method == 'GET' and path == '/{plural}':\n"
        "        limit, offset = (body or {}).get('limit', 10), (body or {}).get('offset', 0)\n"
        "        if limit < 0 or offset < 0:\n"
        "            return int(HTTPStatus.BAD_REQUEST), {'error': 'bad page'}\n"
        "        # sorting by the id first and then stably by the field keeps ids in order among equals\n"
        f"        ids = sorted(sorted(store), key=lambda i: -store[i]['{key}'])\n"
        "        items = [{**store[i], 'id': i} for i in ids[offset:offset + limit]]\n"
        "        return int(HTTPStatus.OK), {'items': items, 'total': len(store)}\n" + _ELSE
    )
    a, b = _sample(fields, 1), _sample(fields, 2)
    store = f"{{1: {a!r}, 2: {b!r}, 3: {a!r}}}"
    items = [b | {"id": 2}, a | {"id": 1}, a | {"id": 3}]
    tests = [
        f"assert handle('GET', '/{plural}', None, {store}) == (200, {{'items': {items!r}, 'total': 3}})",
        f"assert handle('GET', '/{plural}', {{'limit': 1, 'offset': 1}}, {store}) == (200, {{'items': {items[1:2]!r}, 'total': 3}})",
        f"assert handle('GET', '/{plural}', {{'limit': -1}}, {store}) == (400, {{'error': 'bad page'}})",
        f"assert handle('GET', '/{plural}', None, {{}}) == (200, {{'items': [], 'total': 0}})",
    ]
    return task, body, tests


def _replace(one: str, plural: str, fields: Fields) -> tuple[str, str, list[str]]:
    names = [name for name, _ in fields]
    task = (
        f"`PUT /{plural}/ID` replaces a {one} (ID is a whole number in digits) by the fields of `body`: 200 and the fields and 'id'. Where"
        f" the store has none of that id: 404 and {{'error': 'no such {one}'}}. Where `body` does not have exactly the fields above: 400"
        " and {'error': 'fields'}; the store then stays as it is."
    )
    body = (
        f"    if method == 'PUT' and path.startswith('/{plural}/') and path.rpartition('/')[2].isdigit():\n"
        "        asked = int(path.rpartition('/')[2])\n"
        "        if asked not in store:\n"
        f"            return int(HTTPStatus.NOT_FOUND), {{'error': 'no such {one}'}}\n"
        f"        if set(body or {{}}) != set({names!r}):  # no more and no less\n"
        "            return int(HTTPStatus.BAD_REQUEST), {'error': 'fields'}\n"
        "        store[asked] = dict(body)\n"
        "        return int(HTTPStatus.OK), {**body, 'id': asked}\n" + _ELSE
    )
    old, new = _sample(fields, 1), _sample(fields, 9)
    tests = [
        f"store = {{3: {old!r}}}\nassert handle('PUT', '/{plural}/3', {new!r}, store) == (200, {new | {'id': 3}!r})\n"
        f"assert store == {{3: {new!r}}}",
        f"assert handle('PUT', '/{plural}/4', {new!r}, {{3: {old!r}}}) == (404, {{'error': 'no such {one}'}})",
        f"store = {{3: {old!r}}}\nassert handle('PUT', '/{plural}/3', {{'x': 1}}, store) == (400, {{'error': 'fields'}})\n"
        f"assert store == {{3: {old!r}}}",
        "assert handle('GET', '/nothing', None, {}) == (404, {'error': 'not found'})",
    ]
    return task, body, tests


def _remove(one: str, plural: str, fields: Fields) -> tuple[str, str, list[str]]:
    task = (
        f"`DELETE /{plural}/ID` (ID is a whole number in digits) removes a {one} and answers with 204 and None, or with 404 and"
        f" {{'error': 'no such {one}'}} where the store has none of that id. `DELETE /{plural}` removes all and answers with 200 and"
        " {'removed': N}."
    )
    body = (
        f"    if method == 'DELETE' and path == '/{plural}':\n"
        "        removed = len(store)\n"
        "        store.clear()  # in place: the caller keeps the dict\n"
        "        return int(HTTPStatus.OK), {'removed': removed}\n"
        f"    if method == 'DELETE' and path.startswith('/{plural}/') and path.rpartition('/')[2].isdigit():\n"
        "        if store.pop(int(path.rpartition('/')[2]), None) is None:\n"
        f"            return int(HTTPStatus.NOT_FOUND), {{'error': 'no such {one}'}}\n"
        "        return int(HTTPStatus.NO_CONTENT), None\n" + _ELSE
    )
    two = f"{{1: {_sample(fields, 1)!r}, 2: {_sample(fields, 2)!r}}}"
    tests = [
        f"store = {two}\nassert handle('DELETE', '/{plural}/1', None, store) == (204, None)\nassert list(store) == [2]",
        f"store = {two}\nassert handle('DELETE', '/{plural}/5', None, store) == (404, {{'error': 'no such {one}'}})\n"
        "assert len(store) == 2",
        f"store = {two}\nassert handle('DELETE', '/{plural}', None, store) == (200, {{'removed': 2}})\nassert store == {{}}",
        "assert handle('POST', '/elsewhere', None, {}) == (404, {'error': 'not found'})",
    ]
    return task, body, tests


_OPERATIONS: tuple[Callable[[str, str, Fields], tuple[str, str, list[str]]], ...] = (_create, _read, _listing, _replace, _remove)
