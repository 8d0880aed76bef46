//! Words of this program behind an operator of the shell: `kubectl delete pod web; undo`. Pure.

use super::cut;
use super::spelling::{korean, korean_own};
use super::words::{ALONE, IN_A_PROCESS, command_of_a_cluster, is_bare_verb, name_of};
use std::ops::Range;

/// Words with which a compound command begins. A line with one of them stays as it is: in it `;`
/// and `|` may part something else than commands, e.g. the patterns of `case`.
const COMPOUND: &[&str] = &["[[", "case", "for", "function", "if", "select", "until", "while"];

/// One command of a line, by its places in the text.
struct Command {
    word: Range<usize>,
    end: usize,
}

/// Puts this program's name before its own words behind an operator, as it stands before one that
/// begins the line, and the name of the cluster that they are about behind them.
///
/// Example: `get pods; undo 2` becomes `get pods; ropewalk undo --name main 2`.
pub(super) fn expanded(text: &str, cluster: &str) -> String {
    let mut out = text.to_string();
    // From the end, so that the places before stay right.
    for Command { word, end } in commands(text).into_iter().skip(1).rev() {
        let typed = &text[word.clone()];
        let own = korean_own(typed).unwrap_or(typed);
        let behind = &text[word.end..end];
        if typed == "ropewalk"
            && let Some((command, rest)) = command_of_a_cluster(behind)
        {
            let name = name_of(command, rest.split_whitespace(), cluster);
            out.insert_str(end - rest.len(), &name);
        }
        // `undo () { :; }` makes a function of this name.
        if IN_A_PROCESS.contains(&own) && !behind.trim_start().starts_with('(') {
            let name = name_of(own, behind.split_whitespace(), cluster);
            out.replace_range(word, &format!("ropewalk {own}{name}"));
        }
    }
    out
}

/// Puts a prefix before each command behind an operator that is this program.
pub(crate) fn with_prefix(text: &str, prefix: &str) -> String {
    let mut out = text.to_string();
    for Command { word, .. } in commands(text).into_iter().skip(1).rev() {
        if &text[word.clone()] == "ropewalk" {
            out.insert_str(word.start, prefix);
        }
    }
    out
}

/// Puts `kubectl` before its verbs behind an operator, where the shell has no such command. `None`:
/// there is none. At the beginning of a line a verb needs no `kubectl`.
///
/// Example: `kubectl get pods; get svc` becomes `kubectl get pods; kubectl get svc`.
pub(crate) fn with_kubectl(text: &str, is_command: impl Fn(&str) -> bool) -> Option<String> {
    let mut out = text.to_string();
    for Command { word, .. } in commands(text).into_iter().skip(1).rev() {
        let verb = &text[word.clone()];
        if is_bare_verb(verb) && !is_command(verb) {
            out.insert_str(word.start, "kubectl ");
        }
    }
    (out != text).then_some(out)
}

/// Puts the shell's `:` before each command that chooses the keys of bash's line editor, so that it
/// does nothing; `None`: there is none.
///
/// Example: `set -o vi; ls` becomes `: set -o vi; ls`.
pub(crate) fn without_editing_mode(text: &str) -> Option<String> {
    let mut out = text.to_string();
    for Command { word, end } in commands(text).into_iter().rev() {
        if &text[word.clone()] == "set" && chooses_editing_mode(&text[word.end..end]) {
            out.insert_str(word.start, ": ");
        }
    }
    (out != text).then_some(out)
}

/// Puts another command in the place of each that makes a shell read on and run nothing any more;
/// `None`: there is none.
///
/// Example: with `exit 0`, `set -n; ls` becomes `exit 0; ls`.
pub(crate) fn in_place_of_noexec(text: &str, other: &str) -> Option<String> {
    let mut out = text.to_string();
    for Command { word, end } in commands(text).into_iter().rev() {
        if &text[word.clone()] == "set" && chooses_noexec(&text[word.end..end]) {
            let end = text[..end].trim_end().len();
            out.replace_range(word.start..end, other);
        }
    }
    (out != text).then_some(out)
}

/// True for ` -n`, ` -en` and ` -o noexec` behind `set`. What stands behind the options are the
/// arguments of the shell. A word that has more than letters (`-$options`, `--norc`) is left to the
/// shell: which options it names is not known here, and a script would end with code 0.
fn chooses_noexec(behind: &str) -> bool {
    let mut words = behind.split_whitespace();
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix(['-', '+']).filter(|letters| is_letters(letters)) else {
            return false;
        };
        let named = letters.ends_with('o').then(|| words.next()).flatten();
        if word.starts_with('-') && (letters.contains('n') || named == Some("noexec")) {
            return true;
        }
    }
    false
}

/// True for letters of options, one or more.
fn is_letters(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// True for ` -o vi` and ` -eo emacs` behind `set`.
fn chooses_editing_mode(behind: &str) -> bool {
    let words: Vec<&str> = behind.split_whitespace().take_while(|word| *word != "--").collect();
    let is_option = |word: &str| word.starts_with('-') && word.ends_with('o');
    words.windows(2).any(|pair| is_option(pair[0]) && matches!(pair[1], "vi" | "emacs"))
}

/// Returns the name of an alias or function that a line makes, if a line that begins with that name
/// is kubectl's here all the same; `None`: there is none. `alias k=kubectl` changes nothing.
///
/// Example: `k` of `alias ll='ls -l' k='kubectl -n shop'`.
pub(crate) fn made_in_vain(text: &str) -> Option<String> {
    let is_kubectls = |name: &str| matches!(name, "k" | "kubectl") || is_bare_verb(name);
    let text = text.lines().next().unwrap_or_default(); // a function may have further ones
    let made = |Command { word, end }: Command| {
        let (name, behind) = (&text[word.clone()], &text[word.end..end]);
        if name == "alias" {
            let words = cut(behind).words;
            let mut pairs = words.iter().filter_map(|word| word.split_once('='));
            let found = pairs.find(|(name, value)| is_kubectls(name) && *value != "kubectl");
            return found.map(|(name, _)| name.to_string());
        }
        let apart = || behind.trim_start().starts_with("()").then_some(name);
        let function = name.split_once("()").map(|(name, _)| name).or_else(apart);
        function.filter(|name| is_kubectls(name)).map(String::from)
    };
    commands(text).into_iter().find_map(made)
}

/// Returns the word of a line that only a line of its own can be, because the session itself does
/// it and no program: `hint` of `get pods && hint`.
pub(crate) fn word_of_the_session(text: &str) -> Option<&'static str> {
    let own = |command: Command| {
        let word = &text[command.word];
        ALONE.iter().find(|own| **own == word).copied().or_else(|| korean(word))
    };
    commands(text).into_iter().find_map(own)
}

/// Returns the commands of a line, parted by `;`, `&` and `|`; none if that is not certain.
fn commands(text: &str) -> Vec<Command> {
    let Some(plain) = plain(text) else { return vec![] };
    let at = |at: usize| plain.as_bytes().get(at).copied().unwrap_or(b' ');
    let (mut parts, mut begin, mut depth) = (vec![], 0, 0_usize);
    for (place, byte) in plain.bytes().enumerate() {
        let before = place.checked_sub(1).map_or(b' ', at);
        match byte {
            b'(' | b'{' => depth += 1,
            // Of a pattern: `{ case x in a|undo ) ls;; esac; }`.
            b')' if depth == 0 => return vec![],
            b')' | b'}' => depth = depth.saturating_sub(1),
            // Redirections: `2>&1`, `&>file`, `>|file`.
            b'&' if matches!(before, b'<' | b'>') || at(place + 1) == b'>' => {}
            b'|' if before == b'>' => {}
            b';' | b'&' | b'|' if depth == 0 => {
                parts.push(begin..place);
                begin = place + 1;
            }
            _ => {}
        }
    }
    parts.push(begin..plain.len());
    let commands: Vec<Command> =
        parts.into_iter().map(|part| Command { word: first_word(&plain, &part), end: part.end }).collect();
    match commands.iter().any(|command| COMPOUND.contains(&&plain[command.word.clone()])) {
        true => vec![],
        false => commands,
    }
}

/// Returns the place of a command's first word, behind the shell's `!`.
fn first_word(plain: &str, part: &Range<usize>) -> Range<usize> {
    let text = plain[part.clone()].trim_start();
    let text = text.strip_prefix("! ").map_or(text, str::trim_start);
    let begin = part.end - text.len();
    let length = text.find(|c: char| c.is_whitespace() || matches!(c, '<' | '>')).unwrap_or(text.len());
    begin..begin + length
}

/// Returns the line up to its comment, with an `x` for each byte in quotes and of the quotes.
/// `None`: a quote is not closed, or something in the line has lines or commands of its own: a
/// second line, a here-document, a backtick, `$(` in double quotes, `$'`.
fn plain(text: &str) -> Option<String> {
    let (mut out, mut quote) = (String::with_capacity(text.len()), None);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let (mut hidden, next) = (c.len_utf8(), chars.peek().copied());
        match (quote, c) {
            (None, '\n' | '`') | (Some('"'), '`') => return None,
            (None, '$') if next == Some('\'') => return None,
            (Some('"'), '$') if next == Some('(') => return None,
            (None, '#') if out.is_empty() || out.ends_with([' ', '\t', ';', '&', '|', '(']) => break,
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            (None | Some('"'), '\\') => hidden += chars.next().map_or(0, char::len_utf8),
            (Some(_), _) => {}
            (None, c) => {
                out.push(c);
                continue;
            }
        }
        out.push_str(&"x".repeat(hidden));
    }
    (quote.is_none() && !out.contains("<<")).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_words_are_expanded_wherever_a_command_begins() {
        for (text, wanted) in [
            ("kubectl delete pod web; undo", "kubectl delete pod web; ropewalk undo --name main"),
            ("ls&&undo 2||! why", "ls&&ropewalk undo --name main 2||! ropewalk why --name main"),
            ("ls | what pod", "ls | ropewalk what pod"),
            (
                "ls; trace --name x; status>out",
                "ls; ropewalk trace --name x; ropewalk status --name main>out",
            ),
            ("echo '파드;' \"$(\"; undo", "echo '파드;' \"$(\"; undo"),
            ("echo '파드;' \"$x\"; undo", "echo '파드;' \"$x\"; ropewalk undo --name main"),
            ("ls 2>&1 & undo", "ls 2>&1 & ropewalk undo --name main"),
            (
                "a=${b:-;} $(ls; undo); undo # ; undo",
                "a=${b:-;} $(ls; undo); ropewalk undo --name main # ; undo",
            ),
        ] {
            assert_eq!(expanded(text, "main"), wanted, "{text}");
        }
    }

    #[test]
    fn words_that_begin_no_command_stay_as_they_are() {
        for text in [
            "echo 'a; undo'",
            "echo \"a; undo\"",
            "echo a\\; undo",
            "true # ; undo",
            "echo 'a; undo",
            "ls; undo() { :; }",
            "ls; undo () { :; }",
            "true; { case x in a) ls;; b|undo ) ls;; esac; }",
            "ls; 'undo'",
            "ls; \\undo",
            "ls >& undo",
            "ls &>undo",
            "ls >|undo",
            "f() { ls; undo; }",
            "case x in a|undo) ls;; esac; undo",
            "for i in 1 2; do undo; done; undo",
            "[[ a =~ b|undo ]]",
            "cat <<E; undo",
            "cat <<E; undo # it's",
            "ls\nls; undo",
            "echo `ls; undo`",
            "echo $'a\\'; undo'",
            "ls; etcdctl get a; get pods; undone",
        ] {
            assert_eq!(expanded(text, "main"), text, "{text}");
        }
    }

    #[test]
    fn a_verb_of_kubectl_behind_an_operator_is_suggested_with_kubectl() {
        let suggested = |text: &str| with_kubectl(text, |word| word == "patch");
        let meant = "kubectl get pods; kubectl get svc && kubectl delete pod web";
        assert_eq!(suggested("kubectl get pods; get svc && delete pod web").as_deref(), Some(meant));
        for text in ["get pods; patch -p1", "kubectl get pods; nope", "echo 'a; get svc'", "get svc"] {
            assert_eq!(suggested(text), None, "{text}");
        }
    }

    #[test]
    fn a_command_that_chooses_editing_keys_does_nothing() {
        for (text, wanted) in [
            ("set -o vi", ": set -o vi"),
            ("cd /tmp && set -eo emacs; ls", "cd /tmp && : set -eo emacs; ls"),
            ("! set -o vi # keys", "! : set -o vi # keys"),
        ] {
            assert_eq!(without_editing_mode(text).as_deref(), Some(wanted));
        }
        for text in
            ["set -o", "set +o vi", "set -e", "set -- -o vi", "set -o pipefail", "echo 'set -o vi'", "vi"]
        {
            assert_eq!(without_editing_mode(text), None, "{text}");
        }
    }

    #[test]
    fn a_command_that_runs_nothing_any_more_is_replaced() {
        for (text, wanted) in [
            ("set -n", "exit 0"),
            ("false||set -eno pipefail&& ls", "false||exit 0&& ls"),
            ("ls; set -e -o noexec # check", "ls; exit 0 # check"),
        ] {
            assert_eq!(in_place_of_noexec(text, "exit 0").as_deref(), Some(wanted), "{text}");
        }
        for text in
            ["set", "set -e", "set +n", "set +o noexec", "set -o nounset", "set -- -n", "set a -n", "echo -n"]
        {
            assert_eq!(in_place_of_noexec(text, "exit 0"), None, "{text}");
        }
        for text in ["set -$options", "set -${found#-}", "set --norc", "set - -n"] {
            assert_eq!(in_place_of_noexec(text, "exit 0"), None, "{text}");
        }
    }

    #[test]
    fn an_alias_that_a_line_of_kubectl_would_not_use_is_found() {
        for (text, name) in [
            ("alias k='kubectl -n shop'", "k"),
            ("true; alias ll='ls -l' kubectl=kubecolor", "kubectl"),
            ("k() { kubectl -n shop \"$@\"; }", "k"),
            ("k(){ kubectl -n shop \"$@\"; }", "k"),
            ("get () {\nkubectl get -A\n}", "get"),
        ] {
            assert_eq!(made_in_vain(text).as_deref(), Some(name), "{text}");
        }
        for text in [
            "alias k=kubectl",
            "alias k",
            "alias kn='kubectl -n'",
            "alias diff=colordiff",
            "echo 'alias k=x'",
            "f() { alias k=x; }",
            "unalias k",
            "k get pods | wc -l",
        ] {
            assert_eq!(made_in_vain(text), None, "{text}");
        }
    }

    /// A new word belongs to one of the lists.
    #[test]
    fn each_word_is_done_by_a_process_or_by_the_session_or_is_a_command() {
        let of_shells = ["clear", "etcdctl", "exit", "help"];
        for word in crate::line::WORDS {
            let lists = [IN_A_PROCESS, ALONE, &of_shells].into_iter().filter(|list| list.contains(word));
            assert_eq!(lists.count(), 1, "{word}");
        }
    }

    #[test]
    fn a_word_of_the_session_is_found_in_a_line_of_the_shell() {
        for (text, wanted) in [
            ("kubectl get pods && hint", Some("hint")),
            ("next; true", Some("next")),
            ("echo 'a; hint'; true", None),
            ("ls; undo", None),
            ("xyzzy", None),
        ] {
            assert_eq!(word_of_the_session(text), wanted, "{text}");
        }
    }
}
