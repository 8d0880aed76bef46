//! Command lines: a verb of the table with what was given to it, or help.

use super::fail::{FAILED, Fail};
use super::flags::{Flag, GLOBAL, Kind};
use super::given::{Given, flag, from_environment, read};
use super::table::{ABSENT, VERBS, Verb};
use std::fmt::Write as _;

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

pub(crate) fn parse(words: &[String]) -> Result<Found, Fail> {
    let wants_help = words.first().is_none_or(|w| w == "help");
    let words = if wants_help { words.get(1..).unwrap_or_default() } else { words };
    let (at, verb) = verb(words);
    let Some(verb) = verb else {
        let first = at.first().map(|i| words[*i].clone()).unwrap_or_default();
        let named = at.iter().map(|i| words[*i].as_str()).collect::<Vec<_>>().join(" ");
        let asked = wants_help || words.iter().any(|w| w == "-h" || w == "--help");
        let is = |name: &str| {
            named.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        if let Some((name, why)) = ABSENT.iter().find(|(name, _)| is(name)) {
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
    let mut given = read(verb.name, verb.flags, &rest)?;
    from_environment(verb.name, &mut given, |variable| std::env::var(variable).ok())?;
    match given.on("help") {
        true => Ok(Found::Help(about(verb))),
        false => Ok(Found::Command(verb, given)),
    }
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
        super::version::VERSION
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
    use std::time::Duration;

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
            from_environment(verb.name, &mut given, of).map(|()| given).map_err(|fail| fail.text)
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
        for absent in ["user add x", "user", "downgrade enable 3.5", "member add x"] {
            assert!(line(absent).unwrap_err().contains("not implemented"), "{absent}");
        }
        assert!(line("roles").unwrap_err().starts_with("unknown command \"roles\""));
        assert!(line("lease").unwrap_err().contains("timetolive"));
        assert!(line("get --help").unwrap_err().contains("--keys-only"));
    }
}
