//! The scripts in `golden`: pods of the Service `web`, and which of them get its traffic.
//!
//! `pod NAME IP port=N` is a running pod, `ready` and `going` (it is being deleted) are its state.
//! `endpoints SPEC` shows what the slices of a Service with that spec have.

use super::tests::pod;
use super::*;
use ::golden::{Answer, Args, Command, Context, Runner, unknown};
use serde_json::{Value, json};
use std::fmt::Write;

#[test]
fn golden() {
    ::golden::run(concat!(env!("CARGO_MANIFEST_DIR"), "/endpoints"), Pods::default);
}

#[derive(Default)]
struct Pods(BTreeMap<String, Arc<Pod>>);

impl Runner for Pods {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let mut args = Args::of(command);
        let mut out = String::new();
        match command.name.as_str() {
            "pod" => {
                let (name, ip) = (args.next::<String>("the name")?, args.next::<String>("the address")?);
                let words: Vec<String> = std::iter::from_fn(|| args.next("a state").ok()).collect();
                let is = |word: &str| words.iter().any(|w| w == word);
                let port = args.key("port")?.unwrap_or(80);
                self.0.insert(name.clone(), pod(&name, &ip, is("ready"), is("going"), port));
            }
            "endpoints" => {
                let spec = args.next::<Value>("the spec")?;
                let service = serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": spec}))?;
                let pods: Vec<Arc<Pod>> = self.0.values().cloned().collect();
                for group in decide(&service, &pods) {
                    let ports: Vec<i32> = group.ports.iter().filter_map(|p| p.port).collect();
                    writeln!(out, "ports {ports:?}")?;
                    group.endpoints.iter().try_for_each(|e| writeln!(out, "  {}", shown(e)))?;
                }
            }
            _ => return unknown(command),
        }
        args.end()?;
        Ok(out)
    }
}

fn shown(endpoint: &Endpoint) -> String {
    let is = endpoint.conditions.clone().unwrap_or_default();
    let words = [(is.ready, "ready"), (is.serving, "serving"), (is.terminating, "terminating")];
    let words: Vec<&str> = words.iter().filter(|(is, _)| *is == Some(true)).map(|(_, word)| *word).collect();
    format!("{}: {}", endpoint.addresses.join(", "), words.join(", ")).trim_end_matches([' ', ':']).into()
}
