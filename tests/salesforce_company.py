"""A small company in a Salesforce org, with something of everything that is read."""

from datetime import UTC, date, datetime, timedelta

from standins.salesforce_org import Org

BEGAN = datetime(2026, 3, 2, 4, tzinfo=UTC)
STAGES = {
    "Qualify": (10.0, False, False),
    "Propose": (50.0, False, False),
    "Closed Won": (100.0, True, True),
    "Closed Lost": (0.0, True, False),
}


def org_of(deals: int = 12, *, multi_currency: bool = False) -> Org:
    """An org with two reps and their manager, two accounts, and so many deals of every stage in turn."""
    org = Org(now=BEGAN - timedelta(days=100), multi_currency=multi_currency, dated_rates=multi_currency)
    for order, (name, (probability, is_closed, is_won)) in enumerate(STAGES.items()):
        org.insert(
            "OpportunityStage", MasterLabel=f"{name} (label)", ApiName=name, IsActive=True, SortOrder=order,
            DefaultProbability=probability, IsClosed=is_closed, IsWon=is_won,
        )  # fmt: skip
    boss = org.insert("User", Name="Bo Boss", Email="bo@acme.example", IsActive=True, UserType="Standard")
    zone = {"TimeZoneSidKey": "Europe/Berlin", "IsActive": True, "UserType": "Standard", "ManagerId": boss}
    reps = [org.insert("User", Name=f"Rep {n}", Email=f"rep{n}@acme.example", **zone) for n in range(2)]
    accounts = [org.insert("Account", Name=f"Account {n}", Industry=f"Industry {n}") for n in range(2)]
    for n in range(deals):
        org.now = BEGAN - timedelta(days=90 - n % 60)
        deal = org.insert(
            "Opportunity", Name=f"Deal {n}, \"big\"\nand é", AccountId=accounts[n % 2], OwnerId=reps[n % 2],
            StageName="Qualify", Amount=1000.5 + n, CloseDate=date(2026, 6, 1) + timedelta(days=n % 30),
            Region__c="North" if n % 3 else None, LeadSource="Web",
            **({"CurrencyIsoCode": "EUR" if n % 2 else "USD"} if multi_currency else {}),
        )  # fmt: skip
        org.now += timedelta(days=2)
        if n % 4:
            org.update("Opportunity", deal, StageName=list(STAGES)[n % 4])
    org.now = BEGAN
    return org
