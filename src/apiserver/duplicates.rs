//! What a strict decoder says of a JSON body: keys that stand twice in one map (`serde_json` keeps the last), and unknown
//! fields, both in the order in which they stand there.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

/// `duplicate field "spec.containers[0].name"` and `unknown field "spec.foo"`, in the order of the body. `unknown` are the
/// paths of unknown fields; what is in one is not looked at.
pub fn problems(bytes: &[u8], unknown: &[String]) -> Vec<String> {
    let unknown: HashSet<&str> = unknown.iter().map(String::as_str).collect();
    let mut found = Found::default();
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let _ = Scan { path: String::new(), found: &mut found, unknown: &unknown }.deserialize(&mut deserializer);
    found.all
}

#[derive(Default)]
struct Found {
    all: Vec<String>,
    told: HashSet<String>,
}

impl Found {
    fn tell(&mut self, problem: String) {
        if self.told.insert(problem.clone()) {
            self.all.push(problem);
        }
    }
}

struct Scan<'a> {
    path: String,
    found: &'a mut Found,
    unknown: &'a HashSet<&'a str>,
}

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        IgnoredAny::deserialize(d).map(drop)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let mut i = 0;
        while seq
            .next_element_seed(Scan {
                path: format!("{}[{i}]", self.path),
                found: self.found,
                unknown: self.unknown,
            })?
            .is_some()
        {
            i += 1;
        }
        Ok(())
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen: HashSet<String> = HashSet::new();
        while let Some(key) = map.next_key::<String>()? {
            let dot = if self.path.is_empty() { "" } else { "." };
            let path = format!("{}{dot}{key}", self.path);
            if self.unknown.contains(path.as_str()) {
                self.found.tell(format!("unknown field {path:?}"));
                map.next_value::<IgnoredAny>()?;
                continue;
            }
            if !seen.insert(key) {
                self.found.tell(format!("duplicate field {path:?}"));
            }
            map.next_value_seed(Scan { path, found: self.found, unknown: self.unknown })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn duplicates_are_named_by_their_path() {
        let text = br#"{"a": 1, "spec": {"x": [{"n": 1, "n": 2}], "x": 3}, "b": null}"#;
        let twice = |path: &str| format!("duplicate field {path:?}");
        assert_eq!(super::problems(text, &[]), [twice("spec.x[0].n"), twice("spec.x")]);
        assert!(super::problems(b"{broken", &[]).is_empty());
    }

    #[test]
    fn unknown_fields_stand_where_they_are_met() {
        let text = br#"{"spec": {"unknown": {"a": 1, "a": 2}, "n": 1, "n": 2, "unknown": 3}, "z": 1}"#;
        let unknown = ["z".to_string(), "spec.unknown".to_string()];
        assert_eq!(
            super::problems(text, &unknown),
            [r#"unknown field "spec.unknown""#, r#"duplicate field "spec.n""#, r#"unknown field "z""#]
        );
    }
}
