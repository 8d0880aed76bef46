//! The scripts in `golden`: rules that are wanted, and what changes in the kernel.
//!
//! `want SERVICE=IP,IP…` are the rules of all Services, with their endpoints. `write` shows the
//! changes that one transaction makes; `lost` is the same, without an answer of the kernel.

use super::plan::{Change, Known, tests::rule};
use ::golden::{Answer, Args, Command, Context, Runner, unknown};
use cni::ServiceRule;
use std::fmt::Write;
use std::net::Ipv4Addr;

#[test]
fn golden() {
    ::golden::run(env!("CARGO_MANIFEST_DIR"), Kernel::default);
}

#[derive(Default)]
struct Kernel {
    known: Known,
    wanted: Vec<ServiceRule>,
}

impl Runner for Kernel {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let mut args = Args::of(command);
        let mut out = String::new();
        match command.name.as_str() {
            "want" => {
                self.wanted.clear();
                while let Some((service, endpoints)) = args.pair() {
                    let ips = endpoints.split(',').filter(|ip| !ip.is_empty());
                    let all: Result<Vec<(Ipv4Addr, u16)>, _> =
                        ips.map(|ip| ip.parse().map(|ip| (ip, 80))).collect();
                    let mut rule = rule(service, &all?);
                    rule.affinity_seconds = service.starts_with("sticky").then_some(10_800);
                    self.wanted.push(rule);
                }
            }
            "write" | "lost" => {
                let Some(write) = self.known.begin(&self.wanted) else {
                    args.end()?;
                    return Ok("nothing to do\n".into());
                };
                if write.anew {
                    writeln!(out, "the table anew")?;
                }
                write.changes.iter().try_for_each(|change| writeln!(out, "{}", shown(change)))?;
                if command.name == "write" {
                    self.known.end(write.after);
                }
            }
            _ => return unknown(command),
        }
        args.end()?;
        Ok(out)
    }
}

fn shown(change: &Change) -> String {
    let of = |rule: &ServiceRule| {
        let ips: Vec<String> = rule.endpoints.iter().map(|(ip, _)| ip.to_string()).collect();
        format!("{} -> [{}]", rule.key, ips.join(", "))
    };
    match change {
        Change::Remove { number, old } => format!("remove {number}: {}", of(old)),
        Change::Add { number, new } => format!("add {number}: {}", of(new)),
        Change::Replace { number, old, new } => format!("replace {number}: {} by {}", of(old), of(new)),
    }
}
