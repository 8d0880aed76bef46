//! The scripts in `golden`: the pods of the StatefulSet `web`.
//!
//! `set SPEC` has a JSON spec. `template NAME` is a change of the pod template: a new revision.
//! `step` is one look of the controller: what it does, and the pods after that. A pod that is
//! deleted is gone at once; a new one is not ready before `ready POD`, and `unready POD` takes that
//! back. `settle` looks on, with every pod ready at once, until nothing is left to do.

use super::decide::tests::{NOW, pods, set};
use super::decide::{Revisions, decide, status};
use ::golden::{Answer, Args, Command, Context, Runner, unknown};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

#[test]
fn golden() {
    ::golden::run(concat!(env!("CARGO_MANIFEST_DIR"), "/statefulset"), World::default);
}

/// An update has come to its end after at most so many looks.
const LOOKS: usize = 50;

struct World {
    spec: Value,
    /// The revision that all pods had last.
    current: String,
    update: String,
    /// By ordinal: the revision, and whether the pod is ready.
    pods: BTreeMap<i32, (String, bool)>,
}

impl Default for World {
    fn default() -> World {
        World { spec: json!({}), current: String::new(), update: String::new(), pods: BTreeMap::new() }
    }
}

impl Runner for World {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let mut args = Args::of(command);
        let mut out = String::new();
        match command.name.as_str() {
            "set" => self.spec = args.next("the spec")?,
            "template" => {
                self.update = args.next("the name")?;
                if self.current.is_empty() {
                    self.current.clone_from(&self.update);
                }
            }
            "ready" | "unready" => {
                let ordinal = ordinal(&args.next::<String>("the pod")?)?;
                self.pods.get_mut(&ordinal).ok_or("no such pod")?.1 = command.name == "ready";
            }
            "step" => {
                let did = self.step()?;
                out = if did.is_empty() { "does nothing\n".into() } else { did };
                writeln!(out, "  {}", self.shown())?;
            }
            "settle" => {
                for _ in 0..LOOKS {
                    self.pods.values_mut().for_each(|pod| pod.1 = true);
                    let did = self.step()?;
                    if did.is_empty() {
                        break;
                    }
                    out += &did;
                }
                writeln!(out, "  {}", self.shown())?;
            }
            _ => return unknown(command),
        }
        args.end()?;
        Ok(out)
    }
}

fn ordinal(pod: &str) -> Result<i32, Box<dyn std::error::Error>> {
    Ok(pod.strip_prefix("web-").ok_or("pods are web-0, web-1 ...")?.parse()?)
}

impl World {
    fn step(&mut self) -> Answer {
        let (set, now) = (set(self.spec.clone()), NOW.parse()?);
        let revision = Revisions { current: &self.current, update: &self.update };
        let plan = decide(&set, &pods(&as_strs(&self.words())), revision, now);
        let mut out = String::new();
        for name in plan.delete {
            writeln!(out, "deletes {name}")?;
            self.pods.remove(&ordinal(&name)?);
        }
        for (ordinal, is_new) in plan.create {
            let revision = if is_new { &self.update } else { &self.current };
            writeln!(out, "creates web-{ordinal} {revision}")?;
            self.pods.insert(ordinal, (revision.clone(), false));
        }
        let revision = Revisions { current: &self.current, update: &self.update };
        let status = status(&set, &pods(&as_strs(&self.words())), revision, now);
        self.current = status.current_revision.unwrap_or_default();
        Ok(out)
    }

    /// Returns the pods as the texts that [`pods`] reads: `0 old`, `1 new unready`.
    fn words(&self) -> Vec<String> {
        let state = |is_ready: bool| if is_ready { "" } else { " unready" };
        self.pods.iter().map(|(n, (revision, ready))| format!("{n} {revision}{}", state(*ready))).collect()
    }

    fn shown(&self) -> String {
        if self.pods.is_empty() {
            return "no pods".into();
        }
        self.words().iter().map(|words| format!("web-{words}")).collect::<Vec<_>>().join(", ")
    }
}

fn as_strs(all: &[String]) -> Vec<&str> {
    all.iter().map(String::as_str).collect()
}
