//! Errors of the arguments in Korean, by what clap says of them.

use super::super::args::Refused;
use super::page;
use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use lang::Lang;
use std::error::Error as _;
use std::num::{IntErrorKind, ParseIntError};
use ui::proof::part::Part;

/// Returns the whole message, with a line break at its end. `None`: clap's error is a page of the
/// help, which is Korean already, or is not about the arguments.
pub(crate) fn text(error: &Error) -> Option<String> {
    let mut out = format!("오류: {}\n", problem(error)?);
    let tips = tips(error);
    if !tips.is_empty() {
        out.push('\n');
        tips.iter().for_each(|tip| out.push_str(&format!("  {tip}\n")));
    }
    if let Some(ContextValue::StyledStr(usage)) = error.get(ContextKind::Usage) {
        out.push_str(&format!("\n{}\n", page::usage(&usage.to_string())));
    }
    out.push_str("\n자세한 내용은 '--help'로 볼 수 있습니다.\n");
    Some(out)
}

/// Returns what is wrong, without its remedy. `None`: as [`text`].
fn problem(error: &Error) -> Option<String> {
    let argument = word(error, ContextKind::InvalidArg).unwrap_or_default();
    let value = word(error, ContextKind::InvalidValue).unwrap_or_default();
    let number = |kind| match error.get(kind) {
        Some(ContextValue::Number(number)) => *number,
        _ => 0,
    };
    Some(match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let name = word(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            format!("알 수 없는 하위 명령입니다: '{name}'")
        }
        ErrorKind::UnknownArgument => format!("여기에 쓸 수 없는 인자입니다: '{argument}'"),
        ErrorKind::InvalidValue if value.is_empty() => {
            format!(
                "'{argument}'에 값이 필요합니다{}",
                choices(error, "쓸 수 있는 값", ContextKind::ValidValue)
            )
        }
        ErrorKind::InvalidValue => {
            let valid = choices(error, "쓸 수 있는 값", ContextKind::ValidValue);
            format!("'{argument}'에 '{value}' 값을 쓸 수 없습니다{valid}")
        }
        ErrorKind::ValueValidation => {
            let reason = reason(error).map(|reason| format!(": {reason}")).unwrap_or_default();
            format!("'{argument}'에 '{value}' 값을 쓸 수 없습니다{reason}")
        }
        ErrorKind::MissingRequiredArgument => {
            format!("필요한 인자가 빠졌습니다:{}", on_own_lines(&words(error, ContextKind::InvalidArg)))
        }
        ErrorKind::MissingSubcommand => {
            let name = word(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            let valid = choices(error, "하위 명령", ContextKind::ValidSubcommand);
            format!("'{name}' 뒤에 하위 명령이 필요합니다{valid}")
        }
        ErrorKind::ArgumentConflict => conflict(error),
        ErrorKind::NoEquals => format!("'{argument}'에 값을 줄 때는 등호(=)가 필요합니다"),
        ErrorKind::TooManyValues => format!("'{argument}'에 줄 수 있는 값의 수를 넘었습니다: '{value}'"),
        ErrorKind::TooFewValues => format!(
            "'{argument}'에는 값이 {}개 이상 필요하지만 {}개가 주어졌습니다",
            number(ContextKind::MinValues),
            number(ContextKind::ActualNumValues)
        ),
        ErrorKind::WrongNumberOfValues => format!(
            "'{argument}'에는 값이 {}개 필요하지만 {}개가 주어졌습니다",
            number(ContextKind::ExpectedNumValues),
            number(ContextKind::ActualNumValues)
        ),
        ErrorKind::InvalidUtf8 => "UTF-8이 아닌 인자가 있습니다".into(),
        _ => return None,
    })
}

/// Returns which arguments do not go together.
fn conflict(error: &Error) -> String {
    let others = words(error, ContextKind::PriorArg);
    let subject = match (word(error, ContextKind::InvalidArg), word(error, ContextKind::InvalidSubcommand)) {
        (Some(argument), _) if others == [argument.as_str()] => {
            return format!("'{argument}' 인자는 한 번만 쓸 수 있습니다");
        }
        (Some(argument), _) => format!("'{argument}' 인자는"),
        (None, Some(name)) => format!("'{name}' 하위 명령은"),
        (None, None) => "이 인자는".into(),
    };
    match others.is_empty() {
        true => format!("{subject} 함께 쓴 다른 인자와 같이 쓸 수 없습니다"),
        false => format!("{subject} 다음 인자와 함께 쓸 수 없습니다:{}", on_own_lines(&others)),
    }
}

/// Returns why a value is refused. [`Refused`] has its words in both languages; those about numbers
/// are clap's.
fn reason(error: &Error) -> Option<String> {
    let source = error.source()?;
    if let Some(refused) = source.downcast_ref::<Refused>() {
        return Some(refused.say(Lang::Ko));
    }
    if let Some(number) = source.downcast_ref::<ParseIntError>() {
        return Some(match number.kind() {
            IntErrorKind::PosOverflow => "너무 큰 수입니다".into(),
            IntErrorKind::NegOverflow => "너무 작은 수입니다".into(),
            _ => "정수를 쓰세요".into(),
        });
    }
    let english = source.to_string();
    if english == Part::FORM {
        return Some("K/N으로 쓰세요. K번째부터 N개마다 하나씩이라는 뜻입니다. 예: 2/3".into());
    }
    let Some((from, to)) = english.split_once(" is not in ").and_then(|(_, range)| range.split_once(".."))
    else {
        return Some(english);
    };
    // clap writes a range with an end as `1..=5`, and one without an end up to the greatest number:
    // `1..18446744073709551615`.
    Some(match to.strip_prefix('=') {
        Some(to) => format!("{from} 이상 {to} 이하의 수를 쓰세요"),
        None => format!("{from} 이상의 수를 쓰세요"),
    })
}

/// Returns what may have been meant, a line each.
fn tips(error: &Error) -> Vec<String> {
    let mut tips = Vec::new();
    for (kind, name) in [
        (ContextKind::SuggestedSubcommand, "비슷한 하위 명령"),
        (ContextKind::SuggestedArg, "비슷한 인자"),
        (ContextKind::SuggestedValue, "비슷한 값"),
    ] {
        let alike: Vec<String> = words(error, kind).iter().map(|word| format!("'{word}'")).collect();
        if !alike.is_empty() {
            tips.push(format!("{name}: {}", alike.join(", ")));
        }
    }
    if let Some(ContextValue::StyledStrs(sentences)) = error.get(ContextKind::Suggested) {
        tips.extend(sentences.iter().filter_map(|sentence| tip(&sentence.to_string())));
    }
    tips
}

/// Translates one of clap's whole sentences. One that is not known is left out.
fn tip(english: &str) -> Option<String> {
    if let Some(rest) = english.strip_prefix("to pass '") {
        let (word, line) = rest.strip_suffix('\'')?.split_once("' as a value, use '")?;
        return Some(format!("'{word}' 자체를 값으로 쓰려면: '{line}'"));
    }
    if let Some(rest) = english.strip_prefix("subcommand '") {
        let (name, _) = rest.split_once("' exists; to use it, remove the '--'")?;
        return Some(format!("'{name}' 하위 명령을 쓰려면 앞에 있는 '--'를 빼세요"));
    }
    let line = english.strip_prefix('\'')?.strip_suffix("' exists")?;
    Some(format!("이렇게 쓸 수 있습니다: '{line}'"))
}

/// Returns the single word of this kind in clap's error.
fn word(error: &Error, kind: ContextKind) -> Option<String> {
    match error.get(kind) {
        Some(ContextValue::String(word)) => Some(word.clone()),
        _ => None,
    }
}

/// Returns all words of this kind in clap's error.
fn words(error: &Error, kind: ContextKind) -> Vec<String> {
    match error.get(kind) {
        Some(ContextValue::String(word)) => vec![word.clone()],
        Some(ContextValue::Strings(words)) => words.clone(),
        _ => Vec::new(),
    }
}

/// Lays words out below each other, each behind a line break.
fn on_own_lines(words: &[String]) -> String {
    words.iter().map(|word| format!("\n  {word}")).collect()
}

/// Returns the line with the words that would be right, below a name; empty if clap knows none.
fn choices(error: &Error, name: &str, kind: ContextKind) -> String {
    let words = words(error, kind);
    if words.is_empty() { String::new() } else { format!("\n  [{name}: {}]", words.join(", ")) }
}
