//! The keys of a map: text for JSON, whatever they are in YAML.

use super::Reading;
use crate::gostr;
use crate::yaml::refusal::Cause;
use crate::yaml::tags::{self, Scalar};
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::fmt;

pub(super) enum Found {
    /// `<<` without quotes.
    Merge,
    Key {
        /// Its name in JSON.
        name: String,
        /// As Go shows it, which tells a number from a text.
        shown: String,
    },
}

pub(super) struct Key<'a> {
    pub(super) reading: &'a Reading,
}

impl Key<'_> {
    fn found<E: Error>(self, name: String, shown: String) -> Result<Found, E> {
        self.reading.spend(name.len())?;
        self.reading.count_node()?;
        let number = self.reading.keys.get() + 1;
        self.reading.keys.set(number);
        if number == self.reading.last_key {
            return self.reading.refuse(Cause::AskedKey);
        }
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
            Err(_) => {
                self.reading.refuse_for_json(format!("unsupported map key of type: uint64, key: {key:#x}"))
            }
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
        self.reading.refuse_for_json("unsupported map key of type: null")
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
