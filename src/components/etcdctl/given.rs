//! What was given to a verb: flags among its arguments, as pflag reads them, and variables of the
//! environment in their stead.

use super::fail::{FAILED, Fail};
use super::flags::{ENDPOINT, Flag, GLOBAL, Kind};
use api::gostr::{parse_duration, parse_int, quote};
use std::collections::BTreeMap;
use std::num::{IntErrorKind, ParseIntError};
use std::time::Duration;

/// The variable of the flag that names the domain whose records name the members. With etcdctl it
/// goes before `--endpoints`.
const DISCOVERY: &str = "ETCDCTL_DISCOVERY_SRV";

/// What was given to a verb.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    flags: BTreeMap<&'static str, String>,
    /// Flags that stood on the line.
    pub set: Vec<&'static str>,
    pub args: Vec<String>,
    /// How many arguments stood before `--`; `None`: there was no `--`.
    pub before_dash: Option<usize>,
}

impl Given {
    /// The value of a flag, or its default; empty if the verb has no such flag.
    pub(crate) fn text(&self, name: &str) -> String {
        self.flags.get(name).cloned().unwrap_or_default()
    }
    /// True if a switch is on.
    pub(crate) fn on(&self, name: &str) -> bool {
        self.flags.get(name).is_some_and(|v| v == "true")
    }
    /// A number; its shape was checked when it was read.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.flags.get(name).and_then(|v| v.parse().ok()).unwrap_or_default()
    }
    pub(crate) fn was_set(&self, name: &str) -> bool {
        self.set.contains(&name)
    }
    /// The value of a flag as a duration: `5s`, `200ms`, `1m30s`, as Go reads them.
    ///
    /// # Errors
    /// It is none, or negative ([`FAILED`]); the text names the flag.
    pub(crate) fn duration(&self, name: &str) -> Result<Duration, Fail> {
        let text = self.text(name);
        match parse_duration(&text) {
            Ok(time) if time.0 >= 0 => Ok(time.duration()),
            _ => Err(Fail::new(
                FAILED,
                format!("invalid argument {} for \"--{name}\" flag: it looks like 5s or 200ms", quote(&text)),
            )),
        }
    }
}

/// Reads an argument that is a decimal number. Errors: it is none, or too large, with this exit
/// code.
pub(crate) fn number(text: &str, code: i32) -> Result<i64, Fail> {
    text.parse::<i64>().map_err(|error| Fail::new(code, no_number("ParseInt", text, &error)))
}

/// Reads a lease's number, in hexadecimal.
pub(crate) fn lease_id(text: &str, what: &str) -> Result<i64, Fail> {
    i64::from_str_radix(text, 16).map_err(|error| {
        let reason = no_number("ParseInt", text, &error);
        Fail::arguments(format!("{what} ({reason}), expecting ID in Hex"))
    })
}

/// Returns why a text is no number, as this function of Go's `strconv` says it.
pub(crate) fn no_number(function: &str, text: &str, error: &ParseIntError) -> String {
    let reason = match error.kind() {
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    };
    format!("strconv.{function}: parsing {}: {reason}", quote(text))
}

/// The flag of this name or letter.
pub(crate) fn flag(among: &'static [Flag], name: &str) -> Option<&'static Flag> {
    let mut chars = name.chars();
    let letter = chars.next().filter(|_| chars.next().is_none());
    among.iter().find(|f| f.name == name || (letter.is_some() && f.short == letter))
}

/// Reads the flags, global ones included, and the arguments of a verb, whose own flags are `own`.
pub(crate) fn read(verb: &str, own: &'static [Flag], words: &[String]) -> Result<Given, Fail> {
    read_with(verb, own, GLOBAL, words)
}

/// As [`read`], for a line of a transaction: it has the verb's own flags alone, as the command line
/// says where the store is.
pub(crate) fn read_own(verb: &str, own: &'static [Flag], words: &[String]) -> Result<Given, Fail> {
    read_with(verb, own, &[], words)
}

fn read_with(
    verb: &str,
    own: &'static [Flag],
    global: &'static [Flag],
    words: &[String],
) -> Result<Given, Fail> {
    let mut given = Given::default();
    for flag in own.iter().chain(global) {
        given.flags.insert(flag.name, flag.default.to_string());
    }
    let find = |name: &str| flag(own, name).or_else(|| flag(global, name));
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            given.before_dash = Some(given.args.len());
            given.args.extend(words.by_ref().cloned());
        } else if let Some(long) = word.strip_prefix("--") {
            if long.starts_with(['-', '=']) {
                return Err(wrong(verb, format!("bad flag syntax: {word}")));
            }
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (long, None),
            };
            let flag = find(name).filter(|f| f.name == name);
            let flag = flag.ok_or_else(|| wrong(verb, format!("unknown flag: --{name}")))?;
            set(verb, &mut given, flag, value, &mut words)?;
        } else if let Some(mut left) = word.strip_prefix('-').filter(|l| !l.is_empty()) {
            while let Some(letter) = left.chars().next() {
                let refused = |why: &str| wrong(verb, format!("{why}: '{letter}' in -{left}"));
                let flag = find(&letter.to_string()).ok_or_else(|| refused("unknown shorthand flag"))?;
                let is_last = left.len() == letter.len_utf8() && words.as_slice().is_empty();
                if flag.kind != Kind::Switch && is_last {
                    return Err(refused("flag needs an argument"));
                }
                left = &left[letter.len_utf8()..];
                let value = match flag.kind {
                    Kind::Switch if !left.starts_with('=') => None,
                    _ => {
                        let rest = std::mem::take(&mut left);
                        let value = rest.strip_prefix('=').filter(|value| !value.is_empty());
                        Some(value.unwrap_or(rest).to_string())
                    }
                };
                set(verb, &mut given, flag, value.filter(|v| !v.is_empty()), &mut words)?;
            }
        } else {
            given.args.push(word.clone());
        }
    }
    Ok(given)
}

/// Gives each global flag that is not on the line the value of its variable, e.g.
/// `ETCDCTL_WRITE_OUT`. As with etcdctl, the flags of a group of verbs are global within it.
///
/// Errors: a value that the flag cannot have; or [`DISCOVERY`] names the store, which this etcdctl
/// would not find: it must not talk to another one.
pub(crate) fn from_environment(
    verb: &str,
    given: &mut Given,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), Fail> {
    if variable(DISCOVERY).is_some_and(|value| !value.is_empty()) {
        let why = "discovery by DNS is not implemented here; unset it, and give --endpoints";
        return Err(Fail::new(FAILED, format!("{DISCOVERY}: {why}")));
    }
    let group = if verb.starts_with("endpoint ") { ENDPOINT } else { &[] };
    for flag in GLOBAL.iter().chain(group).filter(|flag| flag.name != "help") {
        let name = format!("ETCDCTL_{}", flag.name.to_uppercase().replace('-', "_"));
        if given.was_set(flag.name) {
            continue;
        }
        if let Some(value) = variable(&name).filter(|value| !value.is_empty()) {
            set(verb, given, flag, Some(value), &mut std::iter::empty())
                .map_err(|fail| Fail { text: format!("{name}: {}", fail.text), ..fail })?;
        }
    }
    Ok(())
}

fn wrong(verb: &str, text: String) -> Fail {
    let space = if verb.is_empty() { "" } else { " " };
    Fail::new(FAILED, format!("{text}\nRun 'etcdctl{space}{verb} --help' for usage."))
}

fn set<'w>(
    verb: &str,
    given: &mut Given,
    flag: &'static Flag,
    value: Option<String>,
    rest: &mut impl Iterator<Item = &'w String>,
) -> Result<(), Fail> {
    let value = match (flag.kind, value) {
        (Kind::Switch, None) => "true".to_string(),
        (_, Some(value)) => value,
        (_, None) => rest
            .next()
            .cloned()
            .ok_or_else(|| wrong(verb, format!("flag needs an argument: --{}", flag.name)))?,
    };
    let value = match flag.kind {
        Kind::Switch => match value.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => "true".into(),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => "false".into(),
            _ => return Err(bad(verb, flag, &value, "ParseBool", "invalid syntax")),
        },
        // As pflag, in any notation of Go: 0x10 and 020 are 16.
        Kind::Number => match parse_int(&value, i64::BITS) {
            Ok(number) => number.to_string(),
            Err(reason) => return Err(bad(verb, flag, &value, "ParseInt", reason)),
        },
        Kind::Text => value,
    };
    // The first takes the place of the default, each further one is added.
    let value = match given.flags.get(flag.name) {
        Some(before) if flag.name == "endpoints" && given.set.contains(&flag.name) => {
            format!("{before},{value}")
        }
        _ => value,
    };
    given.flags.insert(flag.name, value);
    given.set.push(flag.name);
    Ok(())
}

fn bad(verb: &str, flag: &Flag, value: &str, function: &str, reason: &str) -> Fail {
    let name = flag.short.map_or(format!("--{}", flag.name), |s| format!("-{s}, --{}", flag.name));
    let value = quote(value);
    let why = format!("strconv.{function}: parsing {value}: {reason}");
    wrong(verb, format!("invalid argument {value} for \"{name}\" flag: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fail::ARGUMENTS;

    /// As `strconv` of Go, which pflag and etcdctl read them with.
    #[test]
    fn a_number_that_is_too_large_is_no_wrong_syntax() {
        let large = "99999999999999999999";
        let told = |kind: &str| format!("strconv.ParseInt: parsing \"{large}\": {kind}");
        assert_eq!(number(large, FAILED), Err(Fail::new(FAILED, told("value out of range"))));
        assert_eq!(number("x", FAILED).unwrap_err().text, "strconv.ParseInt: parsing \"x\": invalid syntax");
        let lease = lease_id(large, "bad lease ID").unwrap_err();
        let text = format!("bad lease ID ({}), expecting ID in Hex", told("value out of range"));
        assert_eq!(lease, Fail::new(ARGUMENTS, text));
    }

    /// As pflag.
    #[test]
    fn letters_are_read_one_by_one() {
        let read = |word: &str| read("get", &[], &[word.to_string()]).map_err(|fail| fail.text);
        for (word, format) in [("-wjson", "json"), ("-w=json", "json"), ("-w==json", "=json")] {
            assert_eq!(read(word).map(|given| given.text("write-out")), Ok(format.to_string()), "{word}");
        }
        let unknown = |word: &str| read(word).unwrap_err();
        assert!(unknown("-hx").starts_with("unknown shorthand flag: 'x' in -x\n"));
        assert!(unknown("-xh").starts_with("unknown shorthand flag: 'x' in -xh\n"));
        assert!(unknown("-hw").starts_with("flag needs an argument: 'w' in -w\n"));
        for word in ["--=x", "---x"] {
            assert!(unknown(word).starts_with(&format!("bad flag syntax: {word}\n")), "{word}");
        }
    }

    #[test]
    fn numbers_of_flags_have_the_notations_of_go() {
        const LIMIT: &[Flag] = &[crate::flags::number("limit", "0", "")];
        let limit = |text: &str| {
            let words = ["--limit".to_string(), text.to_string()];
            read("get", LIMIT, &words).map(|given| given.number("limit")).map_err(|fail| fail.text)
        };
        for (text, number) in [("16", 16), ("0x10", 16), ("020", 16), ("1_000", 1000), ("-1", -1)] {
            assert_eq!(limit(text), Ok(number), "{text}");
        }
        assert!(limit("08").is_err_and(|text| text.contains("parsing \"08\": invalid syntax")));
        assert!(limit("9223372036854775808").is_err_and(|text| text.contains("value out of range")));
    }
}
