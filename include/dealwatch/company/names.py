"""The words of the demo company: account names, their industries, and the people who sell."""

from dataclasses import dataclass

FAMILIES = tuple(
    """Northwind Bluepeak Harrow Alder Castellan Meridian Quayside Larkfield Ironbridge Summerhill
    Ravenna Osprey Kestrel Brightwater Halcyon Juniper Redfern Stonegate Tamarind Veridian
    Willowbrook Amberley Birchwood Copperfield Dunmore Eastgate Foxglove Greystone Hawthorn Ingleby
    Kingsway Lowell Marlowe Newbury Oakhurst Pemberton Quarry Rosedale Silverton Thornbury Underhill
    Valemont Westbrook Yarrow Zephyr Aurora Beacon Cobalt Delta Ember Fjord Granite Harbour Indigo
    Jade Keystone Lumen Magnolia Nimbus Onyx Polaris Quartz Ridge Sierra Tidewater Umbra Vertex
    Wayfarer Zenith Aster Bramble Cedar Drift Elm Fenwick Garnet Holm Isar Kaveri Lindqvist Müller
    Narmada Okafor Petersen Rahman Schäfer Tanaka Ueda Vasquez Weiss Yamada Zielinski Brunel
    Cavendish Dvorak Eriksen Ferreira Gupta Hansen Iyer Jansen Kowalski Lopes Moreau Nakamura
    Oyelaran Pereira Quinn Rossi Sørensen Takahashi Ulrich Verma Whitfield Xavier Young Zhang
    Ashdown Bellamy Corrigan Dalton Everly Fairfax O'Neill D'Angelo O'Hara L'Aurore Loch Merrow
    Nettle Orchard Pinnacle Rowan Saffron Teal Violet Wren""".split()
)

# What comes after the family name, with the industry that it gives away.
TRADES = (
    ("Logistics", "Logistics"),
    ("Freight", "Logistics"),
    ("& Sons Haulage", "Logistics"),
    ("Shipping", "Logistics"),
    ("Foods", "Food & Beverage"),
    ("Brewing", "Food & Beverage"),
    ("Coffee Roasters", "Food & Beverage"),
    ("& Daughters Bakery", "Food & Beverage"),
    ("Bank", "Financial Services"),
    ("Insurance", "Financial Services"),
    ("Capital", "Financial Services"),
    ("Credit Union", "Financial Services"),
    ("Health", "Healthcare"),
    ("Clinics", "Healthcare"),
    ("Diagnostics", "Healthcare"),
    ("Pharma", "Healthcare"),
    ("Software", "Technology"),
    ("Systems", "Technology"),
    ("Cloud", "Technology"),
    ("Robotics", "Technology"),
    ("Retail", "Retail"),
    ("Outfitters", "Retail"),
    ("& Co", "Retail"),
    ("Home", "Retail"),
    ("Engineering", "Manufacturing"),
    ("Steel", "Manufacturing"),
    ("Plastics", "Manufacturing"),
    ("& Koch Machines", "Manufacturing"),
    ("Energy", "Energy"),
    ("Solar", "Energy"),
    ("Power & Light", "Energy"),
    ("Water", "Energy"),
    ("Media", "Media"),
    ("Press", "Media"),
    ("Studios", "Media"),
    ("College", "Education"),
    ("Academy", "Education"),
    ("Learning", "Education"),
)
INDUSTRIES = tuple(dict.fromkeys(industry for _, industry in TRADES))

# Told apart by place and then by legal form, once the plain names are used up.
PLACES = (
    "",
    *(f" {word}" for word in "Nordic Iberia Benelux Midlands Pacific Atlantic Alpine Coastal".split()),
)
FORMS = (
    "",
    *(f" {word}" for word in "Group Holdings International Partners Ventures Services Works".split()),
)


@dataclass(frozen=True)
class Person:
    """Somebody in sales; the address is spelled without accents."""

    name: str
    mailbox: str


CRO = Person("Margaret Oyelaran", "margaret.oyelaran")
# One tuple per team: the region's index in process.REGIONS, the manager, and the reps.
TEAMS: tuple[tuple[int, Person, tuple[Person, ...]], ...] = (
    (
        0,
        Person("Katharina Vogel", "katharina.vogel"),
        (
            Person("Jonas Müller", "jonas.mueller"),
            Person("Amélie Laurent", "amelie.laurent"),
            Person("Piotr Kowalczyk", "piotr.kowalczyk"),
            Person("Sofía Herrera", "sofia.herrera"),
            Person("Lars Søndergaard", "lars.soendergaard"),
            Person("Zeynep Kaya", "zeynep.kaya"),
            Person("Chidi Eze", "chidi.eze"),
            Person("Giulia Ferrari", "giulia.ferrari"),
        ),
    ),
    (
        1,
        Person("Marcus Bennett", "marcus.bennett"),
        (
            Person("Emily Tran", "emily.tran"),
            Person("Deshawn Harris", "deshawn.harris"),
            Person("Rachel Goldberg", "rachel.goldberg"),
            Person("Siobhan O'Connor", "siobhan.oconnor"),
            Person("Luis Ortega", "luis.ortega"),
        ),
    ),
    (
        1,
        Person("Denise Whitaker", "denise.whitaker"),
        (
            Person("Kwame Boateng", "kwame.boateng"),
            Person("Hannah Sorensen", "hannah.sorensen"),
            Person("Tyler McAllister", "tyler.mcallister"),
            Person("Mei-Ling Chao", "mei-ling.chao"),
            Person("Gabriela Santos", "gabriela.santos"),
            Person("Nathan Brooks", "nathan.brooks"),
        ),
    ),
    (
        2,
        Person("Rajesh Krishnan", "rajesh.krishnan"),
        (
            Person("Ananya Iyer", "ananya.iyer"),
            Person("Vikram Singh", "vikram.singh"),
            Person("Fatima Sheikh", "fatima.sheikh"),
            Person("Arjun Mehta", "arjun.mehta"),
            Person("Priya Nair", "priya.nair"),
            Person("Tenzin Dorje", "tenzin.dorje"),
        ),
    ),
)
