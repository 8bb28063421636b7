"""Ask HubSpot: one method per question, whole answers, cursors to go on from, errors that say what to mend.

What each path takes and how it fails is HubSpot's; what to ask for is the reader's affair. Next pages are
asked for by their cursor: the link beside it may lead anywhere. Nothing is read by search, whose index lags
behind and ends at 10,000; only its count of a kind is asked for.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from pydantic import SecretStr

from dealwatch.crm.api import Again, Api, Declined, Later, Quota
from dealwatch.crm.http import Answer, Client, Policy
from dealwatch.crm.hubspot.answers import (
    Listed,
    Stage,
    Thing,
    cursor_of,
    definitions_of,
    errors_of,
    linked_of,
    page_of,
    results_of,
    stages_of,
    things_of,
)
from dealwatch.errors import ExtractRefused, SourceDown

VERSION = "2026-09"
PAGE, PAGE_WITH_HISTORY = 100, 50  # HubSpot's own bounds
_OWNERS_A_PAGE, _A_BATCH, _LINKS_A_BATCH = 500, 100, 1000
_VERSION = re.compile(r"20\d{2}-(03|09)(-beta)?")
_PROPERTY = re.compile(r"[a-z0-9_]{1,200}")
_LONGEST_QUERY = 14_000  # HubSpot answers 414 from about 16,000 characters of address on
_FRONTS = (521, 522, 523, 524, 525, 526)  # the network before HubSpot cannot reach it
_NO_LINK = "crm.associations.NO_ASSOCIATIONS_FOUND"
# What a key needs to be allowed for each question, by the part of the path that asks it.
_SCOPES = {
    "deals": "crm.objects.deals.read",
    "deals to write": "crm.objects.deals.write",
    "companies": "crm.objects.companies.read",
    "owners": "crm.objects.owners.read",
    "emails": "sales-email-read",
    "calls": "crm.objects.calls.read",
    "meetings": "crm.objects.meetings.read",
    "notes": "crm.objects.notes.read",
    "tasks": "crm.objects.tasks.read",
}


def _code(error: Any) -> str:
    """Which limit was hit, else HubSpot's category of the error."""
    return str(error.get("policyName") or error["category"])


def _quota(headers: Mapping[str, str]) -> Quota | None:
    allowed, left = (headers.get(f"x-hubspot-ratelimit-daily{end}", "") for end in ("", "-remaining"))
    if not (allowed.isdigit() and left.isdigit()):
        return None  # keys of some kinds are not told
    return Quota(used=int(allowed) - int(left), allowed=int(allowed))


API = Api(
    name="HubSpot",
    hosts=re.compile(r"api(-[a-z]{2}\d)?\.hubapi\.com"),
    remedy=(
        "put a service key (or a private app's token) that is in force into the password of the source's "
        "connection, and leave its host empty or api.hubapi.com"
    ),
    code_of=_code,
    meanings={
        (423, ""): Again(2),
        (429, "TEN_SECONDLY_ROLLING"): Again(10),
        (429, "SECONDLY"): Again(1),
        (429, "DAILY"): Later(timedelta(hours=1)),  # it ends at midnight of the account's time zone
        (477, ""): Later(timedelta(hours=1)),  # the account is being moved
        **{(status, ""): Again() for status in _FRONTS},
    },
    quota_of=_quota,
)


class HubSpot:
    """One account, as one key may read it.

    Every method raises ExtractRefused for what a person must mend, and SourceDown for what may pass; neither
    holds a secret or anything of a record.
    """

    def __init__(self, client: Client, *, version: str = VERSION) -> None:
        if not _VERSION.fullmatch(version):
            raise ExtractRefused(f"HubSpot has no version {version!r}; write one such as {VERSION}")
        self._client, self._version = client, version

    def close(self) -> None:
        """Let the connections go; the next question opens new ones."""
        self._client.close()

    @property
    def asked(self) -> int:
        """How often anything was asked."""
        return self._client.asked

    @property
    def quota(self) -> Quota | None:
        """The day's requests, where HubSpot tells them to this key."""
        return self._client.quota

    def clock(self) -> datetime:
        """HubSpot's own time, to the second; the question is one that has to be allowed anyway."""
        path = f"/crm/pipelines/{self._version}/deals"
        told = self._asked("GET", path, "deals").headers.get("date", "")
        try:
            return parsedate_to_datetime(told).astimezone(UTC)
        except ValueError:
            pass
        raise SourceDown(f"HubSpot GET {path}: an answer without a date")

    def listed(
        self,
        kind: str,
        *,
        properties: Sequence[str],
        with_history: Sequence[str] = (),
        links: Sequence[str] = (),
        is_archived: bool = False,
        after: str | None = None,
    ) -> Listed:
        """The page of live or archived objects that follows a cursor; properties nobody has are left out.

        Each has id, properties, createdAt, updatedAt, archived; where asked for, propertiesWithHistory
        (newest first) and associations.
        """
        told = {
            "limit": str(PAGE_WITH_HISTORY if with_history else PAGE),
            "archived": str(is_archived).lower(),
            "properties": _together(properties),
            "propertiesWithHistory": _together(with_history),
            "associations": ",".join(links),
            "after": after or "",
        }
        if sum(map(len, told.values())) > _LONGEST_QUERY:
            raise ExtractRefused(
                f"HubSpot cannot be asked for {len(properties)} properties of {kind} at once; map fewer"
            )
        path = f"/crm/objects/{self._version}/{kind}"
        page = page_of(self._get(path, kind, {k: v for k, v in told.items() if v}), path, after)
        if with_history and not all(isinstance(t.get("propertiesWithHistory"), Mapping) for t in page.things):
            raise SourceDown(f"HubSpot GET {path}: an answer without the history that was asked for")
        return page

    def read(
        self,
        kind: str,
        ids: Iterable[str],
        *,
        properties: Sequence[str],
        with_history: Sequence[str] = (),
        is_archived: bool = False,
    ) -> Iterator[Thing]:
        """Live or archived objects by id, in no order. One that is not there is left out."""
        path = f"/crm/objects/{self._version}/{kind}/batch/read"
        names = [_named(name) for name in properties]
        history = {"propertiesWithHistory": [_named(name) for name in with_history]} if with_history else {}
        query = {"archived": "true"} if is_archived else None
        for part in _slices(sorted(set(ids)), PAGE_WITH_HISTORY if with_history else _A_BATCH):
            body = {"inputs": [{"id": id_} for id_ in part], "properties": names, **history}
            told = self._asked("POST", path, kind, json=body, query=query).data
            found = things_of(told, path)
            errors = errors_of(told, path)
            if any(error.get("category") != "OBJECT_NOT_FOUND" for error in errors):
                raise SourceDown(f"HubSpot POST {path}: a part of the answer is an error")
            if not errors and len(found) < len(part):
                raise SourceDown(f"HubSpot POST {path}: {len(found)} answers to {len(part)} questions")
            yield from found

    def links(
        self, kind: str, ids: Iterable[str], other: str, *, of_type: int | None = None
    ) -> dict[str, list[str]]:
        """The ids of all `other` objects that each is associated with; objects without any are left out.

        of_type: those associated so only, by HubSpot's number of the type.
        """
        path = f"/crm/associations/{self._version}/{kind}/{other}/batch/read"
        found: dict[str, dict[str, None]] = {}
        known = set[tuple[str, str | None]]()
        asked: list[dict[str, str]] = [{"id": id_} for id_ in sorted(set(ids))]
        while asked:
            told = self._post(path, other, {"inputs": asked[:_LINKS_A_BATCH]})
            rest = asked[_LINKS_A_BATCH:]
            if any(error.get("subCategory") != _NO_LINK for error in errors_of(told, path)):
                raise SourceDown(f"HubSpot POST {path}: a part of the answer is an error")
            cursors = {one["id"]: one.get("after") for one in asked[:_LINKS_A_BATCH]}
            for one in results_of(told, path):
                id_, others = linked_of(one, path, of_type)
                found.setdefault(id_, {}).update(dict.fromkeys(others))
                after = cursor_of(one, path, cursors.get(id_))
                if after and (id_, after) in known:
                    raise SourceDown(f"HubSpot POST {path}: the cursors lead in a circle")
                known.add((id_, after))
                rest += [{"id": id_, "after": after}] if after else []
            asked = rest
        return {id_: list(others) for id_, others in found.items()}

    def owners(self, *, is_archived: bool, after: str | None = None) -> Listed:
        """A page of owners: id, email, firstName, lastName, type, archived."""
        path = f"/crm/owners/{self._version}"
        told = {"limit": str(_OWNERS_A_PAGE), "archived": str(is_archived).lower()}
        return page_of(self._get(path, "owners", told | ({"after": after} if after else {})), path, after)

    def stages(self) -> list[Stage]:
        """Every stage of every deal pipeline, in the order in which HubSpot shows them."""
        path = f"/crm/pipelines/{self._version}/deals"
        return stages_of(self._get(path, "deals"), path)

    def properties(self, kind: str) -> dict[str, str]:
        """Which properties a kind has that this key may see, and their types: number, datetime, date, ..."""
        return {name: one["type"] for name, one in self.definitions(kind).items()}

    def definitions(self, kind: str) -> dict[str, Thing]:
        """The same properties, each with all that HubSpot says of it."""
        path = f"/crm/properties/{self._version}/{kind}"
        return definitions_of(self._get(path, kind), path)

    def update(self, kind: str, inputs: Sequence[Thing]) -> tuple[int, Mapping[str, Any]]:
        """Write properties of up to 100 objects, each an id and properties; the status and the answer."""
        path = f"/crm/objects/{self._version}/{kind}/batch/update"
        answer = self._asked("POST", path, f"{kind} to write", json={"inputs": list(inputs)})
        return answer.status, answer.data

    def count(self, kind: str, stages: Sequence[str] = ()) -> int:
        """How many live objects the search index holds, or of the deals those in some stages: nearly all."""
        path = f"/crm/objects/{self._version}/{kind}/search"
        among = {"propertyName": "dealstage", "operator": "IN", "values": list(stages)}
        groups = [{"filters": [among]}] if stages else []
        body = {"filterGroups": groups, "sorts": [], "properties": [], "limit": 1, "after": "0"}
        told = self._post(path, kind, body)
        if not isinstance(told, Mapping) or not isinstance(told.get("total"), int):
            raise SourceDown(f"HubSpot POST {path}: an answer without a total")
        return int(told["total"])

    def _get(self, path: str, kind: str, query: Mapping[str, str] | None = None) -> Any:
        return self._asked("GET", path, kind, query=query).data

    def _post(self, path: str, kind: str, body: Any) -> Any:
        return self._asked("POST", path, kind, json=body).data

    def _asked(self, method: str, path: str, kind: str, **what: Any) -> Answer:
        """The answer; what HubSpot declines is told with what to do about it."""
        try:
            return self._client.send(method, path, **what)
        except Declined as error:
            declined = error
        raise self._clear(declined, kind)

    def _clear(self, error: Declined, kind: str) -> Declined:
        remedy = ""
        if error.status == 403:
            verb = "write" if kind.endswith(" to write") else "read"
            plain = kind.removesuffix(" to write")
            remedy = f"let the key {verb} {plain}: tick the scope {_SCOPES.get(kind, kind)} where it was made"
        elif error.status == 404:
            remedy = f"HubSpot may not offer version {self._version} any more; set another, such as {VERSION}"
        elif error.status == 414:
            remedy = "map fewer properties"
        if not remedy:
            return error
        words = str(error).removesuffix(f"; {API.remedy}")
        return Declined(f"{words}; {remedy}", status=error.status, code=error.code)


def connect(
    token: SecretStr, *, origin: str = "https://api.hubapi.com", policy: Policy | None = None, **more: Any
) -> Client:
    """A client that speaks to HubSpot with this key; to be closed."""
    secret = token.get_secret_value().strip()
    if not secret or not secret.isascii() or not secret.isprintable():
        raise ExtractRefused(f"HubSpot: there is no key to ask with; {API.remedy}")
    client = Client(API, origin, policy=policy, **more)
    client.token = SecretStr(secret)
    return client


def _together(names: Sequence[str]) -> str:
    return ",".join(_named(name) for name in names)


def _named(name: str) -> str:
    """A property's own name; raises ExtractRefused for a label or anything that would change the question."""
    if not _PROPERTY.fullmatch(name):
        raise ExtractRefused(
            f"{name!r} is no name of a HubSpot property; take the internal name, as in dealname"
        )
    return name


def _slices(ids: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
