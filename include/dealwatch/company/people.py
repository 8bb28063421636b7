"""Who sells at the demo company: one CRO, four managers, their reps, the weak one and the one who left."""

from dataclasses import dataclass

import numpy as np

from dealwatch.company.calendar import Ints
from dealwatch.company.names import CRO, TEAMS
from dealwatch.company.process import REGIONS


@dataclass(frozen=True)
class Owner:
    """A row of owners.csv."""

    owner_id: str
    name: str
    email: str
    manager_id: str
    time_zone: str


@dataclass(frozen=True)
class Staff:
    """Everybody, by position in `owners`. `left_on` is the day number from which the leaver sells nothing."""

    owners: tuple[Owner, ...]
    reps_of_region: tuple[Ints, ...]
    weak_rep: int
    leaver: int
    left_on: int

    def sellers(self, region: int, *, with_leaver: bool) -> Ints:
        """The reps of a region, with or without the one who left."""
        reps = self.reps_of_region[region]
        return reps if with_leaver else reps[reps != self.leaver]


def staff(rng: np.random.Generator, *, left_on: int) -> Staff:
    """The company's people; chance picks the weak rep and, elsewhere, the one who leaves."""
    owners = [_owner(1, CRO.name, CRO.mailbox, manager_id="", time_zone=REGIONS[1].time_zone)]
    reps: list[list[int]] = [[] for _ in REGIONS]
    for region, manager, members in TEAMS:
        zone = REGIONS[region].time_zone
        boss = _owner(len(owners) + 1, manager.name, manager.mailbox, manager_id="U-01", time_zone=zone)
        owners.append(boss)
        for member in members:
            reps[region].append(len(owners))
            number = len(owners) + 1
            owners.append(
                _owner(number, member.name, member.mailbox, manager_id=boss.owner_id, time_zone=zone)
            )
    weak, leaver = rng.permutation(np.concatenate([np.array(team) for team in reps]))[:2]
    teams = tuple(np.array(team, dtype=np.int64) for team in reps)
    return Staff(tuple(owners), teams, int(weak), int(leaver), left_on)


def _owner(number: int, name: str, mailbox: str, *, manager_id: str, time_zone: str) -> Owner:
    return Owner(f"U-{number:02d}", name, f"{mailbox}@example.com", manager_id, time_zone)
