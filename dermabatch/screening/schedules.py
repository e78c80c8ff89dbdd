"""When a scheduled screening is due: by the clock on the hospital's wall, once a day, also when it is changed."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cronsim import CronSim

from dermabatch.settings import NightRun

STARTS_WITHIN: Final = timedelta(hours=12)
"""A run without a deadline begins no later than this: a host that was down all night does not screen at noon."""

_LONGEST_CHANGE: Final = timedelta(hours=3)
"""More than any clock is ever put back by."""


@dataclass(frozen=True, slots=True)
class Due:
    """One place of a schedule in time; all moments in UTC.

    Attributes:
        night: day on the hospital's wall on which it begins. With the name of its schedule it is the run's identity.
        until: from here on it is not started any more.
    """

    night: date
    starts_at: datetime
    deadline: datetime | None

    @property
    def until(self) -> datetime:
        return self.deadline or self.starts_at + STARTS_WITHIN


def last_due(schedule: NightRun, time_zone: str, now: datetime) -> Due | None:
    """The last time until now that a schedule was due; None where it never was.

    Cron counts wall time here, which has neither gaps nor repetitions. A time that the spring leaves out begins when
    the clock has been put forward; one that the autumn has twice begins the first time.
    """
    zone = ZoneInfo(time_zone)
    on_the_wall = now.astimezone(zone).replace(tzinfo=None)
    for wall in CronSim(schedule.cron, on_the_wall + _LONGEST_CHANGE, reverse=True):
        starts_at = _moment(wall, zone)
        if starts_at <= now:
            return Due(wall.date(), starts_at, _deadline(schedule, wall, zone))
    return None


def _deadline(schedule: NightRun, starts: datetime, zone: ZoneInfo) -> datetime | None:
    if schedule.deadline is None:
        return None
    wall = datetime.combine(starts.date(), schedule.deadline)
    if wall <= starts:
        wall += timedelta(days=1)
    return _moment(wall, zone)


def _moment(wall: datetime, zone: ZoneInfo) -> datetime:
    return wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
