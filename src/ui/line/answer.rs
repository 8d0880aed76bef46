//! Parses the line `answer TEXT`. Pure.

use super::spelling::{korean, latin};

/// Returns what stands behind `answer`, in whichever spelling: the answer to a question of a
/// lesson. It may have anything in it, e.g. `it's` and `a > b`, which a shell would read otherwise.
pub(crate) fn written_answer(text: &str) -> Option<&str> {
    let text = text.trim();
    let word = text.split(char::is_whitespace).next()?;
    let means = |word: &str| latin(word).or_else(|| korean(word)) == Some("answer");
    (word == "answer" || (!word.is_ascii() && means(word))).then(|| text[word.len()..].trim())
}

/// Returns whether an answer has something in it that only a shell can read: a variable, or a
/// command to be run.
pub(crate) fn needs_shell(written: &str) -> bool {
    let begins = |c: char| c == '(' || c == '{' || c == '_' || c.is_ascii_alphabetic();
    let named = written.match_indices('$').any(|(at, _)| written[at + 1..].starts_with(begins));
    (named || written.contains('`')) && !written.starts_with('\'')
}

/// Returns an answer without the quotes around it.
pub(crate) fn unquoted(written: &str) -> &str {
    let inside = |quote: char| written.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::line::unfinished;

    #[test]
    fn only_what_a_shell_alone_can_read_goes_to_the_shell() {
        for shell in ["$IP", "\"$(kubectl get pods)\"", "${A}", "`hostname`"] {
            assert!(needs_shell(shell), "{shell}");
        }
        for text in ["10.244.1.7", "it's here", "<none>", "5$", "a c", "'$HOME'", "$5"] {
            assert!(!needs_shell(text), "{text}");
        }
    }

    #[test]
    fn quotes_around_an_answer_are_not_part_of_it() {
        assert_eq!(["'a b'", "\"a\"", "a'b"].map(unquoted), ["a b", "a", "a'b"]);
    }

    #[test]
    fn an_answer_is_whole_whatever_is_in_it() {
        for word in ["answer", "답", "ㅁㅜㄴㅈㄷㄱ"] {
            for text in ["it's", "(a", "a \\", "\"5", "a <<b", "a |", "'$HOME"] {
                let line = format!(" {word} {text}");
                assert_eq!(written_answer(&line), Some(text), "{line}");
                assert!(!unfinished(&line), "{line}");
            }
            assert!(unfinished(&format!("{word} $(kubectl get pods |")), "the shell runs a command of it");
        }
        for text in ["answer=5", "answers it's", "'answer' it's", "!answer it's", "echo answer"] {
            assert_eq!(written_answer(text), None, "{text}");
        }
        assert!(unfinished("answers it's"));
    }
}
