//! Commands that are put together from lines.

use super::depth;
use super::parse::{Fault, program};
use brush_parser::ast::Program;
use std::borrow::Cow;

/// Bodies inside each other whose lines are parsed apart; what is deeper is parsed as a whole.
const LEVELS_MAX: usize = 30;

/// A command that is a syntax error wherever a command may stand. In a quote or a here-document it
/// is text.
const MISPLACED: &str = ": ;;;\n";

/// What ends an open quote or expansion, and the character without which no line ends it.
const CLOSINGS: [(&str, char); 6] =
    [("'", '\''), ("\"", '"'), ("`", '`'), (")", ')'), (")\"", ')'), ("}", '}')];

/// A here-document under way.
struct HereDocument {
    end: String,
    /// `<<-`: tabs before the end are no part of it.
    tabs: bool,
}

impl HereDocument {
    /// Returns the last one that an incomplete text begins, if [`MISPLACED`] would be text in it.
    fn open_in(text: &str, stack: depth::Stack) -> Option<HereDocument> {
        let (_, behind) = text.lines().filter_map(|line| line.rsplit_once("<<")).next_back()?;
        let (tabs, behind) = match behind.strip_prefix('-') {
            Some(behind) => (true, behind),
            None => (false, behind),
        };
        let word = behind.trim_start().split([' ', '\t', ';', '|', '&', '>', '<', ')']).next()?;
        let end: String = word.chars().filter(|c| !matches!(c, '\'' | '"' | '\\')).collect();
        let document = HereDocument { end, tabs };
        (!document.end.is_empty() && has_closed(&document.ended(text), stack)).then_some(document)
    }

    /// Returns the text with the line that ends the document.
    fn ended(&self, text: &str) -> String {
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        format!("{text}{newline}{}\n", self.end)
    }

    fn ends_with(&self, line: &str) -> bool {
        let line = line.trim_end_matches('\n');
        self.end == if self.tabs { line.trim_start_matches('\t') } else { line }
    }
}

/// What an incomplete text waits for. Only a line that may be it is worth parsing everything again:
/// else a long command would take time with the square of its length.
#[derive(Default)]
enum Awaited {
    /// Any line may complete the command.
    #[default]
    Anything,
    /// The line that ends a here-document.
    Document(HereDocument),
    /// A character that ends a quote or an expansion.
    Closing(char),
    /// The end of a compound command, as `done`. A complete command never is that, so only the
    /// lines of the command that stands there now are parsed:
    ///
    /// ```text
    /// for i in 1 2; do     the whole text waits for `done`
    ///   echo $i            a command: the text still waits
    ///   if [ $i = 1 ]      begins a command, which has a body of its own
    ///   then echo one; fi  completes it
    /// done                 no command: the whole text is parsed, and is complete
    /// ```
    Body(Box<Assembly>),
}

impl Awaited {
    /// Returns what an incomplete text waits for, which is in so many bodies of other commands.
    fn by(text: &str, level: usize, stack: depth::Stack) -> Awaited {
        let text = match text.strip_suffix('\n') {
            Some(line) if line.ends_with('\\') => return Awaited::Anything, // the next line is the same word
            Some(_) => Cow::Borrowed(text),
            None => Cow::Owned(format!("{text}\n")),
        };
        if is_incomplete(&format!("{text}{MISPLACED}"), stack) {
            if let Some(document) = HereDocument::open_in(&text, stack) {
                return Awaited::Document(document);
            }
            let closing = CLOSINGS.iter().find(|(end, _)| has_closed(&format!("{text}{end}\n"), stack));
            return closing.map_or(Awaited::Anything, |(_, closing)| Awaited::Closing(*closing));
        }
        let is_body = level < LEVELS_MAX && !may_be_in_bash_brackets(&text);
        match is_body && is_incomplete(&format!("{text}:\n"), stack) {
            true => Awaited::Body(Box::new(Assembly { level: level + 1, ..Assembly::default() })),
            false => Awaited::Anything,
        }
    }

    /// Returns whether the text still waits when this line has come.
    fn outlasts(&mut self, line: &str, stack: depth::Stack) -> bool {
        match self {
            Awaited::Anything => false,
            Awaited::Document(document) => !document.ends_with(line),
            Awaited::Closing(closing) => !line.contains(*closing),
            Awaited::Body(command) => !matches!(command.push(line, stack), Some(Err(_))),
        }
    }
}

fn is_incomplete(text: &str, stack: depth::Stack) -> bool {
    program(text, stack).is_err_and(|fault| fault.incomplete)
}

/// Returns whether nothing is open at the end of a text in which a command would be text.
fn has_closed(text: &str, stack: depth::Stack) -> bool {
    let is_refused = |text: &str| program(text, stack).is_err_and(|fault| !fault.incomplete);
    is_refused(&format!("{text}{MISPLACED}")) && !is_refused(text)
}

/// Returns whether a text may end inside `((…))` or `[[…]]`, where a line that is a command by
/// itself may hold the end of both.
fn may_be_in_bash_brackets(text: &str) -> bool {
    [("((", "))"), ("[[", "]]")].iter().any(|(open, close)| text.rfind(open) > text.rfind(close))
}

/// Lines that are not yet a command.
#[derive(Default)]
pub(super) struct Assembly {
    text: String,
    awaited: Awaited,
    /// How many bodies of other commands it is in.
    level: usize,
}

impl Assembly {
    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Adds a line. Returns what the lines mean, and forgets them, unless more lines could change
    /// it.
    pub(super) fn push(&mut self, line: &str, stack: depth::Stack) -> Option<Result<Program, Fault>> {
        self.text.push_str(line);
        if self.awaited.outlasts(line, stack) {
            return None;
        }
        match program(&self.text, stack) {
            Err(fault) if fault.incomplete => {
                self.awaited = Awaited::by(&self.text, self.level, stack);
                None
            }
            Ok(_) if goes_on(&self.text, stack) => {
                self.awaited = Awaited::Anything;
                None
            }
            parsed => {
                *self = Assembly { level: self.level, ..Assembly::default() };
                Some(parsed)
            }
        }
    }

    /// Returns what the lines mean if no more come; `None` if there are none. The end of a text
    /// also ends a here-document in it.
    pub(super) fn end(&mut self, stack: depth::Stack) -> Option<Result<Program, Fault>> {
        let Assembly { mut text, awaited, .. } = std::mem::take(self);
        if let Awaited::Document(document) = awaited {
            text = document.ended(&text);
        }
        (!text.is_empty()).then(|| program(&text, stack))
    }
}

/// Returns whether a text that is complete ends with a backslash that joins the next line to it. In
/// a comment it joins nothing; there an apostrophe is no fault either.
fn goes_on(text: &str, stack: depth::Stack) -> bool {
    let Some(line) = text.strip_suffix("\\\n") else { return false };
    let backslashes = line.len() - line.trim_end_matches('\\').len();
    backslashes.is_multiple_of(2) && program(&format!("{line}'"), stack).is_err_and(|fault| fault.incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack() -> depth::Stack {
        depth::Stack::new()
    }

    #[test]
    fn a_backslash_at_the_end_of_a_line_joins_the_next_one() {
        for (line, whole) in [
            ("echo a\n", true),
            ("echo a \\\n", false),
            ("echo a \\\\\n", true),
            ("echo a # \\\n", true),
            ("{ cat <<E\nE\n} \\\n", false),
        ] {
            assert_eq!(Assembly::default().push(line, stack()).is_some(), whole, "{line}");
        }
    }

    #[test]
    fn the_end_of_a_text_ends_its_here_document() {
        let end = |text: &str| {
            let mut lines = Assembly::default();
            text.split_inclusive('\n').for_each(|line| assert!(lines.push(line, stack()).is_none()));
            lines.end(stack()).map(|program| program.is_ok())
        };
        assert_eq!(
            (end("cat <<E\na"), end("cat <<-'E'\na\n"), end("cat <<E")),
            (Some(true), Some(true), Some(true))
        );
        assert_eq!((end("if true; then cat <<E\na\nE\n"), end("")), (Some(false), None));
    }

    #[test]
    fn a_here_document_is_read_to_its_end_without_parsing() {
        let open = |text: &str| match Awaited::by(text, 0, stack()) {
            Awaited::Document(document) => Some((document.end, document.tabs)),
            _ => None,
        };
        assert_eq!(open("cat <<E\n"), Some(("E".into(), false)));
        assert_eq!(open("cat <<-'END' >f\na\n"), Some(("END".into(), true)));
        assert_eq!(open("cat <<A; cat <<B\na\nA\n"), Some(("B".into(), false)));
        for other in ["cat <<E |\n", "if true; then cat <<E\n"] {
            assert_eq!(open(other), Some(("E".into(), false)), "{other}");
        }
        for other in ["if true; then\n", "echo 'a <<E\n", "echo $((1 <<\n"] {
            assert_eq!(open(other), None, "{other}");
        }
        let document = HereDocument { end: "E".into(), tabs: true };
        assert!(document.ends_with("\t\tE\n") && document.ends_with("E") && !document.ends_with("E \n"));
    }

    #[test]
    fn an_incomplete_text_says_what_it_waits_for() {
        let waits = |text: &str| match Awaited::by(text, 0, stack()) {
            Awaited::Anything => "anything".to_string(),
            Awaited::Document(document) => document.end,
            Awaited::Closing(closing) => closing.to_string(),
            Awaited::Body(_) => "body".into(),
        };
        for (text, awaited) in [
            ("if true; then\n", "body"),
            ("f() {\n", "body"),
            ("( a\n", "body"),
            ("case x in a)\n", "body"),
            ("{ a |\n", "body"),
            ("case x in\n", "anything"),
            ("for i in a\n", "anything"),
            ("f()\n", "anything"),
            ("a |\n", "anything"),
            ("if a \\\n", "anything"),
            ("((\n", "anything"),
            ("[[ a &&\n", "anything"),
            ("x='\n", "'"),
            ("f() { x=\"\n", "\""),
            ("x=`\n", "`"),
            ("x=$(\n", ")"),
            ("x=\"$(\n", ")"),
            ("x=${y:-\n", "}"),
        ] {
            assert_eq!(waits(text), awaited, "{text}");
        }
    }

    /// The line of each of these texts that completes it is its last one.
    #[test]
    fn a_command_is_complete_at_its_last_line() {
        for text in [
            "if a\nthen\nb\nelif c\nthen\n( d\n)\nelse e; fi\n",
            "f() {\nfor i in a\ndo\ncase $i in\na)\nb\n;;\n(c) d;;\nesac\ndone\n}\n",
            "while a; do\ncat <<E\ndone '\nE\nx='\ndone\n'\nb |\nc\n# it's\n\ndone\n",
            "{ cat <<E\n}\nE\n}\n",
            "((\n1 << 2\n))\n",
            "[[ a &&\nb ]]\n",
            "{ echo \\\n}\n}\n",
            "x=\"$(\nif a; then\necho \"b\"\nfi\n)\"\n",
            "x=$(case a in\na) b\n;;\nesac)\n",
            "(case a in\na) b;;\nesac)\n",
        ] {
            let (mut lines, count) = (Assembly::default(), text.lines().count());
            for (at, line) in text.split_inclusive('\n').enumerate() {
                let parsed = lines.push(line, stack());
                assert_eq!(parsed.as_ref().map(Result::is_ok), (at + 1 == count).then_some(true), "{text}");
            }
        }
        // And a fault names its line.
        let mut lines = Assembly::default();
        assert!(lines.push("if a; then\n", stack()).is_none() && lines.push("b\n", stack()).is_none());
        assert!(matches!(lines.push("done\n", stack()), Some(Err(fault)) if !fault.incomplete));
    }

    /// Each line of this loop would be parsed with all before it: a million lines.
    #[test]
    fn a_long_command_takes_time_with_its_length() {
        let mut lines = Assembly::default();
        assert!(lines.push("for i in 1; do\n", stack()).is_none());
        for turn in 0..1000 {
            assert!(lines.push("echo a\n", stack()).is_none());
            let Awaited::Body(inner) = &lines.awaited else { panic!("line {turn}: the loop has a body") };
            assert!(inner.is_empty());
        }
        assert!(matches!(lines.push("done\n", stack()), Some(Ok(_))));
    }

    #[test]
    fn bodies_inside_each_other_have_an_end() {
        let mut lines = Assembly::default();
        for _ in 0..LEVELS_MAX + 5 {
            assert!(lines.push("{\n", stack()).is_none());
        }
        assert!(lines.push(":\n", stack()).is_none());
        for left in (0..LEVELS_MAX + 5).rev() {
            assert_eq!(lines.push("}\n", stack()).is_some_and(|parsed| parsed.is_ok()), left == 0);
        }
    }
}
