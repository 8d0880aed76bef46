//! What an evaluation may know: a snapshot, cheap to take, that never changes.

mod forgotten;
mod objects;

use super::call::Call;
use super::memo::{Element, Frame, Fresh, Memo};
use super::value::{self, int_field, str_field};
use super::version::Version;
use api::kinds::{self, Kind};
use api::labels::Selector;
use cel::Value;
use cluster::guest::Inside;
pub(crate) use forgotten::Forgotten;
pub(crate) use objects::{Object, Objects, key, named, within};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Names that stand for values.
pub(crate) const VARIABLES: &[&str] = &["since_step", "now", "trace", "v", "typed", "ran"];

/// The name of the learner's answer. It is bound in steps that ask for one, and nowhere else.
pub(crate) const ANSWER: &str = "answer";

/// Versions of objects by (plural, namespace, name), each list oldest first.
pub(crate) type Versions = BTreeMap<(String, String, String), Arc<Vec<Arc<Version>>>>;

/// Begins the error of an expression that asks for what is no longer kept.
pub(crate) const UNKNOWN: &str = "cannot be known";

/// So many questions to the network one snapshot asks at most, and so many are out at once. Each
/// takes a connection, and packs of strangers may write what they like.
pub(crate) const QUESTIONS_MAX: usize = 2_000;

/// Something that has to be asked over the network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Probe {
    /// The n-th request of this form within one evaluation.
    Http {
        call: Call,
        nth: usize,
    },
    /// The n-th request to the URL within one evaluation, from every node.
    Within {
        url: String,
        nth: usize,
    },
    Exec {
        target: String,
        command: String,
        nth: usize,
    },
    /// Every line of the answer begins with the time at which it was written.
    Logs {
        target: String,
    },
    Can {
        user: String,
        verb: String,
        resource: String,
        namespace: String,
    },
    /// What became of the load that the step declares.
    Load,
    /// The contexts of the learner's kubeconfig.
    Contexts,
    /// How the learner's shell stands, which the step has broken.
    Shell,
    Inside(Inside),
}

/// A line of the learner's that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pub line: String,
    /// Its exit code.
    pub code: i32,
    /// When it ended.
    pub at: jiff::Timestamp,
    /// The programs that then ran in the background of its shell.
    pub running: Vec<String>,
    /// The programs that ran there before it, also before the first line of a step.
    pub running_before: Vec<String>,
    /// A directory of its shell's `PATH` then had kubectl; true where no step has broken the shell.
    pub kubectl: bool,
}

/// What an evaluation missed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub kinds: BTreeSet<String>,
    pub probes: BTreeSet<Probe>,
    /// Answers that were used.
    pub(crate) used: BTreeSet<Probe>,
    /// Kinds of which the objects at the step's beginning are needed.
    pub before: BTreeSet<String>,
}

/// What expressions are evaluated against: one snapshot of the cluster and of what the learner did.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub objects: HashMap<String, Objects>,
    pub history: Arc<Versions>,
    /// What is missing of it.
    pub forgotten: Arc<Forgotten>,
    pub trace: Arc<Vec<Value>>,
    /// The numbers, within this step, of the first records in `trace`: those that are kept longer
    /// than their neighbours.
    pub trace_kept: Arc<Vec<u64>>,
    /// The number of the first record after these; from there on none is left out.
    pub trace_from: u64,
    /// Changes when history or trace are not continued but replaced.
    pub epoch: u64,
    /// Versions that the recorder has taken so far.
    pub versions: u64,
    /// How often the objects of a kind (qualified plural) have changed. Empty: they are not
    /// counted, and no truth is remembered.
    pub generations: HashMap<String, u64>,
    /// Objects as they were when the step began, by qualified plural. `None`: they are read from
    /// the history.
    pub before: Option<HashMap<String, Objects>>,
    /// Kinds, by qualified plural, of which it is no longer known what there was then.
    pub lost_before: HashSet<String>,
    /// What earlier evaluations have found out.
    pub memo: Arc<Memo>,
    /// Store revision when the lesson was opened: history older than that has the verb WAS.
    pub lesson_began: i64,
    pub since_step: i64,
    pub now: Option<Value>,
    pub(crate) typed: Vec<String>,
    /// How many lines were typed, and have ended, in all: of `typed` and `ran` the newest are kept.
    pub lines: (u64, u64),
    /// Lines that the learner has run in this step.
    pub ran: Vec<Line>,
    /// A lab's drawn values.
    pub variant: Option<Value>,
    /// The learner's answer to the step's question, as expressions of that step see it.
    pub answer: Option<Value>,
    /// How many answers were given, in all.
    pub answered: u64,
    pub answers: HashMap<Probe, Value>,
    /// When the step began: lines of a log that were written before are not new. `None`: all are.
    pub step_at: Option<jiff::Timestamp>,
    pub wanted: Mutex<Wanted>,
    /// How often each URL or command was named in this evaluation.
    pub(crate) named: Mutex<HashMap<String, usize>>,
    /// An evaluation has asked for something that may be answered differently next time.
    pub(crate) open_question: AtomicBool,
}

/// The stored kind of this name: `Pod`, or `Ingress.networking.k8s.io` where a name is not enough.
pub(crate) fn kind(name: &str) -> Option<&'static Kind> {
    let (short, group) = name.split_once('.').map_or((name, None), |(n, g)| (n, Some(g)));
    let fits = |k: &&Kind| {
        k.kind == short && k.is_stored() && k.conversion.is_none() && group.is_none_or(|g| k.group == g)
    };
    kinds::all().iter().find(fits)
}

impl Facts {
    /// The value of a variable of expressions: `trace`, `ran`, `now` and the like.
    pub(super) fn variable(&self, name: &str) -> Option<Value> {
        match name {
            "since_step" => Some(Value::Int(self.since_step)),
            "now" => self.now.clone(),
            "trace" => Some(Value::List(self.trace.clone())),
            "typed" => Some(value::list(self.typed.iter().map(|t| value::text(t)).collect())),
            "ran" => {
                let names = |all: &[String]| value::list(all.iter().map(|name| value::text(name)).collect());
                let one = |ran: &Line| {
                    value::map([
                        ("line", value::text(&ran.line)),
                        ("code", Value::Int(ran.code.into())),
                        ("at", value::time(ran.at)),
                        ("running", names(&ran.running)),
                        ("running_before", names(&ran.running_before)),
                        ("kubectl", Value::Bool(ran.kubectl)),
                    ])
                };
                Some(value::list(self.ran.iter().map(one).collect()))
            }
            "v" => self.variant.clone(),
            ANSWER => self.answer.clone(),
            _ => None,
        }
    }

    /// The number that the next record of the step will have.
    pub(super) fn trace_end(&self) -> u64 {
        self.trace_from + (self.trace.len() - self.trace_kept.len()) as u64
    }

    /// The place in `trace` of the first record with this number or a later one.
    pub(super) fn place_in_trace(&self, number: u64) -> usize {
        match number.checked_sub(self.trace_from) {
            Some(later) => self.trace_kept.len() + later as usize,
            None => self.trace_kept.partition_point(|kept| *kept < number),
        }
    }

    /// Within which what was found stays found.
    pub(super) fn frame(&self) -> Frame {
        Frame { since_step: self.since_step, lesson_began: self.lesson_began, epoch: self.epoch }
    }

    /// A new evaluation begins: the n-th mention of a probe is counted from one again.
    pub(crate) fn begin(&self) {
        self.named.lock().clear();
    }

    /// What evaluations so far have missed.
    pub(crate) fn take_wanted(&self) -> Wanted {
        std::mem::take(&mut self.wanted.lock())
    }

    /// Evaluates without asking the network: what the evaluation would ask is not noted. `None`:
    /// the value needs an answer.
    pub(crate) fn unasked<T>(&self, evaluate: impl FnOnce() -> T) -> Option<T> {
        let before = {
            let mut wanted = self.wanted.lock();
            (std::mem::take(&mut wanted.probes), std::mem::take(&mut wanted.used))
        };
        let value = evaluate();
        let mut wanted = self.wanted.lock();
        let is_unasked = wanted.probes.is_empty() && wanted.used.is_empty();
        (wanted.probes, wanted.used) = before;
        is_unasked.then_some(value)
    }

    /// The least of what is known of the answers that evaluations so far have used.
    pub(crate) fn oldest_used<T: Ord>(&self, known: impl Fn(&Probe) -> Option<T>) -> Option<T> {
        let wanted = self.wanted.lock();
        wanted.used.iter().filter_map(known).min()
    }

    fn want(&self, note: impl FnOnce(&mut Wanted)) {
        self.open_question.store(true, Ordering::Relaxed);
        note(&mut self.wanted.lock());
    }

    /// Live objects; namespace `*` is all.
    ///
    /// # Errors
    /// There is no such kind, the selector cannot be read, or the kind is not watched yet. The last
    /// is noted in [`Facts::wanted`].
    pub(crate) fn objects(
        &self,
        name: &str,
        namespace: &str,
        selector: Option<&str>,
    ) -> Result<Vec<Object>, String> {
        let known = kind(name).ok_or_else(|| format!("there is no kind {name:?} here"))?;
        let selector = selector.map(Selector::parse).transpose()?;
        let Some(all) = self.objects.get(&known.qualified()) else {
            self.want(|w| _ = w.kinds.insert(name.to_string()));
            return Err(format!("{name} is not watched yet"));
        };
        Ok(within(all, namespace, selector.as_ref()).cloned().collect())
    }

    /// One live object; `None` if it does not exist.
    ///
    /// # Errors
    /// There is no such kind, or it is not watched yet, which is noted in [`Facts::wanted`].
    pub(crate) fn object(&self, name: &str, namespace: &str, object: &str) -> Result<Option<Object>, String> {
        let known = kind(name).ok_or_else(|| format!("there is no kind {name:?} here"))?;
        let Some(all) = self.objects.get(&known.qualified()) else {
            self.want(|w| _ = w.kinds.insert(name.to_string()));
            return Err(format!("{name} is not watched yet"));
        };
        Ok(named(all, namespace, object).cloned())
    }

    /// The object as it was when the step began.
    ///
    /// # Errors
    /// It is not known yet, or not any more, or the kind is none.
    pub(crate) fn before(&self, name: &str, namespace: &str, object: &str) -> Result<Option<Value>, String> {
        let known = kind(name).ok_or_else(|| format!("there is no kind {name:?} here"))?;
        if self.lost_before.contains(&known.qualified()) {
            return Err(format!(
                "{UNKNOWN}: the {} of the step's beginning are no longer kept",
                known.plural
            ));
        }
        if let Some(before) = &self.before {
            let Some(all) = before.get(&known.qualified()) else {
                self.want(|w| _ = w.before.insert(name.to_string()));
                return Err(format!("the {} of the step's beginning are not known yet", known.plural));
            };
            return Ok(named(all, namespace, object).map(|o| o.value.clone()));
        }
        if !self.objects.contains_key(&known.qualified()) {
            self.want(|w| _ = w.kinds.insert(name.to_string()));
            return Err(format!("{name} is not watched yet"));
        }
        let key = (known.plural.to_string(), namespace.to_string(), object.to_string());
        let versions = self.history.get(&key).map_or(&[][..], |all| all.as_slice());
        let then = versions[..versions.partition_point(|v| v.revision <= self.since_step)].last();
        let then = then.filter(|v| v.verb != "DELETED");
        Ok(then.and_then(|v| value::field(v.value(), "object").cloned()))
    }

    /// Events about an object, oldest first; name or namespace `*` is any.
    ///
    /// # Errors
    /// Events are not watched yet, which is noted in [`Facts::wanted`].
    pub(crate) fn events(&self, kind: &str, namespace: &str, name: &str) -> Result<Vec<Value>, String> {
        let about = |o: &Object| {
            let of = &o.json["involvedObject"];
            let field = |key: &str| of[key].as_str().unwrap_or_default().to_string();
            let short = kind.split('.').next().unwrap_or_default();
            field("kind") == short
                && (namespace == "*" || field("namespace") == namespace)
                && (name == "*" || field("name") == name)
        };
        let mut all: Vec<Object> = self.objects("Event", "*", None)?.into_iter().filter(about).collect();
        let revision = |o: &Object| {
            o.json["metadata"]["resourceVersion"]
                .as_str()
                .and_then(|r| r.parse::<i64>().ok())
                .unwrap_or_default()
        };
        all.sort_by_key(revision);
        let told = |o: &Object| {
            let at = ["lastTimestamp", "eventTime", "firstTimestamp"]
                .iter()
                .find_map(|k| o.json[*k].as_str()?.parse().ok());
            value::map([
                ("reason", value::text(o.json["reason"].as_str().unwrap_or_default())),
                ("type", value::text(o.json["type"].as_str().unwrap_or_default())),
                ("message", value::text(o.json["message"].as_str().unwrap_or_default())),
                (
                    "count",
                    Value::Int(
                        o.json["count"].as_i64().or_else(|| o.json["series"]["count"].as_i64()).unwrap_or(1),
                    ),
                ),
                ("at", at.map_or(Value::Null, value::time)),
                ("revision", Value::Int(revision(o))),
            ])
        };
        Ok(all.iter().map(told).collect())
    }

    /// Every version since the lesson began, oldest first; the one that was there then comes first
    /// as WAS. `*` is any namespace or name.
    ///
    /// # Errors
    /// There is no such kind, it is not watched yet (noted in [`Facts::wanted`]), or versions since
    /// the step began are no longer kept.
    pub(crate) fn history(&self, name: &str, namespace: &str, object: &str) -> Result<Vec<Value>, String> {
        let known = kind(name).ok_or_else(|| format!("there is no kind {name:?} here"))?;
        if !self.objects.contains_key(&known.qualified()) {
            // What was there before the records begin comes from a watch.
            self.want(|w| _ = w.kinds.insert(name.to_string()));
            return Err(format!("{name} is not watched yet"));
        }
        let fits = |key: &&(String, String, String)| {
            key.0 == known.plural
                && (namespace == "*" || key.1 == namespace)
                && (object == "*" || key.2 == object)
        };
        if self.forgotten.any_since(self.since_step, 0, |key| fits(&key)) {
            return Err(forgotten(known, namespace, object));
        }
        let mut all = Vec::new();
        for key in self.history.keys().filter(fits) {
            all.extend(since(&self.history[key], self.lesson_began));
        }
        sort_versions(&mut all);
        Ok(all)
    }

    /// Versions that came since the one with the number `next`, of what [`Facts::history`] answers.
    /// `seen`: the asker has seen all versions with a number below it, also those that are gone
    /// since. It is at least `next`, and more where the versions were renumbered.
    ///
    /// # Errors
    /// As [`Facts::history`].
    pub(super) fn fresh_versions(
        &self,
        [name, namespace, object]: [&str; 3],
        next: u64,
        seen: u64,
    ) -> Result<Fresh, String> {
        let known = kind(name).ok_or_else(|| format!("there is no kind {name:?} here"))?;
        if !self.objects.contains_key(&known.qualified()) {
            self.want(|w| _ = w.kinds.insert(name.to_string()));
            return Err(format!("{name} is not watched yet"));
        }
        let first = (known.plural.to_string(), String::new(), String::new());
        let of_kind = self.history.range(first..).take_while(|(key, _)| key.0 == known.plural);
        let fits = |key: &(String, String, String)| {
            (namespace == "*" || key.1 == namespace) && (object == "*" || key.2 == object)
        };
        let is_of = |key: &(String, String, String)| key.0 == known.plural && fits(key);
        // A version that came and went since is missed.
        if self.forgotten.any_since(self.since_step, seen, is_of) {
            return Err(forgotten(known, namespace, object));
        }
        let mut fresh = Fresh { elements: vec![], next, anew: next == 0 };
        for (_, versions) in of_kind.filter(|(key, _)| fits(key)) {
            let seen = versions.partition_point(|v| v.number < next);
            fresh.next = fresh.next.max(versions.last().map_or(0, |v| v.number + 1));
            let began = versions.partition_point(|v| v.revision <= self.lesson_began);
            if seen > 0 {
                if began > seen {
                    // One that was current when the lesson began is known only now: what was kept
                    // is no longer right.
                    return self.fresh_versions([name, namespace, object], 0, 0);
                }
            } else if let Some(was) = versions[..began].last().filter(|was| was.verb != "DELETED") {
                fresh.elements.push(Element::Version { of: was.clone(), verb: "WAS" });
            }
            let later = versions[began.max(seen)..].iter();
            fresh.elements.extend(later.map(|v| Element::Version { of: v.clone(), verb: v.verb }));
        }
        Ok(fresh)
    }

    /// The same snapshot with room for new questions: each evaluation that is remembered is asked
    /// alone.
    pub(super) fn ask_anew(&self) {
        self.open_question.store(false, Ordering::Relaxed);
    }

    /// True if an evaluation has asked for something since [`Facts::ask_anew`].
    pub(super) fn has_asked(&self) -> bool {
        self.open_question.load(Ordering::Relaxed)
    }

    /// An answer that was fetched, or a note that it is wanted.
    ///
    /// # Errors
    /// It is not known yet, or more than [`QUESTIONS_MAX`] questions were asked of the snapshot.
    pub(super) fn probe(&self, probe: Probe) -> Result<Value, String> {
        let answer = self.answers.get(&probe);
        let mut is_over = false;
        self.want(|w| {
            let asked = w.used.len() + w.probes.len();
            let noted = if answer.is_some() { &mut w.used } else { &mut w.probes };
            is_over = asked >= QUESTIONS_MAX && !noted.contains(&probe);
            if !is_over {
                noted.insert(probe);
            }
        });
        if is_over {
            return Err(format!("the network is asked more than {QUESTIONS_MAX} questions"));
        }
        answer.cloned().ok_or_else(|| "asked, and not answered yet".into())
    }

    /// How often this was called with the key before.
    pub(super) fn nth(&self, key: String) -> usize {
        let mut named = self.named.lock();
        let count = named.entry(key).or_default();
        *count += 1;
        *count - 1
    }
}

fn forgotten(kind: &Kind, namespace: &str, object: &str) -> String {
    let (kind, what) = (kind.kind, [namespace, object].join("/"));
    format!("{UNKNOWN}: the {kind} {what} changed too often to keep every version since the beginning")
}

/// In the order of `history`: what was there at first, then by revision.
pub(super) fn sort_versions(all: &mut [Value]) {
    all.sort_by_key(|v| (str_field(v, "verb") != "WAS", int_field(v, "revision")));
}

/// One object's versions after a revision, preceded by the one that was current then.
fn since(versions: &[Arc<Version>], began: i64) -> Vec<Value> {
    let later = versions.partition_point(|v| v.revision <= began);
    let mut values = Vec::new();
    if let Some(was) = versions[..later].last().filter(|was| was.verb != "DELETED") {
        values.push(value::with(was.value(), "verb", value::text("WAS")));
    }
    values.extend(versions[later..].iter().map(|v| v.value().clone()));
    values
}

#[cfg(test)]
mod tests;
