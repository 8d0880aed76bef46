//! The scripts in `golden`: a Deployment's ReplicaSets in numbers.
//!
//! `deployment replicas=N` makes the goal; `surge=`, `unavailable=` and the word `recreate` are its
//! strategy. `template NAME` is a change of the pod template: a new ReplicaSet. `step` is one look
//! of the controller; pods come and go as it says, and new ones are not available before `available
//! NAME`. `rollout` looks on, with every pod available at once, until nothing is left to do.

use super::rollout::{Goal, Set, decide};
use ::golden::{Answer, Args, Command, Context, Runner, unknown};
use std::fmt::Write;

#[test]
fn golden() {
    ::golden::run(concat!(env!("CARGO_MANIFEST_DIR"), "/deployment"), Deployment::default);
}

/// A rollout has come to its end after at most so many looks.
const LOOKS: usize = 50;

struct Deployment {
    goal: Goal,
    /// The sets by age; the last one has the deployment's template.
    sets: Vec<Set>,
}

impl Default for Deployment {
    fn default() -> Deployment {
        let goal = Goal { replicas: 0, surge: 1, unavailable: 0, recreate: false };
        Deployment { goal, sets: vec![] }
    }
}

impl Runner for Deployment {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let mut args = Args::of(command);
        let mut out = String::new();
        match command.name.as_str() {
            "deployment" => {
                let replicas = args.key("replicas")?.ok_or("replicas= is missing")?;
                let recreate = args.next::<String>("the strategy").is_ok_and(|word| word == "recreate");
                let (surge, unavailable) = (args.key("surge")?, args.key("unavailable")?);
                self.goal = Goal {
                    replicas,
                    surge: surge.unwrap_or(0),
                    unavailable: unavailable.unwrap_or(0),
                    recreate,
                };
            }
            "template" => self.sets.push(Set { name: args.next("the name")?, ..Set::default() }),
            "available" => {
                let name: String = args.next("the ReplicaSet")?;
                let set = self.sets.iter_mut().find(|s| s.name == name).ok_or("no such ReplicaSet")?;
                (set.ready, set.available) = (set.pods, set.pods);
            }
            "step" => out = self.step()?,
            "rollout" => {
                for _ in 0..LOOKS {
                    let lines = self.step()?;
                    let rose = self.sets.iter().any(|s| s.available != s.pods);
                    self.sets.iter_mut().for_each(|s| (s.ready, s.available) = (s.pods, s.pods));
                    if lines.is_empty() && !rose {
                        break;
                    }
                    out += &lines;
                }
            }
            _ => return unknown(command),
        }
        args.end()?;
        Ok(out)
    }
}

impl Deployment {
    fn step(&mut self) -> Answer {
        let (new, old) = self.sets.split_last().ok_or("no template")?;
        let scalings = decide(&self.goal, new, old, old.iter().any(|s| s.pods > 0));
        let mut out = String::new();
        for scaling in scalings {
            writeln!(out, "{}: {} -> {}", scaling.name, scaling.from, scaling.to)?;
            for set in self.sets.iter_mut().filter(|s| s.name == scaling.name) {
                (set.wanted, set.pods) = (scaling.to, scaling.to);
                (set.ready, set.available) = (set.ready.min(scaling.to), set.available.min(scaling.to));
            }
        }
        if !out.is_empty() {
            let sum = |count: fn(&Set) -> i32| self.sets.iter().map(count).sum::<i32>();
            writeln!(out, "  pods {}, available {}", sum(|s| s.pods), sum(|s| s.available))?;
        }
        Ok(out)
    }
}
