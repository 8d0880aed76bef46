//! Types of CEL: what an expression is known to give before it runs.
//!
//! `object` and `params` are of any kind, so most of an expression is `dyn` and passes. What is
//! known is held against the signatures of the operators and functions in `overloads.txt`, as
//! `cel-go`'s checker does.

use crate::cel::functions::{DURATION, MATCHES};
use crate::published;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, LazyLock};

/// What the checker knows of the type of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    /// The checker does not know: what a function without a signature gives, or an item of a list
    /// of which nothing is known. It is taken for whatever is asked for.
    Unknown,
    /// A value of any type: which one it is shows when the expression runs.
    Dyn,
    /// As [`Type::Dyn`], of a value that may be the object `variables`, or have it in it.
    Holder,
    /// `null`, `bool`, `int`, `string` and the others without parts, by `cel-go`'s name.
    Plain(&'static str),
    List(Box<Type>),
    /// Keys and values.
    Map(Box<Type>, Box<Type>),
    Optional(Box<Type>),
    /// An object with known fields.
    Object(Arc<Object>),
    /// An object of a published schema.
    Published(&'static Json),
    /// Stands for any one type in a signature: `A` or `B`.
    Any(char),
}

/// Name of the type of `variables`.
pub(crate) const VARIABLES: &str = "kubernetes.variables";

/// An object type whose fields are listed. With `Eq` a shared one equals itself without a look at
/// its fields, of which `variables` may have tens of thousands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object {
    pub name: String,
    pub fields: BTreeMap<String, Type>,
}

pub(crate) const BOOL: Type = Type::Plain("bool");
pub(crate) const INT: Type = Type::Plain("int");
pub(crate) const STRING: Type = Type::Plain("string");
pub(crate) const NULL: Type = Type::Plain("null");
const DOUBLE: Type = Type::Plain("double");
const TIMESTAMP: Type = Type::Plain("timestamp");

/// Types that a type may consist of. The author of a policy can make a type as large as they like:
/// with `{x: x}` each variable has twice the type of the one before.
const PARTS_MAX: usize = 64;

/// Types that a variable of a policy keeps, of those without parts.
const OF_VARIABLES: [&str; 9] =
    ["null", "bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration"];

/// Types without parts.
#[rustfmt::skip]
const PLAIN: [&str; 16] = [
    "null", "bool", "int", "uint", "double", "string", "bytes", "timestamp", "duration", "type", "quantity",
    "Authorizer", "PathCheck", "GroupCheck", "ResourceCheck", "Decision",
];

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Unknown | Type::Dyn | Type::Holder => f.write_str("dyn"),
            Type::Plain("timestamp") => f.write_str("google.protobuf.Timestamp"),
            Type::Plain("duration") => f.write_str("google.protobuf.Duration"),
            Type::Plain("quantity") => f.write_str("kubernetes.Quantity"),
            Type::Plain(name) if name.starts_with(|c: char| c.is_ascii_uppercase()) => {
                write!(f, "kubernetes.authorization.{name}")
            }
            Type::Plain(name) => f.write_str(name),
            Type::List(item) => write!(f, "list({item})"),
            Type::Map(key, value) => write!(f, "map({key}, {value})"),
            Type::Optional(value) => write!(f, "optional_type({value})"),
            Type::Object(object) => f.write_str(&object.name),
            Type::Published(_) => f.write_str("object"),
            Type::Any(letter) => write!(f, "{letter}"),
        }
    }
}

impl Type {
    pub(crate) fn list(item: Type) -> Type {
        Type::List(Box::new(item))
    }

    pub(crate) fn map(value: Type) -> Type {
        Type::Map(Box::new(STRING), Box::new(value))
    }

    pub(crate) fn object<const N: usize>(name: &str, fields: [(&str, Type); N]) -> Type {
        let fields = fields.into_iter().map(|(name, kind)| (name.to_string(), kind)).collect();
        Type::Object(Arc::new(Object { name: name.to_string(), fields }))
    }

    /// Returns the type of a published schema, following references.
    pub(crate) fn published(schema: &'static Json) -> Type {
        let text = |key: &str| schema.get(key).and_then(Json::as_str).unwrap_or_default();
        if let Some(reference) = schema.get("$ref").and_then(Json::as_str) {
            let name = reference.rsplit('/').next().unwrap_or_default();
            return match (name.rsplit('.').next(), published::schemas().get(name)) {
                // Texts and numbers that the server writes as it finds them.
                (Some("Quantity" | "IntOrString"), _) | (_, None) => Type::Dyn,
                (_, Some(schema)) => Type::published(schema),
            };
        }
        match (text("type"), text("format")) {
            ("string", "date-time") => TIMESTAMP,
            ("string", "int-or-string") => Type::Dyn,
            ("string", _) => STRING,
            ("integer", _) => INT,
            ("number", _) => DOUBLE,
            ("boolean", _) => BOOL,
            ("array", _) => Type::list(schema.get("items").map_or(Type::Dyn, Type::published)),
            ("object", _) if schema.get("properties").is_some() => Type::Published(schema),
            ("object", _) => match schema.get("additionalProperties") {
                Some(value) if value.is_object() => Type::map(Type::published(value)),
                _ => Type::Dyn,
            },
            _ => Type::Dyn,
        }
    }

    /// Returns the type of a field.
    ///
    /// # Errors
    /// The checker's sentence if it has no fields, or not this one.
    pub(crate) fn field(&self, name: &str) -> Result<Type, String> {
        let undefined = || format!("undefined field '{name}'");
        match self {
            Type::Unknown => Ok(Type::Unknown),
            Type::Dyn => Ok(Type::Dyn),
            Type::Holder => Ok(Type::Holder),
            Type::Map(_, value) => Ok((**value).clone()),
            Type::Optional(value) => Ok(Type::Optional(Box::new(value.field(name)?))),
            Type::Object(object) => object.fields.get(name).cloned().ok_or_else(undefined),
            Type::Published(schema) => {
                schema["properties"].get(name).map(Type::published).ok_or_else(undefined)
            }
            other => Err(format!("type '{other}' does not support field selection")),
        }
    }

    /// Returns the type of the items of a list, or of the keys of a map: what a macro runs over.
    ///
    /// # Errors
    /// The checker's sentence if it is neither.
    pub(crate) fn members(&self) -> Result<(Type, Type), String> {
        match self {
            Type::Unknown => Ok((Type::Unknown, Type::Unknown)),
            Type::Dyn => Ok((Type::Dyn, Type::Dyn)),
            Type::Holder => Ok((Type::Holder, Type::Holder)),
            Type::List(item) => Ok(((**item).clone(), INT)),
            Type::Map(key, value) => Ok(((**key).clone(), (**value).clone())),
            other => Err(format!(
                "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
            )),
        }
    }

    /// Returns the type of a variable of a policy whose expression has this type: an object in it
    /// may be of any type (`convertCelTypeToDeclType` upstream). So `variables.r.no` is no error
    /// where `variables.r` is `request`, which has no such field.
    pub(crate) fn of_variable(self) -> Type {
        match self {
            Type::Unknown => Type::Unknown,
            Type::Plain(name) if OF_VARIABLES.contains(&name) => Type::Plain(name),
            Type::List(item) => Type::list(item.of_variable()),
            Type::Map(key, value) => Type::Map(Box::new(key.of_variable()), Box::new(value.of_variable())),
            _ => Type::Dyn,
        }
    }

    /// Returns the type, or [`Type::Unknown`] if it has more parts than are followed.
    pub(crate) fn bounded(self) -> Type {
        let mut left = PARTS_MAX;
        match self.has_at_most(&mut left) {
            true => self,
            false if self.has_variables() => Type::Holder,
            false => Type::Unknown,
        }
    }

    /// Returns whether the object `variables` may be in a value of the type.
    pub(crate) fn has_variables(&self) -> bool {
        match self {
            Type::Holder => true,
            Type::Object(object) => object.name == VARIABLES,
            Type::List(inner) | Type::Optional(inner) => inner.has_variables(),
            Type::Map(key, value) => key.has_variables() || value.has_variables(),
            _ => false,
        }
    }

    /// Returns the type of what a function of this result makes of arguments. A result of which
    /// nothing is known may be an argument, or have one in it: so is `dyn(variables)`.
    pub(crate) fn made_of(self, arguments: &[Type]) -> Type {
        if arguments.iter().any(Type::has_variables) { self.with_holders() } else { self }
    }

    /// Makes a [`Type::Holder`] of each part of which nothing is known.
    fn with_holders(self) -> Type {
        match self {
            Type::Unknown | Type::Dyn => Type::Holder,
            Type::List(item) => Type::list(item.with_holders()),
            Type::Map(key, value) => Type::Map(key, Box::new(value.with_holders())),
            Type::Optional(value) => Type::Optional(Box::new(value.with_holders())),
            other => other,
        }
    }

    /// Subtracts the number of parts of the type from `left`. Returns false if the type has more.
    fn has_at_most(&self, left: &mut usize) -> bool {
        if *left == 0 {
            return false;
        }
        *left -= 1;
        match self {
            Type::List(inner) | Type::Optional(inner) => inner.has_at_most(left),
            Type::Map(key, value) => key.has_at_most(left) && value.has_at_most(left),
            _ => true,
        }
    }

    /// Returns whether values of any type are taken for this one.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self, Type::Unknown | Type::Dyn | Type::Holder)
    }

    /// True for types whose values may be null.
    fn is_nullable(&self) -> bool {
        let abstracted = matches!(self, Type::Plain("timestamp" | "duration" | "quantity"));
        abstracted || matches!(self, Type::Object(_) | Type::Published(_) | Type::Optional(_))
    }

    /// Returns the type of a value that has one of two types, as in `a ? b : c`: `dyn` if they
    /// differ.
    pub(crate) fn or(self, other: Type) -> Type {
        match (self, other) {
            (one, other) if one == other => one,
            (Type::Unknown, other) | (other, Type::Unknown) => other,
            (Type::List(a), Type::List(b)) => Type::list(a.or(*b)),
            (Type::Optional(a), Type::Optional(b)) => Type::Optional(Box::new(a.or(*b))),
            (Type::Map(k, v), Type::Map(l, w)) => Type::Map(Box::new(k.or(*l)), Box::new(v.or(*w))),
            (one, other) => Type::Dyn.made_of(&[one, other]),
        }
    }

    /// Returns the type of the elements of a literal with one more element, which is of the type
    /// `other`. `may_differ`: they may be of several types.
    ///
    /// # Errors
    /// The checker's sentence if they are of different types.
    pub(crate) fn joined(self, other: Type, may_differ: bool) -> Result<Type, String> {
        match may_differ || self.is_equivalent(&other) {
            true => Ok(self.or(other)),
            false => Err(format!("expected type '{self}' but found '{other}'")),
        }
    }

    /// Returns whether two types are the same. What the checker does not know may be any type.
    fn is_equivalent(&self, other: &Type) -> bool {
        match (self, other) {
            (Type::Unknown, _) | (_, Type::Unknown) => true,
            (Type::Dyn | Type::Holder, Type::Dyn | Type::Holder) => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => a.is_equivalent(b),
            (Type::Map(k, v), Type::Map(l, w)) => k.is_equivalent(l) && v.is_equivalent(w),
            (one, other) => one == other,
        }
    }

    /// Returns whether the checker does not know the type, or a part of it.
    fn has_unknown(&self) -> bool {
        match self {
            Type::Unknown => true,
            Type::List(inner) | Type::Optional(inner) => inner.has_unknown(),
            Type::Map(key, value) => key.has_unknown() || value.has_unknown(),
            _ => false,
        }
    }

    /// Replaces the letters of a signature by what they were found to be. What the value is used
    /// for decides about a letter that no argument has (`newTypeVar` of `cel-go`).
    ///
    /// Example: `object.l.first().orValue('a')` is a string.
    fn filled(&self, found: &Found) -> Type {
        match self {
            Type::Any(letter) => found.get(letter).cloned().unwrap_or(Type::Unknown),
            Type::List(item) => Type::list(item.filled(found)),
            Type::Map(key, value) => Type::Map(Box::new(key.filled(found)), Box::new(value.filled(found))),
            Type::Optional(value) => Type::Optional(Box::new(value.filled(found))),
            other => other.clone(),
        }
    }

    /// Returns whether an argument fits a parameter of a signature.
    fn takes(&self, argument: &Type, found: &mut Found) -> bool {
        match (self, argument) {
            (Type::Any(letter), argument) => match found.get(letter).cloned() {
                // It is any type, whatever the others are (`mostGeneral`).
                Some(Type::Dyn | Type::Holder) => {
                    if argument.has_variables() {
                        found.insert(*letter, Type::Holder);
                    }
                    true
                }
                Some(known) if !known.is_open() => {
                    if !known.takes(argument, found) && !argument.takes(&known, found) {
                        return false;
                    }
                    // A value that may be null keeps its type beside `null`.
                    let is_null = *argument == NULL || (known == NULL && !argument.is_open());
                    found.insert(*letter, if is_null { known } else { known.or(argument.clone()) });
                    true
                }
                _ => {
                    found.insert(*letter, argument.clone());
                    true
                }
            },
            (wanted, argument) if wanted.is_open() || argument.is_open() => true,
            (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => a.takes(b, found),
            (Type::Map(k, v), Type::Map(l, w)) => k.takes(l, found) && v.takes(w, found),
            (wanted, Type::Plain("null")) => *wanted == NULL || wanted.is_nullable(),
            (wanted, argument) => wanted == argument,
        }
    }
}

/// What the letters of a signature stand for.
type Found = BTreeMap<char, Type>;

// -- signatures
// -------------------------------------------------------------------------------------------------

struct Overload {
    parameters: Vec<Type>,
    result: Type,
}

/// Signatures of `overloads.txt` by function. The name of a method begins with a dot.
static OVERLOADS: LazyLock<BTreeMap<&str, Vec<Overload>>> = LazyLock::new(|| {
    let mut all: BTreeMap<&str, Vec<Overload>> = BTreeMap::new();
    for line in include_str!("overloads.txt").lines().filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let mut words = line.split_whitespace();
        let name = words.next().unwrap_or_default();
        let mut types: Vec<Type> = words.filter(|word| *word != "=").map(named).collect();
        let result = types.pop().unwrap_or(Type::Dyn);
        all.entry(name).or_default().push(Overload { parameters: types, result });
    }
    all
});

/// Reads a type of a signature: `list(A)`.
fn named(word: &str) -> Type {
    let inner = |start: &str| word.strip_prefix(start).and_then(|rest| rest.strip_suffix(')'));
    if let Some(item) = inner("list(") {
        return Type::list(named(item));
    }
    if let Some(value) = inner("optional(") {
        return Type::Optional(Box::new(named(value)));
    }
    if let Some((key, value)) = inner("map(").and_then(|both| both.split_once(',')) {
        return Type::Map(Box::new(named(key)), Box::new(named(value)));
    }
    match (word, PLAIN.iter().find(|name| **name == word)) {
        (_, Some(name)) => Type::Plain(name),
        ("A", _) => Type::Any('A'),
        ("B", _) => Type::Any('B'),
        ("?", _) => Type::Unknown,
        _ => Type::Dyn,
    }
}

/// Returns whether a function is called on a value where this call has none (`contains('a', 'b')`),
/// or on none where it has one (`'1'.int()`). Operators have one form.
fn has_other_form(name: &str, method: bool) -> bool {
    let other = if method { name.to_string() } else { format!(".{name}") };
    name.starts_with(|c: char| c.is_ascii_alphabetic()) && OVERLOADS.contains_key(other.as_str())
}

/// Returns the type of the result of a call. `method`: the first argument is the value that the
/// function is called on.
///
/// # Errors
/// The checker's sentence if no signature of the function takes the arguments.
pub(crate) fn call(name: &str, method: bool, arguments: &[Type]) -> Result<Type, String> {
    let full = if method { format!(".{name}") } else { name.to_string() };
    let overloads: &[Overload] = match OVERLOADS.get(full.as_str()) {
        Some(overloads) => overloads.as_slice(),
        None if has_other_form(name, method) => &[],
        None => return Ok(Type::Unknown.made_of(arguments)),
    };
    let mut result: Option<Type> = None;
    for overload in overloads.iter().filter(|o| o.parameters.len() == arguments.len()) {
        let mut found = Found::new();
        if overload.parameters.iter().zip(arguments).all(|(wanted, is)| wanted.takes(is, &mut found)) {
            let given = overload.result.filled(&found);
            result = Some(match result {
                // Two results that are not known are not the same.
                Some(before) if before != given || given.has_unknown() => Type::Dyn,
                _ => given,
            });
        }
    }
    result.map(|given| given.made_of(arguments)).ok_or_else(|| {
        let types: Vec<String> = arguments.iter().map(Type::to_string).collect();
        let applied = match (method, types.split_first()) {
            (true, Some((first, rest))) if name != DURATION => format!("{first}.({})", rest.join(", ")),
            _ => format!("({})", types.join(", ")),
        };
        // `cel::functions` has its own under a name with `@`.
        let name = if matches!(name, DURATION | MATCHES) { &name[1..] } else { name };
        format!("found no matching overload for '{name}' applied to '{applied}'")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_decides_what_a_call_gives() {
        let text = |name: &str, arguments: &[Type]| match call(name, false, arguments) {
            Ok(given) => given.to_string(),
            Err(why) => why,
        };
        assert_eq!(text("_+_", &[STRING, Type::Dyn]), "string");
        assert_eq!(text("_+_", &[Type::Dyn, Type::Dyn]), "dyn");
        assert_eq!(
            text("_+_", &[STRING, INT]),
            "found no matching overload for '_+_' applied to '(string, int)'"
        );
        assert_eq!(
            text("_>_", &[INT, STRING]),
            "found no matching overload for '_>_' applied to '(int, string)'"
        );
        assert_eq!(text("_>_", &[INT, DOUBLE]), "bool", "numbers compare with numbers");
        assert_eq!(
            text("_==_", &[INT, NULL]),
            "found no matching overload for '_==_' applied to '(int, null)'"
        );
        assert_eq!(text("_==_", &[TIMESTAMP, NULL]), "bool");
        assert_eq!(text("_[_]", &[Type::map(INT), STRING]), "int");
        assert_eq!(text("_[_]", &[Type::Optional(Box::new(Type::map(INT))), STRING]), "optional_type(int)");
        assert_eq!(text("_[?_]", &[Type::list(INT), INT]), "optional_type(int)");
        assert_eq!(text("_+_", &[Type::list(Type::Dyn), Type::list(INT)]), "list(dyn)");
        let or_value =
            |held: Type, other: Type| call("orValue", true, &[Type::Optional(Box::new(held)), other]);
        assert_eq!(or_value(Type::Dyn, STRING), Ok(Type::Dyn));
        assert_eq!(or_value(INT, Type::Dyn), Ok(Type::Dyn));
        assert_eq!(text("_[?_]", &[Type::Dyn, STRING]), "dyn", "of a map, or of an optional one");
        assert_eq!(call("_?_:_", false, &[BOOL, TIMESTAMP, NULL]), Ok(TIMESTAMP));
        assert_eq!(call("_?_:_", false, &[BOOL, NULL, Type::Dyn]), Ok(Type::Dyn));
        let of_list = |name: &str, item: Type| call(name, true, &[Type::list(item)]);
        assert_eq!((of_list("sum", INT), of_list("min", STRING)), (Ok(INT), Ok(STRING)));
        assert_eq!(of_list("max", Type::Dyn), Ok(Type::Dyn));
        assert!(of_list("sum", STRING).is_err() && of_list("isSorted", Type::list(INT)).is_err());
        assert_eq!(or_value(Type::Unknown, STRING), Ok(STRING), "of `optional.none()`");
        assert!(or_value(INT, STRING).is_err());
        assert_eq!(
            text("@in", &[STRING, Type::list(INT)]),
            "found no matching overload for '@in' applied to '(string, list(int))'"
        );
        assert_eq!(
            call("startsWith", true, &[STRING, INT]).unwrap_err(),
            "found no matching overload for 'startsWith' applied to 'string.(int)'"
        );
        assert_eq!(text("ip", &[INT]), "dyn", "one that is not listed is not judged");
        assert_eq!(
            text("find", &[STRING, STRING]),
            "found no matching overload for 'find' applied to '(string, string)'"
        );
        assert_eq!(
            text("_==_", &[INT, DOUBLE]),
            "found no matching overload for '_==_' applied to '(int, double)'"
        );
    }

    #[test]
    fn a_published_schema_has_the_types_of_its_fields() {
        let name = published::name("apps", "v1", "Deployment");
        let deployment = Type::published(&published::schemas()[name]);
        let replicas = deployment.field("spec").and_then(|spec| spec.field("replicas"));
        assert_eq!(replicas, Ok(INT));
        assert_eq!(deployment.field("specs"), Err("undefined field 'specs'".to_string()));
        let labels = deployment.field("metadata").and_then(|meta| meta.field("labels"));
        assert_eq!(labels, Ok(Type::map(STRING)));
    }
}
