//! A JSON text that is looked through for its lists and maps, without a value being made of it:
//! for what a parsed value no longer has, such as keys that stand twice, and digits of numbers.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// What is done with a list or a map. Scalars are passed over.
pub trait Container<'de>: Sized {
    /// Reads a list to its end.
    ///
    /// # Errors
    /// Those of the text, and a reason to stop.
    fn list<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error>;

    /// Reads a map to its end.
    ///
    /// # Errors
    /// Those of the text, and a reason to stop.
    fn map<A: MapAccess<'de>>(self, fields: A) -> Result<(), A::Error>;
}

/// Looks through a value.
pub struct Look<C>(pub C);

impl<'de, C: Container<'de>> DeserializeSeed<'de> for Look<C> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, C: Container<'de>> Visitor<'de> for Look<C> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<(), A::Error> {
        self.0.list(items)
    }
    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<(), A::Error> {
        self.0.map(fields)
    }
}

/// Passes over the rest of a list.
///
/// # Errors
/// Those of the text.
pub(crate) fn skip_items<'de, A: SeqAccess<'de>>(items: &mut A) -> Result<(), A::Error> {
    while items.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Collects the keys of all maps. Of a list it looks at the first item alone.
    struct Keys<'a>(&'a mut Vec<String>);

    impl<'de> Container<'de> for Keys<'_> {
        fn list<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
            items.next_element_seed(Look(Keys(self.0)))?;
            skip_items(&mut items)
        }
        fn map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
            while let Some(key) = fields.next_key::<String>()? {
                self.0.push(key);
                fields.next_value_seed(Look(Keys(self.0)))?;
            }
            Ok(())
        }
    }

    #[test]
    fn keys_that_stand_twice_are_met_twice() {
        let mut keys = vec![];
        let text = br#"{"a": [{"b": 1.5, "b": "x"}, {"c": 1}], "a": {"d": null, "e": true, "f": -1}}"#;
        let mut text = serde_json::Deserializer::from_slice(text);
        Look(Keys(&mut keys)).deserialize(&mut text).unwrap();
        assert_eq!(keys, ["a", "b", "b", "a", "d", "e", "f"]);
    }
}
