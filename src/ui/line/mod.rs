//! Classifies lines: kubectl, a word of this program, or the shell. Pure: text in, decision out.

mod answer;
mod cut;
mod growing;
mod hangul;
mod kill;
mod meant;
mod slip;
mod spelling;
mod within;
mod words;

pub(crate) use answer::{needs_shell, unquoted, written_answer};
pub(crate) use cut::{Cut, cut};
pub(crate) use growing::{Growing, unfinished};
pub(crate) use hangul::{answer_keys, english_keys, latin_key, of_korean_layout};
pub(crate) use kill::killed;
pub(crate) use meant::meant_line;
pub(crate) use spelling::latin_among;
pub(crate) use within::{
    in_place_of_noexec, made_in_vain, with_kubectl, with_prefix, without_editing_mode, word_of_the_session,
};
pub(crate) use words::{
    OF_LESSON, WORDS, bare_verbs, begins_with_own_word, commands_of_a_cluster, meant_for_kubectl,
    split_negation,
};

use super::paste;
use kubectl::parse;
use words::{IN_A_PROCESS, LESSON, OF_NO_CLUSTER, command_of_a_cluster, is_bare_verb, name_of};

/// What to do with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Empty,
    /// Arguments of kubectl.
    Kubectl(Vec<String>),
    /// A program on the terminal itself (an editor, an interactive exec): the shell runs this text.
    Foreground(String),
    /// A command of `ropewalk` and its arguments.
    Own(Vec<String>),
    Help(Vec<String>),
    Lang(Vec<String>),
    /// A word of lessons and what follows it.
    Lesson(Vec<String>),
    /// What was written after `answer`, as it stands there: the answer to a question of a lesson.
    Answer(String),
    /// A letter alone, which may answer a question; else it is the shell's.
    Letter(char, String),
    Map(Vec<String>),
    Clear,
    Quit,
    Exit(Option<String>),
    /// `watch`, and not what.
    Watch,
    /// For the learner's shell.
    Shell(String),
}

impl Line {
    /// True for a line that may read or change the cluster, as far as its words tell: also
    /// `delete pod $POD`, which is kubectl's in the shell.
    pub(crate) fn is_about_the_cluster(&self) -> bool {
        match self {
            Line::Shell(text) => ["kubectl", "ropewalk"].iter().any(|word| text.contains(word)),
            Line::Own(args) => !args.first().is_some_and(|word| OF_NO_CLUSTER.contains(&word.as_str())),
            line => matches!(line, Line::Kubectl(_) | Line::Foreground(_)),
        }
    }
}

/// Decides what a line is. `cluster` is the name that `ropewalk`'s own words are about.
pub(crate) fn classify(text: &str, cluster: &str) -> Line {
    let text = text.trim();
    if text == "?" {
        return Line::Help(vec![]);
    }
    if is_forced(text) {
        return Line::Shell(text[1..].to_string());
    }
    match by_beginning(text, cluster) {
        Line::Shell(text) => Line::Shell(within::expanded(&text, cluster)),
        line => line,
    }
}

/// Decides by its beginning what a line is.
fn by_beginning(text: &str, cluster: &str) -> Line {
    // Behind the shell's `!` stands a command like any other.
    if let Some(negated) = text.strip_prefix('!') {
        return match by_words(negated.trim_start(), cluster, true) {
            Line::Shell(command) => Line::Shell(format!("! {command}")),
            line => line,
        };
    }
    if let Some(written) = written_answer(text) {
        return Line::Answer(answer_keys(written));
    }
    by_words(text, cluster, false)
}

/// True for `!ls`, which the shell runs whatever the line means here. With a space behind it, `!`
/// is the shell's own: it turns an exit code round (POSIX, XCU 2.9.2).
pub(crate) fn is_forced(text: &str) -> bool {
    text.trim().strip_prefix('!').is_some_and(|rest| !rest.starts_with(char::is_whitespace))
}

/// Decides by its words what a line is. `in_shell`: only the shell can run it.
fn by_words(text: &str, cluster: &str, in_shell: bool) -> Line {
    let Cut { mut words, special } = cut(text);
    if let Some(first) = words.first_mut().filter(|_| special) {
        end_at_operator(first, text);
    }
    let special = special || in_shell;
    // A first word in quotes is a command of the shell, not a word of this program.
    let is_plain = words.first().is_some_and(|first| text.starts_with(first.as_str()));
    if is_plain && let Some(line) = spelling::classified(text, &words, special, cluster) {
        return line;
    }
    let Some(first) = words.first() else {
        return if special { Line::Shell(text.into()) } else { Line::Empty };
    };
    if !is_plain {
        return Line::Shell(text.into());
    }
    let after = &text[first.len()..];
    // Also with the program's name in front a word is about the cluster of the session.
    if first == "ropewalk"
        && let Some((word, behind)) = command_of_a_cluster(after)
    {
        return own(word, behind, &words[1..], special, cluster);
    }
    match first.as_str() {
        "kubectl" | "k" => kubectl(format!("kubectl{after}"), words, special),
        verb if is_bare_verb(verb) || meant_for_kubectl(&words) => {
            let whole = std::iter::once("kubectl".to_string()).chain(words.iter().cloned()).collect();
            kubectl(format!("kubectl {text}"), whole, special)
        }
        word if word == "etcdctl" || IN_A_PROCESS.contains(&word) => {
            own(word, after, &words, special, cluster)
        }
        "ropewalk" if !special && chooses_language(&words) => Line::Lang(words[2..].to_vec()),
        "ropewalk" if !special => Line::Own(words[1..].to_vec()),
        "watch" if words.len() > 1 || special => Line::Shell(text.into()),
        // The shell refuses two codes.
        "exit" if !special && words.len() <= 2 => Line::Exit(words.get(1).cloned()),
        _ if special => Line::Shell(text.into()),
        "quit" => Line::Quit,
        "help" => Line::Help(spelling::subject(&words[1..])),
        "map" => Line::Map(words[1..].to_vec()),
        "lang" => Line::Lang(words[1..].to_vec()),
        "clear" => Line::Clear,
        word if LESSON.contains(&word) => Line::Lesson(words),
        "watch" => Line::Watch,
        word => match letter(word).filter(|_| words.len() == 1) {
            Some(letter) => Line::Letter(letter, text.into()),
            None => Line::Shell(text.into()),
        },
    }
}

/// Cuts the first word of a line off where an operator of the shell ends it: `status|cat` begins
/// with `status`. Up to there the word stands in the line as it is, without quotes.
fn end_at_operator(first: &mut String, text: &str) {
    if let Some(end) = first.find(['|', '&', ';', '<', '>'])
        && end > 0
        && text.get(..=end) == first.get(..=end)
    {
        first.truncate(end);
    }
}

/// True for `ropewalk lang` and `ropewalk lang ko`: in a process of its own it would not change the
/// language of this session.
fn chooses_language(words: &[String]) -> bool {
    words.get(1).is_some_and(|word| word == "lang") && words[2..].iter().all(|word| !word.starts_with('-'))
}

/// `a` to `d`, also as the same keys give them with a Korean layout on.
fn letter(word: &str) -> Option<char> {
    let mut chars = word.chars();
    let (Some(c), None) = (chars.next(), chars.next()) else { return None };
    let c = latin_key(c).unwrap_or(c).to_ascii_lowercase();
    ('a'..='d').contains(&c).then_some(c)
}

fn kubectl(text: String, words: Vec<String>, special: bool) -> Line {
    match special {
        true => Line::Shell(text),
        false if wants_terminal(&words[1..]) => Line::Foreground(text),
        false => Line::Kubectl(words[1..].to_vec()),
    }
}

fn own(word: &str, after: &str, words: &[String], special: bool, cluster: &str) -> Line {
    let name = name_of(word, words.iter().skip(1).map(String::as_str), cluster);
    if special {
        return Line::Shell(format!("ropewalk {word}{name}{after}"));
    }
    let mut args = words.to_vec();
    if !name.is_empty() {
        args.splice(1..1, ["--name".to_string(), cluster.to_string()]);
    }
    Line::Own(args)
}

/// Commands that take over the terminal: an editor, a shell in a container, a question. The verb is
/// found as kubectl finds it: flags with values may stand before it (`-n shop exec -it web -- sh`).
/// What may be a plugin does, too: it may be anything. What else kubectl does not understand takes
/// nothing. A command whose manifest follows in the next lines takes no terminal: the shell would
/// run them.
fn wants_terminal(args: &[String]) -> bool {
    if paste::reads_stdin(args) {
        return false;
    }
    // What this process reads of its own terminal would be missing from the next line. Behind `--`
    // stands a command for a container.
    let mut own = args.iter().take_while(|arg| *arg != "--");
    if kubectl::may_be_plugin(args) || own.any(|arg| arg.ends_with("/dev/stdin")) {
        return true;
    }
    let Ok(parsed) = parse::parse(args) else { return false };
    let is = |flag: &str| parsed.flags.is(flag);
    let takes = match parsed.verb.path {
        "edit" | "apply edit-last-applied" => true,
        "exec" | "run" | "attach" | "debug" => is("stdin") || is("tty"),
        "delete" => is("interactive"),
        "create" => is("edit"),
        _ => false,
    };
    takes && !parsed.help
}

#[cfg(test)]
mod tests;
