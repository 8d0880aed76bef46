//! One document as JSON: keys become text, tags go, `<<` brings what it refers to
//! (`goyaml.v2/decode.go` and `yaml.go` in sigs.k8s.io/yaml).

use super::refusal::{Cause, Refusal};
use super::tags::{self, Scalar};
use crate::{bounds, gostr};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde_json::{Map, Number, Value};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;

/// Values and bytes of text together that aliases may add to a document. Without aliases a document
/// makes no more than its own length; `a: &a [0, 0, …]` and `b: [*a, *a, …]` multiply
/// (CVE-2019-11253).
const ADDED_MAX: usize = 1024 * 1024;

/// Reads one document of a text with so many bytes. The first `allowed` keys that stand twice in a
/// map are let through; a key that a merge (`<<`) brought is one of those that stand there.
pub(super) fn read(
    from: serde_yaml::Deserializer<'_>,
    length: usize,
    allowed: usize,
) -> Result<Value, Refusal> {
    let reading = Reading {
        left: Cell::new(length.saturating_mul(2).saturating_add(ADDED_MAX)),
        allowed: Cell::new(allowed),
        cause: Cell::new(None),
    };
    let value = Node { reading: &reading, depth: 0, repeated: None }.deserialize(from);
    value.map_err(|error| Refusal { cause: reading.cause.take(), error })
}

/// What is left of the bounds while a document is read.
struct Reading {
    left: Cell<usize>,
    /// Duplicate keys that may still be met.
    allowed: Cell<usize>,
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

    /// Refuses the document with Go's message.
    fn refuse_as<T, E: Error>(&self, message: impl Into<String>) -> Result<T, E> {
        self.refuse(Cause::Message(message.into()))
    }

    fn spend<E: Error>(&self, much: usize) -> Result<(), E> {
        match self.left.get().checked_sub(much) {
            Some(left) => self.left.set(left),
            None => return self.refuse_as("document contains excessive aliasing"),
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Node<'a> {
    reading: &'a Reading,
    depth: usize,
    /// The node's key as Go shows it, if the map has that key already. Go tells it with the line of
    /// the value.
    repeated: Option<&'a str>,
}

impl Node<'_> {
    fn inner<E: Error>(self) -> Result<Self, E> {
        match self.depth < bounds::DEPTH_MAX {
            true => Ok(Node { depth: self.depth + 1, repeated: None, ..self }),
            false => self.reading.refuse_as(format!(
                "exceeded max depth of {}: the document is nested too deeply",
                bounds::DEPTH_MAX
            )),
        }
    }

    /// The value, if its key may stand where it does.
    fn checked<E: Error>(self, value: Value) -> Result<Value, E> {
        if let Some(key) = self.repeated {
            match self.reading.allowed.get().checked_sub(1) {
                Some(allowed) => self.reading.allowed.set(allowed),
                None => return self.reading.refuse(Cause::Duplicate(key.to_string())),
            }
        }
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

    /// Reads the fields of a map into `fields`, which may have some already.
    fn fill<'de, A: MapAccess<'de>>(self, fields: &mut Fields, mut from: A) -> Result<(), A::Error> {
        let inner = self.inner()?;
        while let Some(key) = from.next_key_seed(Key { reading: self.reading })? {
            let Found::Key { name, shown } = key else {
                from.next_value_seed(Merge { node: inner, fields })?;
                continue;
            };
            let repeated = fields.shown.contains(&shown).then_some(shown.as_str());
            let value = from.next_value_seed(Node { repeated, ..inner })?;
            fields.map.insert(name, value);
            fields.shown.insert(shown);
        }
        Ok(())
    }
}

/// The fields of a map.
#[derive(Default)]
struct Fields {
    map: Map<String, Value>,
    /// Their keys as Go shows them: `1` and `"1"` are two keys there.
    shown: BTreeSet<String>,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        self.reading.spend(1)?;
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
            None => self.reading.refuse_as(format!("json: unsupported value: {name}")),
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
        self.fill(&mut fields, from)?;
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
}

impl<'de> DeserializeSeed<'de> for Merge<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        self.node.reading.spend(1)?;
        from.deserialize_any(self)
    }
}

impl Merge<'_> {
    fn no_map<E: Error>(self) -> Result<(), E> {
        self.node.reading.refuse_as("map merge requires map or sequence of maps as the value")
    }
}

impl<'de> Visitor<'de> for Merge<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a map or a list of maps")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.no_map()
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.no_map()
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.no_map()
    }
    fn visit_i128<E: Error>(self, _: i128) -> Result<(), E> {
        self.no_map()
    }
    fn visit_u128<E: Error>(self, _: u128) -> Result<(), E> {
        self.no_map()
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.no_map()
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        self.no_map()
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.no_map()
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.node.inner()?;
        let mut maps = vec![];
        while let Some(item) = items.next_element_seed(inner)? {
            let Value::Object(map) = item else { return self.no_map() };
            maps.push(map);
        }
        for (key, value) in maps.into_iter().rev().flatten() {
            self.fields.shown.insert(gostr::quote(&key));
            self.fields.map.insert(key, value);
        }
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, from: A) -> Result<(), A::Error> {
        self.node.fill(self.fields, from)
    }
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (_, value) = tagged.variant::<String>()?;
        value.newtype_variant_seed(self)
    }
}

enum Found {
    /// `<<` without quotes.
    Merge,
    Key {
        /// Its name in JSON.
        name: String,
        /// As Go shows it, which tells a number from a text.
        shown: String,
    },
}

struct Key<'a> {
    reading: &'a Reading,
}

impl Key<'_> {
    fn found<E: Error>(self, name: String, shown: String) -> Result<Found, E> {
        self.reading.spend(name.len())?;
        Ok(Found::Key { name, shown })
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Found;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Found, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = Found;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a key that is text, a number or a boolean")
    }
    fn visit_bool<E: Error>(self, key: bool) -> Result<Found, E> {
        self.found(key.to_string(), key.to_string())
    }
    fn visit_i64<E: Error>(self, key: i64) -> Result<Found, E> {
        self.found(key.to_string(), key.to_string())
    }
    fn visit_u64<E: Error>(self, key: u64) -> Result<Found, E> {
        match i64::try_from(key) {
            Ok(key) => self.visit_i64(key),
            Err(_) => self.reading.refuse_as(format!("unsupported map key of type: uint64, key: {key:#x}")),
        }
    }
    fn visit_i128<E: Error>(self, key: i128) -> Result<Found, E> {
        self.visit_f64(key as f64)
    }
    fn visit_u128<E: Error>(self, key: u128) -> Result<Found, E> {
        self.visit_f64(key as f64)
    }
    fn visit_f64<E: Error>(self, key: f64) -> Result<Found, E> {
        // Go rounds a key to 32 bits, and writes the digits that such a number needs.
        let short = key as f32;
        let name = match short {
            f32::INFINITY => ".inf".to_string(),
            f32::NEG_INFINITY => "-.inf".to_string(),
            short if short.is_nan() => ".nan".to_string(),
            short => gostr::general(short.to_string().parse().unwrap_or(key)),
        };
        let shown = if key.is_finite() { gostr::general(key) } else { name.clone() };
        self.found(name, shown)
    }
    fn visit_str<E: Error>(self, key: &str) -> Result<Found, E> {
        self.found(key.to_string(), gostr::quote(key))
    }
    fn visit_unit<E: Error>(self) -> Result<Found, E> {
        self.reading.refuse_as("unsupported map key of type: null")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Found, A::Error> {
        self.reading.refuse_as("invalid map key: it is a list")
    }
    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<Found, A::Error> {
        self.reading.refuse_as("invalid map key: it is a map")
    }
    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Found, A::Error> {
        let (tag, key) = tagged.variant::<String>()?;
        let text = key.newtype_variant_seed(Text)?;
        match tags::handed(&tag) {
            None => self.visit_str(&text),
            Some("merge") if text == "<<" => Ok(Found::Merge),
            Some(tag) => match tags::resolve(tag, &text) {
                Ok(Scalar::Null) => self.visit_unit(),
                Ok(Scalar::Bool(key)) => self.visit_bool(key),
                Ok(Scalar::Unsigned(key)) => self.visit_u64(key),
                Ok(Scalar::Signed(key)) => self.visit_i64(key),
                Ok(Scalar::Float(key)) => self.visit_f64(key),
                Ok(Scalar::Text(key)) => self.visit_str(&key),
                Err(why) => self.reading.refuse_as(why),
            },
        }
    }
}

/// The text of a scalar behind a tag.
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;
    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<String, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Text {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a scalar")
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_string())
    }
}
