//! Parameters: `$x`, `${x:-word}`, `${#x}`, `${x%pattern}` and their like.

use super::{Fields, IFS, Place};
use crate::sh::pattern::{Glyph, Kind, Parts};
use crate::sh::{Flow, Shell};
use brush_parser::word::{Parameter, ParameterExpr, ParameterTestType, SpecialParameter, SubstringMatchKind};

impl Shell {
    /// Returns a variable, or the one that busybox and bash make up: a random number of 15 bits.
    pub(in crate::sh) fn variable(&self, name: &str) -> Option<String> {
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
                    (!self.args.is_empty()).then(|| self.join_arguments(&self.args))
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

    /// `${…}`: a value, a default for it, its length, or a part of it.
    pub(super) fn expand_parameter(
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
            fields.push_text(&value.chars().count().to_string(), kind);
            return Ok(());
        }
        match expression {
            P::Parameter { parameter, .. } => return self.plain_parameter(parameter, place, fields),
            P::UseDefaultValues { parameter, test_type, default_value, .. } => {
                match self.value_if_set(parameter, test_type) {
                    Some(_) => return self.plain_parameter(parameter, place, fields),
                    None => self.inner_word(default_value.as_deref().unwrap_or(""), place, fields)?,
                }
            }
            P::AssignDefaultValues { parameter, test_type, default_value, .. } => {
                let value = match self.value_if_set(parameter, test_type) {
                    Some(value) => value,
                    None => self.assign_default(parameter, default_value.as_deref().unwrap_or(""), place)?,
                };
                fields.push_text(&value, kind);
            }
            P::IndicateErrorIfNullOrUnset { parameter, test_type, error_message, .. } => {
                match self.value_if_set(parameter, test_type) {
                    Some(_) => return self.plain_parameter(parameter, place, fields),
                    None => {
                        let message =
                            self.expand_to_string(error_message.as_deref().unwrap_or("parameter not set"))?;
                        return Err(self.report_unset(parameter, &message));
                    }
                }
            }
            P::UseAlternativeValue { parameter, test_type, alternative_value, .. } => {
                if self.value_if_set(parameter, test_type).is_some() {
                    self.inner_word(alternative_value.as_deref().unwrap_or(""), place, fields)?;
                }
            }
            P::ParameterLength { parameter, .. } => {
                fields.push_text(&self.length(parameter)?.to_string(), kind);
            }
            _ => self.part_of_value(expression, place, fields)?,
        }
        Ok(())
    }

    /// `${x:=word}` where it is not set: assigns the word, and returns it.
    fn assign_default(&mut self, parameter: &Parameter, word: &str, place: Place) -> Result<String, Flow> {
        let mut inner = Fields::new();
        self.inner_word(word, place, &mut inner)?;
        let value = inner.join();
        match parameter {
            Parameter::Named(name) => self.set(name, value.clone())?,
            _ => return Err(self.report_unset(parameter, "bad variable name")),
        }
        Ok(value)
    }

    /// `${#x}`: how many characters its value has; `${#@}`: how many arguments there are.
    fn length(&self, parameter: &Parameter) -> Result<usize, Flow> {
        if let Parameter::Special(SpecialParameter::AllPositionalParameters { .. }) = parameter {
            return Ok(self.args.len());
        }
        let value = self.value(parameter);
        if value.is_none() && self.must_be_set(parameter) {
            return Err(self.report_unset(parameter, "parameter not set"));
        }
        Ok(value.map_or(0, |v| v.chars().count()))
    }

    /// Returns a value without a prefix or suffix, a substring of it, or with something replaced.
    /// Of `$@` and `$*` that is done with each argument, except that `${@:2}` takes some of the
    /// arguments; `${@:0}` begins with the shell's name. What only bash knows is a bad
    /// substitution.
    fn part_of_value(
        &mut self,
        expression: &ParameterExpr,
        place: Place,
        fields: &mut Fields,
    ) -> Result<(), Flow> {
        use ParameterExpr as P;
        let (P::RemoveSmallestSuffixPattern { parameter, .. }
        | P::RemoveLargestSuffixPattern { parameter, .. }
        | P::RemoveSmallestPrefixPattern { parameter, .. }
        | P::RemoveLargestPrefixPattern { parameter, .. }
        | P::Substring { parameter, .. }
        | P::ReplaceSubstring { parameter, .. }) = expression
        else {
            return Err(self.bad_substitution());
        };
        let Parameter::Special(SpecialParameter::AllPositionalParameters { concatenate }) = parameter else {
            let value = self.set_value(parameter)?;
            let part = self.read_part(expression)?.apply_to(&value);
            fields.push_text(&part, place.of_result());
            return Ok(());
        };
        let parts: Vec<String> = match self.read_part(expression)? {
            Part::Substring(_, Some(length)) if length < 0 => {
                self.print_error(format_args!("{length}: substring expression < 0"));
                return Err(Flow::Abort(2));
            }
            Part::Substring(offset, length) => {
                let all: Vec<String> = [&self.name].into_iter().chain(&self.args).cloned().collect();
                substring(&all, offset, length).to_vec()
            }
            part => self.args.iter().map(|arg| part.apply_to(arg)).collect(),
        };
        self.push_arguments(&parts, *concatenate, place, fields);
        Ok(())
    }

    /// Reads what is to be taken of a value.
    fn read_part<'e>(&mut self, expression: &'e ParameterExpr) -> Result<Part<'e>, Flow> {
        use ParameterExpr as P;
        Ok(match expression {
            P::RemoveSmallestSuffixPattern { pattern, .. }
            | P::RemoveLargestSuffixPattern { pattern, .. }
            | P::RemoveSmallestPrefixPattern { pattern, .. }
            | P::RemoveLargestPrefixPattern { pattern, .. } => {
                Part::Cut(expression, self.expand_pattern(pattern.as_deref().unwrap_or(""))?)
            }
            P::Substring { offset, length, .. } => {
                let offset = self.evaluate_arithmetic(&offset.value)?;
                let length = match length {
                    Some(length) => Some(self.evaluate_arithmetic(&length.value)?),
                    None => None,
                };
                Part::Substring(offset, length)
            }
            P::ReplaceSubstring { pattern, replacement, match_kind, .. } => {
                let pattern = self.expand_pattern(pattern)?;
                Part::Replaced(
                    pattern,
                    self.expand_to_string(replacement.as_deref().unwrap_or(""))?,
                    match_kind,
                )
            }
            _ => return Err(self.bad_substitution()),
        })
    }

    pub(super) fn bad_substitution(&self) -> Flow {
        self.print_error("bad substitution");
        Flow::Abort(2)
    }

    /// Returns true if it is an error that the parameter is not set (`set -u`). `LINENO` never is:
    /// bash and busybox always set it, so scripts name it in `PS4` without a default.
    fn must_be_set(&self, parameter: &Parameter) -> bool {
        self.state.is_flag_set('u') && !matches!(parameter, Parameter::Named(name) if name == "LINENO")
    }

    /// Its value, nothing if it is not set; with `set -u` that is an error.
    fn set_value(&self, parameter: &Parameter) -> Result<String, Flow> {
        match self.value(parameter) {
            None if self.must_be_set(parameter) => Err(self.report_unset(parameter, "parameter not set")),
            value => Ok(value.unwrap_or_default()),
        }
    }

    fn value_if_set(&self, parameter: &Parameter, test: &ParameterTestType) -> Option<String> {
        let value = self.value(parameter);
        match test {
            ParameterTestType::UnsetOrNull => value.filter(|v| !v.is_empty()),
            ParameterTestType::Unset => value,
        }
    }

    fn report_unset(&self, parameter: &Parameter, message: &str) -> Flow {
        let shown = parameter.to_string();
        let name = shown.trim_start_matches(['$', '{']).trim_end_matches('}');
        self.print_error(format_args!("{name}: {message}"));
        Flow::Abort(2)
    }

    pub(super) fn plain_parameter(
        &mut self,
        parameter: &Parameter,
        place: Place,
        fields: &mut Fields,
    ) -> Result<(), Flow> {
        let kind = place.of_result();
        if let Parameter::Special(SpecialParameter::AllPositionalParameters { concatenate }) = parameter {
            self.push_arguments(&self.args, *concatenate, place, fields);
            return Ok(());
        }
        match self.value(parameter) {
            Some(value) => fields.push_text(&value, kind),
            None if self.must_be_set(parameter) => {
                return Err(self.report_unset(parameter, "parameter not set"));
            }
            None => {}
        }
        Ok(())
    }

    /// Pushes arguments as `$@` has them, one field each, or as `"$*"` has them, joined to one.
    fn push_arguments(&self, arguments: &[String], concatenate: bool, place: Place, fields: &mut Fields) {
        let kind = place.of_result();
        if place != Place::Open && concatenate {
            fields.push_text(&self.join_arguments(arguments), kind);
            return;
        }
        for (i, arg) in arguments.iter().enumerate() {
            if i > 0 {
                fields.0.push(Vec::new());
            }
            if place == Place::Quoted {
                fields.push_quotes(); // an empty argument is a word, too
            }
            fields.push_text(arg, kind);
        }
    }

    /// Joins arguments with the first character of `IFS`.
    fn join_arguments(&self, arguments: &[String]) -> String {
        let separator: String = self.state.get("IFS").unwrap_or(IFS).chars().take(1).collect();
        arguments.join(&separator)
    }

    /// Returns the word in `${x:-word}`: what stands there unquoted is split like the value would
    /// be. Inside double quotes their rules hold for it: `'` is plain, and a backslash stays before
    /// a letter.
    fn inner_word(&mut self, word: &str, place: Place, fields: &mut Fields) -> Result<(), Flow> {
        let pieces = match place {
            Place::Quoted => self.parse_word(&format!("\"{}\"", without_escaped_braces(word)))?,
            Place::Open | Place::Whole => self.parse_word(word)?,
        };
        let start = fields.last_field().len();
        let first = fields.0.len() - 1; // `last` makes a field if there is none
        self.expand_pieces(&pieces, place, fields)?;
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
}

/// What is taken of a value.
enum Part<'e> {
    /// The value without the part that a pattern fits. The expression says at which end.
    Cut(&'e ParameterExpr, Vec<Glyph>),
    /// A part of the value: its offset and its length.
    Substring(i64, Option<i64>),
    /// The value with replacements: the pattern, the replacement, and where it applies.
    Replaced(Vec<Glyph>, String, &'e SubstringMatchKind),
}

impl Part<'_> {
    fn apply_to(&self, value: &str) -> String {
        let value: Vec<char> = value.chars().collect();
        match self {
            Part::Cut(expression, pattern) => remove_pattern(expression, pattern, &value).iter().collect(),
            Part::Substring(offset, length) => substring(&value, *offset, *length).iter().collect(),
            Part::Replaced(pattern, replacement, which) => {
                replace_pattern(&value, pattern, replacement, which)
            }
        }
    }
}

/// The parameter `$!`.
pub(super) const BACKGROUND: Parameter = Parameter::Special(SpecialParameter::LastBackgroundProcessId);

/// Returns whether it reads an array or a variable that another one names.
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

/// Returns the parameter whose length `${#?}` or `${#-}` is: the parser takes the one behind `#`
/// for an operator without a word.
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

/// Returns a word with `}` for `\}`, which only the end of the expansion needed.
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

/// Returns what `${x#pattern}` and its three relatives leave.
fn remove_pattern<'a>(expression: &ParameterExpr, pattern: &[Glyph], value: &'a [char]) -> &'a [char] {
    let parts = Parts::new(pattern);
    match expression {
        ParameterExpr::RemoveSmallestPrefixPattern { .. } => {
            &value[parts.prefix_end(value, false).unwrap_or(0)..]
        }
        ParameterExpr::RemoveLargestPrefixPattern { .. } => {
            &value[parts.prefix_end(value, true).unwrap_or(0)..]
        }
        ParameterExpr::RemoveSmallestSuffixPattern { .. } => {
            &value[..parts.suffix_start(value, false).unwrap_or(value.len())]
        }
        _ => &value[..parts.suffix_start(value, true).unwrap_or(value.len())],
    }
}

/// Returns what `${x:offset:length}` takes, as busybox and bash have it: a negative offset counts
/// from the end, and so does a negative length.
fn substring<T>(value: &[T], offset: i64, length: Option<i64>) -> &[T] {
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

/// Returns what `${x/pattern/replacement}` and its relatives leave: the longest match at the first
/// place that has one. As in bash, a match of no characters counts only where `#` or `%` holds an
/// empty pattern (`${x/#/before}`), and in an empty value (`${x/*/all}`).
fn replace_pattern(
    value: &[char],
    pattern: &[Glyph],
    replacement: &str,
    which: &SubstringMatchKind,
) -> String {
    let mut out = String::new();
    let mut at = 0;
    let parts = Parts::new(pattern);
    match which {
        SubstringMatchKind::Prefix if pattern.is_empty() => {
            out.push_str(replacement);
            out.extend(value);
            return out;
        }
        SubstringMatchKind::Suffix if pattern.is_empty() => {
            out.extend(value);
            out.push_str(replacement);
            return out;
        }
        _ if value.is_empty() && !pattern.is_empty() && parts.prefix_end(value, true).is_some() => {
            return replacement.to_string();
        }
        _ => {}
    }
    let suffix = match which {
        SubstringMatchKind::Suffix => parts.suffix_start(value, true),
        _ => None,
    };
    while at <= value.len() {
        let longest = match which {
            SubstringMatchKind::Prefix if at > 0 => None,
            SubstringMatchKind::Suffix => suffix.filter(|start| *start == at).map(|_| value.len()),
            _ => parts.prefix_end(&value[at..], true).map(|length| at + length),
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
