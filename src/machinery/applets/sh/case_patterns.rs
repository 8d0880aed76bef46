//! `$(case b in b) …)`. The `)` behind a pattern of `case` has no other half, and the parser takes
//! it for the end of the substitution. POSIX (2.9.4.3) allows a `(` before the pattern, and with it
//! the parser reads on. And in `(case b in b) x;; esac)` the parser takes `esac)` for a pattern, as
//! it takes `esac | cat)`. POSIX ends the `case` at an `esac` that stands unquoted in place of a
//! pattern, and with a `;` before the bracket the parser does so, too.

/// Where in a `case` the scan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// Before its `in`.
    Subject,
    /// Before a pattern, or `esac`.
    Start,
    Pattern,
    /// In the commands behind a pattern.
    Body,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// `$(…)`, `(…)`, and the text itself.
    Commands,
    /// `"…"`
    Quotes,
    /// `${…}`
    Braces,
}

/// Something open, and the `case` commands in it that are open.
#[derive(Debug)]
struct Frame {
    kind: Kind,
    cases: Vec<Case>,
    /// The next word is the name of a command, or the subject of a `case`.
    first: bool,
    /// Whether the frame is inside a `$(…)`.
    substituted: bool,
    /// A `case` has ended at an `esac` in place of a pattern, and the same command goes on.
    behind_esac: bool,
}

impl Frame {
    fn new(kind: Kind, substituted: bool) -> Frame {
        Frame { kind, cases: Vec::new(), first: true, substituted, behind_esac: false }
    }

    fn case(&self) -> Option<Case> {
        self.cases.last().copied()
    }

    fn set_case(&mut self, case: Case) {
        if let Some(last) = self.cases.last_mut() {
            *last = case;
        }
    }

    /// Counts a word of commands.
    fn count_word(&mut self, word: &str) {
        let case = self.case();
        match word {
            "in" if case == Some(Case::Subject) && !self.first => self.set_case(Case::Start),
            "case" if case != Some(Case::Subject) && self.first => {
                self.cases.push(Case::Subject);
                return; // its subject is the next word
            }
            "esac" if case == Some(Case::Body) && self.first => {
                self.cases.pop();
            }
            _ => {}
        }
        let begins = matches!(word, "then" | "do" | "else" | "elif" | "if" | "while" | "until");
        self.first = begins && case != Some(Case::Subject);
    }
}

/// Returns whether [`open_patterns`] may miss a pattern because the text has a here-document. If
/// its commands are parsed one by one, only the command with the here-document has that fault.
pub(super) fn may_miss(text: &str) -> bool {
    text.contains("<<") && text.split("$(").skip(1).any(|inner| inner.trim_start().starts_with("case"))
}

/// Returns the text with a `(` before each pattern in a `$(…)` that lacks it, and with a `;` before
/// each `)` that may seem to end a pattern that begins with `esac`. Returns `None` if the text
/// needs neither, and for a text with a here-document, in which quotes have other rules.
pub(super) fn open_patterns(text: &str) -> Option<String> {
    if !text.contains('(') || !text.contains("case") || text.contains("<<") {
        return None;
    }
    let mut scan = Scan {
        rest: text,
        before: '\n',
        out: String::with_capacity(text.len() + 16),
        top: Frame::new(Kind::Commands, false),
        outer: Vec::new(),
        found: false,
    };
    while let Some(c) = scan.rest.chars().next() {
        scan.take_next(c);
    }
    scan.found.then_some(scan.out)
}

struct Scan<'a> {
    rest: &'a str,
    /// The character before the rest.
    before: char,
    out: String,
    top: Frame,
    outer: Vec<Frame>,
    found: bool,
}

impl Scan<'_> {
    fn take(&mut self, bytes: usize) {
        let (taken, rest) = self.rest.split_at(bytes);
        self.out.push_str(taken);
        self.before = taken.chars().next_back().unwrap_or(self.before);
        self.rest = rest;
    }

    /// Opens the pattern that begins here, if one does.
    fn begin_pattern(&mut self) {
        if self.top.case() == Some(Case::Start) {
            self.top.set_case(Case::Pattern);
            if self.top.substituted {
                self.out.push('(');
                self.found = true;
            }
        }
    }

    fn take_next(&mut self, c: char) {
        let rest = self.rest;
        if rest.starts_with("\\\n") {
            return self.take(2);
        }
        let quoted = match c {
            '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            '\'' if self.top.kind != Kind::Quotes => rest[1..].find('\'').map_or(rest.len(), |at| at + 2),
            _ => 0,
        };
        if quoted > 0 {
            self.begin_pattern();
            self.top.first = false;
            return self.take(quoted);
        }
        if self.top.kind == Kind::Commands {
            if matches!(c, ';' | '&' | '\n') {
                self.top.behind_esac = false;
            }
            if self.take_in_commands(c) {
                return;
            }
        }
        let (opens, bytes) = match (c, self.top.kind) {
            _ if rest.starts_with("$(") => (Some(Kind::Commands), 2),
            _ if rest.starts_with("${") => (Some(Kind::Braces), 2),
            ('"', Kind::Commands | Kind::Braces) => (Some(Kind::Quotes), 1),
            ('(', Kind::Commands) => (Some(Kind::Commands), 1),
            _ => (None, c.len_utf8()),
        };
        let closes =
            matches!((c, self.top.kind), ('"', Kind::Quotes) | (')', Kind::Commands) | ('}', Kind::Braces));
        // What is in a `$(…)` is parsed when it runs.
        if closes && self.top.behind_esac && !self.top.substituted {
            self.out.push(';');
            self.found = true;
        }
        self.take(bytes);
        if let Some(kind) = opens {
            let inner = Frame::new(kind, self.top.substituted || rest.starts_with("$("));
            self.outer.push(std::mem::replace(&mut self.top, inner));
        } else if closes && let Some(outer) = self.outer.pop() {
            self.top = outer;
        }
    }

    /// Takes a comment, a word, or what belongs to a `case`. False: nothing is taken.
    fn take_in_commands(&mut self, c: char) -> bool {
        let rest = self.rest;
        let begins = is_boundary(self.before);
        if c == '#' && begins {
            self.take(rest.find('\n').unwrap_or(rest.len()));
            return true;
        }
        // Each word is measured once, at its beginning.
        let end = |rest: &str| rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let length = if begins { end(rest) } else { 0 };
        let ends_word = |c: char| is_boundary(c) || matches!(c, '<' | '>');
        let is_word = rest[length..].chars().next().is_none_or(ends_word);
        let word = if is_word { &rest[..length] } else { "" };
        let mut taken = 0;
        match (self.top.case(), c) {
            (Some(Case::Start), _) if word == "esac" => {
                self.top.cases.pop();
                self.top.first = false;
                self.top.behind_esac = true;
                self.take(length);
                return true;
            }
            (Some(Case::Start), '(') => {
                self.top.set_case(Case::Pattern);
                taken = 1;
            }
            // A `)` here is a fault, and ends the substitution.
            (Some(Case::Start), c) if c.is_whitespace() || c == ')' => {}
            (Some(Case::Start), _) => {
                self.begin_pattern();
                self.top.first = false;
            }
            (Some(Case::Pattern), ')') => {
                self.top.set_case(Case::Body);
                self.top.first = true;
                taken = 1;
            }
            (Some(Case::Pattern), _) => {}
            _ if !word.is_empty() => {
                self.top.count_word(word);
                taken = length;
            }
            (Some(Case::Body), ';') if rest.starts_with(";;") => {
                self.top.set_case(Case::Start);
                taken = 2;
            }
            (Some(Case::Subject), c) => self.top.first &= is_boundary(c),
            (_, c) if is_boundary(c) => self.top.first |= !c.is_whitespace() || c == '\n',
            (_, c) => self.top.first = matches!(c, '{' | '!'),
        }
        self.take(taken);
        taken > 0
    }
}

/// Returns whether a word ends before this character.
fn is_boundary(c: char) -> bool {
    c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(' | ')' | '`')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pattern_gets_its_bracket() {
        for (text, wanted) in [
            ("echo $(case b in b) echo x;; esac)", "echo $(case b in (b) echo x;; esac)"),
            ("x=$(case b in\na) 1;;\nb|c) \"2)\";;\nesac)", "x=$(case b in\n(a) 1;;\n(b|c) \"2)\";;\nesac)"),
            (
                "\"$(for i in 1 in; do case $i in 1) in;; in) x ;; esac; done)\"",
                "\"$(for i in 1 in; do case $i in (1) in;; (in) x ;; esac; done)\"",
            ),
            (
                "$(case \"a b\" in 'a b') q;; \\*) r; esac) $(case in in in) case case in case) 2; esac; esac)",
                "$(case \"a b\" in ('a b') q;; (\\*) r; esac) $(case in in (in) case case in (case) 2; esac; esac)",
            ),
            (
                "$(case ${x:-a} in [a-c]*) $(case b in \"\") d;; esac);; *) (e);; esac)",
                "$(case ${x:-a} in ([a-c]*) $(case b in (\"\") d;; esac);; (*) (e);; esac)",
            ),
            (
                "$(case $# in # ' )\n# in\n$2) a;; # )\n esac)",
                "$(case $# in # ' )\n# in\n($2) a;; # )\n esac)",
            ),
            ("$(a); (case b in b) x;; esac )", "$(a); (case b in b) x;; esac ;)"),
            ("(case b in b) x;; esac | cat)", "(case b in b) x;; esac | cat;)"),
            ("(case b in b) x;; esac>f)", "(case b in b) x;; esac>f;)"),
            (
                "(case b in b) (case c in c) y;; esac|\\\n'a)' | d) ;; esac | cat >\"$(e)\")",
                "(case b in b) (case c in c) y;; esac|\\\n'a)' | d;) ;; esac | cat >\"$(e)\";)",
            ),
        ] {
            assert_eq!(open_patterns(text).as_deref(), Some(wanted), "{text}");
            assert_eq!(open_patterns(wanted), None, "{text}");
        }
        for text in [
            "case b in b) x;; esac",
            "$(a); (case b in b) x; esac)",
            "(case b in b) x;; esac | cat; d)",
            "(case b in b) x;; esac |\ncat\n)",
            "(case b in b) x;; (esac | c) y; esac)",
            "(case b in b) x;; 'esac' | c) y; esac)",
            "$(echo case in b)",
            "$(case b in)",
            "cat <<E $(case b in b) x;; esac)\nE\n",
        ] {
            assert_eq!(open_patterns(text), None, "{text}");
            assert_eq!(may_miss(text), text.starts_with("cat"), "{text}");
        }
    }
}
