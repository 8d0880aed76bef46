//! Flags: what each one is, and the values of those that were given, as pflag reads them.

use crate::csv;
use api::gostr;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The type of a flag's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`, as Go reads them; the flag alone is `true`.
    Bool,
    /// A number of 64 bits, as Go reads it: `12`, `-3`, `0x1f`.
    Int,
    /// As `Int`, with 32 bits.
    Int32,
    /// `5s`, `2m`, `1h30m`
    Duration,
    /// Any text; of a repeated flag the last value counts.
    Text,
    /// May be repeated; commas separate values too.
    List,
    /// May be repeated; a comma is a part of the value.
    Array,
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// The long name without dashes: `namespace`.
    pub name: &'static str,
    /// One letter, or nothing.
    pub(crate) short: &'static str,
    /// How a value is read.
    pub kind: Kind,
    pub(crate) default: &'static str,
    /// The value of the flag alone (`--dry-run`); empty: it needs an argument.
    pub alone: &'static str,
    pub(crate) help: &'static str,
}

/// The values of flags that were given.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    given: BTreeMap<&'static str, Vec<String>>,
    defaults: BTreeMap<&'static str, &'static Flag>,
    /// Names of the verb's own flags.
    own: BTreeSet<&'static str>,
    /// Names and values in the order of the command line.
    order: Vec<(&'static str, String)>,
}

impl Flags {
    /// Without values: `own` are a verb's own flags, `all` those and the global ones.
    pub(super) fn none_of(own: &'static [Flag], all: impl Iterator<Item = &'static Flag>) -> Flags {
        let mut flags = Flags { defaults: all.map(|f| (f.name, f)).collect(), ..Flags::default() };
        for flag in own {
            flags.defaults.insert(flag.name, flag);
            flags.own.insert(flag.name);
        }
        flags
    }

    /// True if the command line has this flag.
    pub fn changed(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The flags that were given, each with the value that counts: the last one.
    pub fn given(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.given.iter().filter_map(|(name, values)| values.last().map(|value| (*name, value.as_str())))
    }

    /// Every flag with every value that it was given, in the order of the command line.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.order.iter().map(|(name, value)| (*name, value.as_str()))
    }

    /// The value of a global flag; nothing if the verb has a flag of its own by that name.
    pub(crate) fn global(&self, name: &str) -> &str {
        if self.own.contains(name) { "" } else { self.text(name) }
    }

    /// True if a global flag is set; never of a verb that has a flag of its own by that name.
    pub(crate) fn is_global(&self, name: &str) -> bool {
        parse_bool(self.global(name)).unwrap_or(false)
    }

    /// The value of a flag, or its default.
    pub fn text(&self, name: &str) -> &str {
        match self.given.get(name).and_then(|v| v.last()) {
            Some(value) => value,
            None => self.defaults.get(name).map_or("", |f| f.default),
        }
    }

    /// The value of a switch; false if there is no such flag.
    pub fn is(&self, name: &str) -> bool {
        parse_bool(self.text(name)).unwrap_or(false)
    }

    /// True if `--dry-run` asks that nothing is changed: `client`, `server` or a true boolean.
    pub fn is_trial(&self) -> bool {
        let given = self.text("dry-run");
        !matches!(given, "" | "none") && parse_bool(given) != Some(false)
    }

    /// The value of a flag for a number; 0 if there is no such flag.
    pub fn int(&self, name: &str) -> i64 {
        gostr::parse_int(self.text(name), i64::BITS).unwrap_or(0)
    }

    /// The value of a flag for a duration; zero if there is no such flag.
    pub(crate) fn duration(&self, name: &str) -> Duration {
        gostr::parse_duration(self.text(name)).map_or(Duration::ZERO, |ms| ms.duration())
    }

    /// All pairs of a flag that maps names to values: `--env=a=1,b=2`.
    pub(crate) fn pairs(&self, name: &str) -> Vec<String> {
        self.given.get(name).into_iter().flatten().flat_map(|v| split_pairs(v)).collect()
    }

    /// The first value of a flag for pairs that has one without `=`, and that one, as pflag's
    /// `StringToString` finds it: it splits no value that has no `=` at all.
    pub(crate) fn malformed_pair(&self, name: &str) -> Option<(String, String)> {
        let wrong = |value: &String| match value.contains('=') {
            false => Some(value.clone()),
            true => split_pairs(value).into_iter().find(|pair| !pair.contains('=')),
        };
        self.given.get(name)?.iter().find_map(|value| Some((value.clone(), wrong(value)?)))
    }

    /// All values of a repeated flag; those of a list are also split at commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        let split = self.defaults.get(name).is_some_and(|f| f.kind == Kind::List);
        let given = self.given.get(name).into_iter().flatten();
        match split {
            // [`Flags::give`] has read the value once, so this cannot fail.
            true => given.flat_map(|v| csv::first_record(v).unwrap_or_default()).collect(),
            false => given.cloned().collect(),
        }
    }

    /// Takes a value that was given. Errors: it is not of the flag's kind, in pflag's words.
    pub(super) fn give(&mut self, flag: &'static Flag, value: String) -> Result<(), String> {
        let name = match flag.short {
            "" => format!("--{}", flag.name),
            short => format!("-{short}, --{}", flag.name),
        };
        let invalid = |why: String| {
            Err(format!("invalid argument {} for \"{name}\" flag: {why}", gostr::quote(&value)))
        };
        let quoted = gostr::quote(&value);
        match flag.kind {
            Kind::Bool if parse_bool(&value).is_none() => {
                return invalid(format!("strconv.ParseBool: parsing {quoted}: invalid syntax"));
            }
            Kind::Int | Kind::Int32 => {
                let bits = if flag.kind == Kind::Int32 { i32::BITS } else { i64::BITS };
                if let Err(why) = gostr::parse_int(&value, bits) {
                    return invalid(format!("strconv.ParseInt: parsing {quoted}: {why}"));
                }
            }
            Kind::Duration => {
                if let Err(why) = gostr::parse_duration(&value) {
                    return invalid(why);
                }
            }
            Kind::List if !value.is_empty() => {
                if let Err(why) = csv::first_record(&value) {
                    return invalid(why);
                }
            }
            _ => {}
        }
        self.order.push((flag.name, value.clone()));
        self.given.entry(flag.name).or_default().push(value);
        Ok(())
    }
}

/// Pairs as pflag's `StringToString` reads them: commas separate pairs, but are a part of the value
/// of one that stands alone.
fn split_pairs(text: &str) -> Vec<String> {
    match text.matches('=').count() {
        1 => vec![text.trim_matches('"').to_string()],
        _ => csv::first_record(text).unwrap_or_else(|_| vec![text.to_string()]),
    }
}

/// A switch's value, as Go's `strconv.ParseBool` reads it.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
