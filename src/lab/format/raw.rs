//! The front matter as it is written, before anything is checked or compiled.

use super::question::Form;
use super::text::Fault;
use crate::broken_shell::ShellFault;
use serde::de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::time::Duration;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lesson {
    pub id: String,
    pub title: String,
    pub track: String,
    pub order: u32,
    #[serde(default)]
    pub row: String,
    #[serde(default = "minutes")]
    pub minutes: u32,
    #[serde(default)]
    pub needs: Vec<String>,
    /// What to do alone when the lesson is finished.
    pub then: Option<Then>,
    #[serde(default)]
    pub requires: Vec<String>,
    pub cluster: Option<Cluster>,
    #[serde(default)]
    pub setup: Vec<String>,
    /// For every step that declares none.
    pub load: Option<Load>,
    /// Texts of files by their names.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    pub clock: Option<Clock>,
    /// Verbs of `fault` that its steps use, if the lesson names them.
    pub faults: Option<Vec<String>>,
    #[serde(default = "cluster")]
    pub view: String,
    /// Names for expressions, in order: a later one may use earlier ones.
    #[serde(default)]
    pub define: serde_json::Map<String, serde_json::Value>, // which keeps the order
    pub steps: Vec<Step>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Then {
    pub lab: Option<String>,
    #[serde(default)]
    pub drill: Vec<String>,
}

fn minutes() -> u32 {
    5
}
fn cluster() -> String {
    "cluster".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clock {
    pub scale: f64,
}

impl Lesson {
    /// How many times as fast as real time the cluster's clock is to run.
    pub(crate) fn scale(&self) -> f64 {
        let declared = self.cluster.as_ref().and_then(|cluster| cluster.clock);
        self.clock.as_ref().map(|clock| clock.scale).or(declared).unwrap_or(1.0)
    }
}

/// The cluster that is declared; what is not named is as usual.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Cluster {
    pub control_planes: Option<u8>,
    pub workers: Option<u8>,
    /// Of lessons: the same as `clock: {scale: N}`.
    pub clock: Option<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    pub id: String,
    pub task: String,
    pub view: Option<String>,
    pub predict: Option<Predict>,
    pub answer: Option<Answer>,
    pub check: Option<Checks>,
    pub hold: Option<Span>,
    pub within: Option<Span>,
    pub settle: Option<Span>,
    pub keep: Option<Keep>,
    pub lost: Option<Lost>,
    #[serde(default)]
    pub setup: Vec<String>,
    pub load: Option<Load>,
    #[serde(default)]
    pub shell: Vec<ShellFault>,
    #[serde(default)]
    pub faults: Vec<String>,
    #[serde(default)]
    pub requires: Vec<String>,
    #[serde(default)]
    pub optional: bool,
    #[serde(default)]
    pub hints: Vec<Hint>,
    pub solution: Vec<String>,
    #[serde(default)]
    pub also: Vec<Also>,
    #[serde(default)]
    pub wrong: Vec<Wrong>,
    #[serde(default)]
    pub debrief: Vec<String>,
    pub remember: Option<String>,
}

/// Requests to a Service that are sent in the background.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Load {
    pub service: String,
    pub namespace: Option<String>,
    pub port: Option<u16>,
    pub path: Option<String>,
    pub every: Option<Span>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Predict {
    pub question: String,
    pub choices: BTreeMap<String, String>,
    pub answer: String,
    pub because: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Answer {
    pub question: String,
    pub form: Form,
    pub is: Right,
    pub tolerance: Option<f64>,
    pub count: Option<usize>,
    pub choices: Option<BTreeMap<String, String>>,
    pub cards: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keep {
    pub is: String,
    pub say: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lost {
    pub when: String,
    pub say: String,
    pub repair: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    #[serde(default)]
    pub that: String,
    pub is: Option<String>,
    pub expect: Option<serde_json::Map<String, serde_json::Value>>,
    pub asked: Option<String>,
    /// The HTTP status with which the API server has answered the line of `asked`.
    pub code: Option<u16>,
}

impl Check {
    /// A check that is written as an expression alone.
    pub(crate) fn of(is: String) -> Check {
        Check { that: String::new(), is: Some(is), expect: None, asked: None, code: None }
    }
}

impl Checks {
    /// All of them; one expression is a check without a sentence.
    pub(crate) fn list(self) -> Vec<Check> {
        match self {
            Checks::One(is) => vec![Check::of(is)],
            Checks::Each(all) => all,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hint {
    pub id: Option<String>,
    pub tier: u8,
    pub when: Option<String>,
    pub say: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wrong {
    #[serde(rename = "do")]
    pub lines: Vec<String>,
    pub why: String,
}

// -- further languages: the same ids, texts only

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Words {
    pub id: String,
    pub title: String,
    pub steps: Vec<StepWords>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepWords {
    pub id: String,
    pub task: String,
    pub predict: Option<PredictWords>,
    pub answer: Option<AnswerWords>,
    #[serde(default)]
    pub check: Vec<String>,
    #[serde(default)]
    pub hints: BTreeMap<String, String>,
    pub keep: Option<String>,
    pub lost: Option<String>,
    pub remember: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PredictWords {
    pub question: String,
    pub choices: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerWords {
    pub question: String,
    pub choices: Option<BTreeMap<String, String>>,
    pub cards: Option<BTreeMap<String, String>>,
}

// -- beats

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Beat {
    #[serde(default)]
    pub with: serde_json::Map<String, serde_json::Value>, // which keeps the order
    pub when: Option<String>,
    pub say: String,
}

// -- the glossary

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Term {
    pub name: String,
    #[serde(default)]
    pub also: Vec<String>,
    pub say: String,
    #[serde(default)]
    pub see: Vec<String>,
    pub lesson: Option<String>,
    #[serde(rename = "try")]
    pub attempt: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TermWords {
    pub name: String,
    #[serde(default)]
    pub also: Vec<String>,
    pub say: String,
}

/// Lines of another way, or `{do, show}`. By hand, so that errors keep their line.
pub(crate) struct Also {
    pub lines: Vec<String>,
    /// The learner sees it when the step is done.
    pub show: bool,
}

impl<'de> Deserialize<'de> for Also {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Also, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Marked {
            #[serde(rename = "do")]
            lines: Vec<String>,
            #[serde(default)]
            show: bool,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Also;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of lines, or {do, show}")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Also, A::Error> {
                let lines = Vec::deserialize(de::value::SeqAccessDeserializer::new(seq))?;
                Ok(Also { lines, show: false })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Also, A::Error> {
                let marked = Marked::deserialize(de::value::MapAccessDeserializer::new(map))?;
                Ok(Also { lines: marked.lines, show: marked.show })
            }
        }
        from.deserialize_any(Either)
    }
}

/// One expression, or a list of them with a sentence each. By hand, so that errors keep their line.
pub(crate) enum Checks {
    One(String),
    Each(Vec<Check>),
}

impl<'de> Deserialize<'de> for Checks {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Checks, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Checks;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an expression, or a list of {that, is}, {that, expect} and {that, asked}")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Checks, E> {
                Ok(Checks::One(text.into()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Checks, A::Error> {
                let mut all = Vec::new();
                while let Some(check) = list.next_element()? {
                    all.push(check);
                }
                Ok(Checks::Each(all))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Checks, A::Error> {
                Check::deserialize(de::value::MapAccessDeserializer::new(map)).map(|c| Checks::Each(vec![c]))
            }
        }
        from.deserialize_any(Either)
    }
}

/// The right answer: an expression, or what is right itself. By hand, so that errors keep their
/// line.
pub(crate) enum Right {
    Expr(String),
    Number(f64),
    List(Vec<String>),
}

impl<'de> Deserialize<'de> for Right {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Right, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Right;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an expression, a number, or a list of texts")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Right, E> {
                Ok(Right::Expr(text.into()))
            }
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Right, E> {
                Ok(Right::Number(number as f64))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Right, E> {
                Ok(Right::Number(number as f64))
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Right, E> {
                Ok(Right::Number(number))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Right, A::Error> {
                let mut all = Vec::new();
                while let Some(text) = list.next_element()? {
                    all.push(text);
                }
                Ok(Right::List(all))
            }
        }
        from.deserialize_any(Any)
    }
}

/// What is wrong with a hint's tier, if anything is.
pub(crate) fn odd_tier(tier: u8) -> Option<String> {
    let known = (1..=3).contains(&tier);
    (!known).then(|| format!("tiers are 1 where to look, 2 what is wrong, 3 the command; not {tier}"))
}

/// Hints or checks of one step, task or lab, at most: all of them may be evaluated at each change.
const PARTS_MAX: usize = 100;

/// What is wrong with the number of parts, if anything is.
pub(crate) fn odd_number(parts: &str, number: usize) -> Option<String> {
    (number > PARTS_MAX).then(|| format!("there may be {PARTS_MAX} {parts} at most, not {number}"))
}

/// `500ms`, `3s`, `2m`; at most an hour, which is longer than a learner waits before a screen.
pub(crate) struct Span(pub Duration);

const SPAN_MAX: Duration = Duration::from_secs(3600);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Span, D::Error> {
        struct Text; // a visitor's errors keep their line
        impl Visitor<'_> for Text {
            type Value = Span;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as 500ms, 3s or 2m")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Span, E> {
                let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
                let number: Option<f64> = text[..text.len() - unit.len()].parse().ok();
                let scale = match unit {
                    "ms" => 0.001,
                    "s" => 1.0,
                    "m" => 60.0,
                    _ => f64::NAN,
                };
                let span = Duration::try_from_secs_f64(number.unwrap_or(f64::NAN) * scale);
                match span {
                    Ok(span) if span <= SPAN_MAX => Ok(Span(span)),
                    Ok(_) => Err(E::custom(format!("{text:?} is too long; write at most 60m"))),
                    Err(_) => Err(E::custom(format!("{text:?} is no duration; write 500ms, 3s or 2m"))),
                }
            }
        }
        from.deserialize_str(Text)
    }
}

/// Reads YAML that begins on line `first` of the file.
///
/// # Errors
/// It is no YAML, or not of this shape; of an unknown key the nearest known one is named. A key
/// that stands twice in one mapping is refused: most maps would keep the last. So is what would
/// take far more memory or time than its length.
pub(crate) fn read<T: DeserializeOwned>(yaml: &str, file: &Path, first: usize) -> Result<T, Fault> {
    if let Err(why) = api::yaml::judge(yaml) {
        return Err(Fault { file: file.into(), line: first, what: format!("the YAML {why}") });
    }
    let read = serde_yaml::from_str(yaml);
    // This type refuses double keys.
    let read = read.and_then(|read| serde_yaml::from_str::<serde_yaml::Value>(yaml).map(|_| read));
    read.map_err(|error| {
        let line = error.location().map_or(first, |l| first + l.line() - 1);
        let text = error.to_string();
        let text = text.split(" at line ").next().unwrap_or_default().to_string();
        Fault { file: file.into(), line, what: nearest(&text).unwrap_or(text) }
    })
}

/// The lines, from 1, on which the keys of a file begin that stand at its left edge; of a key that
/// stands twice, the first.
pub(super) fn key_lines(yaml: &str) -> HashMap<&str, usize> {
    let mut lines = HashMap::new();
    for (at, line) in yaml.lines().enumerate() {
        let is_key = !line.starts_with([' ', '\t', '-', '#']);
        if let Some((key, _)) = line.split_once(':').filter(|_| is_key) {
            lines.entry(key.trim_end().trim_matches(['"', '\''])).or_insert(at + 1);
        }
    }
    lines
}

/// serde names the unknown field and all that would do; people want the one they meant.
fn nearest(text: &str) -> Option<String> {
    let rest = &text[text.find("unknown field `")? + "unknown field `".len()..];
    let (unknown, rest) = rest.split_once('`')?;
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let near = known.iter().map(|k| (strsim::osa_distance(k, unknown), *k)).min()?;
    Some(match near {
        (distance, near) if distance <= 3 => format!("unknown key {unknown:?}; did you mean {near:?}?"),
        _ => format!("unknown key {unknown:?}; there are {}", known.join(", ")),
    })
}
