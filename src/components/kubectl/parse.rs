//! Command lines, read as cobra and pflag read them.

use super::error::Fail;
use super::table::{self, Flag, Kind, Verb};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The values of flags that were given.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    given: BTreeMap<&'static str, Vec<String>>,
    defaults: BTreeMap<&'static str, &'static Flag>,
    /// Names of the verb's own flags.
    own: BTreeSet<&'static str>,
}

impl Flags {
    /// Was it given?
    pub fn changed(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// The value of a global flag; nothing if the verb has a flag of its own by that name.
    pub fn global(&self, name: &str) -> &str {
        if self.own.contains(name) { "" } else { self.text(name) }
    }

    /// Whether a global flag is set; never of a verb that has a flag of its own by that name.
    pub(crate) fn is_global(&self, name: &str) -> bool {
        parse_bool(self.global(name)).unwrap_or(false)
    }

    /// Its value, or its default.
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

    /// The value of a flag for a number; 0 if there is no such flag.
    pub fn int(&self, name: &str) -> i64 {
        parse_int(self.text(name), i64::BITS).unwrap_or(0)
    }

    /// The value of a flag for a duration; zero if there is no such flag.
    pub fn duration(&self, name: &str) -> Duration {
        super::gostr::parse_duration(self.text(name)).map_or(Duration::ZERO, |ms| ms.duration())
    }

    /// All pairs of a flag that maps names to values: `--env=a=1,b=2`.
    pub fn pairs(&self, name: &str) -> Vec<String> {
        self.given.get(name).into_iter().flatten().flat_map(|v| split_pairs(v)).collect()
    }

    /// All values; those of a list also split at commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        let split = self.defaults.get(name).is_some_and(|f| f.kind == Kind::List);
        let given = self.given.get(name).into_iter().flatten();
        match split {
            true => given.flat_map(|v| split_csv(v)).collect(),
            false => given.cloned().collect(),
        }
    }
}

/// Pairs as pflag's `StringToString` reads them: commas separate pairs, but are a part of the value
/// of one that stands alone.
fn split_pairs(text: &str) -> Vec<String> {
    match text.matches('=').count() {
        1 => vec![text.trim_matches('"').to_string()],
        _ => split_csv(text),
    }
}

/// `a,"b,c",d` as Go's csv reader splits it.
fn split_csv(text: &str) -> Vec<String> {
    let mut parts = vec![];
    let mut rest = text;
    if text.is_empty() {
        return parts;
    }
    loop {
        if let Some(quoted) = rest.strip_prefix('"')
            && let Some(end) = quoted.find('"')
        {
            parts.push(quoted[..end].to_string());
            rest = &quoted[end + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => return parts,
            }
            continue;
        }
        match rest.split_once(',') {
            Some((head, tail)) => {
                parts.push(head.to_string());
                rest = tail;
            }
            None => {
                parts.push(rest.to_string());
                return parts;
            }
        }
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A number as Go's `strconv.ParseInt` reads one with base 0: `12`, `-3`, `0x1f`, `0o17`, `017`,
/// `0b1`, `1_000`. The error is its reason.
fn parse_int(text: &str, bits: u32) -> Result<i64, &'static str> {
    let (negative, rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let lower = rest.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    // An underscore stands between digits, or between a prefix and digits.
    let plain = digits.replace('_', "");
    let spaced =
        !digits.contains("__") && !digits.ends_with('_') && (radix != 10 || !digits.starts_with('_'));
    if plain.is_empty() || !spaced || !plain.chars().all(|c| c.is_digit(radix)) {
        return Err("invalid syntax");
    }
    let size = u64::from_str_radix(&plain, radix).map_err(|_| "value out of range")?;
    let most = 1u64 << (bits - 1);
    match negative {
        true if size <= most => Ok((size as i64).wrapping_neg()),
        false if size < most => Ok(size as i64),
        _ => Err("value out of range"),
    }
}

/// A command line that was understood.
pub struct Parsed {
    pub verb: &'static Verb,
    /// Where the verb's first word stands among the words; `None`: there is no verb. A word before
    /// it that is called like it is the value of a flag.
    pub verb_at: Option<usize>,
    pub flags: Flags,
    pub args: Vec<String>,
    /// How many of `args` stood before `--`, if there was one.
    pub dash: Option<usize>,
    pub help: bool,
}

impl Parsed {
    /// Whether a file that it reads is standard input (`-`).
    ///
    /// Example: true for `apply -Rf -`; false for `logs -f web` and `exec web -- tar -f -`.
    pub fn reads_stdin(&self) -> bool {
        self.flags.list("filename").iter().any(|file| file == "-") || self.flags.text("patch-file") == "-"
    }
}

/// Finds the verb, then reads the flags. `words` are those after the program's name.
///
/// # Errors
/// [`Fail::Text`] in cobra's words: the first word is no verb (with similar verbs), a flag is
/// unknown, has no value, or its value is not of the flag's kind. Nothing has been done then.
pub fn parse(words: &[String]) -> Result<Parsed, Fail> {
    let (verb, rest) = find(words)?;
    let verb_at = first_word(table::root(), words);
    let mut parsed = Parsed { verb, verb_at, flags: Flags::default(), args: vec![], dash: None, help: false };
    parsed.flags.defaults = verb.all_flags().map(|f| (f.name, f)).collect();
    for own in verb.flags {
        parsed.flags.defaults.insert(own.name, own);
        parsed.flags.own.insert(own.name);
    }
    read(&rest, &mut parsed).map_err(|message| {
        let path = verb.command_path();
        Fail::Text(format!("{message}\nSee '{path} --help' for usage."))
    })?;
    Ok(parsed)
}

/// Walks down the tree of verbs, over flags and their values, as cobra's `Find` does.
fn find(words: &[String]) -> Result<(&'static Verb, Vec<String>), Fail> {
    let mut verb = table::root();
    let mut rest = words.to_vec();
    while let Some(at) = first_word(verb, &rest) {
        match verb.child(&rest[at]) {
            Some(child) => {
                rest.remove(at);
                verb = child;
            }
            None if verb.path.is_empty() => return Err(unknown(&rest[at])),
            None => break,
        }
    }
    Ok((verb, rest))
}

/// Where the first word stands that is neither a flag nor a flag's value.
fn first_word(verb: &Verb, words: &[String]) -> Option<usize> {
    let mut at = 0;
    while at < words.len() {
        let word = words[at].as_str();
        if word == "--" {
            return None;
        }
        let takes_next = match word.strip_prefix("--") {
            Some(name) => {
                !name.contains('=') && verb.flag(name).is_none_or(|f| f.alone.is_empty()) && name != "help"
            }
            None if word.len() == 2 && word.starts_with('-') => {
                let letter = word.chars().nth(1).unwrap_or('-');
                letter != 'h' && verb.short_flag(letter).is_none_or(|f| f.alone.is_empty())
            }
            None => false,
        };
        if takes_next {
            at += 2;
        } else if word.is_empty() || (word.starts_with('-') && word.len() > 1) {
            at += 1;
        } else {
            return Some(at);
        }
    }
    None
}

fn unknown(word: &str) -> Fail {
    let mut text = format!("unknown command {} for \"kubectl\"", super::gostr::quote(word));
    let near: Vec<&str> = table::root()
        .children()
        .map(Verb::name)
        .filter(|name| distance(word, name) <= 2 || name.starts_with(&word.to_lowercase()))
        .collect();
    if !near.is_empty() {
        text.push_str("\n\nDid you mean this?\n");
        for name in near {
            text.push_str(&format!("\t{name}\n"));
        }
    }
    Fail::Text(text)
}

/// Levenshtein distance, letters' case ignored; of bytes, as kubectl counts them.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase().into_bytes(), b.to_lowercase().into_bytes());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let cost = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

fn read(words: &[String], parsed: &mut Parsed) -> Result<(), String> {
    let mut at = 0;
    while at < words.len() {
        let word = &words[at];
        at += 1;
        if word == "--" {
            parsed.dash = Some(parsed.args.len());
            parsed.args.extend(words[at..].iter().cloned());
            return Ok(());
        } else if let Some(long) = word.strip_prefix("--") {
            if long.starts_with('-') || long.starts_with('=') {
                return Err(format!("bad flag syntax: {word}"));
            }
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (long, None),
            };
            let Some(flag) = parsed.verb.flag(name) else {
                if name == "help" {
                    parsed.help = true;
                    continue;
                }
                return Err(format!("unknown flag: --{name}"));
            };
            let value = match value {
                Some(value) => value,
                None if !flag.alone.is_empty() => flag.alone.to_string(),
                None if at < words.len() => {
                    at += 1;
                    words[at - 1].clone()
                }
                None => return Err(format!("flag needs an argument: --{name}")),
            };
            give(parsed, flag, value)?;
        } else if word.starts_with('-') && word.len() > 1 {
            at = short(&word[1..], words, at, parsed)?;
        } else {
            parsed.args.push(word.clone());
        }
    }
    Ok(())
}

/// Reads `it`, `nkube-system` or `o=yaml` after a single dash; returns where to go on. Mistakes
/// name what is left of the word.
fn short(letters: &str, words: &[String], mut at: usize, parsed: &mut Parsed) -> Result<usize, String> {
    for (i, letter) in letters.char_indices() {
        let rest = &letters[i + letter.len_utf8()..];
        let Some(flag) = parsed.verb.short_flag(letter) else {
            if letter == 'h' {
                parsed.help = true;
                continue;
            }
            return Err(format!("unknown shorthand flag: '{letter}' in -{}", &letters[i..]));
        };
        if let Some(value) = rest.strip_prefix('=') {
            give(parsed, flag, value.to_string())?;
            return Ok(at);
        }
        if !flag.alone.is_empty() {
            give(parsed, flag, flag.alone.to_string())?;
            continue;
        }
        let value = if !rest.is_empty() {
            rest.to_string()
        } else if at < words.len() {
            at += 1;
            words[at - 1].clone()
        } else {
            return Err(format!("flag needs an argument: '{letter}' in -{}", &letters[i..]));
        };
        give(parsed, flag, value)?;
        return Ok(at);
    }
    Ok(at)
}

fn give(parsed: &mut Parsed, flag: &'static Flag, value: String) -> Result<(), String> {
    let name = match flag.short {
        "" => format!("--{}", flag.name),
        short => format!("-{short}, --{}", flag.name),
    };
    let invalid = |why: String| {
        Err(format!("invalid argument {} for \"{name}\" flag: {why}", super::gostr::quote(&value)))
    };
    let quoted = super::gostr::quote(&value);
    match flag.kind {
        Kind::Bool if parse_bool(&value).is_none() => {
            return invalid(format!("strconv.ParseBool: parsing {quoted}: invalid syntax"));
        }
        Kind::Int | Kind::Int32 => {
            let bits = if flag.kind == Kind::Int32 { i32::BITS } else { i64::BITS };
            if let Err(why) = parse_int(&value, bits) {
                return invalid(format!("strconv.ParseInt: parsing {quoted}: {why}"));
            }
        }
        Kind::Duration => {
            if let Err(why) = super::gostr::parse_duration(&value) {
                return invalid(why);
            }
        }
        _ => {}
    }
    parsed.flags.given.entry(flag.name).or_default().push(value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn the_verb_stands_behind_flags_and_their_values() {
        for (line, at) in [
            ("delete pod get", 0),
            ("-n delete delete pod web", 2),
            ("--namespace=delete delete pod web", 1),
            ("-n shop rollout status deploy/web", 2),
        ] {
            assert_eq!(parse(&words(line)).map(|p| p.verb_at).ok(), Some(Some(at)), "{line}");
        }
    }

    #[test]
    fn flags_stand_anywhere_and_in_every_spelling() {
        let p = parse(&words("-n kube-system get po -oyaml --watch=false -l app=a --show-labels x")).unwrap();
        assert_eq!((p.verb.path, p.args), ("get", words("po x")));
        assert_eq!((p.flags.text("namespace"), p.flags.text("output")), ("kube-system", "yaml"));
        assert!(p.flags.is("show-labels") && !p.flags.is("watch"));
        let p = parse(&words("exec -it p -c main -- ls -l")).unwrap();
        assert!(p.flags.is("stdin") && p.flags.is("tty"));
        assert_eq!((p.args, p.dash), (words("p ls -l"), Some(1)));
        let p = parse(&words("-o json rollout history deploy/x --dry-run")).err();
        assert!(p.is_some(), "history has no --dry-run");
        let p = parse(&words("create cm x --from-file=a,b --from-literal=k=1,2 --dry-run -o yaml")).unwrap();
        assert_eq!(p.verb.path, "create configmap");
        assert_eq!(p.flags.list("from-file"), ["a", "b"]);
        assert_eq!(p.flags.list("from-literal"), ["k=1,2"]);
        assert_eq!(p.flags.text("dry-run"), "unchanged");
    }

    #[test]
    fn a_comma_in_a_name_does_not_make_two_names() {
        let line = "create clusterrolebinding x --clusterrole=c --user=CN=jane,OU=dev --user=b --group=g,h";
        let p = parse(&words(&format!("{line} --serviceaccount=n:s --as-group=CN=a,OU=b"))).unwrap();
        assert_eq!(p.flags.list("user"), ["CN=jane,OU=dev", "b"]);
        assert_eq!(p.flags.list("group"), ["g,h"]);
        assert_eq!(p.flags.list("as-group"), ["CN=a,OU=b"]);
        let p = parse(&words("run x --image=i --annotations=a=1,2")).unwrap();
        assert_eq!(p.flags.list("annotations"), ["a=1,2"]);
        let p =
            parse(&words("create role x --verb=get,list --resource=pods,cm --resource-name=a,b")).unwrap();
        assert_eq!((p.flags.list("verb").len(), p.flags.list("resource").len()), (2, 2));
        assert_eq!(p.flags.list("resource-name"), ["a,b"]);
    }

    #[test]
    fn pairs_are_split_where_there_are_several() {
        let p = parse(&words("debug p --image=i --env=a=1,b=2 --env=c=3,4")).unwrap();
        assert_eq!(p.flags.pairs("env"), ["a=1", "b=2", "c=3,4"]);
        assert!(p.flags.pairs("set-image").is_empty());
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, want) in [
            ("12", Ok(12)),
            ("-3", Ok(-3)),
            ("+5", Ok(5)),
            ("0", Ok(0)),
            ("0x1F", Ok(31)),
            ("017", Ok(15)),
            ("0b1_0", Ok(2)),
            ("-9223372036854775808", Ok(i64::MIN)),
            ("9223372036854775808", Err("value out of range")),
            ("99999999999999999999999", Err("value out of range")),
            ("08", Err("invalid syntax")),
            ("1_000", Ok(1000)),
            ("0_7", Ok(7)),
            ("_1", Err("invalid syntax")),
            ("1_", Err("invalid syntax")),
            ("1__0", Err("invalid syntax")),
            ("", Err("invalid syntax")),
            ("--1", Err("invalid syntax")),
            ("é1", Err("invalid syntax")),
        ] {
            assert_eq!(parse_int(text, i64::BITS), want, "{text}");
        }
        assert_eq!(parse_int("2147483648", i32::BITS), Err("value out of range"));
        assert_eq!(parse_int("-2147483648", i32::BITS), Ok(-2147483648));
    }

    #[test]
    fn mistakes_are_told_in_kubectls_words() {
        let told = |line: &str| parse(&words(line)).err().map(|f| f.told().0).unwrap_or_default();
        assert_eq!(told("get --foo"), "error: unknown flag: --foo\nSee 'kubectl get --help' for usage.\n");
        assert_eq!(
            told("get -z"),
            "error: unknown shorthand flag: 'z' in -z\nSee 'kubectl get --help' for usage.\n"
        );
        assert!(told("get -Az").starts_with("error: unknown shorthand flag: 'z' in -z\n"));
        assert!(told("get -An").starts_with("error: flag needs an argument: 'n' in -n\n"));
        assert_eq!(
            told("scale --replicas=x deploy/x"),
            "error: invalid argument \"x\" for \"--replicas\" flag: strconv.ParseInt: parsing \"x\": invalid syntax\nSee 'kubectl scale --help' for usage.\n"
        );
        assert!(
            told("create priorityclass high --value=2147483648")
                .contains("strconv.ParseInt: parsing \"2147483648\": value out of range")
        );
        assert_eq!(told("create priorityclass high --value=-2147483648"), "");
        assert!(
            told("gett")
                .starts_with("error: unknown command \"gett\" for \"kubectl\"\n\nDid you mean this?\n")
        );
    }
}
