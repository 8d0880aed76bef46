//! The scripts in `golden`: a Job from its first look to its last.
//!
//! `job SPEC` has a JSON spec. `settle` lets the controller look until nothing changes, and shows
//! what is there. `end POD code=N` lets a container exit, `after SECONDS` lets time pass.

use super::world::World;
use ::golden::{Answer, Args, Command, Context, Runner, unknown};
use serde_json::Value;
use std::fmt::Write;

#[test]
fn golden() {
    ::golden::run(concat!(env!("CARGO_MANIFEST_DIR"), "/job"), || World::new(serde_json::json!({})));
}

impl Runner for World {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let mut args = Args::of(command);
        let mut out = String::new();
        match command.name.as_str() {
            "job" => *self = World::new(args.next::<Value>("the spec")?),
            "end" => self.end(&args.next::<String>("the pod")?, args.key("code")?.unwrap_or(0)),
            "after" => drop(self.after(args.next("the seconds")?)),
            "settle" => {
                let plan = self.settle();
                let running: Vec<&str> = self.running().collect();
                let counts = self.counts();
                let [active, succeeded, failed] = counts.split('/').collect::<Vec<_>>()[..] else {
                    return Err("three counts".into());
                };
                writeln!(out, "active {active}, succeeded {succeeded}, failed {failed}")?;
                let running = if running.is_empty() { "none".into() } else { running.join(", ") };
                writeln!(out, "running: {running}")?;
                self.conditions().iter().try_for_each(|c| writeln!(out, "condition {c}"))?;
                if let Some(again) = plan.again {
                    writeln!(out, "looks again in {again:?}")?;
                }
            }
            _ => return unknown(command),
        }
        args.end()?;
        Ok(out)
    }
}
