//! The functions that Kubernetes adds to the standard ones: patterns, sums and extremes of lists,
//! quantities. Those of addresses and of positions in lists have files of their own.

use super::arguments::{NO_OVERLOAD, Run, text, word};
use super::uris;
use super::values::optional;
use crate::bounds;
use crate::gostr::{self, Nanos};
use crate::quantity::Quantity;
use cel::Value;
use cel::objects::{Opaque, OptionalValue};
use parking_lot::Mutex;
use regex::Regex;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// The name of our own `matches`. No expression can write it.
pub(crate) const MATCHES: &str = "@matches";
/// The name of our own `duration`.
pub(crate) const DURATION: &str = "@duration";

#[derive(Debug, PartialEq)]
struct Amount(Quantity);
impl Eq for Amount {}
impl Opaque for Amount {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.Quantity"
    }
}

/// Names of functions, and what each makes of the value that it is called on and its arguments.
pub(super) const OWN: &[(&str, Run)] = &[
    (MATCHES, |v| Ok(Value::Bool(pattern(v, 1)?.is_match(word(v, 0)?)))),
    (DURATION, |v| duration(v).map(Value::Duration)),
    ("find", |v| Ok(text(pattern(v, 1)?.find(word(v, 0)?).map_or("", |m| m.as_str())))),
    ("findAll", |v| {
        let all = pattern(v, 1)?;
        let limit = if let Some(Value::Int(n)) = v.get(2) { *n } else { -1 };
        let found = all.find_iter(word(v, 0)?).map(|m| text(m.as_str()));
        Ok(Value::List(Arc::new(found.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect())))
    }),
    ("isSorted", |v| {
        let is_sorted = |pair: &[Value]| compare(&pair[0], &pair[1]) != Some(Ordering::Greater);
        Ok(Value::Bool(ordered(v)?.windows(2).all(is_sorted)))
    }),
    ("sum", |v| sum(items(v)?)),
    ("min", |v| extreme("min", v, Ordering::Less)),
    ("max", |v| extreme("max", v, Ordering::Greater)),
    ("first", |v| Ok(optional(items(v)?.first().cloned()))),
    ("last", |v| Ok(optional(items(v)?.last().cloned()))),
    ("unwrapOpt", |v| unwrapped(items(v)?)),
    ("isURL", |v| Ok(Value::Bool(uris::is_request_uri(word(v, 0)?)))),
    ("isQuantity", |v| Ok(Value::Bool(Quantity::parse(word(v, 0)?).is_some()))),
    ("quantity", |v| Ok(Value::Opaque(Arc::new(Amount(Quantity::read(word(v, 0)?)?))))),
    ("add", |v| Ok(Value::Opaque(Arc::new(Amount(amount(v, 0)? + operand(v)?))))),
    ("sub", |v| Ok(Value::Opaque(Arc::new(Amount(amount(v, 0)? - operand(v)?))))),
    ("isGreaterThan", |v| Ok(Value::Bool(amount(v, 0)? > amount(v, 1)?))),
    ("isLessThan", |v| Ok(Value::Bool(amount(v, 0)? < amount(v, 1)?))),
    ("compareTo", |v| {
        let order = amount(v, 0)?.partial_cmp(&amount(v, 1)?).unwrap_or(Ordering::Equal);
        Ok(Value::Int(order as i64))
    }),
    ("sign", |v| {
        let amount = amount(v, 0)?;
        Ok(Value::Int(if amount.is_zero() {
            0
        } else if amount.is_negative() {
            -1
        } else {
            1
        }))
    }),
    ("isInteger", |v| Ok(Value::Bool(amount(v, 0)?.as_integer().is_some()))),
    ("asInteger", |v| {
        amount(v, 0)?.as_integer().map(Value::Int).ok_or_else(|| "cannot convert value to integer".into())
    }),
    ("asApproximateFloat", |v| Ok(Value::Float(amount(v, 0)?.approximate()))),
];

/// Returns a duration, a number of nanoseconds, or a text such as `1h30m` as a duration.
///
/// # Errors
/// It is none of them, or Go reads the text as no duration.
fn duration(values: &[Value]) -> Result<chrono::Duration, String> {
    match values.first() {
        Some(Value::Duration(known)) => Ok(*known),
        Some(Value::Int(nanos)) => Ok(chrono::Duration::nanoseconds(*nanos)),
        _ => {
            let Nanos(nanos) = gostr::parse_duration(word(values, 0)?)?;
            i64::try_from(nanos).map(chrono::Duration::nanoseconds).map_err(|error| error.to_string())
        }
    }
}

fn items(values: &[Value]) -> Result<&[Value], String> {
    match values.first() {
        Some(Value::List(items)) => Ok(items),
        _ => Err(NO_OVERLOAD.into()),
    }
}

/// Returns what is in a list of optionals, without those that hold nothing.
///
/// # Errors
/// An item is no optional.
fn unwrapped(items: &[Value]) -> Result<Value, String> {
    let mut held = vec![];
    for item in items {
        let item = <&OptionalValue>::try_from(item).map_err(|_| NO_OVERLOAD)?;
        held.extend(item.value().cloned());
    }
    Ok(Value::List(Arc::new(held)))
}

/// Returns the items of a list that are of types with an order (`comparableTypes` upstream).
///
/// # Errors
/// It is no list, or an item has no order.
fn ordered(values: &[Value]) -> Result<&[Value], String> {
    let items = items(values)?;
    let is_number = |item: &Value| matches!(item, Value::Int(_) | Value::UInt(_) | Value::Float(_));
    let is_other = |item: &Value| matches!(item, Value::String(_) | Value::Bytes(_) | Value::Bool(_));
    let is_time = |item: &Value| matches!(item, Value::Duration(_) | Value::Timestamp(_));
    match items.iter().all(|item| is_number(item) || is_other(item) || is_time(item)) {
        true => Ok(items),
        false => Err(NO_OVERLOAD.into()),
    }
}

/// Compares two values; `None` if their types have no order between them. The crate compares no
/// bytes.
fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Bytes(one), Value::Bytes(other)) => Some(one.cmp(other)),
        _ => one.partial_cmp(other),
    }
}

/// Adds up numbers of one type, or durations. Without any the sum is 0.
///
/// # Errors
/// An item is something else, or of another type than the first, or the sum has too many bits.
fn sum(items: &[Value]) -> Result<Value, String> {
    let Some((first, rest)) = items.split_first() else { return Ok(Value::Int(0)) };
    if !matches!(first, Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Duration(_)) {
        return Err(NO_OVERLOAD.into());
    }
    let mut sum = first.clone();
    for item in rest {
        sum = match (sum, item) {
            (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_add(*b).ok_or("integer overflow")?),
            (Value::UInt(a), Value::UInt(b)) => {
                Value::UInt(a.checked_add(*b).ok_or("unsigned integer overflow")?)
            }
            (Value::Float(a), Value::Float(b)) => Value::Float(a + b),
            (Value::Duration(a), Value::Duration(b)) => {
                Value::Duration(a.checked_add(b).ok_or("duration overflow")?)
            }
            _ => return Err(NO_OVERLOAD.into()),
        };
    }
    Ok(sum)
}

/// Compiled patterns that are remembered.
const PATTERNS_MAX: usize = 128;
/// Bytes of all compiled patterns that are remembered: four times what one expression may have.
const PATTERNS_BYTES: usize = 32 << 20;
/// Bytes of a compiled pattern that is not written in its expression. It is compiled when the
/// expression runs, perhaps another one for each item of a list.
const MADE_MAX: usize = 256 << 10;
/// Places of the repetitions of a pattern ([`bounds::live_places`]): matching may take 5 ns for
/// each of them and each byte of the text. Go takes at most 1000 repetitions inside of each other.
pub(super) const PLACES_MAX: usize = 1_000;

/// Patterns that were compiled before, or why they could not be. A rule over a list asks for the
/// same one for every item. They are shared, because a copy of a pattern begins without the memory
/// that it works in.
#[derive(Default)]
struct Patterns {
    known: HashMap<String, Result<Arc<Regex>, String>>,
    /// Bytes of all of them.
    bytes: usize,
}

static PATTERNS: LazyLock<Mutex<Patterns>> = LazyLock::new(Mutex::default);

impl Patterns {
    /// Remembers a pattern. All others are forgotten first if there is no room for it.
    fn keep(&mut self, source: &str, made: Result<Arc<Regex>, String>, bytes: usize) {
        if self.known.len() >= PATTERNS_MAX || self.bytes + bytes > PATTERNS_BYTES {
            *self = Patterns::default();
        }
        self.bytes += bytes;
        self.known.insert(source.to_string(), made);
    }
}

/// Returns whether a function takes a pattern as its first argument, or after its target.
pub(super) fn takes_pattern(function: &str) -> bool {
    matches!(function, MATCHES | "find" | "findAll")
}

/// Refuses a pattern with more than [`PLACES_MAX`] places.
///
/// # Errors
/// It has more.
pub(super) fn check_places(source: &str) -> Result<(), String> {
    match bounds::live_places(source) > PLACES_MAX {
        true => Err(format!("a pattern may repeat at most {PLACES_MAX} characters in all: '{source}'")),
        false => Ok(()),
    }
}

/// Compiles a pattern that is written in an expression, before the expression runs, unless it is
/// remembered. Returns about how many bytes were compiled.
pub(super) fn prepare_pattern(source: &str) -> usize {
    if PATTERNS.lock().known.contains_key(source) {
        return 0;
    }
    let (made, bytes) = compiled(source, bounds::PATTERN_MAX);
    PATTERNS.lock().keep(source, made, bytes);
    bytes
}

/// Returns a compiled pattern among the arguments.
fn pattern(values: &[Value], at: usize) -> Result<Arc<Regex>, String> {
    let source = word(values, at)?;
    let known = PATTERNS.lock().known.get(source).cloned();
    if let Some(known) = known {
        return known;
    }
    check_places(source)?;
    let (made, bytes) = compiled(source, MADE_MAX);
    let made = made?;
    PATTERNS.lock().keep(source, Ok(made.clone()), bytes);
    Ok(made)
}

/// Compiles a pattern of at most `most` bytes. Returns about how many bytes were compiled, too:
/// `most` for one that is too large.
fn compiled(source: &str, most: usize) -> (Result<Arc<Regex>, String>, usize) {
    match bounds::measured_regex(source, most) {
        Ok((regex, bytes)) => (Ok(Arc::new(regex)), bytes),
        Err(error) => {
            let bytes = if matches!(error, regex::Error::CompiledTooBig(_)) { most } else { 0 };
            (Err(format!("'{source}' not a valid regex:\n{error}")), bytes)
        }
    }
}

fn amount(values: &[Value], at: usize) -> Result<Quantity, String> {
    match values.get(at) {
        Some(Value::Opaque(o)) => o.downcast_ref::<Amount>().map(|a| a.0).ok_or(NO_OVERLOAD.into()),
        _ => Err(NO_OVERLOAD.into()),
    }
}

/// Returns the second operand of `add` and `sub`: a quantity, or a whole number.
fn operand(values: &[Value]) -> Result<Quantity, String> {
    match values.get(1) {
        Some(Value::Int(n)) => Ok(Quantity::of_units(*n)),
        _ => amount(values, 1),
    }
}

/// Returns the item that is before all others in this order. `name`: the function's.
///
/// # Errors
/// The list is empty, or an item has no order.
fn extreme(name: &str, values: &[Value], wanted: Ordering) -> Result<Value, String> {
    let mut all = ordered(values)?.iter();
    let first = all.next().ok_or_else(|| format!("{name} called on empty list"))?;
    Ok(all.fold(first, |best, v| if compare(v, best) == Some(wanted) { v } else { best }).clone())
}

#[cfg(test)]
mod tests {
    use super::super::environment::context;
    use super::super::terms::{compile, execute};
    use super::*;

    fn made(source: &str) -> Result<Value, String> {
        execute(&compile(source).unwrap(), &context())
    }

    /// As `lists.go` upstream. A text was the sum of a list with that text alone, or after a 0.
    #[test]
    fn numbers_and_durations_have_a_sum() {
        assert_eq!(made("[].sum()"), Ok(Value::Int(0)));
        assert_eq!(made("[1, -1, 2].sum()"), Ok(Value::Int(2)));
        assert_eq!(made("[1.5, 2.0].sum()"), Ok(Value::Float(3.5)));
        assert_eq!(made("[duration('1m'), duration('1s')].sum() == duration('61s')"), Ok(Value::Bool(true)));
        for other in ["['a']", "[true]", "[1, -1, 'a']", "[0, 1.5]", "[1u, 1]"] {
            let why = made(&format!("{other}.sum()")).unwrap_err();
            assert!(why.contains(NO_OVERLOAD), "{other}: {why}");
        }
    }

    /// The library's function takes `5s!` for five seconds, and does not read `µs`.
    #[test]
    fn a_duration_is_the_whole_text() {
        for holds in [
            "duration('1h' + '30m') == duration('90m') && duration(duration('5µs')) == duration(5000)",
            "['1s', '0'].map(x, duration(x)) == [duration('1000ms'), duration('-0s')]",
        ] {
            assert_eq!(made(holds), Ok(Value::Bool(true)), "{holds}");
        }
        for other in ["5s!", "1e3s", "1h30", ""] {
            let why = made(&format!("duration('{other}' + '')")).unwrap_err();
            assert_eq!(why, "type conversion error from 'string' to 'duration'", "{other}");
        }
        assert_eq!(made("duration(dyn(true))"), Err(NO_OVERLOAD.to_string()));
    }

    /// As the library of optionals in `cel-go` (`library.go`), in its second version.
    #[test]
    fn ends_of_a_list_are_optional_and_optionals_are_unwrapped() {
        for holds in [
            "[1, 2].first().value() == 1 && [1, 2].last().value() == 2",
            "![].first().hasValue() && [].last().orValue(3) == 3",
            "[optional.of(1), optional.none()].unwrapOpt() == [1]",
        ] {
            assert_eq!(made(holds), Ok(Value::Bool(true)), "{holds}");
        }
        for other in ["'a'.first()", "[1].unwrapOpt()"] {
            let why = made(other).unwrap_err();
            assert!(why.contains(NO_OVERLOAD), "{other}: {why}");
        }
    }

    #[test]
    fn bytes_have_an_order_and_lists_have_none() {
        for holds in [
            "[b'b', b'a', b'c'].min() == b'a' && [b'a', b'b'].max() == b'b'",
            "[b'a', b'b'].isSorted() && ![b'b', b'a'].isSorted()",
            "[2, 1, 3].min() == 1 && ['a', 'b'].max() == 'b' && [].isSorted()",
        ] {
            assert_eq!(made(holds), Ok(Value::Bool(true)), "{holds}");
        }
        for other in ["[[1]].min()", "[{}].max()", "[null].isSorted()", "1.min()"] {
            let why = made(other).unwrap_err();
            assert!(why.contains(NO_OVERLOAD), "{other}: {why}");
        }
        let why = made("[].max()").unwrap_err();
        assert!(why.contains("max called on empty list"), "{why}");
    }
}
