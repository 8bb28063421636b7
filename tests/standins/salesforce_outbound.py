"""What Salesforce posts by an outbound message: SOAP with up to a hundred notifications."""

from collections.abc import Sequence
from itertools import count

ORG = "00D000000000001EAA"
_NUMBERS = count(1)


def message(
    deal_ids: Sequence[str],
    *,
    org: str = ORG,
    type_: str = "Opportunity",
    ids: Sequence[str] = (),
    head: str = "",
    more: str = "",
) -> bytes:
    """The body; `ids` are the notifications' own, new ones without; `more` are fields an admin ticked."""
    told = ids or [f"04l{next(_NUMBERS):012d}AAA" for _ in deal_ids]
    parts = "".join(
        f'<Notification><Id>{own}</Id><sObject xsi:type="sf:{type_}"'
        ' xmlns:sf="urn:sobject.enterprise.soap.sforce.com">'
        f"<sf:Id>{deal_id}</sf:Id>{more}</sObject></Notification>"
        for own, deal_id in zip(told, deal_ids, strict=True)
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{head}'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
        ' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        '<soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
        f"<OrganizationId>{org}</OrganizationId><ActionId>04k000000000001AAA</ActionId>"
        '<SessionId xsi:nil="true"/><EnterpriseUrl>https://x.my.salesforce.com/services/Soap/c/64.0</EnterpriseUrl>'
        f"<PartnerUrl>https://x.my.salesforce.com/services/Soap/u/64.0</PartnerUrl>{parts}"
        "</notifications></soapenv:Body></soapenv:Envelope>"
    ).encode()
