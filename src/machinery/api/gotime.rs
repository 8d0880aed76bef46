//! Times as Go's `time.Parse` reads them, and its words for a text that is no time.
//!
//! All of Kubernetes reads times with it: a field of an object, a parameter of a request, a flag of
//! kubectl, the answer of a credential plugin. There are two layouts, those of `metav1.Time` and of
//! `metav1.MicroTime`, which wants exactly six digits of a second.
//!
//! ```text
//! 2026-01-02T03:04:05.5+02:00   a time
//! 2026-01-02T3:04:05Z           a time: Go takes an hour of one digit, too
//! 2026-01-02 03:04:05Z          cannot parse " 03:04:05Z" as "T"
//! 2026-13-02T03:04:05Z          month out of range
//! ```
//!
//! Left out: a sign within the six digits, which Go's `MicroTime` takes (`.+00006`). Times after
//! 9999-12-30T22:00:00Z in an object, where Go takes those until the end of that year: all
//! components read times of objects into a [`Timestamp`], which ends there because a zone is to fit
//! beside it. They are refused with an error that says so. What is only compared with the time now
//! is read with [`parse_nearest`], which takes them. An error repeats the beginning of a long text.

use clock::Timestamp;
use jiff::civil::Date;

/// Layout of `metav1.Time` (`time.RFC3339`).
const TIME: &str = "2006-01-02T15:04:05Z07:00";
/// Layout of `metav1.MicroTime` (`RFC3339Micro`).
const MICRO_TIME: &str = "2006-01-02T15:04:05.000000Z07:00";
/// Part of [`MICRO_TIME`]: the digits of a second.
const MICROS: &str = ".000000";
/// Part of both layouts: the zone.
const ZONE: &str = "Z07:00";
/// Bytes of a text that an error repeats, twice. A body may have one of megabytes, of which each
/// byte takes four.
const SHOWN_MAX: usize = 1 << 10;
/// The error of a time that a [`Timestamp`] cannot hold.
pub(crate) const TOO_LATE: &str = "times after 9999-12-30T22:00:00Z are not supported";

/// A time of any year that four digits write. A [`Timestamp`] ends before the last two days of the
/// year 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Seconds since 1970 began in UTC.
    pub seconds: i64,
    pub nanos: u32,
}

impl Moment {
    fn timestamp(self) -> Option<Timestamp> {
        Timestamp::new(self.seconds, self.nanos as i32).ok()
    }

    /// Returns the time for an object.
    ///
    /// # Errors
    /// A [`Timestamp`] cannot hold it.
    fn held<'a>(self) -> Result<Timestamp, Fault<'a>> {
        self.timestamp().ok_or_else(|| Fault::Other(format!(": {TOO_LATE}")))
    }
}

/// Reads a time with any number of digits of a second.
///
/// # Errors
/// Go's sentence (`parsing time …`) for a text that is no such time. A sentence of its own for a
/// time after 9999-12-30T22:00:00Z.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    read(text.as_bytes(), false).and_then(Moment::held).map_err(|fault| fault.sentence(text, TIME))
}

/// Reads a time that is only compared with others, such as the end of a credential: as [`parse`],
/// but a time that is too late for a [`Timestamp`] becomes the last one that it can hold.
///
/// Example: `9999-12-31T23:59:59Z`, which means "never" (RFC 5280, 4.1.2.5).
///
/// # Errors
/// Go's sentence for a text that is no such time.
pub fn parse_nearest(text: &str) -> Result<Timestamp, String> {
    let moment = read(text.as_bytes(), false).map_err(|fault| fault.sentence(text, TIME))?;
    Ok(moment.timestamp().unwrap_or(Timestamp::MAX))
}

/// Reads a time as the format `date-time` of a schema has it (`ParseDateTime` of `strfmt` in
/// kube-openapi). Beside what [`parse`] reads, a time may have no zone, and is in UTC then; the
/// empty text is the beginning of 1970.
pub(crate) fn parse_date_time(text: &str) -> Option<Moment> {
    if text.is_empty() {
        return Some(Moment { seconds: 0, nanos: 0 });
    }
    let moment = |text: &str| read(text.as_bytes(), false).ok();
    moment(text).or_else(|| moment(&format!("{text}Z")))
}

/// Reads a date, and returns its beginning in UTC (`RFC3339FullDate` of `strfmt`).
pub(crate) fn parse_date(text: &str) -> Option<Moment> {
    read(format!("{text}T00:00:00Z").as_bytes(), false).ok()
}

/// Reads a time with six digits of a second.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_micro(text: &str) -> Result<Timestamp, String> {
    read(text.as_bytes(), true).and_then(Moment::held).map_err(|fault| fault.sentence(text, MICRO_TIME))
}

/// The reason for which Go refuses a text.
enum Fault<'a> {
    /// What is left of the text does not begin with this part of the layout.
    Part(&'a [u8], &'static str),
    /// The words that follow the quoted text in Go's sentence.
    Other(String),
}

impl Fault<'_> {
    fn out_of_range(what: &str) -> Self {
        Fault::Other(format!(": {what} out of range"))
    }

    /// Returns the error as Go words it (`ParseError`).
    fn sentence(self, text: &str, layout: &str) -> String {
        let text = quote(text.as_bytes());
        match self {
            Fault::Part(rest, part) => {
                let (layout, rest, part) = (quote(layout.as_bytes()), quote(rest), quote(part.as_bytes()));
                format!("parsing time {text} as {layout}: cannot parse {rest} as {part}")
            }
            Fault::Other(why) => format!("parsing time {text}{why}"),
        }
    }
}

/// Quotes a text as Go's package `time` does: each byte beyond ASCII is escaped. Of a text of more
/// than [`SHOWN_MAX`] bytes the rest is `…`.
fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for byte in bytes.iter().take(SHOWN_MAX) {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
            b' '..=0x7f => out.push(char::from(*byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    if bytes.len() > SHOWN_MAX {
        out.push('…');
    }
    out.push('"');
    out
}

fn read(text: &[u8], is_micro: bool) -> Result<Moment, Fault<'_>> {
    let mut rest = Rest(text);
    let year = rest.digits(4, "2006")?;
    rest.literal("-")?;
    let month = within(rest.digits(2, "01")?, 1, 12, "month")?;
    rest.literal("-")?;
    let day = rest.digits(2, "02")?;
    rest.literal("T")?;
    let hour = within(rest.hour()?, 0, 23, "hour")?;
    rest.literal(":")?;
    let minute = within(rest.digits(2, "04")?, 0, 59, "minute")?;
    rest.literal(":")?;
    let second = within(rest.digits(2, "05")?, 0, 59, "second")?;
    let nanos = if is_micro { rest.micros()? } else { rest.fraction() };
    let offset = rest.zone()?;
    if !rest.0.is_empty() {
        return Err(Fault::Other(format!(": extra text: {}", quote(rest.0))));
    }
    within(day, 1, days_in(month, year), "day")?;
    let date = Date::new(year as i16, month as i8, day as i8).map_err(|_| Fault::Part(text, "2006"))?;
    let midnight = date.duration_since(Date::constant(1970, 1, 1)).as_secs();
    let of_day = i64::from(hour) * 3_600 + i64::from(minute) * 60 + i64::from(second);
    Ok(Moment { seconds: midnight + of_day - i64::from(offset) * 60, nanos })
}

/// Returns a number, or Go's error (`month out of range`) if it is not within its range.
fn within<'a>(number: u32, least: u32, most: u32, what: &str) -> Result<u32, Fault<'a>> {
    match (least..=most).contains(&number) {
        true => Ok(number),
        false => Err(Fault::out_of_range(what)),
    }
}

fn days_in(month: u32, year: u32) -> u32 {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Returns the number that ASCII digits write.
fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
}

/// Returns the number that two digits write; `None` if one of them is no digit.
fn pair(tens: u8, ones: u8) -> Option<i32> {
    let digits = [tens, ones];
    digits.iter().all(u8::is_ascii_digit).then(|| number(&digits) as i32)
}

/// The rest of a text, which each method reads from its beginning.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    /// Reads a character that stands in the layout for itself.
    fn literal(&mut self, literal: &'static str) -> Result<(), Fault<'a>> {
        self.0 = self.0.strip_prefix(literal.as_bytes()).ok_or(Fault::Part(self.0, literal))?;
        Ok(())
    }

    /// Reads a number of so many digits.
    fn digits(&mut self, count: usize, part: &'static str) -> Result<u32, Fault<'a>> {
        let split = self.0.split_at_checked(count);
        let split = split.filter(|(digits, _)| digits.iter().all(u8::is_ascii_digit));
        let (digits, rest) = split.ok_or(Fault::Part(self.0, part))?;
        self.0 = rest;
        Ok(number(digits))
    }

    /// Reads an hour, the only number that may have one digit.
    fn hour(&mut self) -> Result<u32, Fault<'a>> {
        let has_two = self.0.get(1).is_some_and(u8::is_ascii_digit);
        self.digits(if has_two { 2 } else { 1 }, "15")
    }

    /// Reads digits of a second if there are some, and returns nanoseconds. Digits after the ninth
    /// do not count.
    fn fraction(&mut self) -> u32 {
        let [b'.' | b',', behind @ ..] = self.0 else { return 0 };
        let count = behind.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return 0;
        }
        let (digits, rest) = behind.split_at(count);
        self.0 = rest;
        let digit = |place: usize| digits.get(place).map_or(0, |digit| u32::from(digit - b'0'));
        (0..9).fold(0, |nanos, place| nanos * 10 + digit(place))
    }

    /// Reads exactly six digits of a second, and returns nanoseconds.
    fn micros(&mut self) -> Result<u32, Fault<'a>> {
        match self.0 {
            [b'.' | b',', behind @ ..] => {
                let split = behind.split_at_checked(MICROS.len() - 1);
                let split = split.filter(|(digits, _)| digits.iter().all(u8::is_ascii_digit));
                let (digits, rest) = split.ok_or(Fault::Part(self.0, MICROS))?;
                self.0 = rest;
                Ok(number(digits) * 1_000)
            }
            other => Err(Fault::Part(other, MICROS)),
        }
    }

    /// Reads the zone, and returns its minutes east of UTC. As in Go 24 hours and 60 minutes are
    /// within range.
    fn zone(&mut self) -> Result<i32, Fault<'a>> {
        let (sign, first, second, third, fourth, rest) = match self.0 {
            [b'Z', rest @ ..] => {
                self.0 = rest;
                return Ok(0);
            }
            [sign, first, second, b':', third, fourth, rest @ ..] => {
                (*sign, *first, *second, *third, *fourth, rest)
            }
            other => return Err(Fault::Part(other, ZONE)),
        };
        let hours = pair(first, second);
        let minutes = hours.and_then(|_| pair(third, fourth));
        if minutes.is_some_and(|minutes| minutes > 60) {
            return Err(Fault::out_of_range("time zone offset minute"));
        }
        if hours.is_some_and(|hours| hours > 24) {
            return Err(Fault::out_of_range("time zone offset hour"));
        }
        match (sign, hours, minutes) {
            (b'+' | b'-', Some(hours), Some(minutes)) => {
                self.0 = rest;
                let east = hours * 60 + minutes;
                Ok(if sign == b'-' { -east } else { east })
            }
            _ => Err(Fault::Part(self.0, ZONE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        parse(text).map(clock::rfc3339_nano)
    }

    #[test]
    fn a_time_is_read_as_go_reads_it() {
        for (text, time) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000000000Z"),
            ("2026-01-02T3:04:05Z", "2026-01-02T03:04:05.000000000Z"),
            ("2026-01-02T03:04:05.5+02:00", "2026-01-02T01:04:05.500000000Z"),
            ("2026-01-02T03:04:05,25-00:30", "2026-01-02T03:34:05.250000000Z"),
            ("2026-01-02T03:04:05.1234567899Z", "2026-01-02T03:04:05.123456789Z"),
            ("2024-02-29T23:59:59Z", "2024-02-29T23:59:59.000000000Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000000Z"),
            ("1969-12-31T23:59:59.75+24:60", "1969-12-30T22:59:59.750000000Z"),
            ("9999-12-30T22:00:00Z", "9999-12-30T22:00:00.000000000Z"),
            ("9999-12-31T22:59:59+24:60", "9999-12-30T21:59:59.000000000Z"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(time), "{text}");
        }
    }

    /// Certificates and credentials without an end have the last second of the year 9999.
    #[test]
    fn a_time_that_is_too_late_is_named_or_clamped() {
        let last = "9999-12-31T23:59:59Z";
        let why = |text: &str| Err(format!("parsing time \"{text}\": {TOO_LATE}"));
        assert_eq!(read(last), why(last));
        let micro = "9999-12-31T23:59:59.000000Z";
        assert_eq!(parse_micro(micro).map(clock::rfc3339), why(micro));
        assert_eq!(parse_nearest(last), Ok(Timestamp::MAX));
        let then = "2026-01-02T03:04:05Z";
        assert_eq!(parse_nearest(then), parse(then));
        assert_eq!(parse_nearest("never"), parse("never"));
    }

    /// As `strfmt.ParseDateTime` of kube-openapi reads them.
    #[test]
    fn a_time_of_a_schema_may_have_no_zone() {
        let seconds = |text: &str| parse_date_time(text).map(|moment| (moment.seconds, moment.nanos));
        for (text, want) in [
            ("", Some((0, 0))),
            ("1970-01-02T00:00:01Z", Some((86_401, 0))),
            ("1970-01-02T00:00:01.5", Some((86_401, 500_000_000))),
            ("1970-01-01T1:00:00+01:00", Some((0, 0))),
            ("9999-12-31T23:59:59Z", Some((253_402_300_799, 0))),
            ("1970-01-02t00:00:01z", None),
            ("1970-01-02T00:00:01;5Z", None),
            ("1970-01-02T00:00:01+99:00", None),
            ("1970-01-02T00:00", None),
            ("1970-01-02", None),
            ("1970-01-02T00:00:01ZZ", None),
        ] {
            assert_eq!(seconds(text), want, "{text}");
        }
        assert_eq!(parse_date("1970-01-02"), Some(Moment { seconds: 86_400, nanos: 0 }));
        assert_eq!(parse_date("1970-1-2"), None);
    }

    /// As `time.Parse` of Go 1.26 says it.
    #[test]
    fn what_is_no_time_is_told_with_the_part_that_does_not_fit() {
        for (text, rest, part) in [
            ("", "", "2006"),
            ("yesterday", "yesterday", "2006"),
            ("26-01-02T03:04:05Z", "26-01-02T03:04:05Z", "2006"),
            ("-009999-01-01T00:00:00Z", "-009999-01-01T00:00:00Z", "2006"),
            ("2026", "", "-"),
            ("2026/01/02", "/01/02", "-"),
            ("2026-1-02T03:04:05Z", "1-02T03:04:05Z", "01"),
            ("2026-01-2T03:04:05Z", "2T03:04:05Z", "02"),
            ("2026-01-02", "", "T"),
            ("2026-01-02 03:04:05Z", " 03:04:05Z", "T"),
            ("2026-01-02t03:04:05z", "t03:04:05z", "T"),
            ("2026-01-02TxZ", "xZ", "15"),
            ("2026-01-02T03:04Z", "Z", ":"),
            ("2026-01-02T03:4:05Z", "4:05Z", "04"),
            ("2026-01-02T03:04:5Z", "5Z", "05"),
            ("2026-01-02T03:04:05", "", ZONE),
            ("2026-01-02T03:04:05.Z", ".Z", ZONE),
            ("2026-01-02T03:04:05 02:00", " 02:00", ZONE),
            ("2026-01-02T03:04:05+0200", "+0200", ZONE),
        ] {
            let why = format!("parsing time \"{text}\" as \"{TIME}\": cannot parse \"{rest}\" as \"{part}\"");
            assert_eq!(read(text), Err(why));
        }
        for (text, why) in [
            ("2026-13-02T03:04:05Z", "month out of range"),
            ("2026-02-29T03:04:05Z", "day out of range"),
            ("1900-02-29T03:04:05Z", "day out of range"),
            ("2026-01-00T03:04:05Z", "day out of range"),
            ("2026-01-02T24:04:05Z", "hour out of range"),
            ("2026-01-02T03:60:05Z", "minute out of range"),
            ("2026-01-02T03:04:60Z", "second out of range"),
            ("2026-01-02T03:04:05+25:00", "time zone offset hour out of range"),
            ("2026-01-02T03:04:05+01:61", "time zone offset minute out of range"),
            ("2026-01-02T03:04:05Z[UTC]", "extra text: \"[UTC]\""),
        ] {
            assert_eq!(read(text), Err(format!("parsing time \"{text}\": {why}")));
        }
        let quoted = r#"parsing time "a\"\xc3\xa9" as "2006-01-02T15:04:05Z07:00": cannot parse "a\"\xc3\xa9" as "2006""#;
        assert_eq!(read("a\"é"), Err(quoted.to_string()));
        let long = read(&"é".repeat(1 << 20)).unwrap_err();
        assert!(long.ends_with("\\xc3\\xa9…\" as \"2006\"") && long.len() < 10_000, "{}", long.len());
    }

    #[test]
    fn a_micro_time_has_exactly_six_digits() {
        let micro = |text: &str| parse_micro(text).map(clock::rfc3339_micro);
        let time = "2026-01-02T03:04:05.000006Z";
        assert_eq!(micro(time).as_deref(), Ok(time));
        for (fraction, rest, part) in
            [("Z", "Z", MICROS), (".5Z", ".5Z", MICROS), (".000006789Z", "789Z", ZONE)]
        {
            let text = format!("2026-01-02T03:04:05{fraction}");
            let layout = MICRO_TIME;
            let why =
                format!("parsing time \"{text}\" as \"{layout}\": cannot parse \"{rest}\" as \"{part}\"");
            assert_eq!(micro(&text), Err(why));
        }
    }
}
