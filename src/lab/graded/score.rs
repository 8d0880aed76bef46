//! From verdicts to a grade: arithmetic, and the record that is signed. Pure.

use crate::format::Text;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// What the judge found of one task.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Found {
    /// The id of the task.
    pub id: String,
    /// The points that it is worth.
    pub weight: u32,
    /// It has earned them.
    pub green: bool,
    /// Milliseconds from the start until it became green for good.
    pub at_ms: u64,
    /// The store's revision at that moment.
    pub revision: i64,
    /// The first thing that is not so.
    pub unmet: String,
    /// What is not so, as a sentence for the learner; empty: the task itself says it all.
    pub told: Text,
    /// The parts of the check that are not so, as they stand in the lab's file, if they were asked
    /// for ([`super::view::Ask::Grade`]).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<String>,
}

/// Why a task is red.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Red {
    /// For the record, in English.
    pub unmet: String,
    /// For the learner.
    pub told: Text,
}

impl Found {
    /// Makes the task red for this reason.
    pub(crate) fn turn_red(&mut self, why: Red) {
        (self.green, self.unmet, self.told) = (false, why.unmet, why.told);
    }
}

/// What a learner was helped by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Used {
    pub hints: u32,
    pub undo: u32,
    pub solve: bool,
}

/// What was done too late does not count. `changed`: a person has changed something after the
/// limit; a state that was not changed since is the state at the limit, however late it is judged,
/// and whatever controllers have made of it meanwhile.
pub(crate) fn in_time(found: &mut [Found], limit_ms: u64, changed: bool, late: &Red) {
    if !changed {
        return;
    }
    for task in found.iter_mut().filter(|t| t.green && t.at_ms > limit_ms) {
        task.turn_red(late.clone());
    }
}

/// A task that only says what has to stay as it was is no work of its own: it counts only if the
/// tasks count that it goes with. `with` returns those of a task, and why it is red if one of them
/// does not count.
pub(crate) fn together(found: &mut [Found], with: impl Fn(&str) -> (Vec<String>, Red)) {
    let green = found.iter().filter(|t| t.green).map(|t| t.id.clone()).collect();
    let counted = counted(green, |id| with(id).0);
    for task in found.iter_mut().filter(|t| t.green && !counted.contains(&t.id)) {
        task.turn_red(with(&task.id).1);
    }
}

/// Of tasks that are green by themselves, those that count. `with`: those that a task goes with.
///
/// Example: `a` goes with `b`, and `b` with `c`, which is red: neither of the two counts.
pub(crate) fn counted(mut green: BTreeSet<String>, with: impl Fn(&str) -> Vec<String>) -> BTreeSet<String> {
    loop {
        let lacks = |id: &String| with(id).iter().any(|needed| !green.contains(needed));
        let count = green.iter().filter(|id| !lacks(id)).cloned().collect();
        if green == count {
            return count;
        }
        green = count;
    }
}

/// Points of all green tasks, and of all tasks.
pub fn points(found: &[Found]) -> (u32, u32) {
    let sum = |only: fn(&&Found) -> bool| found.iter().filter(only).map(|t| t.weight).sum();
    (sum(|t| t.green), sum(|_| true))
}

/// What stands in a record beside the verdicts.
#[derive(Clone, Debug, Default)]
pub(crate) struct About {
    pub lab: String,
    pub seed: u64,
    pub variant: Map<String, Value>,
    pub learner: String,
    pub started: String,
    pub ended: String,
    pub limit_s: u64,
    pub used: Used,
    /// Hash of the lab's file.
    pub content: String,
    /// Where the lab was read from: `built-in`, or a directory.
    pub labs: String,
    /// `{starts, seed_starts, gradings, earlier_gradings, earlier_solves, lost, earlier_hints,
    /// gave_up, earlier_gave_up, earlier_left, book_deleted}`
    pub attempts: Value,
    /// What was kept of the open lab was edited, deleted or put back.
    pub tampered: bool,
    /// `{format, from, to, records, head}`; without a format it is of a program whose chain left
    /// the objects' bytes out.
    pub trace: Value,
}

/// The record, not yet signed.
pub(crate) fn record(about: &About, found: &[Found]) -> Map<String, Value> {
    let (score, max) = points(found);
    let tasks: Vec<Value> = found
        .iter()
        .map(|t| match t.green {
            true => json!({"id": t.id, "weight": t.weight, "points": t.weight, "verdict": "green", "at_s": seconds(t.at_ms), "revision": t.revision}),
            false => json!({"id": t.id, "weight": t.weight, "points": 0, "verdict": "red", "unmet": t.unmet}),
        })
        .collect();
    let record = json!({
        "schema": 1, "lab": about.lab, "seed": about.seed, "variant": about.variant, "learner": about.learner,
        "started": about.started, "ended": about.ended, "limit_s": about.limit_s,
        "score": score, "max": max, "passed": score == max && !about.used.solve && !about.tampered, "tasks": tasks,
        "used": about.used, "attempts": about.attempts, "tampered": about.tampered, "content": about.content, "labs": about.labs, "ropewalk": env!("CARGO_PKG_VERSION"), "trace": about.trace,
    });
    match record {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Seconds with whole milliseconds.
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// A record as lines for a spreadsheet, one a task, under a heading.
pub fn csv(record: &Value) -> String {
    let mut out = String::from(
        "lab,seed,learner,started,ended,score,max,passed,task,weight,points,verdict,at_s,unmet\n",
    );
    for task in record["tasks"].as_array().into_iter().flatten() {
        let of_all =
            ["lab", "seed", "learner", "started", "ended", "score", "max", "passed"].map(|k| &record[k]);
        let own = ["id", "weight", "points", "verdict", "at_s", "unmet"].map(|k| &task[k]);
        let line: Vec<String> = of_all.into_iter().chain(own).map(cell).collect();
        out.push_str(&(line.join(",") + "\n"));
    }
    out
}

/// A cell of a spreadsheet (RFC 4180). What it would take for a formula is made a text: some
/// programs drop white space that a cell begins with, some take a tab, a line's end or a NUL itself
/// for the beginning of one, and East Asian editions take full-width signs for the narrow ones.
/// Source: OWASP, CSV Injection, and ASVS 5.0, 1.2.10.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text)
            if text.starts_with(['\t', '\r', '\n', '\0'])
                || text.trim_start().starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠']) =>
        {
            format!("'{text}")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    }
}

/// What a wrong answer was expected to come to, and did not. `red` names tasks that have to stay
/// red, `most` exactly what it earns; without either it must not earn everything.
pub fn too_good(found: &[Found], red: &[String], most: Option<u32>) -> Option<String> {
    let (score, max) = points(found);
    if let Some(task) = found.iter().find(|t| t.green && red.contains(&t.id)) {
        return Some(format!("{} is green and has to stay red", task.id));
    }
    match most {
        Some(most) if score > most => Some(format!("{score} points, at most {most} were expected")),
        Some(most) if score < most => Some(format!("{score} points, {most} were expected: {}", reds(found))),
        None if score == max => Some("full marks".into()),
        _ => None,
    }
}

/// The tasks that are red, and why.
pub fn reds(found: &[Found]) -> String {
    let part = |part: &String| format!("\n      not so: {part}");
    let told =
        |t: &Found| format!("{} red ({}){}", t.id, t.unmet, t.parts.iter().map(part).collect::<String>());
    found.iter().filter(|t| !t.green).map(told).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(id: &str, weight: u32, green: bool, at_ms: u64) -> Found {
        Found { id: id.into(), weight, green, at_ms, revision: 7, unmet: "it".into(), ..Found::default() }
    }

    #[test]
    fn a_record_has_points_for_what_is_green() {
        let all = [found("a", 40, true, 301_204), found("b", 10, false, 0)];
        let about = About { lab: "l".into(), seed: 417, limit_s: 600, ..About::default() };
        let told = Value::Object(record(&about, &all));
        assert_eq!((&told["score"], &told["max"], &told["passed"]), (&json!(40), &json!(50), &json!(false)));
        assert_eq!(
            told["tasks"],
            json!([{"id": "a", "weight": 40, "points": 40, "verdict": "green", "at_s": 301.204, "revision": 7},
                {"id": "b", "weight": 10, "points": 0, "verdict": "red", "unmet": "it"}])
        );
        let full = Value::Object(record(&about, &all[..1]));
        assert_eq!((&full["score"], &full["passed"]), (&json!(40), &json!(true)));
    }

    #[test]
    fn a_played_solution_does_not_pass() {
        let about = About { used: Used { solve: true, ..Used::default() }, ..About::default() };
        let told = Value::Object(record(&about, &[found("a", 1, true, 5)]));
        assert_eq!((&told["score"], &told["passed"]), (&json!(1), &json!(false)));
        let about = About { tampered: true, ..About::default() };
        let told = Value::Object(record(&about, &[found("a", 1, true, 5)]));
        assert_eq!((&told["tampered"], &told["passed"]), (&json!(true), &json!(false)));
    }

    #[test]
    fn what_comes_after_the_limit_does_not_count() {
        let all = || vec![found("early", 1, true, 10), found("late", 1, true, 99), found("red", 1, false, 0)];
        let judged = |changed| {
            let mut all = all();
            in_time(&mut all, 50, changed, &Red { unmet: "late".into(), told: Text::new("too late") });
            assert_eq!((all[1].unmet == "late", all[1].told.get("ko") == "too late"), (changed, changed));
            all.iter().map(|t| t.green).collect::<Vec<_>>()
        };
        assert_eq!(judged(true), [true, false, false]);
        // Nothing was changed after the limit: only the judge is late.
        assert_eq!(judged(false), [true, true, false]);
    }

    #[test]
    fn wrong_answers_have_bounds() {
        let all = [found("a", 60, true, 0), found("b", 40, false, 0)];
        let red = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(too_good(&all, &red(&["b"]), None), None);
        assert!(too_good(&all, &red(&["a"]), None).is_some());
        assert_eq!(too_good(&all, &[], Some(60)), None);
        assert!(too_good(&all, &[], Some(50)).is_some() && too_good(&all, &[], Some(70)).is_some());
        assert_eq!(too_good(&all, &[], None), None);
        assert!(too_good(&all[..1], &[], None).is_some());
    }

    #[test]
    fn cells_survive_a_spreadsheet() {
        assert_eq!(cell(&json!("a,\"b\"")), "\"a,\"\"b\"\"\"");
        assert_eq!(
            (cell(&json!("=1+1")), cell(&json!(1.5)), cell(&json!(null))),
            ("'=1+1".into(), "1.5".into(), "".into())
        );
        for begin in ["\t", "\r", "\0", " \u{a0}", "\n "] {
            let hidden = cell(&json!(format!("{begin}=HYPERLINK(1)")));
            assert!(hidden.trim_start_matches('"').starts_with('\''), "{hidden:?}");
        }
        assert_eq!((cell(&json!("\tx")), cell(&json!(" x"))), ("'\tx".into(), " x".into()));
        assert_eq!(cell(&json!("＝1＋1")), "'＝1＋1");
        let about = About { learner: "Kim, Ada".into(), ..About::default() };
        let text = csv(&Value::Object(record(&about, &[found("a", 1, true, 5), found("b", 1, false, 0)])));
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains("\"Kim, Ada\"") && text.contains(",b,1,0,red,,it"));
    }

    #[test]
    fn nothing_is_earned_by_leaving_everything_as_it_is() {
        let found = |green| -> Vec<Found> {
            let task = |id: &str, green| Found { id: id.into(), weight: 50, green, ..Found::default() };
            let mut found = vec![task("traffic", green), task("same", true)];
            let with = |id: &str| match id {
                "same" => {
                    let why = Red { unmet: "only with traffic".into(), ..Red::default() };
                    (vec!["traffic".to_string()], why)
                }
                _ => (vec![], Red::default()),
            };
            together(&mut found, with);
            found
        };
        assert_eq!((points(&found(false)).0, points(&found(true)).0), (0, 100));
        assert_eq!(found(false)[1].unmet, "only with traffic");
    }

    #[test]
    fn a_task_counts_with_what_counts_itself() {
        let with = |id: &str| -> Vec<String> {
            let needed = match id {
                "a" => "b",
                "b" => "c",
                "d" => "e",
                "e" => "d",
                _ => return vec![],
            };
            vec![needed.to_string()]
        };
        let mut all = ["a", "b", "c", "d", "e"].map(|id| found(id, 20, id != "c", 0));
        together(&mut all, |id| (with(id), Red::default()));
        assert_eq!(all.map(|task| task.green), [false, false, false, true, true]);
        let mut all = ["a", "b", "c"].map(|id| found(id, 20, true, 0));
        together(&mut all, |id| (with(id), Red::default()));
        assert!(all.iter().all(|task| task.green));
    }
}
