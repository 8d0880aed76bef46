//! Labs as files: `labs/NAME/lab.md` holds what machines read and English, `lab.ko.md` texts only.

use super::draw::{self, Choice, Choices};
use super::seal::sha256;
use crate::lab::cel::{Expr, Template, Use};
use crate::lab::format::{EN, Fault, OTHERS, Text};
use crate::lab::format::{prose, raw};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a task has to be true at grading, and how long the judge waits for it.
const HOLD: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(6);

mod written {
    use super::*;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Lab {
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
    pub struct Task {
        pub id: String,
        pub weight: u32,
        pub task: String,
        #[serde(default)]
        pub probe: Vec<String>,
        pub check: raw::Checks,
        pub unmet: Option<String>,
        pub hold: Option<raw::Span>,
        pub within: Option<raw::Span>,
        pub debrief: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Also {
        #[serde(rename = "if")]
        pub only: Option<String>,
        #[serde(rename = "do")]
        pub lines: Vec<String>,
    }

    /// A line, or `{if, do}`: lines that only some variants need. By hand, so that errors keep their line.
    pub struct Part(pub Also);

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
    pub struct Wrong {
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
    pub struct Words {
        pub id: String,
        pub title: String,
        pub tasks: BTreeMap<String, String>,
        #[serde(default)]
        pub hints: BTreeMap<String, String>,
        #[serde(default)]
        pub debrief: BTreeMap<String, String>,
        pub remember: Option<String>,
    }
}

/// A lab as it was read, before its values are drawn.
#[derive(Clone, Debug)]
pub struct Lab {
    pub id: String,
    pub title: Text,
    pub row: String,
    pub level: u8,
    pub minutes: u32,
    pub needs: Vec<String>,
    pub requires: Vec<String>,
    pub choices: Choices,
    pub derived: Vec<(String, Expr)>,
    pub setup: Vec<Also>,
    pub ready_when: Option<Expr>,
    pub tasks: Vec<Task>,
    pub hints: Vec<Hint>,
    pub solution: Vec<Also>,
    pub also: Vec<Also>,
    pub wrong: Vec<Wrong>,
    pub remember: Text,
    pub intro: Text,
    pub languages: Vec<String>,
    /// Hash of `lab.md`.
    pub content: String,
    pub file: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub id: String,
    pub weight: u32,
    pub task: Text,
    /// What the judge does first, as the teacher, and takes back afterwards.
    pub probe: Vec<String>,
    /// Sentence (may be empty) and expression.
    pub checks: Vec<(String, Expr)>,
    pub unmet: Option<String>,
    pub hold: Duration,
    pub within: Duration,
    pub debrief: Text,
}

#[derive(Clone, Debug)]
pub struct Hint {
    pub id: String,
    pub tier: u8,
    pub when: Option<Expr>,
    pub say: Text,
}

/// Lines, for all variants or for those of which `only` is true.
#[derive(Clone, Debug)]
pub struct Also {
    pub only: Option<String>,
    pub lines: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct Wrong {
    pub only: Option<String>,
    pub red: Vec<String>,
    pub score_max: Option<u32>,
    pub why: String,
    pub lines: Vec<String>,
}

impl Lab {
    /// All that its texts and expressions may name: drawn and derived.
    pub fn variant(&self, seed: u64) -> Result<Map<String, Value>, String> {
        draw::derive(&draw::draw(&self.id, seed, &self.choices), &self.derived)
    }

    /// The lines of those parts that a variant needs.
    pub fn lines(parts: &[Also], variant: &Map<String, Value>) -> Vec<String> {
        let needed = parts.iter().filter(|p| draw::fits(p.only.as_deref(), variant));
        needed.flat_map(|p| p.lines.iter().cloned()).collect()
    }

    pub fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let tasks = self.tasks.iter().flat_map(|t| t.checks.iter().map(|(_, e)| e));
        tasks.chain(&self.ready_when).chain(self.hints.iter().filter_map(|h| h.when.as_ref()))
    }
}

/// All labs: those in the binary, or those in a directory.
#[derive(Clone, Debug, Default)]
pub struct Labs {
    pub labs: Vec<Lab>,
    pub faults: Vec<Fault>,
}

static BUILT_IN: include_dir::Dir<'_> = include_dir::include_dir!("$CARGO_MANIFEST_DIR/labs");

/// The variable that names a directory to read labs from, instead of those in the binary.
pub const DIRECTORY: &str = "ROPEWALK_LABS";

pub fn directory() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).filter(|d| !d.is_empty()).map(PathBuf::from)
}

impl Labs {
    pub fn load() -> Labs {
        match directory() {
            Some(directory) => Labs::read(&directory),
            None => Labs::built_in(),
        }
    }

    pub fn built_in() -> Labs {
        let text = |dir: &include_dir::Dir<'_>, name: &str| {
            let file = dir.get_file(dir.path().join(name))?;
            Some((Path::new("labs").join(file.path()), file.contents_utf8()?.to_string()))
        };
        let mut labs = Labs::default();
        for dir in BUILT_IN.dirs() {
            labs.add(|name| text(dir, name));
        }
        labs.sorted()
    }

    /// From a directory laid out as `NAME/lab.md`.
    pub fn read(directory: &Path) -> Labs {
        let mut labs = Labs::default();
        for dir in std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path()) {
            labs.add(|name| {
                let path = dir.join(name);
                std::fs::read_to_string(&path).ok().map(|text| (path, text))
            });
        }
        if labs.labs.is_empty() && labs.faults.is_empty() {
            labs.faults.push(Fault {
                file: directory.into(),
                line: 1,
                what: "there are no labs here".into(),
            });
        }
        labs.sorted()
    }

    fn add(&mut self, text: impl Fn(&str) -> Option<(PathBuf, String)>) {
        let Some((file, english)) = text("lab.md") else { return };
        let others: Vec<(&str, (PathBuf, String))> =
            OTHERS.iter().filter_map(|lang| Some((*lang, text(&format!("lab.{lang}.md"))?))).collect();
        match parse(&english, &file, &others) {
            Ok(lab) => self.labs.push(lab),
            Err(faults) => self.faults.extend(faults),
        }
    }

    fn sorted(mut self) -> Labs {
        self.labs.sort_by(|a, b| (a.level, &a.id).cmp(&(b.level, &b.id)));
        self
    }

    pub fn get(&self, id: &str) -> Option<&Lab> {
        self.labs.iter().find(|l| l.id == id)
    }
}

/// Notes what is wrong, and on which line.
struct On<'a> {
    text: &'a str,
    file: &'a Path,
    faults: Vec<Fault>,
}

impl On<'_> {
    fn fault(&mut self, near: &str, what: String) {
        let begin: String = near.lines().next().unwrap_or_default().chars().take(50).collect();
        let plain = |l: &str| l.replace("''", "'").replace("\\\"", "\"");
        let line = self.text.lines().position(|l| l.contains(&begin) || plain(l).contains(&begin));
        self.faults.push(Fault { file: self.file.into(), line: line.map_or(1, |n| n + 1), what });
    }
    fn expr(&mut self, source: &str, place: Use) -> Option<Expr> {
        Expr::compile(source, place, &[]).map_err(|e| self.fault(source, e.to_string())).ok()
    }
    /// Every `{{key}}` is known, and every `${…}` compiles.
    fn text(&mut self, text: &str, sample: &Map<String, Value>, template: bool) {
        match draw::fill(text, sample) {
            Err(key) => self.fault(text, format!("there is no {{{{{key}}}}} among variants and derive")),
            Ok(filled) if template => {
                if let Err(error) = Template::compile(&filled, Use::Hint, &[]) {
                    self.fault(text, error.to_string());
                }
            }
            Ok(_) => {}
        }
    }
}

fn choices(written: &Map<String, Value>, on: &mut On<'_>) -> Choices {
    let mut all = Choices::new();
    for (key, value) in written {
        let of = value.as_object().and_then(|o| if o.len() == 1 { o.iter().next() } else { None });
        let choice = match of.map(|(how, list)| (how.as_str(), list.as_array())) {
            Some(("pick", Some(list))) if !list.is_empty() => Some(Choice::Pick(list.clone())),
            Some(("range", Some(ends))) => {
                match (ends.first().and_then(Value::as_i64), ends.get(1).and_then(Value::as_i64)) {
                    (Some(low), Some(high)) if low <= high && ends.len() == 2 => {
                        Some(Choice::Range(low, high))
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        match choice {
            Some(choice) => all.push((key.clone(), choice)),
            None => on.fault(
                &format!("{key}:"),
                format!("{key}: write {{pick: [A, B]}} or {{range: [LOW, HIGH]}}"),
            ),
        }
    }
    all
}

/// Reads a lab and its other languages.
pub fn parse(text: &str, file: &Path, others: &[(&str, (PathBuf, String))]) -> Result<Lab, Vec<Fault>> {
    let mut on = On { text, file, faults: vec![] };
    let (front, first, body, _) = prose::split(text, file).map_err(|f| vec![f])?;
    let raw: written::Lab = raw::read(front, file, first).map_err(|f| vec![f])?;
    let folder = file.parent().and_then(|d| d.file_name()).and_then(|n| n.to_str());
    if folder.is_some_and(|f| f != raw.id) {
        on.fault(
            "id:",
            format!(
                "the lab is called {:?} and lies in the directory {:?}",
                raw.id,
                folder.unwrap_or_default()
            ),
        );
    }
    let choices = choices(&raw.variants, &mut on);
    let mut derived = Vec::new();
    for (key, source) in &raw.derive {
        let source = source.as_str().unwrap_or_default();
        if let Some(expr) = on.expr(source, Use::Check) {
            derived.push((key.clone(), expr));
        }
    }
    let sample = draw::derive(&draw::draw(&raw.id, 1, &choices), &derived).unwrap_or_else(|why| {
        on.fault("derive:", why);
        Map::new()
    });
    let intro = body.trim();
    on.text(intro, &sample, false);
    let also = |a: written::Also| Also { only: a.only, lines: a.lines };
    let setup: Vec<Also> = raw.setup.into_iter().map(|p| also(p.0)).collect();
    let solution: Vec<Also> = raw.solution.into_iter().map(|p| also(p.0)).collect();
    let more: Vec<Also> = raw.also.into_iter().map(also).collect();
    let parts = || setup.iter().chain(&solution).chain(&more);
    let lines = parts().flat_map(|p| &p.lines).chain(raw.wrong.iter().flat_map(|w| &w.lines));
    for line in lines.chain(raw.tasks.iter().flat_map(|t| &t.probe)) {
        on.text(line, &sample, false);
    }
    let conditions = parts().filter_map(|p| p.only.as_ref());
    for only in conditions.chain(raw.wrong.iter().filter_map(|w| w.only.as_ref())) {
        on.expr(only, Use::Check);
    }
    let ready_when = raw.ready_when.as_ref().and_then(|r| on.expr(r, Use::Check));
    let mut tasks: Vec<Task> = Vec::new();
    for task in raw.tasks {
        if tasks.iter().any(|t| t.id == task.id) {
            on.fault(&format!("id: {}", task.id), format!("two tasks are called {:?}", task.id));
        }
        on.text(&task.task, &sample, false);
        on.text(task.debrief.as_deref().unwrap_or_default(), &sample, true);
        let written = match task.check {
            raw::Checks::One(is) => vec![(String::new(), is)],
            raw::Checks::Each(all) => all.into_iter().map(|c| (c.that, c.is)).collect(),
        };
        let checks: Vec<(String, Expr)> =
            written.into_iter().filter_map(|(that, is)| Some((that, on.expr(&is, Use::Check)?))).collect();
        tasks.push(Task {
            id: task.id,
            weight: task.weight,
            task: Text::new(&task.task),
            probe: task.probe,
            checks,
            unmet: task.unmet,
            hold: task.hold.map_or(HOLD, |s| s.0),
            within: task.within.map_or(WITHIN, |s| s.0),
            debrief: Text::new(task.debrief.as_deref().unwrap_or_default()),
        });
    }
    if tasks.iter().map(|t| t.weight).sum::<u32>() == 0 {
        on.fault("tasks:", "the tasks of a lab weigh something".into());
    }
    for wrong in &raw.wrong {
        if let Some(odd) = wrong.red.iter().find(|id| tasks.iter().all(|t| t.id != **id)) {
            on.fault(&wrong.why, format!("there is no task {odd:?}"));
        }
        if wrong.red.is_empty() && wrong.score_max.is_none() {
            on.fault(&wrong.why, "say which tasks stay red (red) or what it may earn (score_max)".into());
        }
    }
    let mut hints: Vec<Hint> = Vec::new();
    for (at, hint) in raw.hints.into_iter().enumerate() {
        on.text(&hint.say, &sample, true);
        let when = hint.when.and_then(|w| on.expr(&w, Use::Check));
        hints.push(Hint {
            id: hint.id.unwrap_or_else(|| (at + 1).to_string()),
            tier: hint.tier,
            when,
            say: Text::new(&hint.say),
        });
    }
    let mut lab = Lab {
        id: raw.id,
        title: Text::new(&raw.title),
        row: raw.row,
        level: raw.level,
        minutes: raw.minutes,
        needs: raw.needs,
        requires: raw.requires,
        choices,
        derived,
        setup,
        ready_when,
        tasks,
        hints,
        solution,
        also: more,
        wrong: raw
            .wrong
            .into_iter()
            .map(|w| Wrong { only: w.only, red: w.red, score_max: w.score_max, why: w.why, lines: w.lines })
            .collect(),
        remember: Text::new(raw.remember.as_deref().unwrap_or_default()),
        intro: Text::new(intro),
        languages: vec![EN.into()],
        content: sha256(text.as_bytes()),
        file: file.into(),
    };
    let mut faults = on.faults;
    for (lang, (path, text)) in others {
        faults.extend(translate(&mut lab, lang, text, path, &sample));
    }
    if faults.is_empty() { Ok(lab) } else { Err(faults) }
}

/// Adds a language; whatever differs in structure is a fault.
fn translate(lab: &mut Lab, lang: &str, text: &str, file: &Path, sample: &Map<String, Value>) -> Vec<Fault> {
    let (front, first, body, _) = match prose::split(text, file) {
        Ok(parts) => parts,
        Err(fault) => return vec![fault],
    };
    let words: written::Words = match raw::read(front, file, first) {
        Ok(words) => words,
        Err(fault) => return vec![fault],
    };
    let mut on = On { text, file, faults: vec![] };
    if words.id != lab.id {
        on.fault("id:", format!("the id is {:?}, in English {:?}", words.id, lab.id));
    }
    let same = |what: &str, here: &BTreeMap<String, String>, english: Vec<&String>, on: &mut On<'_>| {
        let mut english = english;
        english.sort();
        let here: Vec<&String> = here.keys().collect();
        if here != english {
            on.fault(&format!("{what}:"), format!("the {what} are {here:?}, in English {english:?}"));
        }
    };
    same("tasks", &words.tasks, lab.tasks.iter().map(|t| &t.id).collect(), &mut on);
    same("hints", &words.hints, lab.hints.iter().map(|h| &h.id).collect(), &mut on);
    let told = lab.tasks.iter().filter(|t| !t.debrief.get(EN).is_empty()).map(|t| &t.id).collect();
    same("debrief", &words.debrief, told, &mut on);
    if lab.remember.get(EN).is_empty() != words.remember.is_none() {
        on.fault("remember", "`remember` stands in one language only".into());
    }
    let plain = words.tasks.values().map(|t| (t, false));
    for (text, template) in plain.chain(words.hints.values().chain(words.debrief.values()).map(|t| (t, true)))
    {
        on.text(text, sample, template);
    }
    on.text(body.trim(), sample, false);
    if prose::code_blocks(lab.intro.get(EN)) != prose::code_blocks(body) {
        on.fault("```", "the code blocks differ from the English ones".into());
    }
    lab.title.put(lang, &words.title);
    lab.intro.put(lang, body.trim());
    lab.remember.put(lang, words.remember.as_deref().unwrap_or_default());
    for task in &mut lab.tasks {
        task.task.put(lang, words.tasks.get(&task.id).map_or("", String::as_str));
        task.debrief.put(lang, words.debrief.get(&task.id).map_or("", String::as_str));
    }
    for hint in &mut lab.hints {
        hint.say.put(lang, words.hints.get(&hint.id).map_or("", String::as_str));
    }
    lab.languages.push(lang.into());
    on.faults
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAB: &str = include_str!("../../../labs/broken-selector/lab.md");
    const KOREAN: &str = include_str!("../../../labs/broken-selector/lab.ko.md");

    fn read(english: &str, korean: &str) -> Result<Lab, Vec<String>> {
        let other = ("ko", (PathBuf::from("broken-selector/lab.ko.md"), korean.to_string()));
        parse(english, Path::new("broken-selector/lab.md"), &[other])
            .map_err(|all| all.iter().map(ToString::to_string).collect())
    }
    fn broken(from: &str, to: &str) -> String {
        assert!(LAB.contains(from), "{from}");
        read(&LAB.replacen(from, to, 1), KOREAN).unwrap_err().join("\n")
    }

    #[test]
    fn what_is_in_the_binary_is_sound() {
        let labs = Labs::built_in();
        assert_eq!(labs.faults, []);
        assert!(labs.labs.iter().all(|l| l.languages == ["en", "ko"] && l.wrong.len() >= 3));
        assert!(labs.labs.iter().all(|l| l.tasks.iter().map(|t| t.weight).sum::<u32>() == 100));
    }

    #[test]
    fn slips_are_told_with_file_line_and_what_was_meant() {
        assert!(broken("minutes:", "minuts:").contains("did you mean \"minutes\"?"));
        assert!(broken("weight: 40", "wieght: 40").contains("did you mean \"weight\"?"));
        assert!(broken("namespace {{ns}}", "namespace {{nss}}").contains("there is no {{nss}}"));
        assert!(broken("{pick: [value, key]}", "{pik: [value, key]}").contains("{pick: [A, B]}"));
        assert!(broken("red: [traffic, durable]", "red: [trafic]").contains("there is no task \"trafic\""));
        assert!(broken("id: broken-selector", "id: other").contains("in the directory"));
        assert!(read(LAB, &KOREAN.replace("  same:", "  sane:")).unwrap_err()[0].contains("in English"));
        assert!(
            read(LAB, &KOREAN.replace("{{app}}", "{{ap}}")).unwrap_err()[0]
                .starts_with("broken-selector/lab.ko.md:")
        );
    }
}
