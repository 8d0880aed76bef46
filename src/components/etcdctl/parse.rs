//! Command lines: a verb of the table with what was given to it, or help.

use super::fail::{FAILED, Fail};
use super::flags::{ENDPOINT, Flag, GLOBAL, Kind};
use super::given::{Given, flag, from_environment, read};
use super::table::{ABSENT, VERBS, Verb};
use api::gostr::quote;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What a line turned out to be.
pub(crate) enum Found {
    Help(String),
    Command(&'static Verb, Given),
}

/// Returns the name that a word is, or that alone begins with it: at the beginning of a line, or
/// within a group of verbs.
///
/// As with etcdctl (`EnablePrefixMatching`), `mem` is `member` and `snap` is `snapshot`; `e` may be
/// `elect` or `endpoint`, so it is neither.
fn completed(group: Option<&str>, word: &str) -> Option<&'static str> {
    let all = VERBS.iter().map(|verb| verb.name).chain(ABSENT.iter().map(|(name, _)| *name)).chain(["help"]);
    let within = |name: &'static str| match (group, name.split_once(' ')) {
        (None, None) => Some(name),
        (None, Some((first, _))) => Some(first),
        (Some(group), Some((first, second))) => (first == group).then_some(second),
        (Some(_), None) => None,
    };
    let names: BTreeSet<&'static str> = all.filter_map(within).collect();
    let mut begun = names.iter().copied().filter(|name| !word.is_empty() && name.starts_with(word));
    match (names.get(word), begun.next(), begun.next()) {
        (Some(whole), ..) => Some(*whole),
        (None, only, None) => only,
        (None, ..) => None,
    }
}

/// What a line's first words name.
struct Named {
    /// Where the words of the name stand.
    at: Vec<usize>,
    /// The name, in whole words where they are known.
    name: String,
    verb: Option<&'static Verb>,
}

/// Returns whether the word behind a flag is the flag's value. A flag that no verb has takes one,
/// as in cobra: so it is named, and not its value.
fn takes_next(word: &str) -> bool {
    let name = word.trim_start_matches('-');
    let lists = VERBS.iter().map(|verb| verb.flags).chain([GLOBAL]);
    let is_switch = lists.filter_map(|list| flag(list, name)).any(|flag| flag.kind == Kind::Switch);
    let is_alone = word.len() == 2 || (word.starts_with("--") && !word.contains('='));
    is_alone && !is_switch
}

/// Finds the verb that a line's first words name. Flags may stand before and between them.
fn verb(words: &[String]) -> Named {
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
            skip = takes_next(word); // a flag before the verb takes its value along
            continue;
        }
        at.push(i);
    }
    let mut names: Vec<&str> = Vec::new();
    for i in &at {
        let word = words[*i].as_str();
        names.push(completed(names.first().copied(), word).unwrap_or(word));
    }
    for count in (1..=names.len()).rev() {
        let name = names[..count].join(" ");
        if let Some(verb) = VERBS.iter().find(|v| v.name == name) {
            at.truncate(count);
            return Named { at, name, verb: Some(verb) };
        }
    }
    let name = names.join(" ");
    Named { at, name, verb: None }
}

/// Returns the words of a line but for those at these places.
fn without(words: &[String], at: &[usize]) -> Vec<String> {
    words.iter().enumerate().filter(|(i, _)| !at.contains(i)).map(|(_, word)| word.clone()).collect()
}

pub(crate) fn parse(words: &[String]) -> Result<Found, Fail> {
    parse_with(words, |variable| std::env::var(variable).ok())
}

/// As [`parse`], with the variables of an environment.
fn parse_with(words: &[String], variable: impl Fn(&str) -> Option<String>) -> Result<Found, Fail> {
    let help = verb(words).at.first().copied().filter(|at| completed(None, &words[*at]) == Some("help"));
    let wants_help = words.is_empty() || help.is_some();
    let words = &without(words, help.as_slice());
    let Named { at, name: named, verb } = verb(words);
    let Some(verb) = verb else {
        let first = named.split(' ').next().unwrap_or_default();
        let is = |name: &str| {
            named.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        if let Some((name, why)) = ABSENT.iter().find(|(name, _)| is(name)) {
            return Err(Fail::new(FAILED, format!("{name} is not implemented here: {why}")));
        }
        let group = VERBS.iter().any(|v| v.name.split_once(' ').is_some_and(|(group, _)| group == first));
        return match first.is_empty() || group {
            true => {
                let own = if first == "endpoint" { ENDPOINT } else { &[] };
                read(first, own, &without(words, &at))?; // a flag that is unknown is told
                Ok(Found::Help(overview(first)))
            }
            false => Err(Fail::new(
                FAILED,
                format!("unknown command {} for \"etcdctl\"\nRun 'etcdctl --help' for usage.", quote(first)),
            )),
        };
    };
    if wants_help {
        return Ok(Found::Help(about(verb)));
    }
    let mut given = read(verb.name, verb.flags, &without(words, &at))?;
    if given.on("help") {
        return Ok(Found::Help(about(verb)));
    }
    // As etcdctl and etcdutl, which look at the line alone.
    if verb.uses_store() {
        from_environment(verb.name, &mut given, variable)?;
    }
    Ok(Found::Command(verb, given))
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

    /// As cobra does it for etcdctl.
    #[test]
    fn the_beginning_of_a_name_will_do_if_no_other_name_begins_so() {
        let verb = |text: &str| line(text).map(|(name, given)| (name, given.args.join(" ")));
        for (text, name, args) in [
            ("mem l", "member list", ""),
            ("-w json end stat", "endpoint status", ""),
            ("snap save x", "snapshot save", "x"),
            ("lease t 7b", "lease timetolive", "7b"),
            ("compact 5", "compaction", "5"),
            ("del a", "del", "a"),
            ("g mem list", "get", "mem list"),
        ] {
            assert_eq!(verb(text), Ok((name, args.to_string())), "{text}");
        }
        for text in ["e status", "comp 5", "getx a"] {
            assert!(verb(text).is_err_and(|error| error.starts_with("unknown command")), "{text}");
        }
        assert!(line("le").unwrap_err().contains("lease timetolive"), "the help of a group");
        for help in ["hel get", "-w json help get", "help -w json get"] {
            assert!(line(help).unwrap_err().contains("--keys-only"), "{help}");
        }
        assert!(line("mem add x").unwrap_err().starts_with("member add is not implemented here"));
        assert!(line("snapshot s").unwrap_err().contains("snapshot status"), "save or status");
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
        let cluster = |text: &str| with(text, &[("ETCDCTL_CLUSTER", "true")]).unwrap().on("cluster");
        assert!(cluster("endpoint health") && !cluster("endpoint health --cluster=false"));
        assert!(!cluster("defrag"), "a flag of one verb has none");
        let elsewhere = with("get a --endpoints x", &[("ETCDCTL_DISCOVERY_SRV", "example.com")]);
        assert!(elsewhere.unwrap_err().starts_with("ETCDCTL_DISCOVERY_SRV: "), "not the store at x");
        assert!(
            with("get a", &[("ETCDCTL_HEX", "maybe")])
                .unwrap_err()
                .starts_with("ETCDCTL_HEX: invalid argument")
        );
    }

    #[test]
    fn without_a_store_no_variable_is_heeded() {
        let with = |line: &str| {
            let words: Vec<String> = line.split(' ').map(String::from).collect();
            parse_with(&words, |name| (name == "ETCDCTL_HEX").then(|| "maybe".to_string()))
        };
        assert!(with("get a").is_err());
        for line in ["version", "snapshot status x", "get --help"] {
            assert!(with(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(line("get a --nonsense").unwrap_err().starts_with("unknown flag: --nonsense"));
        assert!(line("get a -x").unwrap_err().starts_with("unknown shorthand flag: 'x' in -x"));
        assert!(line("get a --limit z").unwrap_err().contains("invalid argument \"z\" for \"--limit\" flag"));
        assert!(line("get a --limit").unwrap_err().starts_with("flag needs an argument: --limit"));
        for (text, flag) in [
            ("--nonsense", "--nonsense"),
            ("--user root:x get a", "--user"),
            ("lease --nonsense", "--nonsense"),
            ("help --nonsense", "--nonsense"),
        ] {
            assert!(line(text).unwrap_err().starts_with(&format!("unknown flag: {flag}\nRun")), "{text}");
        }
        assert!(line("endpoint --cluster").unwrap_err().contains("endpoint hashkv"), "the group has it");
        let (verb, given) = line("--rev 3 get a").unwrap();
        assert_eq!((verb, given.number("rev"), given.args), ("get", 3, vec!["a".to_string()]));
        assert!(line("nonsense").unwrap_err().starts_with("unknown command \"nonsense\""));
        for absent in ["user add x", "user", "downgrade enable 3.5", "member add x"] {
            assert!(line(absent).unwrap_err().contains("not implemented"), "{absent}");
        }
        assert!(line("completion bash").unwrap_err().contains("not implemented"));
        assert!(line("roles").unwrap_err().starts_with("unknown command \"roles\""));
        assert!(line("lease").unwrap_err().contains("timetolive"));
        assert!(line("get --help").unwrap_err().contains("--keys-only"));
    }
}
