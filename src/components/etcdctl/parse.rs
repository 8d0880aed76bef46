//! Command lines: a verb of the table, its flags among its arguments, as pflag reads them.

use super::ctx::{FAILED, Fail};
use super::table::{ABSENT, Flag, GLOBAL, Kind, VERBS, Verb};
use api::gostr::parse_duration;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// What was given to a verb.
#[derive(Clone, Debug, Default)]
pub struct Given {
    flags: BTreeMap<&'static str, String>,
    /// Flags that stood on the line.
    pub set: Vec<&'static str>,
    pub args: Vec<String>,
    /// How many arguments stood before `--`; `None`: there was no `--`.
    pub before_dash: Option<usize>,
}

impl Given {
    /// The value of a flag, or its default; empty if the verb has no such flag.
    pub fn text(&self, name: &str) -> String {
        self.flags.get(name).cloned().unwrap_or_default()
    }
    /// True if a switch is on.
    pub fn on(&self, name: &str) -> bool {
        self.flags.get(name).is_some_and(|v| v == "true")
    }
    /// A number; its shape was checked when it was read.
    pub fn number(&self, name: &str) -> i64 {
        self.flags.get(name).and_then(|v| v.parse().ok()).unwrap_or_default()
    }
    pub(crate) fn was_set(&self, name: &str) -> bool {
        self.set.contains(&name)
    }
    /// The value of a flag as a duration: `5s`, `200ms`, `1m30s`, as Go reads them.
    ///
    /// # Errors
    /// It is none, or negative ([`FAILED`]); the text names the flag.
    pub fn duration(&self, name: &str) -> Result<Duration, Fail> {
        let text = self.text(name);
        match parse_duration(&text) {
            Ok(time) if time.0 >= 0 => Ok(time.duration()),
            _ => Err(Fail::new(
                FAILED,
                format!("invalid argument {text:?} for \"--{name}\" flag: it looks like 5s or 200ms"),
            )),
        }
    }
}

/// What a line turned out to be.
pub(crate) enum Found {
    Help(String),
    Command(&'static Verb, Given),
}

/// The verb that a line's first words name, and how many words it has. Flags may stand before and
/// between them.
fn verb(words: &[String]) -> (Vec<usize>, Option<&'static Verb>) {
    let mut at = Vec::new();
    let mut skip = false;
    for (i, word) in words.iter().enumerate() {
        if std::mem::take(&mut skip) {
            continue;
        }
        if word == "--" || at.len() == 2 {
            break;
        }
        if word.starts_with('-') && word.len() > 1 {
            // a flag before the verb takes its value along
            let name = word.trim_start_matches('-');
            skip = !name.contains('=') && flag(GLOBAL, name).is_some_and(|f| f.kind != Kind::Switch);
            continue;
        }
        at.push(i);
    }
    for count in (1..=at.len()).rev() {
        let name = at[..count].iter().map(|i| words[*i].as_str()).collect::<Vec<_>>().join(" ");
        if let Some(verb) = VERBS.iter().find(|v| v.name == name) {
            at.truncate(count);
            return (at, Some(verb));
        }
    }
    (at, None)
}

fn flag(among: &'static [Flag], name: &str) -> Option<&'static Flag> {
    let mut chars = name.chars();
    let letter = chars.next().filter(|_| chars.next().is_none());
    among.iter().find(|f| f.name == name || (letter.is_some() && f.short == letter))
}

pub(crate) fn parse(words: &[String]) -> Result<Found, Fail> {
    let wants_help = words.first().is_none_or(|w| w == "help");
    let words = if wants_help { words.get(1..).unwrap_or_default() } else { words };
    let (at, verb) = verb(words);
    let Some(verb) = verb else {
        let first = at.first().map(|i| words[*i].clone()).unwrap_or_default();
        let named = at.iter().map(|i| words[*i].as_str()).collect::<Vec<_>>().join(" ");
        let asked = wants_help || words.iter().any(|w| w == "-h" || w == "--help");
        if let Some((name, why)) = ABSENT.iter().find(|(name, _)| named.starts_with(name)) {
            return Err(Fail::new(FAILED, format!("{name} is not implemented here: {why}")));
        }
        let group = VERBS.iter().any(|v| v.name.split_once(' ').is_some_and(|(group, _)| group == first));
        return match first.is_empty() || group {
            true => Ok(Found::Help(overview(&first))),
            false if asked && at.is_empty() => Ok(Found::Help(overview(""))),
            false => Err(Fail::new(
                FAILED,
                format!("unknown command {first:?} for \"etcdctl\"\nRun 'etcdctl --help' for usage."),
            )),
        };
    };
    if wants_help {
        return Ok(Found::Help(about(verb)));
    }
    let rest: Vec<String> =
        words.iter().enumerate().filter(|(i, _)| !at.contains(i)).map(|(_, w)| w.clone()).collect();
    let mut given = read(verb, &rest)?;
    from_environment(verb, &mut given, |variable| std::env::var(variable).ok())?;
    match given.on("help") {
        true => Ok(Found::Help(about(verb))),
        false => Ok(Found::Command(verb, given)),
    }
}

/// Reads the flags, global ones included, and the arguments of a verb.
pub(crate) fn read(verb: &'static Verb, words: &[String]) -> Result<Given, Fail> {
    read_with(verb, GLOBAL, words)
}

/// As [`read`], for a line of a transaction: it has the verb's own flags alone, as the command line
/// says where the store is.
pub(crate) fn read_own(verb: &'static Verb, words: &[String]) -> Result<Given, Fail> {
    read_with(verb, &[], words)
}

fn read_with(verb: &'static Verb, global: &'static [Flag], words: &[String]) -> Result<Given, Fail> {
    let mut given = Given::default();
    for flag in verb.flags.iter().chain(global) {
        given.flags.insert(flag.name, flag.default.to_string());
    }
    let find = |name: &str| flag(verb.flags, name).or_else(|| flag(global, name));
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            given.before_dash = Some(given.args.len());
            given.args.extend(words.by_ref().cloned());
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (long, None),
            };
            let flag = find(name).filter(|f| f.name == name);
            let flag = flag.ok_or_else(|| wrong(verb, format!("unknown flag: --{name}")))?;
            set(verb, &mut given, flag, value, &mut words)?;
        } else if let Some(letters) = word.strip_prefix('-').filter(|l| !l.is_empty()) {
            let mut left = letters;
            while let Some(letter) = left.chars().next() {
                left = &left[letter.len_utf8()..];
                let flag = find(&letter.to_string()).ok_or_else(|| {
                    wrong(verb, format!("unknown shorthand flag: '{letter}' in -{letters}"))
                })?;
                let value = match flag.kind {
                    Kind::Switch if !left.starts_with('=') => None,
                    _ => Some(std::mem::take(&mut left).trim_start_matches('=').to_string()),
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
/// `ETCDCTL_WRITE_OUT`.
fn from_environment(
    verb: &Verb,
    given: &mut Given,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<(), Fail> {
    for flag in GLOBAL.iter().filter(|flag| flag.name != "help") {
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

fn wrong(verb: &Verb, text: String) -> Fail {
    Fail::new(FAILED, format!("{text}\nRun 'etcdctl {} --help' for usage.", verb.name))
}

fn set<'w>(
    verb: &Verb,
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
            _ => return Err(bad(verb, flag, &value, "ParseBool")),
        },
        Kind::Number if value.parse::<i64>().is_err() => return Err(bad(verb, flag, &value, "ParseInt")),
        Kind::Number | Kind::Text => value,
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

fn bad(verb: &Verb, flag: &Flag, value: &str, function: &str) -> Fail {
    let name = flag.short.map_or(format!("--{}", flag.name), |s| format!("-{s}, --{}", flag.name));
    wrong(
        verb,
        format!(
            "invalid argument {value:?} for {name:?} flag: strconv.{function}: parsing {value:?}: invalid syntax"
        ),
    )
}

fn flags(text: &mut String, title: &str, list: &[Flag]) {
    if list.is_empty() {
        return;
    }
    let _ = write!(text, "\n{title}:\n");
    for flag in list {
        let short = flag.short.map_or("    ".into(), |s| format!("-{s}, "));
        let default = match flag.kind {
            Kind::Switch => String::new(),
            Kind::Text => format!("={:?}", flag.default),
            Kind::Number => format!("={}", flag.default),
        };
        let _ = writeln!(text, "  {short}{:<34} {}", format!("--{}{default}", flag.name), flag.help);
    }
}

/// Help for one verb.
pub(crate) fn about(verb: &Verb) -> String {
    let mut text = format!(
        "NAME:\n\t{} - {}\n\nUSAGE:\n\tetcdctl {} {} [flags]\n",
        verb.name, verb.help, verb.name, verb.usage
    );
    flags(&mut text, "OPTIONS", verb.flags);
    flags(&mut text, "GLOBAL OPTIONS", GLOBAL);
    text
}

/// Help for all verbs, or those of one group.
pub(crate) fn overview(group: &str) -> String {
    let mut text = format!(
        "NAME:\n\tetcdctl - A client for etcd and for this store, which speaks etcd v3.\n\nUSAGE:\n\tetcdctl COMMAND [flags]\n\nVERSION:\n\t{}\n\nCOMMANDS:\n",
        super::VERSION
    );
    for verb in VERBS.iter().filter(|v| group.is_empty() || v.name.split(' ').next() == Some(group)) {
        let _ = writeln!(text, "\t{:<18} {}", verb.name, verb.help);
    }
    flags(&mut text, "GLOBAL OPTIONS", GLOBAL);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Result<(&'static str, Given), String> {
        let words: Vec<String> = text.split(' ').map(String::from).collect();
        match parse(&words) {
            Ok(Found::Command(verb, given)) => Ok((verb.name, given)),
            Ok(Found::Help(text)) => Err(text),
            Err(fail) => Err(fail.text),
        }
    }

    #[test]
    fn flags_may_stand_anywhere_and_a_double_dash_ends_them() {
        let (verb, given) = line("--endpoints=x -w json lease --hex keep-alive 7b --once").unwrap();
        assert_eq!((verb, given.args.as_slice()), ("lease keep-alive", ["7b".to_string()].as_slice()));
        assert!(given.on("once") && given.on("hex") && given.text("write-out") == "json");
        let (_, given) = line("--endpoints=x,y endpoint health --endpoints z").unwrap();
        assert_eq!(given.text("endpoints"), "x,y,z", "the default goes, and each further flag is added");
        let (_, given) = line("put -wjson a -- --b").unwrap();
        assert_eq!((given.args, given.before_dash), (vec!["a".into(), "--b".into()], Some(1)));
    }

    #[test]
    fn every_global_flag_has_its_variable_and_the_line_goes_before_it() {
        let with = |text: &str, variables: &[(&str, &str)]| {
            let (name, mut given) = line(text).unwrap();
            let verb = VERBS.iter().find(|v| v.name == name).unwrap();
            let of = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
            from_environment(verb, &mut given, of).map(|()| given).map_err(|fail| fail.text)
        };
        let given =
            with("get a", &[("ETCDCTL_WRITE_OUT", "json"), ("ETCDCTL_COMMAND_TIMEOUT", "1m30s")]).unwrap();
        assert_eq!(given.text("write-out"), "json");
        assert_eq!(given.duration("command-timeout"), Ok(Duration::from_secs(90)));
        assert_eq!(
            with("get a -w table", &[("ETCDCTL_WRITE_OUT", "json")]).unwrap().text("write-out"),
            "table"
        );
        assert!(
            with("get a", &[("ETCDCTL_HEX", "maybe")])
                .unwrap_err()
                .starts_with("ETCDCTL_HEX: invalid argument")
        );
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(line("get a --nonsense").unwrap_err().starts_with("unknown flag: --nonsense"));
        assert!(line("get a -x").unwrap_err().starts_with("unknown shorthand flag: 'x' in -x"));
        assert!(line("get a --limit z").unwrap_err().contains("invalid argument \"z\" for \"--limit\" flag"));
        assert!(line("get a --limit").unwrap_err().starts_with("flag needs an argument: --limit"));
        assert!(line("nonsense").unwrap_err().starts_with("unknown command \"nonsense\""));
        assert!(line("user add x").unwrap_err().contains("not implemented"));
        assert!(line("lease").unwrap_err().contains("timetolive"));
        assert!(line("get --help").unwrap_err().contains("--keys-only"));
    }
}
