//! `lab.md` as it is written, before anything is checked or compiled.

use crate::format::raw;
use crate::observe::who::Meddling;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lab {
    pub id: String,
    pub title: String,
    #[serde(default)]
    pub row: String,
    pub level: u8,
    pub minutes: u32,
    #[serde(default)]
    pub needs: Vec<String>,
    #[serde(default)]
    pub requires: Vec<String>,
    pub cluster: Option<raw::Cluster>,
    /// serde_json's map keeps the order.
    #[serde(default)]
    pub variants: Map<String, Value>,
    #[serde(default)]
    pub derive: Map<String, Value>,
    #[serde(default)]
    pub setup: Vec<Part>,
    pub ready_when: Option<String>,
    pub tasks: Vec<Task>,
    #[serde(default)]
    pub hints: Vec<raw::Hint>,
    pub solution: Vec<Part>,
    #[serde(default)]
    pub also: Vec<Also>,
    #[serde(default)]
    pub wrong: Vec<Wrong>,
    pub remember: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Task {
    pub id: String,
    pub weight: u32,
    pub task: String,
    #[serde(default)]
    pub probe: Vec<String>,
    pub check: raw::Checks,
    pub lost: Option<String>,
    pub unmet: Option<String>,
    pub hold: Option<raw::Span>,
    pub within: Option<raw::Span>,
    pub debrief: Option<String>,
    #[serde(default)]
    pub only_with: Vec<String>,
    #[serde(default)]
    pub excludes: Vec<Meddling>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Also {
    #[serde(rename = "if")]
    pub only: Option<String>,
    #[serde(rename = "do")]
    pub lines: Vec<String>,
}

/// A line, or `{if, do}`: lines that only some variants need. By hand, so that errors keep their
/// line.
pub(super) struct Part(pub Also);

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Part, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Part;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a line, or {if, do}")
            }
            fn visit_str<E: de::Error>(self, line: &str) -> Result<Part, E> {
                Ok(Part(Also { only: None, lines: vec![line.into()] }))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Part, A::Error> {
                Also::deserialize(de::value::MapAccessDeserializer::new(map)).map(Part)
            }
        }
        from.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wrong {
    #[serde(rename = "if")]
    pub only: Option<String>,
    #[serde(default)]
    pub red: Vec<String>,
    pub score_max: Option<u32>,
    pub why: String,
    #[serde(rename = "do")]
    pub lines: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Words {
    pub id: String,
    pub title: String,
    pub tasks: BTreeMap<String, String>,
    #[serde(default)]
    pub hints: BTreeMap<String, String>,
    #[serde(default)]
    pub debrief: BTreeMap<String, String>,
    /// What a task says when it is red, by its id; of a task with a list of checks, their
    /// sentences.
    #[serde(default)]
    pub unmet: BTreeMap<String, String>,
    #[serde(default)]
    pub check: BTreeMap<String, Vec<String>>,
    pub remember: Option<String>,
}
