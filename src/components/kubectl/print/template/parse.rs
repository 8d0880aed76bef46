//! From text to nodes.

use super::functions::FUNCTIONS;
use super::literal;
use super::tree::{Node, Pipe, Place, Term, What, place_of_call, written_pipe};
use api::gostr;
use serde_json::Value;
use std::collections::BTreeMap;

/// Go's spaces: they are trimmed, and one of them stands beside the dash that trims.
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// The text between two pairs of braces, without the spaces around it.
#[derive(Clone, Default)]
pub(super) struct Action {
    pub(super) text: String,
    /// How many bytes of the template stand before it.
    at: usize,
    line: usize,
}

impl Action {
    /// The place of a part of the action's text in the template.
    fn at(&self, part: &str) -> usize {
        match part.is_empty() {
            true => self.at + self.text.len(),
            false => self.at + (part.as_ptr() as usize - self.text.as_ptr() as usize),
        }
    }

    /// Puts the line of the action into an error of parsing it.
    fn located(&self, why: String) -> String {
        why.replacen("template: output:1:", &format!("template: output:{}:", self.line), 1)
    }
}

/// Splits a template into texts and actions; `{{-` and `-}}` trim the text beside them.
fn tokens(source: &str) -> Result<Vec<Result<String, Action>>, String> {
    let (mut found, mut rest, mut trim) = (vec![], source, false);
    // Line and place of the last action. Lines are counted from there, so that no text is read
    // twice.
    let (mut line, mut counted) = (1, 0);
    while let Some(start) = rest.find("{{") {
        let mut text = &rest[..start];
        let after = &rest[start + 2..];
        if trim {
            text = text.trim_start_matches(SPACES);
        }
        let trims = after.strip_prefix('-').is_some_and(|rest| rest.starts_with(SPACES));
        if trims {
            text = text.trim_end_matches(SPACES);
        }
        if !text.is_empty() {
            found.push(Ok(text.to_string()));
        }
        let end = action_end(after).map_err(|why| {
            let before = &source[..source.len() - after.len()];
            format!("template: output:{}: {why}", before.matches('\n').count() + 1)
        })?;
        let mut action = &after[if trims { 1 } else { 0 }..end];
        trim = action.strip_suffix('-').is_some_and(|rest| rest.ends_with(SPACES));
        if trim {
            action = &action[..action.len() - 1];
        }
        let action = action.trim();
        if comment(after).is_none() {
            let at = action.as_ptr() as usize - source.as_ptr() as usize;
            line += source[counted..at].matches('\n').count();
            counted = at;
            found.push(Err(Action { text: action.to_string(), at, line }));
        }
        rest = &after[end + 2..];
    }
    let text = if trim { rest.trim_start_matches(SPACES) } else { rest };
    if !text.is_empty() {
        found.push(Ok(text.to_string()));
    }
    Ok(found)
}

/// The text behind the sign of a comment, which stands right behind the braces or `{{- `. Behind
/// other spaces it is a mistake, as in Go.
fn comment(action: &str) -> Option<&str> {
    let unmarked = action.strip_prefix('-').and_then(|rest| rest.strip_prefix(SPACES)).unwrap_or(action);
    unmarked.strip_prefix("/*")
}

/// Finds the braces that end an action.
///
/// # Errors
/// Go's words: the braces are missing, a quoted text has no end, or there is one brace alone, as in
/// `{{.name}`.
fn action_end(text: &str) -> Result<usize, String> {
    const UNCLOSED: &str = "unclosed action";
    if let Some(comment) = comment(text) {
        let (_, rest) = comment.split_once("*/").ok_or("unclosed comment")?;
        let unmarked = rest.strip_prefix(SPACES).and_then(|rest| rest.strip_prefix('-')).unwrap_or(rest);
        return match unmarked.starts_with("}}") {
            true => Ok(text.len() - unmarked.len()),
            false => Err("comment ends before closing delimiter".into()),
        };
    }
    let (mut quote, mut escaped) = (None, false);
    for (i, c) in text.char_indices() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', Some('"' | '\'')) => escaped = true,
            (c, Some(q)) if c == q => quote = None,
            (_, Some(_)) => {}
            ('"' | '`' | '\'', None) => quote = Some(c),
            ('}', None) if text[i..].starts_with("}}") => return Ok(i),
            _ => {}
        }
    }
    Err(match (quote, text.find('}')) {
        (Some('`'), _) => "unterminated raw quoted string".into(),
        (Some('"'), _) => "unterminated quoted string".into(),
        (Some(_), _) => "unterminated character constant".into(),
        (None, Some(at)) => stray('}', text[..at].chars().next_back(), true),
        (None, None) => UNCLOSED.into(),
    })
}

/// Returns Go's words for a character that begins no term.
///
/// Example: `}` is a bad character in `.a}`, right after a name, and unexpected in `.a }`.
/// `has_operand`: the command has an operand before it.
fn stray(c: char, before: Option<char>, has_operand: bool) -> String {
    let ends_name = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    match c {
        ')' => "unexpected right paren".into(),
        c if ends_name && c != ',' => format!("bad character U+{:04X} '{c}'", u32::from(c)),
        c => {
            let place = if has_operand { "operand" } else { "command" };
            format!("unexpected {} in {place}", gostr::quote(&c.to_string()))
        }
    }
}

/// True for characters that a term may begin with.
fn begins_term(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '$' | '(' | '`' | '"' | '\'' | '+' | '-')
}

/// Deeper nesting is refused: parsing and running a template take a part of the stack per level,
/// and an overflow would end the whole program.
const DEPTH_MAX: usize = 100;

fn deeper(depth: usize) -> Result<usize, String> {
    match depth < DEPTH_MAX {
        true => Ok(depth + 1),
        false => Err(format!("template: output:1: nested more than {DEPTH_MAX} levels deep")),
    }
}

/// The tokens of a template that are still to be read, and the templates that it has defined so
/// far.
pub(super) struct Tokens {
    rest: std::vec::IntoIter<Result<String, Action>>,
    pub(super) defined: BTreeMap<String, Vec<Node>>,
    /// How many bodies of `range` are open, within one template.
    loops: usize,
}

impl Tokens {
    pub(super) fn of(source: &str) -> Result<Tokens, String> {
        Ok(Tokens { rest: tokens(source)?.into_iter(), defined: BTreeMap::new(), loops: 0 })
    }

    /// Keeps a template under its name. One that prints nothing gives way to another, as in Go.
    fn define(&mut self, name: String, nodes: Vec<Node>) -> Result<(), String> {
        let empty = |nodes: &[Node]| nodes.iter().all(|n| matches!(n, Node::Text(t) if t.trim().is_empty()));
        match self.defined.get(&name) {
            Some(known) if !empty(known) && !empty(&nodes) => {
                Err(format!("template: output:1: multiple definition of template {}", gostr::quote(&name)))
            }
            Some(known) if !empty(known) => Ok(()),
            _ => {
                self.defined.insert(name, nodes);
                Ok(())
            }
        }
    }
}

/// Reads nodes up to `end` or `else`, which is returned with the text behind it. `depth`: how many
/// blocks are open around it.
pub(super) fn block(tokens: &mut Tokens, depth: usize) -> Result<(Vec<Node>, Action), String> {
    let mut nodes = vec![];
    while let Some(token) = tokens.rest.next() {
        let action = match token {
            Ok(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Err(action) => action,
        };
        let (word, rest) = action.text.split_once(char::is_whitespace).unwrap_or((&action.text, ""));
        let rest = rest.trim();
        match word {
            "end" | "else" => return Ok((nodes, action.clone())),
            "break" | "continue" if tokens.loops == 0 => {
                return Err(format!("template: output:1: {{{{{word}}}}} outside {{{{range}}}}"));
            }
            "break" => nodes.push(Node::Break),
            "continue" => nodes.push(Node::Continue),
            "define" | "template" | "block" => {
                let (name, pipe, place) = named(word, rest, &action).map_err(|why| action.located(why))?;
                if word == "define" && depth > 0 {
                    return Err("template: output:1: unexpected <define> in command".into());
                }
                if word != "template" {
                    let loops = std::mem::take(&mut tokens.loops);
                    let (body, end) = block(tokens, deeper(depth)?)?;
                    tokens.loops = loops;
                    match end.text.as_str() {
                        "end" => {}
                        "" => return Err("template: output:1: unexpected EOF".into()),
                        end => {
                            return Err(format!(
                                "template: output:1: unexpected {{{{{end}}}}} in {word} clause"
                            ));
                        }
                    }
                    tokens.define(name.clone(), body)?;
                }
                if word != "define" {
                    nodes.push(Node::Call(name, pipe, place));
                }
            }
            "if" | "with" | "range" => nodes.push(control(word, rest, &action, tokens, deeper(depth)?)?),
            _ => {
                nodes.push(match assigned(&action.text, &action).map_err(|why| action.located(why))? {
                    (Some((name, new)), pipe) => Node::Keep(name, new, pipe),
                    (None, pipe) => Node::Print(pipe),
                });
            }
        }
    }
    Ok((nodes, Action::default()))
}

/// Reads the name behind `define`, `template` or `block`, the pipeline that the template gets, and
/// the place of the call.
fn named(word: &str, rest: &str, action: &Action) -> Result<(String, Option<Pipe>, Place), String> {
    let mut given = pipe(rest, action)?;
    // `pipe` gives no empty command.
    let first = given[0].remove(0);
    let What::Literal(Value::String(name)) = first.what else {
        return Err(format!("template: output:1: unexpected {} in {word} clause", gostr::quote(rest)));
    };
    let alone = given.len() == 1 && given[0].is_empty();
    let given = (!alone).then_some(given);
    let fits = match word {
        "define" => given.is_none(),
        "block" => given.is_some(),
        _ => true,
    };
    if !fits || given.iter().flatten().any(Vec::is_empty) {
        return Err(format!("template: output:1: unexpected {} in {word} clause", gostr::quote(rest)));
    }
    let place = place_of_call(&name, given.as_ref(), first.start);
    Ok((name, given, place))
}

fn control(
    word: &str,
    rest: &str,
    action: &Action,
    tokens: &mut Tokens,
    depth: usize,
) -> Result<Node, String> {
    if rest.is_empty() {
        return Err(action.located(format!("template: output:1: missing value for {word}")));
    }
    let inner = usize::from(word == "range");
    tokens.loops += inner;
    let (body, end) = block(tokens, depth)?;
    tokens.loops -= inner;
    let otherwise = match end.text.strip_prefix("else").map(str::trim) {
        Some("") => {
            let (nodes, end) = block(tokens, depth)?;
            if end.text != "end" {
                return Err("template: output:1: unexpected EOF".into());
            }
            nodes
        }
        Some(next) => {
            let (word, rest) = next.split_once(char::is_whitespace).unwrap_or((next, ""));
            vec![control(word, rest.trim(), &end, tokens, deeper(depth)?)?]
        }
        None if end.text == "end" => vec![],
        None => return Err("template: output:1: unexpected EOF".into()),
    };
    Ok(match word {
        "if" | "with" => {
            let (var, pipe) = assigned(rest, action).map_err(|why| action.located(why))?;
            match word {
                "if" => Node::If(var, pipe, body, otherwise),
                _ => Node::With(var, pipe, body, otherwise),
            }
        }
        _ => {
            let (names, text) = match rest.split_once(":=") {
                Some((names, text)) if rest.starts_with('$') => (names, text),
                _ => ("", rest),
            };
            let mut names: Vec<String> =
                names.split(',').map(|n| n.trim().to_string()).filter(|n| !n.is_empty()).collect();
            let (value, key) = (names.pop(), names.pop());
            if !names.is_empty() {
                return Err(action.located("template: output:1: too many declarations in range".into()));
            }
            let pipe = pipe(text, action).map_err(|why| action.located(why))?;
            Node::Range(key, value, pipe, body, otherwise)
        }
    })
}

/// The variable that an action gives a value to, and whether it is a new one (`:=`).
type Assigned = Option<(String, bool)>;

fn assigned(text: &str, action: &Action) -> Result<(Assigned, Pipe), String> {
    if text.starts_with('$')
        && let Some((name, value)) = text.split_once('=')
        && name.trim_end_matches(':').trim().chars().skip(1).all(|c| c.is_alphanumeric() || c == '_')
    {
        let new = name.ends_with(':');
        return Ok((Some((name.trim_end_matches(':').trim().to_string(), new)), pipe(value, action)?));
    }
    Ok((None, pipe(text, action)?))
}

/// The characters of a pipeline, and where each stands in the template.
struct Given {
    chars: Vec<char>,
    places: Vec<usize>,
}

/// Reads a pipeline, which is a part of an action.
fn pipe(text: &str, action: &Action) -> Result<Pipe, String> {
    let begin = action.at(text);
    let (places, chars) = text.char_indices().map(|(at, c)| (begin + at, c)).unzip();
    let given = Given { chars, places };
    let mut at = 0;
    let found = pipe_at(&given, &mut at, 0)?;
    match given.chars.get(at) {
        Some(c) => Err(format!("template: output:1: {}", stray(*c, None, true))),
        None => Ok(found),
    }
}

fn pipe_at(given: &Given, at: &mut usize, depth: usize) -> Result<Pipe, String> {
    let mut commands: Pipe = vec![vec![]];
    while let Some(c) = given.chars.get(*at).copied() {
        let has_operand = commands.last().is_some_and(|last| !last.is_empty());
        match c {
            ')' => break,
            c if c.is_whitespace() => *at += 1,
            '|' if has_operand => {
                *at += 1;
                commands.push(vec![]);
            }
            c if !begins_term(c) => {
                let before = at.checked_sub(1).map(|before| given.chars[before]);
                return Err(format!("template: output:1: {}", stray(c, before, has_operand)));
            }
            _ => {
                let term = term(given, at, depth)?;
                if let Some(last) = commands.last_mut() {
                    last.push(term);
                }
            }
        }
    }
    // As in Go nothing has to follow a `|`.
    if commands.len() > 1 && commands.last().is_some_and(Vec::is_empty) {
        commands.pop();
    }
    if commands.iter().any(Vec::is_empty) {
        return Err("template: output:1: missing value for command".into());
    }
    let is_value = |term: &Term| match &term.what {
        What::Literal(_) => true,
        What::Dot(names) => names.is_empty(),
        _ => false,
    };
    for (stage, command) in commands.iter().enumerate().skip(1) {
        if command.first().is_some_and(is_value) {
            return Err(format!(
                "template: output:1: non executable command in pipeline stage {}",
                stage + 1
            ));
        }
    }
    Ok(commands)
}

fn name(chars: &[char], at: &mut usize) -> String {
    let start = *at;
    while chars.get(*at).is_some_and(|c| c.is_alphanumeric() || *c == '_') {
        *at += 1;
    }
    chars[start..*at].iter().collect()
}

/// Reads fields, each with its dot. `dots`: where these are among the characters. `alone`: a dot
/// without a field is a term.
fn fields(chars: &[char], at: &mut usize, dots: &mut Vec<usize>, alone: bool) -> Result<Vec<String>, String> {
    let mut found = vec![];
    while chars.get(*at) == Some(&'.') {
        dots.push(*at);
        *at += 1;
        let field = name(chars, at);
        match field.chars().next() {
            None if alone && found.is_empty() && chars.get(*at) != Some(&'.') => break,
            None => return Err("template: output:1: unexpected <.> in operand".into()),
            Some('0'..='9') => {
                let number = gostr::quote(&format!(".{field}"));
                return Err(format!("template: output:1: unexpected {number} in operand"));
            }
            Some(_) => found.push(field),
        }
    }
    Ok(found)
}

fn term(given: &Given, at: &mut usize, depth: usize) -> Result<Term, String> {
    let (begin, mut dots) = (*at, vec![]);
    let what = what(given, at, depth, &mut dots)?;
    let with_fields =
        |head: String, names: &[String]| names.iter().fold(head, |text, name| text + "." + name);
    let (written, error_at) = match &what {
        What::Dot(names) if names.is_empty() => (".".to_string(), None),
        What::Dot(names) => (with_fields(String::new(), names), dots.get(1)),
        What::Var(name, names) => (with_fields(name.clone(), names), dots.first()),
        What::Group(pipe, names) => (with_fields(format!("({})", written_pipe(pipe)), names), dots.first()),
        What::Word(_) | What::Literal(_) => (given.chars[begin..*at].iter().collect(), None),
    };
    let place = Place { at: given.places[*error_at.unwrap_or(&begin)], written: written.into() };
    Ok(Term { what, start: given.places[begin], place })
}

/// Reads what a term is. `dots`: where the dots before its fields are.
fn what(given: &Given, at: &mut usize, depth: usize, dots: &mut Vec<usize>) -> Result<What, String> {
    let chars = given.chars.as_slice();
    match chars[*at] {
        // `.5` is half of one.
        '.' if chars.get(*at + 1).is_some_and(char::is_ascii_digit) => {
            literal::number(chars, at).map(What::Literal)
        }
        '.' => Ok(What::Dot(fields(chars, at, dots, true)?)),
        '$' => {
            *at += 1;
            let var = name(chars, at);
            Ok(What::Var(format!("${var}"), fields(chars, at, dots, false)?))
        }
        '(' => {
            *at += 1;
            let inner = pipe_at(given, at, deeper(depth)?)?;
            if chars.get(*at) != Some(&')') {
                return Err("template: output:1: unclosed left paren".into());
            }
            *at += 1;
            Ok(What::Group(inner, fields(chars, at, dots, false)?))
        }
        '`' | '"' | '\'' => literal::quoted(chars, at).map(What::Literal),
        c if c.is_ascii_digit() || c == '-' || c == '+' => literal::number(chars, at).map(What::Literal),
        c if c.is_alphabetic() || c == '_' => match name(chars, at).as_str() {
            "true" => Ok(What::Literal(true.into())),
            "false" => Ok(What::Literal(false.into())),
            "nil" => Ok(What::Literal(Value::Null)),
            word if FUNCTIONS.contains(&word) => Ok(What::Word(word.into())),
            word => Err(format!("template: output:1: function {} not defined", gostr::quote(word))),
        },
        c => Err(format!("template: output:1: {}", stray(c, None, false))),
    }
}
