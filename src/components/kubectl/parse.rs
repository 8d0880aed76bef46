//! Command lines, read as cobra and pflag read them.

use super::ctx::Line;
use super::error::Fail;
use super::flag::{self, Flags};
use super::table::{self, Verb};

/// A command line that was understood.
pub struct Parsed {
    /// The verb, `kubectl` itself if there is none.
    pub verb: &'static Verb,
    /// Where the verb's first word stands among the words; `None`: there is no verb. A word before
    /// it that is called like it is the value of a flag.
    pub verb_at: Option<usize>,
    /// The verb's flags and the global ones.
    pub flags: Flags,
    /// Words that are no flags, without those of the verb: `pods web` of `get pods web -o json`.
    pub args: Vec<String>,
    /// How many of `args` stood before `--`, if there was one.
    pub dash: Option<usize>,
    /// `-h` or `--help` was given: the verb does not run.
    pub help: bool,
}

impl Parsed {
    /// The parts of the line that the context of the verb gets.
    pub(crate) fn line(self) -> Line {
        let (verb, usage) = (self.verb.path, self.verb.usage);
        Line { verb, usage, flags: self.flags, args: self.args, dash: self.dash }
    }

    /// True if a file that it reads is standard input (`-`).
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
/// unknown, has no value, or its value is not of the flag's kind. [`Fail::Plain`]: a flag stands
/// before the first word, which is no verb. Nothing has been done then.
pub fn parse(words: &[String]) -> Result<Parsed, Fail> {
    let (verb, rest) = find(words)?;
    let verb_at = first_word(table::root(), words);
    let flags = Flags::none_of(verb.flags, verb.all_flags());
    let mut parsed = Parsed { verb, verb_at, flags, args: vec![], dash: None, help: false };
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
            // A word that is no verb may name a plugin, and a plugin's name comes before all flags.
            None if verb.path.is_empty() && rest[0].starts_with('-') && !asks_for_help(&rest[0]) => {
                let why = format!("Error: flags cannot be placed before plugin name: {}", rest[0]);
                return Err(Fail::Plain(why));
            }
            None if verb.path.is_empty() => return Err(unknown(&rest[at])),
            None => break,
        }
    }
    Ok((verb, rest))
}

fn asks_for_help(word: &str) -> bool {
    matches!(word, "-h" | "--help")
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

/// Words that users of other programs type, by the verb that kubectl suggests for them (cobra's
/// `SuggestFor`).
const MEANT: [(&str, &[&str]); 3] =
    [("get", &["list", "ps"]), ("delete", &["rm"]), ("wait", &["list", "ps"])];

fn unknown(word: &str) -> Fail {
    let lower = word.to_lowercase();
    let meant =
        |name: &str| MEANT.iter().any(|(verb, words)| *verb == name && words.contains(&lower.as_str()));
    let mut text = format!("unknown command {} for \"kubectl\"", api::gostr::quote(word));
    let near: Vec<&str> = table::root()
        .children()
        .map(Verb::name)
        .filter(|name| distance(word, name) <= 2 || name.starts_with(&lower) || meant(name))
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
                    parsed.help = is_help_wanted(value.as_deref())?;
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
            parsed.flags.give(flag, value)?;
        } else if word.starts_with('-') && word.len() > 1 {
            at = short(&word[1..], words, at, parsed)?;
        } else {
            parsed.args.push(word.clone());
        }
    }
    Ok(())
}

/// The value of `--help`, which alone is true.
fn is_help_wanted(value: Option<&str>) -> Result<bool, String> {
    let Some(value) = value else { return Ok(true) };
    let quoted = api::gostr::quote(value);
    flag::parse_bool(value).ok_or_else(|| {
        format!(
            "invalid argument {quoted} for \"-h, --help\" flag: strconv.ParseBool: parsing {quoted}: invalid syntax"
        )
    })
}

/// Reads `it`, `nkube-system` or `o=yaml` after a single dash; returns where to go on. Mistakes
/// name what is left of the word.
fn short(letters: &str, words: &[String], mut at: usize, parsed: &mut Parsed) -> Result<usize, String> {
    for (i, letter) in letters.char_indices() {
        let rest = &letters[i + letter.len_utf8()..];
        // pflag takes the sign for a part of the value if nothing follows it.
        let inline = rest.strip_prefix('=').filter(|value| !value.is_empty());
        let Some(flag) = parsed.verb.short_flag(letter) else {
            if letter == 'h' {
                parsed.help = is_help_wanted(inline)?;
                if inline.is_some() {
                    return Ok(at);
                }
                continue;
            }
            return Err(format!("unknown shorthand flag: '{letter}' in -{}", &letters[i..]));
        };
        if let Some(value) = inline {
            parsed.flags.give(flag, value.to_string())?;
            return Ok(at);
        }
        if !flag.alone.is_empty() {
            parsed.flags.give(flag, flag.alone.to_string())?;
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
        parsed.flags.give(flag, value)?;
        return Ok(at);
    }
    Ok(at)
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
    fn underscores_in_the_name_of_a_flag_are_dashes() {
        let p = parse(&words("--as_uid 7 get pods --all_namespaces --show_labels=false --x_y")).err();
        let message = p.map(|fail| fail.report().0).unwrap_or_default();
        assert!(message.starts_with("error: unknown flag: --x_y\n"), "{message}");
        let p = parse(&words("--as_uid 7 get pods --all_namespaces --sort-by=a_b")).unwrap();
        assert_eq!((p.verb.path, p.args), ("get", words("pods")));
        assert!(p.flags.is("all-namespaces"));
        assert_eq!((p.flags.text("as-uid"), p.flags.text("sort-by")), ("7", "a_b"));
    }

    /// An empty value would select everything: `get pods -l=$UNSET`.
    #[test]
    fn a_sign_alone_behind_a_short_flag_is_its_value() {
        let p = parse(&words("get pods -l= -n=kube-system -oname")).unwrap();
        let [selector, namespace, output] =
            ["selector", "namespace", "output"].map(|name| p.flags.text(name));
        assert_eq!((selector, namespace, output), ("=", "kube-system", "name"));
        let error = |line: &str| parse(&words(line)).err().map(|f| f.report().0).unwrap_or_default();
        assert!(error("get pods -A=").starts_with("error: unknown shorthand flag: '=' in -=\n"));
        assert!(!parse(&words("get pods --help=false")).unwrap().help);
        assert!(parse(&words("get pods -h=true")).unwrap().help);
        let why = "error: invalid argument \"x\" for \"-h, --help\" flag: strconv.ParseBool: parsing \"x\": invalid syntax\n";
        assert!(error("get --help=x").starts_with(why) && error("get -h=x").starts_with(why));
        let why = "error: invalid argument \"a\\\"b\" for \"-f, --filename\" flag: parse error on line 1, column 2: bare \" in non-quoted-field\n";
        assert!(error("get -f a\"b").starts_with(why), "{}", error("get -f a\"b"));
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
    fn mistakes_are_reported_in_kubectls_words() {
        let error = |line: &str| parse(&words(line)).err().map(|f| f.report().0).unwrap_or_default();
        assert_eq!(error("get --foo"), "error: unknown flag: --foo\nSee 'kubectl get --help' for usage.\n");
        assert_eq!(
            error("get -z"),
            "error: unknown shorthand flag: 'z' in -z\nSee 'kubectl get --help' for usage.\n"
        );
        assert!(error("get -Az").starts_with("error: unknown shorthand flag: 'z' in -z\n"));
        assert!(error("get -An").starts_with("error: flag needs an argument: 'n' in -n\n"));
        assert_eq!(
            error("scale --replicas=x deploy/x"),
            "error: invalid argument \"x\" for \"--replicas\" flag: strconv.ParseInt: parsing \"x\": invalid syntax\nSee 'kubectl scale --help' for usage.\n"
        );
        assert!(
            error("create priorityclass high --value=2147483648")
                .contains("strconv.ParseInt: parsing \"2147483648\": value out of range")
        );
        assert_eq!(error("create priorityclass high --value=-2147483648"), "");
        assert!(error("ps").contains("\tget\n") && error("LIST").contains("\twait\n"), "{}", error("ps"));
        assert!(error("rm").contains("\tdelete\n") && !error("rm").contains("\twait\n"), "{}", error("rm"));
        assert_eq!(error("-n x gett"), "Error: flags cannot be placed before plugin name: -n\n");
        assert!(error("-h gett").starts_with("error: unknown command"), "{}", error("-h gett"));
        assert!(
            error("gett")
                .starts_with("error: unknown command \"gett\" for \"kubectl\"\n\nDid you mean this?\n")
        );
    }
}
