//! The command line that was typed last, as far as an explanation needs it: its verb, the kind that
//! it names, and the same line corrected.

use super::facts::kind;
use crate::lines::{Place, bare_words, first_command, here_document, is_assignment, letters, verb_and_words};
use api::kinds;
use kubectl::table::{self, Verb};
use serde::{Deserialize, Serialize};

/// The last line of the learner's shell that is no question of Ropewalk's own, and how it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Typed {
    /// The whole line.
    pub line: String,
    /// 0 to 255, as the shell has it in `$?`.
    pub code: i32,
}

/// Verbs whose first word is a kind, or KIND/NAME.
const WITH_KIND: &[&str] = &[
    "get",
    "describe",
    "delete",
    "edit",
    "label",
    "annotate",
    "scale",
    "explain",
    "patch",
    "expose",
    "autoscale",
];
/// What learners of other tools type, and what kubectl calls it.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("list", "get"),
    ("ls", "get"),
    ("show", "get"),
    ("inspect", "describe"),
    ("ps", "get"),
    ("start", "run"),
    ("make", "create"),
    ("remove", "delete"),
    ("rm", "delete"),
    ("log", "logs"),
];

/// A line of kubectl's, cut into words.
pub(super) struct Command {
    /// Variables that the line sets for kubectl, as they are written before it; `KUBECONFIG=x `.
    before: String,
    words: Vec<String>,
    /// Nothing of the shell's follows it, so the line's exit code is its own.
    pub(super) alone: bool,
}

impl Command {
    /// `None`: it is no kubectl line. What stands behind a pipe or another sign of the shell is
    /// left out.
    pub(super) fn read(line: &str) -> Option<Command> {
        let line = &joined(line);
        let own = first_command(line);
        let alone = own.len() == line.len();
        let mut words = shlex::split(own)?;
        let set = words.iter().take_while(|word| is_assignment(word)).count();
        // With a quote before its `=` the shell would take it for a command.
        let assignment = |word: String| {
            let (name, value) = word.split_once('=')?;
            Some(format!("{name}={} ", quoted(value)))
        };
        let before: String = words.drain(..set).filter_map(assignment).collect();
        match words.first()?.as_str() {
            "kubectl" | "k" => _ = words.remove(0),
            bare => _ = table::root().child(bare).filter(|_| before.is_empty())?,
        }
        (!words.is_empty()).then_some(Command { before, words, alone })
    }

    /// Returns the commands of a line that are kubectl's and surely ran: the first one, and others
    /// after `|` or `;`. Only the first may leave out the word `kubectl`, as in the REPL.
    pub(super) fn all(line: &str) -> Vec<Command> {
        let line = &joined(line);
        let is_named = |part: &&str| {
            let mut words = part.split_whitespace().skip_while(|word| is_assignment(word));
            matches!(words.next(), Some("kubectl" | "k"))
        };
        let others = sure_parts(line).into_iter().skip(1).filter(is_named).filter_map(Command::read);
        let others = others.map(|command| Command { alone: false, ..command });
        Command::read(line).into_iter().chain(others).collect()
    }

    /// kubectl's verb; `Err`: the word that is none.
    pub(super) fn verb(&self) -> Result<&'static Verb, &str> {
        let word = self.positional().first().copied().unwrap_or_default();
        table::root().child(word).ok_or(word)
    }

    /// Returns whether kubectl understands the line: its verb, its flags and their values. Else it
    /// asks the API server nothing.
    pub(super) fn is_understood(&self) -> bool {
        kubectl::parse::parse(&self.words).is_ok()
    }

    /// The words that are no flags and no values of flags: the verb first.
    fn positional(&self) -> Vec<&str> {
        bare_words(&self.words)
    }

    /// The first kind that it names and that does not exist; `known` tells of kinds that were added
    /// to the cluster.
    pub(super) fn unknown_kind(&self, known: impl Fn(&str) -> bool) -> Option<&str> {
        self.verb().ok().filter(|v| WITH_KIND.contains(&v.name()))?;
        let words = self.positional();
        let word = words.get(1)?;
        let mut named = word.split(',').map(|part| part.split('/').next().unwrap_or(part));
        // `pods.v1.`, `deployments.apps`: the part before the dot is the kind.
        named.find(|name| {
            let short = name.split('.').next().unwrap_or(name);
            !name.is_empty() && *name != "all" && kind(short).is_none() && !known(name)
        })
    }

    /// Returns this command with one word for another, wherever a kind or a verb may stand. The
    /// value of a flag may be called alike: `-n nods get nods`.
    pub(super) fn with(&self, from: &str, to: &str) -> String {
        let change = |word: &String| {
            let part = |part: &str| match part.split_once('/') {
                Some((kind, name)) if kind == from => format!("{to}/{name}"),
                _ if part == from => to.to_string(),
                _ => part.to_string(),
            };
            word.split(',').map(part).collect::<Vec<_>>().join(",")
        };
        let (bare, mut done) = (self.positional(), false);
        let words = self.words.iter().map(|word| {
            let is_bare = bare.iter().any(|own| std::ptr::eq(*own, word.as_str()));
            let new = if done || !is_bare { word.clone() } else { change(word) };
            done |= new != *word;
            new
        });
        self.written(words.collect())
    }

    /// Returns this command in another namespace.
    pub(super) fn in_namespace(&self, namespace: &str) -> String {
        let end = self.words.iter().position(|w| w == "--").unwrap_or(self.words.len());
        let (own, rest) = self.words.split_at(end);
        let (verb, _) = verb_and_words(own);
        let mut words = Vec::new();
        let mut own = own.iter();
        while let Some(word) = own.next() {
            match word.as_str() {
                "--namespace" => _ = own.next(),
                "--all-namespaces" => {}
                long if ["--namespace=", "--all-namespaces="].iter().any(|name| long.starts_with(name)) => {}
                // `-` alone is standard input.
                short if short.len() > 1 && short.starts_with('-') && !short.starts_with("--") => {
                    let (kept, is_value_next) = without_namespace(verb, short);
                    words.extend(kept);
                    if is_value_next {
                        _ = own.next();
                    }
                }
                _ => words.push(word.clone()),
            }
        }
        words.extend(["-n".to_string(), namespace.to_string()]);
        words.extend(rest.iter().cloned());
        self.written(words)
    }

    /// These words as a learner would type them, in place of the line's own.
    fn written(&self, words: Vec<String>) -> String {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        format!("{}kubectl {}", self.before, words.join(" "))
    }
}

/// Returns a word of short flags without `-n` and `-A`, unless nothing is left, and whether the
/// value of `-n` is the next word.
///
/// ```text
/// -wn        -w, and the value is the next word
/// -wnshop    -w
/// -A         nothing is left
/// -ojson     -ojson: `json` is the value of `o`
/// ```
fn without_namespace(verb: &Verb, word: &str) -> (Option<String>, bool) {
    let (letters, mut kept, mut is_value_next) = (&word[1..], String::new(), false);
    for (at, letter) in letters.char_indices() {
        let rest = &letters[at + letter.len_utf8()..];
        let flag = verb.short_flag(letter);
        match flag.map_or("", |flag| flag.name) {
            "namespace" => {
                is_value_next = rest.is_empty();
                break;
            }
            "all-namespaces" if rest.starts_with('=') => break,
            "all-namespaces" => {}
            _ if flag.is_some_and(|flag| flag.kind == kubectl::flag::Kind::Bool) => kept.push(letter),
            // What follows is its value, or not known.
            _ => {
                kept.push_str(&letters[at..]);
                break;
            }
        }
    }
    ((!kept.is_empty()).then(|| format!("-{kept}")), is_value_next)
}

/// Joins lines as a shell does: a backslash and the newline after it are left out, except in single
/// quotes.
fn joined(line: &str) -> String {
    let (mut text, mut from, mut last) = (String::new(), 0, None);
    for (at, c, _) in letters(line) {
        // A backslash that is a letter quotes nothing.
        if c == '\n' && line[..at].ends_with('\\') && last != Some(at - 1) {
            text.push_str(&line[from..at - 1]);
            from = at + 1;
        }
        last = Some(at);
    }
    text + &line[from..]
}

/// Returns the commands of a line that run whether or not the earlier ones succeed: the parts of
/// pipelines, and those after `;`. After `&&`, `||` and `&`, in a subshell or a command
/// substitution, and on further lines, a command may not have run. A newline after `|` does not end
/// the line.
///
/// ```text
/// a | b 2>&1; c && d; e      a, b 2>&1, c
/// a; (b; c)                  a
/// a |⏎b⏎c                    a, b
/// ```
fn sure_parts(line: &str) -> Vec<&str> {
    let (mut parts, mut from, mut is_piped) = (Vec::new(), 0, false);
    for (at, sign, _) in letters(line).filter(|(_, _, place)| *place == Place::Bare) {
        // A blank part after `|`; the text of a here-document would come first.
        let goes_on = || is_piped && line[from..at].trim().is_empty() && here_document(&line[..at]).is_none();
        match sign {
            _ if at < from || is_redirection(line, at) => continue, // also the second sign of `|&`
            '(' | '`' => return parts,
            '\n' if goes_on() => continue,
            '\n' | '|' | ';' | '&' => parts.push(&line[from..at]),
            _ => continue,
        }
        let next = line[at + 1..].chars().next();
        if matches!((sign, next), ('|', Some('|')) | ('&' | '\n', _)) {
            return parts;
        }
        is_piped = sign == '|';
        from = if is_piped && next == Some('&') { at + 2 } else { at + 1 };
    }
    parts.push(&line[from..]);
    parts
}

/// Returns whether the sign is the `&` of `2>&1` or of `&> file`.
fn is_redirection(line: &str, at: usize) -> bool {
    line[at..].starts_with("&>") || line[at..].starts_with('&') && line[..at].ends_with(['>', '<'])
}

/// A word as a learner would type it: quotes only where the shell needs them.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match shlex::try_quote(word) {
        Ok(quoted) if !word.chars().all(plain) => quoted.into_owned(),
        _ => word.into(),
    }
}

/// The kind that was probably meant, as its plural.
pub(super) fn near_kind(word: &str) -> Option<&'static str> {
    let word = word.to_lowercase();
    // A letter or two; in a word of three letters or less everything is near.
    let most = match word.chars().count() {
        0..=3 => return None,
        4..=5 => 1,
        _ => 2,
    };
    let distance = |k: &kinds::Kind| {
        let names = [k.plural, k.singular.as_str()];
        names.iter().map(|name| strsim::osa_distance(name, &word)).min().unwrap_or(usize::MAX)
    };
    let all = kinds::all().iter().filter(|k| k.is_stored());
    all.map(|k| (distance(k), k.plural)).filter(|(d, _)| *d <= most).min().map(|(_, plural)| plural)
}

/// The line with the kind that was probably meant in the place of one that no table has; begins as
/// the learner's line does. `None`: it names no such kind.
pub fn with_meant_kind(line: &str) -> Option<String> {
    let command = Command::read(line)?;
    let wrong = command.unknown_kind(|_| false)?;
    let fixed = command.with(wrong, near_kind(wrong)?);
    let begins_with = line.split_whitespace().next()?;
    match begins_with {
        "kubectl" | "k" => Some(fixed),
        _ if !command.before.is_empty() => Some(fixed),
        _ => fixed.strip_prefix("kubectl ").map(String::from),
    }
}

/// The verb that was probably meant.
pub(super) fn near_verb(word: &str) -> Option<&'static str> {
    if let Some((_, verb)) = OTHER_WORDS.iter().find(|(other, _)| *other == word) {
        return Some(verb);
    }
    // A letter or two; with two letters of three another, every word is near `top` or `cp`.
    let most = match word.chars().count() {
        0..=1 => return None,
        2..=4 => 1,
        _ => 2,
    };
    let all = table::root().listed().map(Verb::name);
    all.map(|v| (strsim::osa_distance(v, word), v)).filter(|(d, _)| *d <= most).min().map(|(_, v)| v)
}

/// A port of this machine that a line knocked at: `curl localhost:31234/menu`.
pub(super) fn local_port(line: &str) -> Option<u16> {
    line.split_whitespace().find_map(|word| written_port(word)?.parse().ok())
}

/// What a word has in the place of a port, if it is an address of this machine: `99999` of
/// `localhost:99999/menu`.
pub(super) fn written_port(word: &str) -> Option<&str> {
    let word = word.trim_matches(['"', '\'']);
    let address = word.split_once("://").map_or(word, |(_, rest)| rest);
    // Source: RFC 3986: a path, a query or a fragment ends it, and a user may stand before it.
    let authority = address.split(['/', '?', '#']).next()?;
    let (host, port) = authority.rsplit('@').next()?.rsplit_once(':')?;
    ["localhost", "127.0.0.1", "[::1]"].contains(&host).then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Command {
        Command::read(line).expect("a line of kubectl's")
    }

    #[test]
    fn an_unknown_kind_is_found_where_a_kind_stands() {
        for (line, unknown) in [
            ("kubectl get nods", Some("nods")),
            ("get nodez -o wide", Some("nodez")),
            ("kubectl -n shop get pdos/web", Some("pdos")),
            ("kubectl get pods,svcs", Some("svcs")),
            ("kubectl get -o yaml deploy web", None),
            ("kubectl get -n nods pods", None),
            ("kubectl get -wn nods pods", None),
            ("kubectl get deployments.apps", None),
            ("kubectl get all", None),
            ("kubectl get widgets", None),
            ("kubectl run nods --image=nginx", None),
            ("kubectl describe po ghost", None),
        ] {
            assert_eq!(read(line).unknown_kind(|k| k == "widgets"), unknown, "{line}");
        }
        assert_eq!(near_kind("nods"), Some("nodes"));
        assert_eq!(near_kind("deploymnet"), Some("deployments"));
        assert_eq!(near_kind("zzzzzzzz"), None);
        assert_eq!(near_kind("xy"), None);
        assert!(Command::read("curl localhost:80").is_none() && Command::read("").is_none());
    }

    #[test]
    fn every_command_that_surely_ran_is_read() {
        for (line, all) in [
            ("kubectl get pods", vec!["kubectl get pods"]),
            ("get pods | get svc", vec!["kubectl get pods"]),
            (
                "kubectl create -f a 2>&1 | kubectl apply -f -",
                vec!["kubectl create -f a", "kubectl apply -f -"],
            ),
            ("cat a |& A=b k apply -f -", vec!["A=b kubectl apply -f -"]),
            ("sleep 1; kubectl get pods 2>/dev/null; kubectl top", vec!["kubectl get pods", "kubectl top"]),
            ("cd a && kubectl get pods", vec![]),
            ("kubectl get pods || kubectl get svc", vec!["kubectl get pods"]),
            ("kubectl logs a & kubectl get svc", vec!["kubectl logs a"]),
            ("echo '; kubectl get pods'", vec![]),
            ("cat > a <<EOF\nx; kubectl get pods\nEOF", vec![]),
            ("(cd a; kubectl get pods)", vec![]),
            ("sleep 1; kubectl get svc; echo $(date; kubectl get pods)", vec!["kubectl get svc"]),
            ("echo `date; kubectl get pods`", vec![]),
            ("cat a | \\\n kubectl apply \\\n -f -", vec!["kubectl apply -f -"]),
            ("cat a |\n\nkubectl apply -f -\nkubectl top", vec!["kubectl apply -f -"]),
            ("cat <<EOF |\nkubectl get pods\nEOF\nkubectl apply -f -", vec![]),
            ("sleep 1;\nkubectl get pods", vec![]),
        ] {
            let found: Vec<String> =
                Command::all(line).into_iter().map(|c| c.written(c.words.clone())).collect();
            assert_eq!(found, all, "{line}");
        }
    }

    #[test]
    fn a_slip_in_a_kind_is_corrected_as_it_was_typed() {
        for (line, meant) in [
            ("get namesapces", Some("get namespaces")),
            ("kubectl describe nod/worker -o wide", None),
            ("kubectl describe nodee/worker", Some("kubectl describe nodes/worker")),
            ("get pods", None),
            ("get po", None),
            ("get widgets", None),
            ("ls nodez", None),
        ] {
            assert_eq!(with_meant_kind(line).as_deref(), meant, "{line}");
        }
    }

    #[test]
    fn a_verb_of_another_tool_is_translated() {
        assert_eq!(read("kubectl list nodes").verb().err(), Some("list"));
        assert_eq!((near_verb("list"), near_verb("descirbe")), (Some("get"), Some("describe")));
        assert_eq!((near_verb("gte"), near_verb("rnu")), (Some("get"), Some("run")));
        for word in ["frobnicate", "foo", "xyz", "x", "파드"] {
            assert_eq!(near_verb(word), None, "{word}");
        }
        assert_eq!(read("kubectl list nodes").with("list", "get"), "kubectl get nodes");
    }

    #[test]
    fn the_corrected_line_is_the_same_line() {
        assert_eq!(read("get nods -o wide").with("nods", "nodes"), "kubectl get nodes -o wide");
        assert_eq!(read("k get pods,nods/a").with("nods", "nodes"), "kubectl get pods,nodes/a");
        assert_eq!(read("k -n nods get nods").with("nods", "nodes"), "kubectl -n nods get nodes");
        assert_eq!(
            read("kubectl logs web -c app | tail -3").in_namespace("shop"),
            "kubectl logs web -c app -n shop"
        );
        assert_eq!(
            read("kubectl exec -n default web -- sh -c 'echo a'").in_namespace("shop"),
            "kubectl exec web -n shop -- sh -c 'echo a'"
        );
        for namespace in ["-n a", "-n=a", "-na", "--namespace a", "--namespace=a", "-A"] {
            let line = read(&format!("kubectl get pods {namespace} --no-headers")).in_namespace("shop");
            assert_eq!(line, "kubectl get pods --no-headers -n shop", "{namespace}");
        }
        for flags in ["-wn a", "-wna", "-wAn=a", "-w --all-namespaces=true", "-wA=true"] {
            let line = read(&format!("kubectl get pods {flags} -ojson")).in_namespace("shop");
            assert_eq!(line, "kubectl get pods -w -ojson -n shop", "{flags}");
        }
        let applied = read("k apply -Rf - -n a").in_namespace("shop");
        assert_eq!(applied, "kubectl apply -Rf - -n shop", "standard input stays");
    }

    #[test]
    fn a_line_may_set_variables_for_kubectl() {
        let line = "KUBECONFIG=/tmp/other A='b c' kubectl get nods | head";
        assert_eq!(read(line).unknown_kind(|_| false), Some("nods"));
        let fixed = "KUBECONFIG=/tmp/other A='b c' kubectl get nodes";
        assert_eq!(read(line).with("nods", "nodes"), fixed);
        assert_eq!(with_meant_kind("A=b kubectl get nods").as_deref(), Some("A=b kubectl get nodes"));
        assert!(Command::read("A=b get pods").is_none(), "the shell knows no `get`");
        assert!(Command::read("A=b").is_none());
    }

    #[test]
    fn signs_of_the_shell_in_quotes_are_words_like_others() {
        for (line, words) in [
            ("kubectl exec nope -- sh -c 'ls; date'", "exec nope -- sh -c|ls; date"),
            (
                "kubectl get po -o jsonpath=\"{.items[?(@.x>1)]}\" | head",
                "get po -o|jsonpath={.items[?(@.x>1)]}",
            ),
            (
                "kubectl get --raw '/api/v1/pods?limit=1&continue=x'",
                "get --raw|/api/v1/pods?limit=1&continue=x",
            ),
            (r"kubectl get po -l a\>b; date", "get po -l|a>b"),
            ("kubectl run a \\\n  --image=b \\\n --env='c=\\\nd'", "run a --image=b|--env=c=\\\nd"),
            (r#"kubectl patch po a -p "{\"a\": \"b;c\"}""#, r#"patch po a -p|{"a": "b;c"}"#),
        ] {
            let read = read(line).words;
            let (last, first) = read.split_last().unwrap();
            assert_eq!(format!("{}|{last}", first.join(" ")), words, "{line}");
        }
        assert!(read("kubectl get pods").alone && !read("kubectl get pods | head").alone);
    }

    #[test]
    fn a_knock_is_recognised() {
        assert_eq!(local_port("curl -s http://localhost:31234/menu"), Some(31234));
        assert_eq!(local_port("curl 127.0.0.1:80"), Some(80));
        assert_eq!(local_port("curl 'localhost:31234?page=2'"), Some(31234));
        assert_eq!(local_port("curl http://ada:secret@localhost:31234#top"), Some(31234));
        assert_eq!(local_port("curl example.org:80"), None);
    }
}
