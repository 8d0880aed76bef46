//! How a shell reads a line: which letters are signs of its own, and whether the line needs it.

use kubectl::table;

/// True if a line has nothing in it that only a shell could do: it is one of kubectl's or of
/// `fault`, and no sign of the shell stands outside of quotes. In double ones `$` and a backquote
/// are signs, too.
pub(crate) fn is_plain(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    let known = word.is_empty() || ["fault", "k", "kubectl"].contains(&word) || is_verb(word);
    let is_shells = |(_, c, place): (usize, char, Place)| match place {
        Place::Literal => false,
        Place::Double => matches!(c, '$' | '`'),
        Place::Bare => matches!(c, '$' | '`' | '|' | '>' | '<' | ';' | '&'),
    };
    known && !letters(line).any(is_shells)
}

/// How a shell reads a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In no quotes: it may be a sign of the shell.
    Bare,
    /// In double quotes, where `$` and a backquote are signs.
    Double,
    /// In single quotes or behind a backslash.
    Literal,
}

/// The letters of a line with their positions in bytes, and how a shell reads them. The quotes
/// themselves, and backslashes that quote, are left out.
///
/// Example: of `a "b;" \;` the first `;` is [`Place::Double`] and the second [`Place::Literal`].
pub(crate) fn letters(line: &str) -> impl Iterator<Item = (usize, char, Place)> {
    let (mut quote, mut escaped) = (None, false);
    line.char_indices().filter_map(move |(at, c)| {
        if std::mem::take(&mut escaped) {
            return Some((at, c, Place::Literal));
        }
        match quote {
            Some(own) if c == own => quote = None,
            Some('\'') => return Some((at, c, Place::Literal)),
            _ if c == '\\' => escaped = true,
            Some(_) => return Some((at, c, Place::Double)),
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None => return Some((at, c, Place::Bare)),
        }
        None
    })
}

/// A line up to the first pipe or other sign of the shell that stands in no quotes. The number of a
/// file before its redirection (`2>`) is the shell's, too.
pub(crate) fn first_command(line: &str) -> &str {
    let is_end = |c: char, place: Place| place == Place::Bare && matches!(c, '|' | ';' | '&' | '>' | '<');
    let Some((end, sign, _)) = letters(line).find(|(_, c, place)| is_end(*c, *place)) else { return line };
    let command = &line[..end];
    let bare = command.trim_end_matches(|c: char| c.is_ascii_digit());
    let is_files = matches!(sign, '>' | '<') && bare.ends_with(char::is_whitespace);
    if is_files { bare } else { command }
}

/// The commands of a line of a shell, as words. A sign of the shell need not stand between blanks.
///
/// Example: `get pods; cordon n1` is `get pods` and `cordon n1`. In quotes `;` is a letter.
pub(crate) fn commands_in(line: &str) -> Vec<Vec<String>> {
    let is_between = |c: char, place: Place| place == Place::Bare && matches!(c, '|' | '&' | ';');
    let signs = letters(line).filter(|(_, c, place)| is_between(*c, *place)).map(|(at, ..)| at);
    let mut from = 0;
    let words = signs.chain([line.len()]).map(|end| {
        let part = &line[from..end];
        from = end + 1; // each of the signs is one byte
        shlex::split(part).unwrap_or_default()
    });
    words.filter(|words| !words.is_empty()).collect()
}

/// Returns the program with which a command asks or changes a cluster, `kubectl` or `etcdctl`, and
/// the words behind its name; behind `timeout 5`, `xargs`, `do` or a variable, too. `None`: the
/// command runs neither, or only names it.
///
/// ```text
/// delete pod web                  kubectl   delete pod web
/// xargs kubectl delete            kubectl   delete
/// timeout 5 etcdctl put a b       etcdctl   put a b
/// kubectl exec a -- etcdctl get   kubectl   exec a -- etcdctl get
/// grep kubectl notes.txt          none: no verb follows
/// echo kubectl delete pod web     none: the words are printed
/// ```
pub(crate) fn cluster_program(command: &[String]) -> Option<(&str, &[String])> {
    let (first, rest) = command.split_first()?;
    match first.as_str() {
        "echo" => return None,
        "k" | "kubectl" if !rest.is_empty() => return Some(("kubectl", rest)),
        verb if is_verb(verb) => return Some(("kubectl", command)),
        _ => {}
    }
    let at = command.iter().position(|word| matches!(word.as_str(), "etcdctl" | "kubectl"))?;
    let (name, behind) = (command[at].as_str(), &command[at + 1..]);
    let runs = match name {
        "kubectl" => behind.iter().any(|word| is_verb(word)),
        _ => !behind.is_empty(),
    };
    runs.then_some((name, behind))
}

/// Programs whose `-n` names no namespace. None is called as a verb of kubectl's, which may stand
/// without the word `kubectl`.
const WITHOUT_NAMESPACES: &[&str] = &[
    "[", "awk", "cat", "cut", "echo", "grep", "head", "ls", "nl", "sed", "sort", "sysctl", "tail", "test",
    "tr", "uniq", "wc",
];

/// Returns whether the `-n` of a program may name a namespace. Of a program that is not known it
/// may.
pub(crate) fn knows_namespaces(program: &str) -> bool {
    !WITHOUT_NAMESPACES.contains(&program)
}

/// Returns whether a word is a verb of kubectl's.
fn is_verb(word: &str) -> bool {
    table::root().children().any(|verb| verb.name() == word)
}

/// Returns whether this word sets a variable for the command behind it. Example:
/// `KUBECONFIG=/tmp/other`.
pub(crate) fn is_assignment(word: &str) -> bool {
    let is_name = |name: &str| {
        !name.starts_with(|c: char| c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && is_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_verb_of_kubectl_is_taken_for_a_program_without_namespaces() {
        assert!(!WITHOUT_NAMESPACES.iter().any(|program| is_verb(program)));
        assert!(knows_namespaces("kubectl") && knows_namespaces("helm") && !knows_namespaces("grep"));
    }

    #[test]
    fn a_variable_before_a_command_has_a_name() {
        for (word, is_one) in [
            ("KUBECONFIG=/tmp/other", true),
            ("_a1=", true),
            ("POD=a=b", true),
            ("1a=b", false),
            ("=b", false),
            ("--output=json", false),
            ("POD", false),
        ] {
            assert_eq!(is_assignment(word), is_one, "{word}");
        }
    }

    #[test]
    fn the_program_that_changes_a_cluster_may_stand_behind_others() {
        for (line, found) in [
            ("delete pod web", Some("kubectl: delete pod web")),
            ("k delete pod web", Some("kubectl: delete pod web")),
            ("kubectl $DO pod web", Some("kubectl: $DO pod web")),
            ("xargs kubectl delete", Some("kubectl: delete")),
            (
                "KUBECONFIG=a timeout 5 kubectl -n shop delete pod web",
                Some("kubectl: -n shop delete pod web"),
            ),
            ("timeout 5 etcdctl put a b", Some("etcdctl: put a b")),
            ("kubectl exec a -- etcdctl get b", Some("kubectl: exec a -- etcdctl get b")),
            ("grep kubectl notes.txt", None),
            ("which etcdctl", None),
            ("kubectl", None),
            ("echo kubectl delete pod web", None),
            ("curl localhost", None),
        ] {
            let words: Vec<String> = line.split(' ').map(String::from).collect();
            let program = cluster_program(&words).map(|(name, words)| format!("{name}: {}", words.join(" ")));
            assert_eq!(program.as_deref(), found, "{line}");
        }
    }

    #[test]
    fn letters_are_read_as_a_shell_reads_them() {
        let places = |line: &str| -> Vec<(char, Place)> {
            letters(line).filter(|(_, c, _)| *c != ' ').map(|(_, c, place)| (c, place)).collect()
        };
        assert_eq!(
            places(r#"; ";'" ';"\' \; "\"$""#),
            [
                (';', Place::Bare),
                (';', Place::Double),
                ('\'', Place::Double),
                (';', Place::Literal),
                ('"', Place::Literal),
                ('\\', Place::Literal),
                (';', Place::Literal),
                ('"', Place::Literal),
                ('$', Place::Double),
            ]
        );
        assert_eq!(letters("가;").last(), Some((3, ';', Place::Bare)));
        for (line, plain) in [("get po -l 'a>b'", true), ("get po \"$x\"", false), (r"get po a\;b", true)] {
            assert_eq!(is_plain(line), plain, "{line}");
        }
    }

    #[test]
    fn what_only_a_shell_can_do_is_seen_before_anything_is_done() {
        for line in
            ["kubectl get pods", "k get po", "get pods", "fault heal", "", "kubectl get -o jsonpath={.a}"]
        {
            assert!(is_plain(line), "{line}");
        }
        for line in [
            r#"kubectl patch svc a -p '{"a": "$b|c;d<e>&`"}'"#,
            r#"kubectl get pods -o "jsonpath={.items[?(@.a>1)]}""#,
            r"kubectl get pods -l a\>b",
            r#"kubectl run a --image=busybox -- sh -c 'while :; do date > /tmp/x; done'"#,
        ] {
            assert!(is_plain(line), "{line}");
        }
        for line in [
            "kubectl get pods | head",
            "kubectl delete pod a > /dev/null",
            "kubectl delete pod a; kubectl delete pod b",
            "kubectl delete pod a && true",
            "kubectl delete pod $POD",
            r#"kubectl delete pod "$POD""#,
            "kubectl delete pod `cat name`",
            "POD=a kubectl get pods",
            "curl localhost",
        ] {
            assert!(!is_plain(line), "{line}");
        }
    }
}
