//! One document as JSON: keys become text, tags are resolved, `<<` merges the map that it refers to
//! (`decode.go` in go.yaml.in/yaml/v2, `yaml.go` in sigs.k8s.io/yaml).

mod key;

use super::plain::Words;
use super::refusal::{Cause, Refusal, Twice};
use super::tags::{self, Scalar};
use crate::{bounds, gostr};
use key::{Found, Key};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

/// Values and bytes of text together that aliases may add to a document. Without aliases a document
/// makes no more than its own length; `a: &a [0, 0, …]` and `b: [*a, *a, …]` multiply
/// (CVE-2019-11253).
pub(super) const ADDED_MAX: usize = 1024 * 1024;

/// How far a document is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// To its end, or to a duplicate key: so many are allowed, and the next one is refused. A key
    /// duplicates one that a merge (`<<`) brought, too.
    Duplicate(usize),
    /// To the key with this number, which is refused: an error has a line.
    Key(usize),
}

/// Reads one document of a text, with at most `nodes_max` keys and values.
pub(super) fn read(
    from: serde_yaml::Deserializer<'_>,
    text: &[u8],
    words: Words,
    until: Until,
    nodes_max: usize,
) -> Result<Value, Refusal> {
    let (allowed, last_key) = match until {
        Until::Duplicate(allowed) => (allowed, usize::MAX),
        Until::Key(number) => (usize::MAX, number),
    };
    let reading = Reading {
        left: Cell::new(text.len().saturating_mul(2).saturating_add(ADDED_MAX)),
        nodes_left: Cell::new(nodes_max),
        allowed: Cell::new(allowed),
        keys: Cell::new(0),
        last_key,
        merges_yield: words == Words::Numbers,
        cause: Cell::new(None),
    };
    let value = Node { reading: &reading, depth: 0, repeated: None }.deserialize(from);
    value.map_err(|error| match reading.cause.take() {
        Some(cause) => Refusal { cause: Some(cause), error },
        None => refusal_of_library(error, text),
    })
}

/// Returns why the library itself refuses the text.
pub(super) fn refusal_of_library(error: serde_yaml::Error, text: &[u8]) -> Refusal {
    Refusal { cause: unknown_anchor(&error, text).map(Cause::Yaml), error }
}

/// Returns Go's message for an alias whose anchor is not set: the library's has no name.
fn unknown_anchor(error: &serde_yaml::Error, text: &[u8]) -> Option<String> {
    error.to_string().starts_with("unknown anchor").then_some(())?;
    let place = error.location()?;
    let alias = text.get(place.index()..)?; // it counts bytes
    let is_of_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let name: String = alias.iter().skip(1).copied().take_while(is_of_name).map(char::from).collect();
    Some(format!("unknown anchor '{name}' referenced"))
}

/// State of one pass over a document.
struct Reading {
    /// Values and bytes of text that may still be read.
    left: Cell<usize>,
    /// Keys and values that may still be read. A text without aliases has no more of them than
    /// tokens were counted.
    nodes_left: Cell<usize>,
    /// Duplicate keys that are still allowed.
    allowed: Cell<usize>,
    /// Number of keys that were read.
    keys: Cell<usize>,
    /// The number of the key that is refused.
    last_key: usize,
    /// A key of the map itself has precedence over one of a merge, wherever the merge stands
    /// (go.yaml.in/yaml/v3). Else the later one has.
    merges_yield: bool,
    /// Why the document is refused. The library's error knows the line, but puts a path before the
    /// message, which Go does not.
    cause: Cell<Option<Cause>>,
}

impl Reading {
    /// Refuses the document.
    fn refuse<T, E: Error>(&self, cause: Cause) -> Result<T, E> {
        self.cause.set(Some(cause));
        Err(E::custom("refused"))
    }

    /// Refuses the document with a message of Go's YAML library.
    fn refuse_as<T, E: Error>(&self, message: impl Into<String>) -> Result<T, E> {
        self.refuse(Cause::Yaml(message.into()))
    }

    /// Refuses what the YAML library reads and JSON has not.
    fn refuse_for_json<T, E: Error>(&self, message: impl Into<String>) -> Result<T, E> {
        self.refuse(Cause::Json(message.into()))
    }

    /// Counts values and bytes of text against the bound on aliases.
    fn spend<E: Error>(&self, amount: usize) -> Result<(), E> {
        match self.left.get().checked_sub(amount) {
            Some(left) => self.left.set(left),
            None => return self.refuse_as("document contains excessive aliasing"),
        }
        Ok(())
    }

    /// Counts a key or a value.
    fn count_node<E: Error>(&self) -> Result<(), E> {
        match self.nodes_left.get().checked_sub(1) {
            Some(left) => self.nodes_left.set(left),
            None => return self.refuse_as("document contains excessive aliasing"),
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Node<'a> {
    reading: &'a Reading,
    depth: usize,
    /// The node's key, if the map has that key already. Go reports it with the line of the value.
    repeated: Option<Repeated<'a>>,
}

/// A key that its map has already.
#[derive(Clone, Copy)]
struct Repeated<'a> {
    /// As Go shows it.
    shown: &'a str,
    first: Origin,
    second: Origin,
}

/// Where a key of a map comes from.
#[derive(Clone, Copy)]
struct Origin {
    /// The number of the key. Each alias repeats the keys of its value, with further numbers.
    key: usize,
    /// Merges between the map and the key: 0 if it stands in the map itself.
    merges: usize,
}

impl Node<'_> {
    /// Returns the node for a value inside of this one, one level deeper.
    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.depth < bounds::DEPTH_MAX {
            true => Ok(Node { depth: self.depth + 1, repeated: None, ..self }),
            false => self.reading.refuse_as(format!(
                "exceeded max depth of {}: the document is nested too deeply",
                bounds::DEPTH_MAX
            )),
        }
    }

    /// Returns the value, unless its key is a duplicate that is to be reported.
    fn checked<E: Error>(self, value: Value) -> Result<Value, E> {
        let Some(Repeated { shown, first, second }) = self.repeated else { return Ok(value) };
        let Some(allowed) = self.reading.allowed.get().checked_sub(1) else {
            return self.reading.refuse(Cause::Duplicate(Twice {
                key: shown.to_string(),
                keys: [first.key, second.key],
                overrides_merge: first.merges > second.merges,
            }));
        };
        self.reading.allowed.set(allowed);
        Ok(value)
    }

    fn scalar<E: Error>(self, scalar: Scalar) -> Result<Value, E> {
        match scalar {
            Scalar::Null => self.checked(Value::Null),
            Scalar::Bool(value) => self.checked(value.into()),
            Scalar::Unsigned(value) => self.checked(value.into()),
            Scalar::Signed(value) => self.checked(value.into()),
            Scalar::Float(value) => self.visit_f64(value),
            Scalar::Text(value) => self.visit_str(&value),
        }
    }

    /// Reads the fields of a map into `fields`, which may have some already. `merges`: as
    /// [`Origin::merges`].
    fn fill<'de, A: MapAccess<'de>>(
        self,
        fields: &mut Fields,
        merges: usize,
        mut from: A,
    ) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while let Some(key) = from.next_key_seed(Key { reading: self.reading })? {
            let Found::Key { name, shown } = key else {
                from.next_value_seed(Merge { node: inner, fields, merges: merges + 1 })?;
                continue;
            };
            let second = Origin { key: self.reading.keys.get(), merges };
            let first = fields.origins.get(&shown).copied();
            let yields = self.reading.merges_yield;
            let repeated = first.filter(|first| !yields || first.merges == merges).map(|first| Repeated {
                shown: &shown,
                first,
                second,
            });
            let value = from.next_value_seed(Node { repeated, ..inner })?;
            fields.insert(name, shown, value, second, yields);
        }
        Ok(())
    }
}

/// The fields of a map.
#[derive(Default)]
struct Fields {
    map: Map<String, Value>,
    /// Their keys as Go shows them: `1` and `"1"` are two keys there.
    origins: BTreeMap<String, Origin>,
}

impl Fields {
    /// Sets a field. If `merges_yield`, one that stands nearer to the map is kept.
    fn insert(&mut self, name: String, shown: String, value: Value, origin: Origin, merges_yield: bool) {
        let is_nearer = |first: &Origin| first.merges < origin.merges;
        if merges_yield && self.origins.get(&shown).is_some_and(is_nearer) {
            return;
        }
        self.map.insert(name, value);
        self.origins.insert(shown, origin);
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.reading.spend(1)?;
        self.reading.count_node()?;
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("any YAML value")
    }
    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.checked(value.into())
    }
    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.checked(value.into())
    }
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.checked(value.into())
    }
    fn visit_i128<E: Error>(self, value: i128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }
    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        self.visit_f64(value as f64)
    }
    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        // Go writes a whole number without a fraction, so that `replicas: 1e1` is read as 10.
        if value.fract() == 0.0 && value.abs() < i64::MAX as f64 {
            return self.checked((value as i64).into());
        }
        let name = match value {
            f64::INFINITY => "+Inf",
            f64::NEG_INFINITY => "-Inf",
            _ => "NaN",
        };
        match Number::from_f64(value) {
            Some(number) => self.checked(Value::Number(number)),
            None => self.reading.refuse_for_json(format!("json: unsupported value: {name}")),
        }
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.reading.spend(value.len())?;
        self.checked(value.into())
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.checked(Value::Null)
    }
    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.checked(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut all = vec![];
        while let Some(item) = items.next_element_seed(inner)? {
            all.push(item);
        }
        self.checked(Value::Array(all))
    }
    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<Value, A::Error> {
        let mut fields = Fields::default();
        self.fill(&mut fields, 0, from)?;
        self.checked(Value::Object(fields.map))
    }
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (tag, value) = tagged.variant::<String>()?;
        if let Some(tag) = tags::handed(&tag) {
            return value.newtype_variant_seed(Tagged { node: self, tag });
        }
        // A scalar behind a tag of an application is text, also the empty one.
        let value = value.newtype_variant_seed(self)?;
        Ok(if value.is_null() { Value::from("") } else { value })
    }
}

/// A node behind a core tag, which says how a scalar is read. Lists and maps are what they are.
struct Tagged<'a> {
    node: Node<'a>,
    tag: &'a str,
}

impl<'de> DeserializeSeed<'de> for Tagged<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tagged<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "a value for the tag !!{}", self.tag)
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        match tags::resolve(self.tag, text) {
            Ok(scalar) => self.node.scalar(scalar),
            Err(why) => self.node.reading.refuse_as(why),
        }
    }
    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.visit_str("")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Value, A::Error> {
        self.node.visit_seq(items)
    }
    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<Value, A::Error> {
        self.node.visit_map(from)
    }
}

/// The value of a merge key: a map, whose fields go into `fields`, or a list of maps, of which the
/// first that has a key gives its value.
struct Merge<'a> {
    node: Node<'a>,
    fields: &'a mut Fields,
    /// As [`Origin::merges`].
    merges: usize,
}

impl<'de> DeserializeSeed<'de> for Merge<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.node.reading.spend(1)?;
        self.node.reading.count_node()?;
        from.deserialize_any(self)
    }
}

impl Merge<'_> {
    fn refuse_value<E: Error>(self) -> Result<(), E> {
        self.node.reading.refuse_as("map merge requires map or sequence of maps as the value")
    }
}

impl<'de> Visitor<'de> for Merge<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map or a list of maps")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.refuse_value()
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.refuse_value()
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.refuse_value()
    }
    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        self.refuse_value()
    }
    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        self.refuse_value()
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.refuse_value()
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.refuse_value()
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.refuse_value()
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.node.inner()?;
        let mut maps = vec![];
        while let Some(item) = items.next_element_seed(inner)? {
            let Value::Object(map) = item else { return self.refuse_value() };
            maps.push(map);
        }
        let reading = self.node.reading;
        let origin = Origin { key: reading.keys.get(), merges: self.merges };
        for (key, value) in maps.into_iter().rev().flatten() {
            let shown = gostr::quote(&key);
            self.fields.insert(key, shown, value, origin, reading.merges_yield);
        }
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<(), A::Error> {
        self.node.fill(self.fields, self.merges, from)
    }
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (_, value) = tagged.variant::<String>()?;
        value.newtype_variant_seed(self)
    }
}
