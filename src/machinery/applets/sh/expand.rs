//! From words as written to words as meant: tilde, parameters, `$(…)`, `$((…))`, splitting, file
//! names, quotes.

use super::pattern::{self, Glyph, Kind};
use super::{Flow, Shell, apostrophes, builtins::escapes, documents, glob, parse};
use brush_parser::ParserOptions;
use brush_parser::word::{
    Parameter, ParameterExpr, ParameterTestType, SpecialParameter, SubstringMatchKind, TildeExpr, WordPiece,
    WordPieceWithSource,
};
use linux::fork::Side;
use linux::script_fds;
use std::os::fd::AsFd;

/// The default of `$IFS`.
pub(super) const IFS: &str = " \t\n";

/// Words under way. There is always one; `"$@"` begins more.
pub(super) struct Fields(Vec<Vec<Glyph>>);

impl Fields {
    fn new() -> Fields {
        Fields(vec![Vec::new()])
    }

    fn last(&mut self) -> &mut Vec<Glyph> {
        if self.0.is_empty() {
            self.0.push(Vec::new());
        }
        let end = self.0.len() - 1;
        &mut self.0[end]
    }

    fn push(&mut self, text: &str, kind: Kind) {
        self.last().extend(text.chars().map(|c| Glyph { c, kind }));
    }

    fn quotes(&mut self) {
        self.last().push(Glyph::QUOTES);
    }

    fn join(self) -> String {
        self.0.iter().map(|field| plain(field)).collect::<Vec<_>>().join(" ")
    }
}

/// The text of a field.
fn plain(field: &[Glyph]) -> String {
    field.iter().filter(|g| **g != Glyph::QUOTES).map(|g| g.c).collect()
}

/// Only characters that no expansion cares about.
fn is_plain(word: &str) -> bool {
    word.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-=,:%+@".contains(&b))
}

/// Where pieces of a word stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// What expansions make is split, and may be a pattern.
    Open,
    /// Nothing is split: the value of an assignment, the name of a file. Quotes inside `${x:-…}`
    /// are quotes, as in the open.
    Whole,
    /// In double quotes or a here-document, where `'` is plain inside `${x:-…}` too.
    Quoted,
}

impl Place {
    fn of_result(self) -> Kind {
        if self == Place::Open { Kind::Result } else { Kind::Quoted }
    }

    fn of_text(self) -> Kind {
        if self == Place::Quoted { Kind::Quoted } else { Kind::Literal }
    }
}

impl Shell {
    /// All of it: one word may become none or many.
    pub(super) fn words(&mut self, word: &str) -> Result<Vec<String>, Flow> {
        if is_plain(word) {
            return Ok(vec![word.to_string()]);
        }
        let pieces = self.parse_word(word)?;
        let mut fields = Fields::new();
        self.pieces(&pieces, Place::Open, &mut fields)?;
        let separators = self.state.get("IFS").unwrap_or(IFS).to_string();
        let mut words = Vec::new();
        for field in fields.0.into_iter().flat_map(|field| split(field, &separators)) {
            let found = if self.state.flag('f') {
                None
            } else {
                let glyphs: Vec<Glyph> = field.iter().filter(|g| **g != Glyph::QUOTES).copied().collect();
                glob::paths(&pattern::without_backslashes(&glyphs))
            };
            match found.filter(|paths| !paths.is_empty()) {
                Some(paths) => words.extend(paths),
                None => words.push(plain(&field)),
            }
        }
        Ok(words)
    }

    /// Without splitting and file names: the right side of an assignment, a file to open.
    pub(super) fn one(&mut self, word: &str) -> Result<String, Flow> {
        if is_plain(word) {
            return Ok(word.to_string());
        }
        let pieces = self.parse_word(word)?;
        self.whole(&pieces)
    }

    fn whole(&mut self, pieces: &[WordPieceWithSource]) -> Result<String, Flow> {
        let mut fields = Fields::new();
        self.pieces(pieces, Place::Whole, &mut fields)?;
        Ok(fields.join())
    }

    /// As [`Shell::one`] for the value of an assignment, in which `~` also counts after `:`.
    pub(super) fn assigned(&mut self, word: &str) -> Result<String, Flow> {
        if !word.contains(":~") {
            return self.one(word);
        }
        let options = ParserOptions { tilde_expansion_after_colon: true, ..parse::options() };
        match parse::word(word, &options, self.stack) {
            Ok(pieces) => self.whole(&pieces),
            Err(e) => {
                self.complain(format_args!("bad substitution: {e}"));
                Err(Flow::Abort(2))
            }
        }
    }

    /// As inside double quotes: a here-document.
    pub(super) fn here_text(&mut self, pieces: &[WordPieceWithSource]) -> Result<String, Flow> {
        let mut fields = Fields::new();
        self.pieces(pieces, Place::Quoted, &mut fields)?;
        Ok(fields.join())
    }

    /// A pattern in which quoted characters mean themselves.
    pub(super) fn pattern(&mut self, word: &str) -> Result<Vec<Glyph>, Flow> {
        let pieces = self.parse_word(word)?;
        let mut fields = Fields::new();
        self.pieces(&pieces, Place::Open, &mut fields)?;
        let glyphs: Vec<Glyph> = fields.0.into_iter().flatten().filter(|g| *g != Glyph::QUOTES).collect();
        Ok(pattern::without_backslashes(&glyphs))
    }

    fn pieces(
        &mut self,
        pieces: &[WordPieceWithSource],
        place: Place,
        fields: &mut Fields,
    ) -> Result<(), Flow> {
        let result = place.of_result();
        let mut pieces = pieces.iter().peekable();
        while let Some(piece) = pieces.next() {
            match &piece.piece {
                // What the parser does not know stands as it was written.
                WordPiece::Text(dollar)
                    if dollar == "$"
                        && let Some(WordPiece::Text(behind)) = pieces.peek().map(|next| &next.piece)
                        && behind.starts_with('{') =>
                {
                    let Some(rest) = behind.strip_prefix("{!}") else { return Err(self.bad_substitution()) };
                    self.plain_parameter(&BACKGROUND, place, fields)?;
                    fields.push(rest, place.of_text());
                    pieces.next();
                }
                WordPiece::Text(text) => {
                    fields.push(&apostrophes::restored(text), place.of_text());
                }
                WordPiece::SingleQuotedText(text) => {
                    fields.quotes();
                    fields.push(&apostrophes::restored(text), Kind::Quoted);
                }
                WordPiece::AnsiCQuotedText(text) => {
                    fields.quotes();
                    let text = apostrophes::restored(text);
                    fields.push(&String::from_utf8_lossy(&escapes::ansi(&text)), Kind::Quoted);
                }
                WordPiece::EscapeSequence(text) => {
                    let meant = text.strip_prefix('\\').unwrap_or(text);
                    if meant != "\n" {
                        fields.push(meant, Kind::Quoted);
                    }
                }
                WordPiece::DoubleQuotedSequence(inner) | WordPiece::GettextDoubleQuotedSequence(inner) => {
                    // "$@" without arguments is no word at all.
                    if !(self.args.is_empty() && is_all_arguments(inner)) {
                        fields.quotes();
                    }
                    self.pieces(inner, Place::Quoted, fields)?;
                }
                WordPiece::TildeExpansion(tilde) => fields.push(&self.tilde(tilde), Kind::Quoted),
                WordPiece::CommandSubstitution(text) => {
                    fields.push(&self.substitute(&documents::shown(text))?, result);
                }
                WordPiece::BackquotedCommandSubstitution(text) => {
                    fields.push(&self.substitute(&unescaped(text, place == Place::Quoted))?, result);
                }
                WordPiece::ArithmeticExpression(sum) => {
                    fields.push(&self.arithmetic(&sum.value)?.to_string(), result);
                }
                WordPiece::ParameterExpansion(expression) => self.parameter(expression, place, fields)?,
            }
        }
        Ok(())
    }

    fn tilde(&self, tilde: &TildeExpr) -> String {
        match tilde {
            TildeExpr::Home => self.state.get("HOME").unwrap_or("~").to_string(),
            TildeExpr::UserHome(user) => {
                let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
                let mut lines = passwd.lines().map(|line| line.split(':').collect::<Vec<_>>());
                let home = lines.find(|line| line.first() == Some(&user.as_str()));
                home.and_then(|line| line.get(5).map(|h| h.to_string())).unwrap_or(format!("~{user}"))
            }
            TildeExpr::WorkingDir => "~+".into(),
            TildeExpr::OldWorkingDir => "~-".into(),
            TildeExpr::NthDirFromTopOfDirStack { n, .. } => format!("~{n}"),
            TildeExpr::NthDirFromBottomOfDirStack { n } => format!("~-{n}"),
        }
    }

    /// A variable, or the one that busybox and bash make up: a random number of 15 bits.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        match self.state.get(name) {
            None if name == "RANDOM" => Some(rng::Rng::from_os().range(0, 32768).to_string()),
            value => value.map(str::to_string),
        }
    }

    /// `None` if it is not set.
    fn value(&self, parameter: &Parameter) -> Option<String> {
        match parameter {
            Parameter::Positional(0) => Some(self.name.clone()),
            Parameter::Positional(n) => self.args.get(*n as usize - 1).cloned(),
            Parameter::Named(name) => self.variable(name),
            Parameter::NamedWithIndex { .. } | Parameter::NamedWithAllIndices { .. } => None,
            Parameter::Special(special) => match special {
                SpecialParameter::AllPositionalParameters { .. } => {
                    let separator: String = self.state.get("IFS").unwrap_or(IFS).chars().take(1).collect();
                    (!self.args.is_empty()).then(|| self.args.join(&separator))
                }
                SpecialParameter::PositionalParameterCount => Some(self.args.len().to_string()),
                SpecialParameter::LastExitStatus => Some(self.status.to_string()),
                SpecialParameter::CurrentOptionFlags => {
                    Some(self.state.flags() + if self.interactive { "i" } else { "" })
                }
                SpecialParameter::ProcessId => Some(self.pid.to_string()),
                SpecialParameter::LastBackgroundProcessId => self.background.map(|pid| pid.to_string()),
                SpecialParameter::ShellName => Some(self.name.clone()),
            },
        }
    }

    fn parameter(
        &mut self,
        expression: &ParameterExpr,
        place: Place,
        fields: &mut Fields,
    ) -> Result<(), Flow> {
        use ParameterExpr as P;
        let kind = place.of_result();
        if is_of_bash(expression) {
            return Err(self.bad_substitution());
        }
        if let Some(special) = special_of_length(expression) {
            let value = self.value(&Parameter::Special(special)).unwrap_or_default();
            fields.push(&value.chars().count().to_string(), kind);
            return Ok(());
        }
        match expression {
            P::Parameter { parameter, .. } => return self.plain_parameter(parameter, place, fields),
            P::UseDefaultValues { parameter, test_type, default_value, .. } => {
                match self.tested(parameter, test_type) {
                    Some(_) => return self.plain_parameter(parameter, place, fields),
                    None => self.inner_word(default_value.as_deref().unwrap_or(""), place, fields)?,
                }
            }
            P::AssignDefaultValues { parameter, test_type, default_value, .. } => {
                let value = match self.tested(parameter, test_type) {
                    Some(value) => value,
                    None => {
                        let mut inner = Fields::new();
                        self.inner_word(default_value.as_deref().unwrap_or(""), place, &mut inner)?;
                        let value = inner.join();
                        match parameter {
                            Parameter::Named(name) => self.set(name, value.clone())?,
                            _ => return Err(self.unset(parameter, "bad variable name")),
                        }
                        value
                    }
                };
                fields.push(&value, kind);
            }
            P::IndicateErrorIfNullOrUnset { parameter, test_type, error_message, .. } => {
                match self.tested(parameter, test_type) {
                    Some(_) => return self.plain_parameter(parameter, place, fields),
                    None => {
                        let message = self.one(error_message.as_deref().unwrap_or("parameter not set"))?;
                        return Err(self.unset(parameter, &message));
                    }
                }
            }
            P::UseAlternativeValue { parameter, test_type, alternative_value, .. } => {
                if self.tested(parameter, test_type).is_some() {
                    self.inner_word(alternative_value.as_deref().unwrap_or(""), place, fields)?;
                }
            }
            P::ParameterLength {
                parameter: Parameter::Special(SpecialParameter::AllPositionalParameters { .. }),
                ..
            } => fields.push(&self.args.len().to_string(), kind),
            P::ParameterLength { parameter, .. } => {
                let value = self.value(parameter);
                if value.is_none() && self.must_be_set(parameter) {
                    return Err(self.unset(parameter, "parameter not set"));
                }
                fields.push(&value.map_or(0, |v| v.chars().count()).to_string(), kind);
            }
            P::RemoveSmallestSuffixPattern { parameter, pattern, .. }
            | P::RemoveLargestSuffixPattern { parameter, pattern, .. }
            | P::RemoveSmallestPrefixPattern { parameter, pattern, .. }
            | P::RemoveLargestPrefixPattern { parameter, pattern, .. } => {
                let value: Vec<char> = self.set_value(parameter)?.chars().collect();
                let pattern = self.pattern(pattern.as_deref().unwrap_or(""))?;
                let kept: String = cut(expression, &pattern, &value).iter().collect();
                fields.push(&kept, kind);
            }
            P::Substring { parameter, offset, length, indirect: false } => {
                let value: Vec<char> = self.set_value(parameter)?.chars().collect();
                let offset = self.arithmetic(&offset.value)?;
                let length = match length {
                    Some(length) => Some(self.arithmetic(&length.value)?),
                    None => None,
                };
                fields.push(&substring(&value, offset, length).iter().collect::<String>(), kind);
            }
            P::ReplaceSubstring { parameter, pattern, replacement, match_kind, indirect: false } => {
                let value: Vec<char> = self.set_value(parameter)?.chars().collect();
                let pattern = self.pattern(pattern)?;
                let replacement = self.one(replacement.as_deref().unwrap_or(""))?;
                fields.push(&replaced(&value, &pattern, &replacement, match_kind), kind);
            }
            P::Substring { .. }
            | P::Transform { .. }
            | P::UppercaseFirstChar { .. }
            | P::UppercasePattern { .. }
            | P::LowercaseFirstChar { .. }
            | P::LowercasePattern { .. }
            | P::ReplaceSubstring { .. }
            | P::VariableNames { .. }
            | P::MemberKeys { .. } => {
                return Err(self.bad_substitution());
            }
        }
        Ok(())
    }

    fn bad_substitution(&self) -> Flow {
        self.complain("bad substitution");
        Flow::Abort(2)
    }

    /// True if it is an error that the parameter is not set (`set -u`). `LINENO` never is: bash and
    /// busybox always set it, so scripts name it in `PS4` without a default.
    fn must_be_set(&self, parameter: &Parameter) -> bool {
        self.state.flag('u') && !matches!(parameter, Parameter::Named(name) if name == "LINENO")
    }

    /// Its value, nothing if it is not set; with `set -u` that is an error.
    fn set_value(&self, parameter: &Parameter) -> Result<String, Flow> {
        match self.value(parameter) {
            None if self.must_be_set(parameter) => Err(self.unset(parameter, "parameter not set")),
            value => Ok(value.unwrap_or_default()),
        }
    }

    fn tested(&self, parameter: &Parameter, test: &ParameterTestType) -> Option<String> {
        let value = self.value(parameter);
        match test {
            ParameterTestType::UnsetOrNull => value.filter(|v| !v.is_empty()),
            ParameterTestType::Unset => value,
        }
    }

    fn unset(&self, parameter: &Parameter, message: &str) -> Flow {
        let shown = parameter.to_string();
        let name = shown.trim_start_matches(['$', '{']).trim_end_matches('}');
        self.complain(format_args!("{name}: {message}"));
        Flow::Abort(2)
    }

    fn plain_parameter(
        &mut self,
        parameter: &Parameter,
        place: Place,
        fields: &mut Fields,
    ) -> Result<(), Flow> {
        let kind = place.of_result();
        if let Parameter::Special(SpecialParameter::AllPositionalParameters { concatenate }) = parameter {
            if place != Place::Open && *concatenate {
                fields.push(&self.value(parameter).unwrap_or_default(), kind);
                return Ok(());
            }
            for (i, arg) in self.args.iter().enumerate() {
                if i > 0 {
                    fields.0.push(if place == Place::Quoted { vec![Glyph::QUOTES] } else { Vec::new() });
                }
                fields.push(arg, kind);
            }
            return Ok(());
        }
        match self.value(parameter) {
            Some(value) => fields.push(&value, kind),
            None if self.must_be_set(parameter) => return Err(self.unset(parameter, "parameter not set")),
            None => {}
        }
        Ok(())
    }

    /// The word in `${x:-word}`: what stands there unquoted is split like the value would be.
    /// Inside double quotes their rules hold for it: `'` is plain, and a backslash stays before a
    /// letter.
    fn inner_word(&mut self, word: &str, place: Place, fields: &mut Fields) -> Result<(), Flow> {
        let pieces = match place {
            Place::Quoted => self.parse_word(&format!("\"{}\"", without_escaped_braces(word)))?,
            Place::Open | Place::Whole => self.parse_word(word)?,
        };
        let start = fields.last().len();
        let first = fields.0.len() - 1; // there is one, for `last` makes it
        self.pieces(&pieces, place, fields)?;
        if place == Place::Open {
            // `$@` may have begun further ones.
            for (nth, field) in fields.0.iter_mut().enumerate().skip(first) {
                let own = if nth == first { start } else { 0 };
                for glyph in field.iter_mut().skip(own).filter(|g| g.kind == Kind::Literal) {
                    glyph.kind = Kind::Result;
                }
            }
        }
        Ok(())
    }

    /// `$(…)`: the output without the newlines at its end.
    fn substitute(&mut self, text: &str) -> Result<String, Flow> {
        let (read, write) = self.new_pipe()?;
        // `kill $(jobs -p)` is about the jobs of this shell; a subshell has none of its own yet.
        let is_job = |job: &str| job.chars().all(|c| c.is_ascii_digit() || "%+".contains(c));
        let asked = text.split_whitespace().all(|word| {
            matches!(word, "jobs" | "-p" | "-l" | "-lp") || word.strip_prefix('%').is_some_and(is_job)
        });
        let jobs = asked.then(|| self.jobs.clone());
        let pid = match self.fork()? {
            Side::Child => {
                self.jobs = jobs.unwrap_or_default();
                self.interactive = false;
                self.conditions = 0; // `set -e` counts again, as in dash
                let connected = script_fds::assign(1, write.as_fd());
                drop((read, write));
                let result = match connected {
                    Ok(()) => self.run_text(text, true),
                    Err(_) => Ok(2),
                };
                self.leave(result)
            }
            Side::Parent(pid) => pid,
        };
        self.jobs.add(pid);
        drop(write);
        let mut output = Vec::new();
        let failed = std::io::Read::read_to_end(&mut std::fs::File::from(read), &mut output).err();
        self.substituted = self.wait_for(pid).code();
        self.status = self.substituted;
        if let Some(e) = failed {
            self.complain(super::reason(&e));
        }
        let output = String::from_utf8_lossy(&output);
        Ok(output.trim_end_matches('\n').replace('\0', ""))
    }
}

/// `$!`.
const BACKGROUND: Parameter = Parameter::Special(SpecialParameter::LastBackgroundProcessId);

/// Whether it reads an array or a variable that another one names.
fn is_of_bash(expression: &ParameterExpr) -> bool {
    use ParameterExpr as P;
    let (P::Parameter { parameter, indirect }
    | P::UseDefaultValues { parameter, indirect, .. }
    | P::AssignDefaultValues { parameter, indirect, .. }
    | P::IndicateErrorIfNullOrUnset { parameter, indirect, .. }
    | P::UseAlternativeValue { parameter, indirect, .. }
    | P::ParameterLength { parameter, indirect }
    | P::RemoveSmallestSuffixPattern { parameter, indirect, .. }
    | P::RemoveLargestSuffixPattern { parameter, indirect, .. }
    | P::RemoveSmallestPrefixPattern { parameter, indirect, .. }
    | P::RemoveLargestPrefixPattern { parameter, indirect, .. }
    | P::Substring { parameter, indirect, .. }
    | P::ReplaceSubstring { parameter, indirect, .. }) = expression
    else {
        return false;
    };
    let array = matches!(parameter, Parameter::NamedWithIndex { .. } | Parameter::NamedWithAllIndices { .. });
    *indirect || array
}

/// The parameter whose length `${#?}` or `${#-}` is: the parser takes the one behind `#` for an
/// operator without a word.
fn special_of_length(expression: &ParameterExpr) -> Option<SpecialParameter> {
    use ParameterExpr as P;
    let (parameter, test, word, special) = match expression {
        P::IndicateErrorIfNullOrUnset { parameter, test_type, error_message, .. } => {
            (parameter, test_type, error_message, SpecialParameter::LastExitStatus)
        }
        P::UseDefaultValues { parameter, test_type, default_value, .. } => {
            (parameter, test_type, default_value, SpecialParameter::CurrentOptionFlags)
        }
        _ => return None,
    };
    let bare = matches!(test, ParameterTestType::Unset) && word.as_deref().unwrap_or_default().is_empty();
    (bare && matches!(parameter, Parameter::Special(SpecialParameter::PositionalParameterCount)))
        .then_some(special)
}

/// A word with `}` for `\}`, which only the end of the expansion needed.
fn without_escaped_braces(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('}')) => out.push('}'),
            (c, next) => {
                out.push(c);
                out.extend(next);
            }
        }
    }
    out
}

/// The command between backquotes, without the backslashes before `$`, backquotes and backslashes,
/// and before double quotes if it stands in such.
fn unescaped(text: &str, quoted: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = (c == '\\')
            .then(|| chars.next_if(|next| matches!(next, '$' | '`' | '\\') || quoted && *next == '"'));
        out.push(escaped.flatten().unwrap_or(c));
    }
    out
}

/// Whether it is just `$@`.
fn is_all_arguments(pieces: &[WordPieceWithSource]) -> bool {
    let [piece] = pieces else { return false };
    matches!(
        &piece.piece,
        WordPiece::ParameterExpansion(ParameterExpr::Parameter {
            parameter: Parameter::Special(SpecialParameter::AllPositionalParameters { concatenate: false }),
            ..
        })
    )
}

/// What `${x#pattern}` and its three relatives leave.
fn cut<'a>(expression: &ParameterExpr, pattern: &[Glyph], value: &'a [char]) -> &'a [char] {
    let prefix = |at: &usize| pattern::matches(pattern, &value[..*at]);
    let suffix = |at: &usize| pattern::matches(pattern, &value[*at..]);
    let places = 0..=value.len();
    let (prefix_end, suffix_start) = match expression {
        ParameterExpr::RemoveSmallestPrefixPattern { .. } => (places.clone().find(prefix), None),
        ParameterExpr::RemoveLargestPrefixPattern { .. } => (places.clone().rev().find(prefix), None),
        ParameterExpr::RemoveSmallestSuffixPattern { .. } => (None, places.clone().rev().find(suffix)),
        _ => (None, places.clone().find(suffix)),
    };
    &value[prefix_end.unwrap_or(0)..suffix_start.unwrap_or(value.len())]
}

/// What `${x:offset:length}` means, as busybox and bash have it: a negative offset counts from the
/// end, and so does a negative length.
fn substring(value: &[char], offset: i64, length: Option<i64>) -> &[char] {
    let count = value.len() as i64;
    let start = if offset < 0 { count.saturating_add(offset) } else { offset };
    if !(0..=count).contains(&start) {
        return &[];
    }
    let end = match length {
        None => count,
        Some(length) if length < 0 => count.saturating_add(length),
        Some(length) => start.saturating_add(length).min(count),
    };
    value.get(start as usize..end.max(start) as usize).unwrap_or_default()
}

/// What `${x/pattern/replacement}` and its relatives leave: the longest match at the first place
/// that has one.
fn replaced(value: &[char], pattern: &[Glyph], replacement: &str, which: &SubstringMatchKind) -> String {
    let mut out = String::new();
    let mut at = 0;
    // Without a star each part of the pattern takes one character at most.
    let star = pattern.iter().any(|g| g.active(&['*']));
    let longest = if star { value.len() } else { pattern.len() };
    while at <= value.len() {
        let ends = (at..=value.len().min(at + longest)).rev();
        let longest = match which {
            SubstringMatchKind::Prefix if at > 0 => None,
            SubstringMatchKind::Suffix => ends
                .clone()
                .next()
                .filter(|end| *end == value.len() && pattern::matches(pattern, &value[at..*end])),
            _ => ends.clone().find(|end| pattern::matches(pattern, &value[at..*end])),
        };
        match longest.filter(|end| *end > at) {
            Some(end) => {
                out.push_str(replacement);
                at = end;
                if !matches!(which, SubstringMatchKind::Anywhere) {
                    break;
                }
            }
            None => {
                out.extend(value.get(at));
                at += 1;
            }
        }
    }
    out.extend(value.get(at..).unwrap_or_default());
    out
}

/// Splits what expansions made at the separators. A field that was never quoted and is empty
/// vanishes.
pub(super) fn split(field: Vec<Glyph>, separators: &str) -> Vec<Vec<Glyph>> {
    if !field.iter().any(|g| g.kind == Kind::Result) {
        return if field.is_empty() { Vec::new() } else { vec![field] };
    }
    let separates = |g: &Glyph| g.kind == Kind::Result && separators.contains(g.c);
    let blank = |g: &Glyph| separates(g) && g.c.is_whitespace();
    let mut words = Vec::new();
    let mut word: Vec<Glyph> = Vec::new();
    let mut glyphs = field.into_iter().peekable();
    while let Some(glyph) = glyphs.next() {
        if !separates(&glyph) {
            word.push(glyph);
            continue;
        }
        // Blanks with at most one other separator among them are one border; the other one makes an
        // empty field count.
        let mut hard = !blank(&glyph);
        while let Some(next) = glyphs.next_if(|g| blank(g) || (!hard && separates(g))) {
            hard |= !blank(&next);
        }
        if !word.is_empty() || hard {
            words.push(std::mem::take(&mut word));
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_as_posix_says() {
        let fields = |text: &str, separators: &str| -> Vec<String> {
            let glyphs = text.chars().map(|c| Glyph { c, kind: Kind::Result }).collect();
            split(glyphs, separators).iter().map(|f| plain(f)).collect()
        };
        assert_eq!(fields("  a  b ", IFS), ["a", "b"]);
        assert_eq!(fields("a::b:", ":"), ["a", "", "b"]);
        assert_eq!(fields(":a", ":"), ["", "a"]);
        assert_eq!(fields("a : b", " :"), ["a", "b"]);
        assert_eq!(fields("  ", IFS), [] as [&str; 0]);
        let quoted = vec![Glyph::QUOTES];
        assert_eq!(split(quoted.clone(), IFS), [quoted]);
    }
}
