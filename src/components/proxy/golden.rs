//! The scripts in `golden`: Services and their endpoints go in, a node's rules come out.
//!
//! `service NAME SPEC` has a JSON spec. `endpoint SERVICE IP node=NODE` adds one; the words
//! `ending` and `serving` are its conditions (`ending`: it is being deleted and fails its probe,
//! `ending serving`: it still answers). `rules NODE` shows what the kernel of that node is to have.

use super::rules::{Refused, rules};
use ::golden::{Answer, Args, Command, Context, Runner, unknown};
use cni::ServiceRule;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::Arc;

#[test]
fn golden() {
    ::golden::run(env!("CARGO_MANIFEST_DIR"), Services::default);
}

/// The slices of each Service, by `namespace/name`.
type Slices = BTreeMap<String, Vec<Arc<EndpointSlice>>>;

#[derive(Default)]
struct Services {
    services: Vec<Arc<Service>>,
    endpoints: BTreeMap<String, Vec<Value>>,
}

impl Runner for Services {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let mut args = Args::of(command);
        let mut out = String::new();
        match command.name.as_str() {
            "service" => {
                let (name, spec) = (args.next::<String>("the name")?, args.next::<Value>("the spec")?);
                // The first one is the oldest.
                let made = format!("2026-01-01T00:00:{:02}Z", self.services.len());
                let metadata = json!({"namespace": "default", "name": name, "creationTimestamp": made});
                let service = serde_json::from_value(json!({"metadata": metadata, "spec": spec}))?;
                self.services.push(Arc::new(service));
            }
            "endpoint" => {
                let (service, ip) =
                    (args.next::<String>("the Service")?, args.next::<String>("the address")?);
                let words: Vec<String> = std::iter::from_fn(|| args.next("a condition").ok()).collect();
                let is = |word: &str| words.iter().any(|w| w == word);
                let (ending, serving) = (is("ending"), !is("ending") || is("serving"));
                let conditions = json!({"ready": !ending, "serving": serving, "terminating": ending});
                let node: Option<String> = args.key("node")?;
                let endpoint = json!({"addresses": [ip], "nodeName": node, "conditions": conditions});
                self.endpoints.entry(format!("default/{service}")).or_default().push(endpoint);
            }
            "rules" => {
                let node: String = args.next("the node")?;
                let (rules, refused) = rules(&self.services, &self.slices()?, &node);
                rules.iter().try_for_each(|rule| writeln!(out, "{}", shown(rule)))?;
                refused.iter().try_for_each(|refused| writeln!(out, "{}", told(refused)))?;
            }
            _ => return unknown(command),
        }
        args.end()?;
        Ok(out)
    }
}

impl Services {
    fn slices(&self) -> Result<Slices, Box<dyn Error>> {
        let slice = |(service, endpoints): (&String, &Vec<Value>)| {
            let ports = json!([{"name": "", "port": 8080, "protocol": "TCP"}]);
            let slice =
                json!({"addressType": "IPv4", "metadata": {}, "endpoints": endpoints, "ports": ports});
            Ok((service.clone(), vec![Arc::new(serde_json::from_value(slice)?)]))
        };
        self.endpoints.iter().map(slice).collect()
    }
}

fn list(endpoints: &[(Ipv4Addr, u16)]) -> String {
    let all: Vec<String> = endpoints.iter().map(|(ip, port)| format!("{ip}:{port}")).collect();
    if all.is_empty() { "nobody".into() } else { all.join(" or ") }
}

fn shown(rule: &ServiceRule) -> String {
    let addresses: Vec<String> = rule.addresses.iter().map(|ip| format!("{ip}:{}", rule.port)).collect();
    let mut out = format!("{}\n  {} -> {}", rule.key, addresses.join(", "), list(&rule.endpoints));
    let mut also = |what: &str, whom: String| out += &format!("\n  {what} -> {whom}");
    if let Some(all) = &rule.all_endpoints {
        also("from outside", list(all));
    }
    if let Some(port) = rule.node_port {
        also(&format!("node port {port}"), list(rule.everywhere()));
    }
    if let Some(local) = &rule.local_endpoints {
        also("node port, for clients outside the cluster", list(local));
    }
    if let Some(seconds) = rule.affinity_seconds {
        also("the same client", format!("the same endpoint for {seconds} s"));
    }
    out
}

fn told(refused: &Refused) -> String {
    let name = refused.service.metadata.name.as_deref().unwrap_or_default();
    format!("{name}: {}: {}", refused.reason, refused.message)
}
