//! From words as written to words as meant: tilde, parameters, `$(…)`, `$((…))`, splitting, file
//! names, quotes.

mod parameter;

use super::pattern::{self, Glyph, Kind};
use super::{Flow, Shell, apostrophes, builtins::escapes, documents, glob, parse};
use brush_parser::ParserOptions;
use brush_parser::word::{
    Parameter, ParameterExpr, SpecialParameter, TildeExpr, WordPiece, WordPieceWithSource,
};
use linux::fork::Side;
use linux::script_fds;
use parameter::BACKGROUND;
use std::os::fd::AsFd;

/// The default of `$IFS`.
pub(super) const IFS: &str = " \t\n";

/// Words under way. There is always one; `"$@"` begins more.
pub(super) struct Fields(Vec<Vec<Glyph>>);

impl Fields {
    fn new() -> Fields {
        Fields(vec![Vec::new()])
    }

    fn last_field(&mut self) -> &mut Vec<Glyph> {
        if self.0.is_empty() {
            self.0.push(Vec::new());
        }
        let end = self.0.len() - 1;
        &mut self.0[end]
    }

    fn push_text(&mut self, text: &str, kind: Kind) {
        self.last_field().extend(text.chars().map(|c| Glyph { c, kind }));
    }

    fn push_quotes(&mut self) {
        self.last_field().push(Glyph::QUOTES);
    }

    fn join(self) -> String {
        self.0.iter().map(|field| field_text(field)).collect::<Vec<_>>().join(" ")
    }
}

/// Returns the text of a field.
fn field_text(field: &[Glyph]) -> String {
    field.iter().filter(|g| **g != Glyph::QUOTES).map(|g| g.c).collect()
}

/// Returns whether a word has only characters that no expansion cares about.
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
    /// The text is in double quotes or a here-document. A `'` inside `${x:-…}` is plain there, too.
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
    /// Expands all of it: one word may become none or many.
    pub(super) fn expand_to_fields(&mut self, word: &str) -> Result<Vec<String>, Flow> {
        if is_plain(word) {
            return Ok(vec![word.to_string()]);
        }
        let pieces = self.parse_word(word)?;
        let mut fields = Fields::new();
        self.expand_pieces(&pieces, Place::Open, &mut fields)?;
        let separators = self.state.get("IFS").unwrap_or(IFS).to_string();
        let mut words = Vec::new();
        for field in fields.0.into_iter().flat_map(|field| split(field, &separators)) {
            let found = if self.state.is_flag_set('f') {
                None
            } else {
                let glyphs: Vec<Glyph> = field.iter().filter(|g| **g != Glyph::QUOTES).copied().collect();
                glob::matching_paths(&pattern::without_backslashes(&glyphs))
            };
            match found.filter(|paths| !paths.is_empty()) {
                Some(paths) => words.extend(paths),
                None => words.push(field_text(&field)),
            }
        }
        Ok(words)
    }

    /// Expands a word without splitting and file names: the right side of an assignment, a file to
    /// open.
    pub(super) fn expand_to_string(&mut self, word: &str) -> Result<String, Flow> {
        if is_plain(word) {
            return Ok(word.to_string());
        }
        let pieces = self.parse_word(word)?;
        self.expand_pieces_to_string(&pieces)
    }

    fn expand_pieces_to_string(&mut self, pieces: &[WordPieceWithSource]) -> Result<String, Flow> {
        let mut fields = Fields::new();
        self.expand_pieces(pieces, Place::Whole, &mut fields)?;
        Ok(fields.join())
    }

    /// As [`Shell::expand_to_string`] for the value of an assignment, in which `~` also counts
    /// after `:`.
    pub(super) fn expand_assigned_value(&mut self, word: &str) -> Result<String, Flow> {
        if !word.contains(":~") {
            return self.expand_to_string(word);
        }
        let options = ParserOptions { tilde_expansion_after_colon: true, ..parse::options() };
        match parse::parse_word(word, &options, self.stack) {
            Ok(pieces) => self.expand_pieces_to_string(&pieces),
            Err(e) => {
                self.print_error(format_args!("bad substitution: {e}"));
                Err(Flow::Abort(2))
            }
        }
    }

    /// As inside double quotes: a here-document.
    pub(super) fn here_text(&mut self, pieces: &[WordPieceWithSource]) -> Result<String, Flow> {
        let mut fields = Fields::new();
        self.expand_pieces(pieces, Place::Quoted, &mut fields)?;
        Ok(fields.join())
    }

    /// Returns a pattern in which quoted characters mean themselves.
    pub(super) fn expand_pattern(&mut self, word: &str) -> Result<Vec<Glyph>, Flow> {
        let pieces = self.parse_word(word)?;
        let mut fields = Fields::new();
        self.expand_pieces(&pieces, Place::Open, &mut fields)?;
        let glyphs: Vec<Glyph> = fields.0.into_iter().flatten().filter(|g| *g != Glyph::QUOTES).collect();
        Ok(pattern::without_backslashes(&glyphs))
    }

    fn expand_pieces(
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
                    fields.push_text(rest, place.of_text());
                    pieces.next();
                }
                WordPiece::Text(text) => {
                    fields.push_text(&apostrophes::restore_characters(text), place.of_text());
                }
                WordPiece::SingleQuotedText(text) => {
                    fields.push_quotes();
                    fields.push_text(&apostrophes::restore_characters(text), Kind::Quoted);
                }
                WordPiece::AnsiCQuotedText(text) => {
                    fields.push_quotes();
                    let text = apostrophes::restore_characters(text);
                    fields.push_text(&String::from_utf8_lossy(&escapes::decode_ansi(&text)), Kind::Quoted);
                }
                WordPiece::EscapeSequence(text) => {
                    let meant = text.strip_prefix('\\').unwrap_or(text);
                    if meant != "\n" {
                        fields.push_text(meant, Kind::Quoted);
                    }
                }
                WordPiece::DoubleQuotedSequence(inner) | WordPiece::GettextDoubleQuotedSequence(inner) => {
                    // Arguments bring their own: "$@" without any is no word at all.
                    if !is_all_arguments(inner) {
                        fields.push_quotes();
                    }
                    self.expand_pieces(inner, Place::Quoted, fields)?;
                }
                WordPiece::TildeExpansion(tilde) => fields.push_text(&self.expand_tilde(tilde), Kind::Quoted),
                WordPiece::CommandSubstitution(text) => {
                    fields.push_text(&self.substitute_command(&documents::restore_hidden(text))?, result);
                }
                WordPiece::BackquotedCommandSubstitution(text) => {
                    let text = unescape_backquoted(&documents::restore_hidden(text), place == Place::Quoted);
                    fields.push_text(&self.substitute_command(&text)?, result);
                }
                WordPiece::ArithmeticExpression(sum) => {
                    fields.push_text(&self.evaluate_arithmetic(&sum.value)?.to_string(), result);
                }
                WordPiece::ParameterExpansion(expression) => {
                    self.expand_parameter(expression, place, fields)?
                }
            }
        }
        Ok(())
    }

    fn expand_tilde(&self, tilde: &TildeExpr) -> String {
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

    /// `$(…)`: the output without the newlines at its end.
    fn substitute_command(&mut self, text: &str) -> Result<String, Flow> {
        let (read, write) = self.new_pipe()?;
        // `kill $(jobs -p)` is about the jobs of this shell; a subshell has none of its own yet.
        let is_job = |job: &str| job.chars().all(|c| c.is_ascii_alphanumeric() || "%+-?".contains(c));
        let is_of_jobs = text.split_whitespace().all(|word| {
            matches!(word, "jobs" | "-p" | "-l" | "-lp") || word.strip_prefix('%').is_some_and(is_job)
        });
        let jobs = is_of_jobs.then(|| self.jobs.clone());
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
                self.exit_child(result)
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
            self.print_error(super::reason(&e));
        }
        let output = String::from_utf8_lossy(&output);
        Ok(output.trim_end_matches('\n').replace('\0', ""))
    }
}

/// Returns the command between backquotes, without the backslashes before `$`, backquotes and
/// backslashes, and before double quotes if it stands in such.
fn unescape_backquoted(text: &str, quoted: bool) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = (c == '\\')
            .then(|| chars.next_if(|next| matches!(next, '$' | '`' | '\\') || quoted && *next == '"'));
        out.push(escaped.flatten().unwrap_or(c));
    }
    out
}

/// Returns whether it is just `$@`, some of its arguments (`${@:2}`), or a part of each (`${@#x}`).
fn is_all_arguments(pieces: &[WordPieceWithSource]) -> bool {
    use ParameterExpr as P;
    let [piece] = pieces else { return false };
    let WordPiece::ParameterExpansion(
        P::Parameter { parameter, .. }
        | P::Substring { parameter, .. }
        | P::ReplaceSubstring { parameter, .. }
        | P::RemoveSmallestSuffixPattern { parameter, .. }
        | P::RemoveLargestSuffixPattern { parameter, .. }
        | P::RemoveSmallestPrefixPattern { parameter, .. }
        | P::RemoveLargestPrefixPattern { parameter, .. },
    ) = &piece.piece
    else {
        return false;
    };
    matches!(parameter, Parameter::Special(SpecialParameter::AllPositionalParameters { concatenate: false }))
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
mod tests;
