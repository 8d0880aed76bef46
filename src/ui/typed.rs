//! Keys that were typed while a program ran, as text for the next prompt.

/// Returns the text of keys that no program read. Keys that are no text (arrows, Ctrl-L, an end of
/// input) do nothing any more; the keys that erase do so, as in the kernel's line editor. A tab
/// becomes a space: there is nothing that it could complete. Pure.
pub(crate) fn typed_text(keys: &str) -> String {
    let mut text = String::new();
    let mut keys = keys.chars();
    let mut ended = true; // false: no answer that begins from here on has an end
    let line = |text: &str| text.rfind('\n').map_or(0, |end| end + 1);
    while let Some(key) = keys.next() {
        match key {
            '\r' | '\n' => text.push('\n'),
            '\t' => text.push(' '),
            // ESC [ PARAMETERS LETTER, ESC O LETTER, or a key that is held with Alt.
            '\x1b' => match keys.next() {
                Some('[') => {
                    keys.find(|c| ('\x40'..='\x7e').contains(c));
                }
                Some('O') => drop(keys.next()),
                // The answer of a terminal to a program that has ended meanwhile: ESC ] TEXT, up to
                // BEL or ESC \. Without an end it was a key that is held with Alt.
                Some(']' | 'P' | '_' | '^' | 'X') if ended => match end_of_answer(keys.as_str()) {
                    Some(end) => keys = keys.as_str()[end..].chars(),
                    None => ended = false,
                },
                _ => {}
            },
            '\x08' | '\x7f' => {
                if text.len() > line(&text) {
                    text.pop();
                }
            }
            '\x15' => text.truncate(line(&text)),
            '\x17' => {
                let begin = line(&text);
                text.truncate(begin + without_last_word(&text[begin..]).len());
            }
            key if key.is_control() => {}
            key => text.push(key),
        }
    }
    text
}

/// Returns a line without its last word and what stands behind that: what Ctrl-W leaves of it. A
/// word has letters, digits and `_` in it. Source: termios(3), VWERASE; Linux, `eraser` in n_tty.c.
fn without_last_word(line: &str) -> &str {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    line.trim_end_matches(|c: char| !is_part(c)).trim_end_matches(is_part)
}

/// Returns where an answer ends, behind its BEL or ESC \, whichever comes first; `None` if it has
/// no end. It reads no further than that: a program that asks the terminal again and again leaves
/// thousands of answers.
fn end_of_answer(text: &str) -> Option<usize> {
    text.match_indices(['\x07', '\x1b']).find_map(|(at, key)| match key {
        "\x07" => Some(at + 1),
        _ => text[at + 1..].starts_with('\\').then_some(at + 2),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_no_text_do_not_stand_on_the_next_line() {
        for (keys, text) in [
            ("ls\r", "ls\n"),
            ("\x1b[Als\x1b[1;5D\x1bOA\x0c\0", "ls"),
            ("get po\tweb", "get po web"),
            ("\x1b[200~a\rb\x1b[201~", "a\nb"),
            ("lss\x7f\x1bx -l\x1b", "ls -l"),
            ("get pods web-1 \x17\x17\x17svc\r\x17x", "get svc\nx"),
            ("ls\r\x7fx\x15파드\x08", "ls\n파"),
            ("l\x1b]11;rgb:1e1e/1e1e/2e2e\x07s", "ls"),
            ("l\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\s\x07", "ls"),
            ("\x1bP>|xterm(390)\x1b\\ls\x1b]", "ls"),
            ("\x1b]ls\r", "ls\n"),
        ] {
            assert_eq!(typed_text(keys), text, "{keys:?}");
        }
    }

    #[test]
    fn keys_that_look_like_answers_without_an_end_cost_as_much_as_they_are() {
        rng::growth::grows_as_its_input(
            "keys",
            100_000,
            |n| "\x1b]".repeat(n),
            |keys| {
                assert_eq!(typed_text(&keys), "");
            },
        );
    }

    /// Each of the two ends is looked for behind each answer, and one of them never comes.
    #[test]
    fn many_answers_cost_as_much_as_they_are() {
        for answer in ["\x1b]11;rgb:1e1e/1e1e/2e2e\x07", "\x1b]11;rgb:1e1e/1e1e/2e2e\x1b\\"] {
            rng::growth::grows_as_its_input(
                "answers",
                20_000,
                |n| answer.repeat(n),
                |keys| {
                    assert_eq!(typed_text(&keys), "");
                },
            );
        }
    }
}
