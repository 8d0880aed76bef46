//! The scripts in `golden`: nodes and a pod go in, a decision with its reasons comes out.
//!
//! `node NAME` makes one, with the label `kubernetes.io/hostname` that a kubelet gives its Node;
//! `cpu=`, `memory=` and `pods=` are what it can give, `label="K=V"` and `taint="K:EFFECT"` may
//! come more than once, and the word `cordoned` is `kubectl cordon`. `pod NAME` asks for `cpu=`,
//! `memory=` and `port=` (a port of the node), wants nodes with `select="K=V"`, and tolerates
//! `tolerate=K`; `of=NAME` is its controller. What it is bound to counts for the next pod.

use super::decide::{Decision, decide};
use super::node_info::NodeInfo;
use super::volumes::Volumes;
use ::golden::{Answer, Args, Command, Context, Runner, unknown};
use k8s_openapi::api::core::v1::{Node, Pod};
use rng::Rng;
use serde_json::{Map, Value, json};
use std::error::Error;
use std::fmt::Write;

#[test]
fn golden() {
    ::golden::run(env!("CARGO_MANIFEST_DIR"), || Nodes { nodes: vec![], rng: Rng::seeded(1) });
}

struct Nodes {
    nodes: Vec<NodeInfo>,
    rng: Rng,
}

impl Runner for Nodes {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Answer {
        let mut args = Args::of(command);
        match command.name.as_str() {
            "node" => {
                self.nodes.push(NodeInfo::of(&node(&mut args)?));
                args.end()?;
                Ok(String::new())
            }
            "pod" => {
                let pod = pod(&mut args)?;
                args.end()?;
                let decision = decide(&pod, &self.nodes, &Volumes::default(), &self.rng);
                if let Some(node) = self.nodes.iter_mut().find(|n| Some(&n.name) == decision.chosen.as_ref())
                {
                    node.add(&pod);
                }
                Ok(shown(&pod, &decision)?)
            }
            _ => unknown(command),
        }
    }
}

/// Splits `K=V` or `K:EFFECT`.
fn two(text: &str) -> Result<(&str, &str), String> {
    text.split_once(['=', ':']).ok_or_else(|| format!("{text:?} has one part"))
}

fn node(args: &mut Args<'_>) -> Result<Node, Box<dyn Error>> {
    let name: String = args.next("the node's name")?;
    let cordoned = match args.next::<String>("cordoned") {
        Err(_) => false,
        Ok(word) if word == "cordoned" => true,
        Ok(word) => return Err(format!("{word:?} is not cordoned").into()),
    };
    let mut allocatable = Map::from_iter([("pods".to_string(), json!("110"))]);
    let mut labels = Map::from_iter([("kubernetes.io/hostname".to_string(), json!(name))]);
    let mut taints = Vec::new();
    while let Some((key, value)) = args.pair() {
        match key {
            "label" => {
                let (key, value) = two(value)?;
                labels.insert(key.into(), value.into());
            }
            "taint" => {
                let (key, effect) = two(value)?;
                taints.push(json!({"key": key, "effect": effect}));
            }
            "cpu" | "memory" | "pods" => drop(allocatable.insert(key.into(), value.into())),
            _ => return Err(format!("a node has no {key}=").into()),
        }
    }
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"unschedulable": cordoned, "taints": taints},
        "status": {"allocatable": allocatable},
    }))?)
}

fn pod(args: &mut Args<'_>) -> Result<Pod, Box<dyn Error>> {
    let name: String = args.next("the pod's name")?;
    let (mut requests, mut select) = (Map::new(), Map::new());
    let (mut tolerations, mut ports, mut owners) = (Vec::new(), Vec::new(), Vec::new());
    while let Some((key, value)) = args.pair() {
        match key {
            "select" => {
                let (key, value) = two(value)?;
                select.insert(key.into(), value.into());
            }
            "tolerate" => tolerations.push(json!({"key": value, "operator": "Exists"})),
            "port" => {
                let port: i32 = value.parse()?;
                ports.push(json!({"containerPort": port, "hostPort": port}));
            }
            "of" => owners.push(json!({
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": value, "uid": value, "controller": true,
            })),
            "cpu" | "memory" => drop(requests.insert(key.into(), value.into())),
            _ => return Err(format!("a pod has no {key}=").into()),
        }
    }
    let container = json!({"name": "c", "resources": {"requests": Value::Object(requests)}, "ports": ports});
    Ok(serde_json::from_value(json!({
        "metadata": {"name": name, "ownerReferences": owners},
        "spec": {"containers": [container], "nodeSelector": select, "tolerations": tolerations},
    }))?)
}

/// Prints the verdict of each node, and then the chosen node or the message of `FailedScheduling`.
fn shown(pod: &Pod, decision: &Decision) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    for verdict in &decision.verdicts {
        let refused: Vec<String> =
            verdict.refused.iter().map(|r| format!("{}: {}", r.filter, r.reason)).collect();
        let scores: Vec<String> = verdict.scores.iter().map(|(plugin, n)| format!("{plugin} {n}")).collect();
        match refused.is_empty() {
            true => writeln!(out, "{}: {} = {}", verdict.node, verdict.total, scores.join(" + "))?,
            false => writeln!(out, "{}: no ({})", verdict.node, refused.join("; "))?,
        }
    }
    match &decision.chosen {
        Some(node) => writeln!(out, "-> {node}")?,
        None => writeln!(out, "{}", decision.message(pod))?,
    }
    Ok(out)
}
