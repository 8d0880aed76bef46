//! Decides whether a text is complete, or the next line belongs to it. Pure.

use super::answer::{needs_shell, written_answer};

/// Parentheses in one another that the parser is given. It tries each as arithmetic and as a
/// subshell, so n that are open cost 2^n.
const DEEPEST: usize = 10;

/// Returns how many parentheses are open at once, at most, outside of quotes.
fn deepest(text: &str) -> usize {
    let (mut open, mut most, mut quote) = (0_usize, 0, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => drop(chars.next()),
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(end)) if c == end => quote = None,
            // A command in double quotes is parsed, too.
            ('(', None | Some('"')) => {
                open += 1;
                most = most.max(open);
            }
            (')', None | Some('"')) => open = open.saturating_sub(1),
            _ => {}
        }
    }
    most
}

/// Returns whether the next line belongs to this text: it has an open quote, a here-document, or a
/// `for` without its `done`.
pub(crate) fn unfinished(text: &str) -> bool {
    parse(text).0
}

/// A text that grows line by line until it is whole. A here-document, a quoted string or a compound
/// command is parsed when it begins and at lines that may end it: at each of its lines would cost
/// the square of its length.
pub(crate) struct Growing {
    text: String,
    unfinished: bool,
    ends: Ends,
}

/// Which lines may end the here-document, the quoted string or the compound command in which a text
/// ends.
#[derive(Debug, PartialEq)]
enum Ends {
    /// Any line: the text ends in none of them.
    Any,
    /// One of these lines: a here-document.
    Line(Vec<String>),
    /// A line with this quotation mark in it.
    Quote(char),
    /// A line with a word that closes a compound command, or one that continues on the next line:
    /// `do\` and `ne` are one word.
    Closing,
}

/// Returns whether a line may close a compound command, or be wrong in one: such a text is refused
/// at once, as by a shell.
fn may_close(line: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut words = line.split(|c: char| !is_word(c));
    line.trim_end().ends_with(['\\', '<', '>'])
        || line.contains(['}', ')', ']', ';'])
        || words.any(|word| matches!(word, "do" | "done" | "elif" | "else" | "esac" | "fi" | "then"))
}

impl Ends {
    /// True if `line` may be the end. `<<-` takes tabs off; where `<<` does not, the text is only
    /// parsed once more than it need be.
    fn fits(&self, line: &str) -> bool {
        match self {
            Ends::Any => true,
            Ends::Line(ends) => ends.iter().any(|end| line.trim_start_matches('\t') == end),
            Ends::Quote(mark) => line.contains(*mark),
            Ends::Closing => may_close(line),
        }
    }
}

impl Growing {
    pub(crate) fn new(text: String) -> Growing {
        let (unfinished, ends) = parse(&text);
        Growing { text, unfinished, ends }
    }

    /// Returns whether the next line belongs to the text.
    pub(crate) fn unfinished(&self) -> bool {
        self.unfinished
    }

    /// Adds a line, or several.
    pub(crate) fn add(&mut self, lines: &str) {
        self.text.push('\n');
        self.text.push_str(lines);
        if lines.split('\n').any(|line| self.ends.fits(line)) {
            (self.unfinished, self.ends) = parse(&self.text);
        }
    }

    /// Returns the text so far.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Returns the whole text.
    pub(crate) fn into_text(self) -> String {
        self.text
    }
}

/// Returns the lines that may end the first of some here-documents. `tags` names all that are open,
/// with their quotes: `A, B`. A comma may belong to a tag, so that may be `A` or `A, B`.
fn ends_of(tags: &str) -> Vec<String> {
    let commas = tags.match_indices(", ").map(|(at, _)| at).chain([tags.len()]);
    commas.map(|at| brush_parser::unquote_str(&tags[..at])).filter(|end| !end.is_empty()).collect()
}

/// True if the last character of a text belongs to a remark, which no backslash continues on the
/// next line. A quotation mark in its place is open everywhere else.
fn ends_in_remark(text: &str) -> bool {
    let mut before = text.chars();
    before.next_back();
    let before = before.as_str();
    let last_line = before.rsplit('\n').next().unwrap_or_default();
    last_line.contains('#') && !parse(&format!("{before}'")).0
}

/// What a line may begin with that continues a text: a command, or a word that the grammar wants
/// there, as behind `for i`, `f()` and `[[ -f x`.
const CONTINUATIONS: [&str; 5] = [":", "do", "in", "{", "]]"];

/// Returns which lines may end a text at whose end the parser misses something; `None`: no further
/// line can continue it. The parser misses something also where the last word is a wrong one (`fi`,
/// `echo hi >`): then it refuses every further line. A shell refuses such a text at once.
///
/// Where a command does not end the text either, it ends in a compound command: `for i in 1; do`.
fn ends_of_open(text: &str) -> Option<Ends> {
    use brush_parser::{ParseError, Parser, ParserOptions};
    CONTINUATIONS.iter().find_map(|next| {
        let text = format!("{text}\n{next}");
        match Parser::new(text.as_bytes(), &ParserOptions::default()).parse_program() {
            Err(ParseError::ParsingNear(_)) => None,
            Err(ParseError::ParsingAtEndOfInput) if *next == ":" => Some(Ends::Closing),
            _ => Some(Ends::Any),
        }
    })
}

/// Returns whether something is still to come, and which lines may end the here-document, the
/// quoted string or the compound command in which the text ends.
fn parse(text: &str) -> (bool, Ends) {
    use brush_parser::{ParseError, Parser, ParserOptions, TokenizerError};
    if text.trim_start().starts_with('#') || written_answer(text).is_some_and(|w| !needs_shell(w)) {
        return (false, Ends::Any);
    }
    let continued = text.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1;
    if deepest(text) > DEEPEST {
        return (continued, Ends::Any); // the shell judges it
    }
    if continued && !ends_in_remark(text) {
        return (true, Ends::Any);
    }
    match Parser::new(text.as_bytes(), &ParserOptions::default()).parse_program() {
        Ok(_) => (false, Ends::Any),
        Err(ParseError::ParsingAtEndOfInput) => match ends_of_open(text) {
            Some(ends) => (true, ends),
            None => (false, Ends::Any),
        },
        Err(ParseError::Tokenizing { inner, .. }) => {
            let ends = match &inner {
                TokenizerError::UnterminatedHereDocuments(tags, _) => match ends_of(tags) {
                    ends if ends.is_empty() => Ends::Any,
                    ends => Ends::Line(ends),
                },
                TokenizerError::UnterminatedSingleQuote(_) => Ends::Quote('\''),
                TokenizerError::UnterminatedDoubleQuote(_) => Ends::Quote('"'),
                _ => Ends::Any,
            };
            (inner.is_incomplete(), ends)
        }
        Err(ParseError::ParsingNear(_)) => (false, Ends::Any),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_open_parentheses_go_to_the_shell_unparsed() {
        for open in ["(", "( ", "echo $((", "echo \"$(("] {
            assert!(!unfinished(&open.repeat(40)), "{open}");
            assert!(unfinished(open), "{open}");
        }
        assert_eq!(deepest("((a) (b)) 'x((((' \\( \"((\""), 2);
        assert_eq!(deepest("case a in a) b;; esac; (c)"), 1);
    }

    /// What a text says that grows line by line, and what it says when it is parsed as a whole each
    /// time.
    #[test]
    fn a_here_document_ends_where_the_parser_says_so() {
        for text in [
            "cat <<EOF\na\nEOF\nls",
            "cat <<EOF | wc -l\n(((((((((((((\n'\n\\\nEOF",
            "cat <<-'E F'\n\ta\nE\n\tE F\nls",
            "cat <<A <<B\nB\nA\nA\nB\nls",
            "cat <<'A, B'\nA\nA, B\nls",
            "cat <<EOF\n\tEOF\n EOF\nEOF",
            "if true; then cat <<E\nfi\nE\nfi",
            "f() { cat <<\"E\"\n$x\nE\n}",
            "echo '<<EOF\na'",
        ] {
            let lines: Vec<&str> = text.split('\n').collect();
            let mut growing = Growing::new(lines[0].into());
            for n in 1..lines.len() {
                growing.add(lines[n]);
                let text = lines[..=n].join("\n");
                // A body with too many parentheses for the parser is none of its business before it
                // ends.
                let deep = deepest(&text) > DEEPEST;
                let expected = if deep { n + 1 < lines.len() } else { parse(&text).0 };
                assert_eq!(growing.unfinished(), expected, "{text:?}");
            }
            assert_eq!(growing.into_text(), text);
        }
    }

    #[test]
    fn a_quoted_text_ends_where_the_parser_says_so() {
        for text in [
            "echo 'a\n\"\nb' | kubectl apply -f -",
            "echo 'a\nb' 'c\nd'",
            "echo \"a\n\\\"\n'\nb\"\nls",
            "echo \"a\n$(echo \"b\")\nc\"",
        ] {
            let lines: Vec<&str> = text.split('\n').collect();
            let mut growing = Growing::new(lines[0].into());
            for n in 1..lines.len() {
                growing.add(lines[n]);
                assert_eq!(growing.unfinished(), parse(&lines[..=n].join("\n")).0, "{text:?} up to {n}");
            }
        }
    }

    #[test]
    fn a_quoted_text_costs_as_much_as_it_is_long() {
        let lines = |count: usize| (0..count).map(|n| format!("  - name: value {n}")).collect::<Vec<_>>();
        rng::growth::grows_as_its_input("a quoted text", 1500, lines, |lines| {
            let mut growing = Growing::new("echo '".into());
            for line in lines {
                growing.add(&line);
                assert!(growing.unfinished());
            }
            growing.add("' | kubectl apply -f -");
            assert!(!growing.unfinished());
        });
    }

    #[test]
    fn a_compound_command_ends_where_the_parser_says_so() {
        for text in [
            "f() {\n  ls\n  if true; then\n    ls\n  fi\n}\nls",
            "f()\n{\n  ls\n}",
            "for i in 1 2\ndo\n  get pods |\n  cat\ndone | wc -l",
            "case x in\na)\n  ls\n  ;;\nesac",
            "(\n  cat <<E\n)\nE\n)",
            "while true; do\n  echo 'a\ndone\n'\ndo\\\nne",
            "if true; then\n  ls\nelse\n  ls\nfi",
        ] {
            let lines: Vec<&str> = text.split('\n').collect();
            let mut growing = Growing::new(lines[0].into());
            for n in 1..lines.len() {
                growing.add(lines[n]);
                assert_eq!(growing.unfinished(), parse(&lines[..=n].join("\n")).0, "{text:?} up to {n}");
            }
        }
    }

    #[test]
    fn a_compound_command_costs_as_much_as_it_is_long() {
        let lines = |count: usize| (0..count).map(|n| format!("  echo value {n}")).collect::<Vec<_>>();
        rng::growth::grows_as_its_input("a function", 1500, lines, |lines| {
            let mut growing = Growing::new("f() {".into());
            for line in lines {
                growing.add(&line);
                assert!(growing.unfinished());
            }
            growing.add("}");
            assert!(!growing.unfinished());
        });
    }

    #[test]
    fn a_here_document_costs_as_much_as_it_is_long() {
        let lines = |count: usize| {
            (0..count).map(|n| format!("  - name: \"value {n} of the list\"")).collect::<Vec<_>>()
        };
        rng::growth::grows_as_its_input("a here-document", 1500, lines, |lines| {
            let mut growing = Growing::new("cat <<EOF".into());
            for line in lines {
                growing.add(&line);
                assert!(growing.unfinished());
            }
        });
    }

    /// POSIX 2.3, rule 9: a remark ends before the newline, and a backslash in it is a letter.
    #[test]
    fn a_remark_does_not_continue_on_the_next_line() {
        for whole in [
            "get pods # see C:\\tmp\\",
            "get pods \\\\ # a\\",
            "# a\\",
            "echo 'a\nb' # it's\\",
            "for i in 1; do\n# a\\\necho; done # b\\",
            "cat <<EOF\nit's\nEOF\nls # a\\",
            "get pods \\\\",
        ] {
            assert!(!unfinished(whole), "{whole}");
        }
        for open in [
            "get pods \\",
            "get pods a#b\\",
            "echo '#' \\",
            "echo \\#\\",
            "echo '# a\\",
            "echo \"# a\\",
            "echo a\\\\\\",
            "cat <<EOF\n# a\\",
            "if true; then # a\\",
        ] {
            assert!(unfinished(open), "{open}");
        }
    }

    #[test]
    fn a_line_that_is_not_over_waits_for_more() {
        for open in
            ["echo 'a", "cat <<EOF\na", "for i in 1 2; do", "ls |", "get pods \\", "if true; then\necho"]
        {
            assert!(unfinished(open), "{open}");
        }
        for open in [
            "for i",
            "for i in 1 2",
            "case x",
            "case x in",
            "case x in a) ls;;",
            "f()",
            "function g",
            "if true; then ls; else",
            "[[ -f x &&",
            "[[ -f x",
            "ls && {",
        ] {
            assert!(unfinished(open), "{open}");
        }
        for whole in [
            "ls",
            "cat <<EOF\na\nEOF",
            "get pods -o jsonpath='{.a}'",
            "echo )",
            "",
            "# don't",
            "for i in 1; do echo; done",
        ] {
            assert!(!unfinished(whole), "{whole}");
        }
    }

    /// No further line would make them right, and the shell would refuse it along with them.
    #[test]
    fn a_line_that_ends_with_a_wrong_word_does_not_wait() {
        for wrong in [
            "}",
            "]]",
            "fi",
            "done",
            "then",
            "get pods >",
            "ls; }",
            "{ }",
            "if true; fi",
            "while true; do ls; fi",
        ] {
            assert!(!unfinished(wrong), "{wrong}");
        }
    }
}
