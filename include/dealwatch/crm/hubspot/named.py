"""Deals of HubSpot by their ids, told as the list tells them, page by page."""

from collections.abc import Mapping, Sequence

from dealwatch.crm.hubspot.answers import Listed
from dealwatch.crm.hubspot.api import PAGE_WITH_HISTORY, HubSpot
from dealwatch.errors import SourceDown

_PRIMARY = 5  # HubSpot's number of a deal's association with its primary company
_OF_COMPANY = ("deal_to_company", "deal_to_company_unlabeled")  # as the list calls the primary and the others


def named(
    api: HubSpot,
    ids: Sequence[str],
    *,
    properties: Sequence[str],
    with_history: Sequence[str] = (),
    links: Sequence[str] = (),
    is_archived: bool = False,
    after: str | None = None,
) -> Listed:
    """The page of these deals that follows a cursor, which is a place among the ids; see `HubSpot.listed`.

    Deals that are not there are left out. Of associations, those with companies can be asked for.
    """
    begin = int(after or 0)
    part = ids[begin : begin + PAGE_WITH_HISTORY]
    found = api.read("deals", part, properties=properties, with_history=with_history, is_archived=is_archived)
    things = list({thing["id"]: thing for thing in found}.values())
    if with_history and not all(isinstance(one.get("propertiesWithHistory"), Mapping) for one in things):
        raise SourceDown("HubSpot: an answer without the history that was asked for")
    if "companies" in links and things:
        own = [thing["id"] for thing in things]
        primary = api.links("deals", own, "companies", of_type=_PRIMARY)
        every = api.links("deals", own, "companies")
        linked = {
            deal_id: [
                {"id": id_, "type": type_}
                for type_, told in zip(_OF_COMPANY, (primary, every), strict=True)
                for id_ in told.get(deal_id, [])
            ]
            for deal_id in own
        }
        things = [{**one, "associations": {"companies": {"results": linked[one["id"]]}}} for one in things]
    end = begin + len(part)
    return Listed(things, str(end) if end < len(ids) else None)
