//! The scripts in `golden`: what happens in a cluster goes in, the verdicts on a step's checks come
//! out.
//!
//! `check NAME EXPRESSION` adds a check to the step. `object KIND NAMESPACE NAME JSON` writes an
//! object and `gone KIND NAMESPACE NAME` deletes it; each write is a revision of the store.
//! `request VERB OBJECT` is a request to the API server, `by=` its user (the learner), `code=` its
//! answer (200). `ran LINE` is a command that has ended, with `code=` (0). `look` judges the step;
//! `after=` milliseconds since the last look (0). `step` begins the next one, with the same checks.
//!
//! A check is `met`, `holding` (it has to stay true for a second) or `unmet`. An expression that
//! has no value yet says why.

use crate::cel::facts::{Facts, Line, Object, Objects, kind};
use crate::cel::value::{self, text};
use crate::cel::version::Version;
use crate::cel::{Expr, Use};
use crate::format::{Check, Text};
use crate::judge::{Memory, judge, truths};
use crate::view::Verdict;
use ::golden::{Answer, Args, Command, Context, Runner, unknown};
use cel::Value;
use clock::Instant;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

/// How long what is true now has to stay true.
const HOLD: Duration = Duration::from_secs(1);

#[test]
fn golden() {
    ::golden::run(env!("CARGO_MANIFEST_DIR"), || Step {
        names: vec![],
        checks: vec![],
        memory: Memory::default(),
        objects: HashMap::new(),
        history: BTreeMap::new(),
        trace: vec![],
        ran: vec![],
        revision: 0,
        since_step: 0,
        now: Instant::now(),
    });
}

/// A step of a lesson, and the cluster that it looks at.
struct Step {
    /// Of the checks, in their order.
    names: Vec<String>,
    checks: Vec<Check>,
    memory: Memory,
    /// What is there, by kind.
    objects: HashMap<String, Objects>,
    history: BTreeMap<(String, String, String), Vec<Arc<Version>>>,
    trace: Vec<Value>,
    ran: Vec<Line>,
    /// The store's.
    revision: i64,
    /// The store's when the step began.
    since_step: i64,
    now: Instant,
}

impl Runner for Step {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let mut args = Args::of(command);
        let mut out = String::new();
        match command.name.as_str() {
            "check" => {
                let (name, source) =
                    (args.next::<String>("the name")?, args.next::<String>("the expression")?);
                match Expr::compile(&source, Use::Check, &[]) {
                    Ok(is) => self.checks.push(Check { that: Text::default(), is }),
                    Err(error) => return Ok(format!("refused: {error}")),
                }
                self.names.push(name);
            }
            "object" | "gone" => {
                let mut word = |what| args.next::<String>(what);
                let key = (word("the kind")?, word("the namespace")?, word("the name")?);
                let json = (command.name == "object").then(|| args.next("the object")).transpose()?;
                self.write(key, json)?;
            }
            "request" => {
                let (verb, object) = (args.next::<String>("the verb")?, args.next::<String>("the object")?);
                let user = args.key::<String>("by")?.unwrap_or_else(|| "learner".into());
                self.trace.push(value::map([
                    ("own", Value::Bool(user == "learner")),
                    ("user", text(&user)),
                    ("verb", text(&verb)),
                    ("object", text(&object)),
                    ("code", Value::Int(args.key("code")?.unwrap_or(200))),
                ]));
            }
            "ran" => {
                let line = args.next("the line")?;
                self.ran.push(Line { line, code: args.key("code")?.unwrap_or(0), ..Line::default() });
            }
            "look" => {
                self.now += Duration::from_millis(args.key("after")?.unwrap_or(0));
                self.look(&mut out)?;
            }
            "step" => {
                (self.since_step, self.memory) = (self.revision, Memory::default());
                (self.trace, self.ran) = (vec![], vec![]);
            }
            _ => return unknown(command),
        }
        args.end()?;
        Ok(out)
    }
}

impl Step {
    /// Writes an object, or deletes it.
    fn write(
        &mut self,
        (name, namespace, object): (String, String, String),
        json: Option<serde_json::Value>,
    ) -> Result<(), Box<dyn Error>> {
        let kind = kind(&name).ok_or_else(|| format!("there is no kind {name:?}"))?;
        let all = self.objects.entry(kind.qualified()).or_default();
        let all = Arc::make_mut(all);
        self.revision += 1;
        let place = (namespace.clone(), object.clone());
        let metadata = json!({"namespace": namespace, "name": object});
        let (verb, then) = match json {
            Some(mut json) => {
                json["metadata"] = metadata;
                let verb = if all.contains_key(&place) { "MODIFIED" } else { "ADDED" };
                all.insert(place, Object::new(json.clone()));
                (verb, json)
            }
            None => {
                let was = all.remove(&place).ok_or_else(|| format!("{name} {object} is not there"))?;
                ("DELETED", (*was.json).clone())
            }
        };
        let version = Version::new(self.revision, None, verb, then.to_string().into());
        let versions = self.history.entry((kind.plural.to_string(), namespace, object)).or_default();
        versions.push(Arc::new(version.numbered(self.revision as u64)));
        Ok(())
    }

    fn look(&mut self, out: &mut String) -> Result<(), Box<dyn Error>> {
        let history = self.history.iter().map(|(key, all)| (key.clone(), Arc::new(all.clone())));
        let facts = Arc::new(Facts {
            objects: self.objects.clone(),
            history: Arc::new(history.collect()),
            trace: Arc::new(self.trace.clone()),
            ran: self.ran.clone(),
            lines: (0, self.ran.len() as u64),
            since_step: self.since_step,
            ..Facts::default()
        });
        let truths = truths(&self.checks, &facts, &self.memory);
        let outcome = judge(&self.checks, HOLD, &truths, &mut self.memory, self.now);
        for ((name, check), verdict) in self.names.iter().zip(&self.checks).zip(&outcome.verdicts) {
            let why = check.is.value(&facts, &[]).err().filter(|_| *verdict == Verdict::Unmet);
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            writeln!(out, "{name}: {}{why}", format!("{verdict:?}").to_lowercase())?;
        }
        let waits = outcome.wake.map(|at| format!("green in {} ms", (at - self.now).as_millis()));
        let step = waits.unwrap_or_else(|| if outcome.green { "green" } else { "not green" }.into());
        writeln!(out, "step: {step}")?;
        Ok(())
    }
}
