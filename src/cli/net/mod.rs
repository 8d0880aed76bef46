//! `net show`: the rules by which the nodes' kernels lead connections to pods, with a sentence
//! beside each.
//!
//! The rules are read back from the kernels. A kube-proxy that is dead has left them there, and an
//! API server is not asked: so they show what happens to a connection now.

mod page;
#[cfg(test)]
mod tests;
mod words;

use crate::args::Output;
use crate::codes::USAGE;
use crate::layout::{columns, wrapped};
use cluster::control::network::Network;
use cluster::control::{Ask, Control};
use cluster::home::Home;
use cni::{Does, Installed};
use lang::Lang;
use lang::charset::{eprintln, print};
use page::page;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use ui::prose;
use ui::settings;
use ui::texts::Say;
use words::Word;

/// What the rules are to be about.
#[derive(Debug, PartialEq, Eq)]
enum About {
    All,
    /// `namespace/name`
    Service(String),
    /// `namespace/name`
    Pod(String),
    /// A Service of this name, or else a pod.
    Either(String),
}

/// Reads the argument: nothing, `web`, `svc/web`, `pod/web-1` or `shop/svc/db`. `namespace`: that
/// of a name that is written without one. `None`: it names neither a Service nor a pod.
fn parse(what: Option<&str>, namespace: &str) -> Option<About> {
    let Some(what) = what else { return Some(About::All) };
    let parts: Vec<&str> = what.split('/').collect();
    if parts.iter().any(|part| part.is_empty()) {
        return None;
    }
    let (namespace, kind, name) = match parts.as_slice() {
        [name] => return Some(About::Either(format!("{namespace}/{name}"))),
        [kind, name] => (namespace, *kind, *name),
        [namespace, kind, name] => (*namespace, *kind, *name),
        _ => return None,
    };
    let key = format!("{namespace}/{name}");
    match kind.to_lowercase().as_str() {
        "svc" | "service" | "services" => Some(About::Service(key)),
        "po" | "pod" | "pods" => Some(About::Pod(key)),
        _ => None,
    }
}

/// Exit code 0: rules were found; 1: none were, a node could not be asked, or the cluster does not
/// run; 2: `what` names neither a Service nor a pod.
pub(crate) async fn show(
    name: &str,
    what: Option<String>,
    namespace: &str,
    lang: Option<Lang>,
    output: Option<Output>,
) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(lang, &home);
    let Some(about) = parse(what.as_deref(), namespace) else {
        eprintln!("ropewalk: {}", lang.say(Word::Unclear, &[&what.unwrap_or_default()]));
        return Ok(USAGE);
    };
    let mut control = Control::connect(&home.cluster(name)?).await?;
    let network: Network = serde_json::from_value(control.ask(&Ask::Network).await?)?;
    let rules = choose(&about, &network);
    let has_failed = !network.failed.is_empty();
    if output == Some(Output::Json) {
        let nodes = rules.unwrap_or_default();
        let is_empty = nodes.values().all(Vec::is_empty);
        std::println!("{}", serde_json::to_string_pretty(&Network { nodes, ..network })?);
        return Ok(i32::from(has_failed || is_empty));
    }
    let code = match rules {
        Ok(nodes) => {
            let width = columns();
            print!("{}", page(lang, &nodes, &network.pods, width));
            if about != About::All {
                print!("\n{}", wrapped(&lang.say(Word::Without, &[]), "", width));
            }
            i32::from(has_failed)
        }
        Err(nothing) => {
            let (reason, tip) = nothing.say(lang);
            eprintln!("ropewalk: {reason}");
            if let Some(tip) = tip {
                eprintln!("  {}: {tip}", lang.say(Say::Try, &[]));
            }
            1
        }
    };
    for line in failure_lines(lang, &network.failed) {
        eprintln!("ropewalk: {line}");
    }
    Ok(code)
}

/// Returns a line for each node that could not be asked, with the reason. `failed`: reason by node.
fn failure_lines(lang: Lang, failed: &BTreeMap<String, String>) -> Vec<String> {
    let line =
        |(node, reason): (&String, &String)| lang.say(Word::Unknown, &[node, &prose::harmless(reason)]);
    failed.iter().map(line).collect()
}

/// Why there is nothing to show.
#[derive(Debug, PartialEq, Eq)]
enum Nothing {
    /// All rules were asked for, and no node has one.
    NoRules,
    /// No rule is about this Service (`namespace/name`).
    NoService(String),
    /// No node runs this pod (`namespace/name`).
    NoPod(String),
    /// No rule leads to this pod (`namespace/name`) at its address.
    NoneToPod(String, Ipv4Addr),
}

impl Nothing {
    /// Returns the reason, and what the user can run to find out more.
    fn say(&self, lang: Lang) -> (String, Option<String>) {
        match self {
            Nothing::NoRules => {
                let tip = "`kubectl get pods -n kube-system -l k8s-app=kube-proxy`";
                (lang.say(Word::NoRules, &[]), Some(tip.into()))
            }
            Nothing::NoService(key) => {
                let (namespace, name) = key.split_once('/').unwrap_or(("default", key));
                let tip = lang.say(Word::NoServiceTry, &[name, namespace]);
                (lang.say(Word::NoService, &[key]), Some(tip))
            }
            Nothing::NoPod(key) => (lang.say(Word::NoPod, &[key]), None),
            Nothing::NoneToPod(key, ip) => (lang.say(Word::NoneToPod, &[key, &ip.to_string()]), None),
        }
    }
}

/// Rules by the name of the node that has them.
type NodeRules = BTreeMap<String, Vec<Installed>>;

/// Returns the rules that are about a Service or a pod, of each node that has some.
fn choose(about: &About, network: &Network) -> Result<NodeRules, Nothing> {
    let keep = |is_meant: &dyn Fn(&Installed) -> bool| -> NodeRules {
        let kept = network.nodes.iter().map(|(node, rules)| {
            (node.clone(), rules.iter().filter(|rule| is_meant(rule)).cloned().collect::<Vec<_>>())
        });
        kept.filter(|(_, rules)| !rules.is_empty()).collect()
    };
    // The key of a Service's port is `namespace/name:port`.
    let is_of = |service: &str, rule: &Installed| {
        let key = rule.service.as_deref().and_then(|key| key.rsplit_once(':'));
        key.is_some_and(|(of, _)| of == service)
    };
    let of_service =
        |service: &str| Some(keep(&|rule| is_of(service, rule))).filter(|rules| !rules.is_empty());
    let of_pod = |pod: &str| {
        let mut addresses = network.pods.iter();
        let ip = *addresses.find(|(_, name)| *name == pod).ok_or(Nothing::NoPod(pod.into()))?.0;
        let leads = |rule: &Installed| endpoint(&rule.does).is_some_and(|(to, _)| to == ip);
        let all = network.nodes.values().flatten();
        let keys: Vec<&String> =
            all.filter(|rule| leads(rule)).filter_map(|rule| rule.service.as_ref()).collect();
        let rules = keep(&|rule| {
            rule.service.as_ref().is_some_and(|key| keys.contains(&key))
                && endpoint(&rule.does).is_none_or(|(to, _)| to == ip)
        });
        if rules.is_empty() { Err(Nothing::NoneToPod(pod.into(), ip)) } else { Ok(rules) }
    };
    match about {
        About::All => Some(keep(&|_| true)).filter(|rules| !rules.is_empty()).ok_or(Nothing::NoRules),
        About::Service(key) => of_service(key).ok_or_else(|| Nothing::NoService(key.clone())),
        About::Pod(key) => of_pod(key),
        About::Either(key) => match of_service(key) {
            Some(rules) => Ok(rules),
            None => of_pod(key).map_err(|nothing| match nothing {
                Nothing::NoPod(key) => Nothing::NoService(key),
                other => other,
            }),
        },
    }
}

/// Returns the endpoint of a rule, or of an element of a map, that is about one endpoint alone.
fn endpoint(does: &Does) -> Option<(Ipv4Addr, u16)> {
    match does {
        Does::Endpoint { ip, port, .. }
        | Does::LeadsToSticky { ip, port, .. }
        | Does::KnowsClients { ip, port }
        | Does::Remembers { ip, port }
        | Does::Translates { ip, port }
        | Does::Client { ip, port, .. } => Some((*ip, *port)),
        _ => None,
    }
}
