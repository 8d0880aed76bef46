//! `net show`: the rules by which the nodes' kernels lead connections to pods, with a sentence
//! beside each.
//!
//! The rules are read back from the kernels. A kube-proxy that is dead has left them there, and an
//! API server is not asked: so they show what happens to a connection now.

use super::args::Output;
use super::layout::{columns, wrapped};
use cluster::control::{Ask, Control};
use cluster::home::Home;
use cluster::network::Network;
use cni::{Does, Installed};
use lang::charset::{eprintln, print};
use lang::{Lang, texts};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use ui::prose;
use ui::settings;
use ui::texts::Say;

texts! {
    /// What is said of rules.
    enum Word {
    OnNodes: "on {}", "{}에서";
    Alike: "alike on {} nodes: {}", "노드 {}개에서 같음: {}";
    ForAll: "for all Services", "모든 서비스 공통";
    EntersFromPods:
        "The first packet of each connection that comes from a pod, or from outside the node, is looked up.",
        "파드에서 오거나 노드 밖에서 오는 연결의 첫 패킷은 모두 이 규칙을 거칩니다.";
    EntersFromNode:
        "The same for connections that the node itself makes.",
        "노드 자신이 만드는 연결도 마찬가지입니다.";
    FindsAddress:
        "Is the destination the address and port of a Service? Then the packet goes on in that Service's chain.",
        "목적지가 어떤 서비스의 주소와 포트이면 그 서비스의 체인으로 넘어갑니다.";
    FindsNodePort:
        "Is it a node port at this node's own address? Then the packet goes on in the chain of that Service.",
        "목적지가 이 노드 주소의 노드 포트이면 그 서비스의 체인으로 넘어갑니다.";
    LeadsAddress:
        "Connections to {}, port {}, go on in chain {}.",
        "{}의 {}번 포트로 가는 연결은 {} 체인으로 넘어갑니다.";
    LeadsNodePort:
        "Connections to port {} of this node go on in chain {}.",
        "이 노드의 {}번 포트로 오는 연결은 {} 체인으로 넘어갑니다.";
    Marks:
        "The connection is marked: it gets the node's address as its source, so that the answer comes back through this node. It goes on in chain {}.",
        "연결에 표시를 남깁니다. 출발지 주소가 노드의 주소로 바뀌어 응답이 이 노드를 거쳐 돌아옵니다. 이어서 {} 체인으로 넘어갑니다.";
    LeadsInside:
        "A client inside the cluster: the policy Local is not meant for it, and it goes on in chain {}.",
        "클러스터 안의 클라이언트에는 Local 정책이 적용되지 않으므로 {} 체인으로 넘어갑니다.";
    Drops:
        "The policy is Local, and this node has no endpoint: the packet is dropped without an answer.",
        "정책이 Local인데 이 노드에 엔드포인트가 없으므로 응답 없이 버립니다.";
    Chooses:
        "Draws a number by lot, and puts the address of that endpoint in {} in place of the Service's.",
        "번호를 무작위로 뽑아, {}에서 그 번호의 엔드포인트 주소로 서비스 주소를 바꿉니다.";
    Endpoint: "Number {} is {}, port {}.", "{}번은 {}의 {}번 포트입니다.";
    LeadsToSticky:
        "Number {} is {}, port {}; its chain remembers the client.",
        "{}번은 {}의 {}번 포트입니다. 그 체인이 클라이언트를 기억합니다.";
    KnowsClients:
        "A client that has been at {}, port {}, goes there again (sessionAffinity: ClientIP).",
        "{}의 {}번 포트에 접속한 적이 있는 클라이언트는 다시 그 파드로 갑니다(sessionAffinity: ClientIP).";
    Remembers: "Remembers the client of {}, port {}.", "{}의 {}번 포트에 접속한 클라이언트를 기억합니다.";
    Translates:
        "Puts {}, port {}, in place of the Service's address.",
        "서비스의 주소를 {}의 {}번 포트로 바꿉니다.";
    Client: "The client {} stays with {}, port {}.", "{} 클라이언트는 {}의 {}번 포트로 계속 갑니다.";
    Refused:
        "{}, port {}: the Service has no endpoint, so connections are refused.",
        "{}의 {}번 포트: 서비스에 엔드포인트가 없어 연결이 거부됩니다.";
    RefusedNodePort:
        "Port {} of this node: the Service has no endpoint, so connections are refused.",
        "이 노드의 {}번 포트: 서비스에 엔드포인트가 없어 연결이 거부됩니다.";
    RefusesListed:
        "Refuses connections to Services without endpoints.",
        "엔드포인트가 없는 서비스로 가는 연결을 거부합니다.";
    RefusesListedPorts:
        "Refuses new connections to node ports of Services without endpoints, also where a program of the node listens.",
        "엔드포인트가 없는 서비스의 노드 포트로 오는 새 연결을 거부합니다. 노드의 프로그램이 그 포트에서 기다리고 있어도 마찬가지입니다.";
    RefusesUnknown:
        "Refuses new connections to addresses of the service range that no Service has.",
        "서비스 주소 범위에 있지만 어떤 서비스의 것도 아닌 주소로 가는 새 연결을 거부합니다.";
    Masquerades:
        "Gives connections that are marked the node's address as their source.",
        "표시된 연결의 출발지 주소를 노드의 주소로 바꿉니다.";
    Hairpin:
        "A pod that reaches itself through a Service gets another source address: it would not answer itself.",
        "파드가 서비스를 거쳐 자기 자신에게 접속하면 출발지 주소를 바꿉니다. 그대로 두면 자기 자신에게는 응답하지 못합니다.";
    Other: "Not a rule of this program.", "이 프로그램이 만든 규칙이 아닙니다.";
    NoRules:
        "there are no rules: kube-proxy has written none on the nodes that answered",
        "규칙이 없습니다. 응답한 노드 중에 kube-proxy가 규칙을 쓴 노드가 없습니다";
    NoService:
        "no node has a rule for the Service {}. It does not exist, has no cluster IP, or kube-proxy has not written its rules",
        "{} 서비스의 규칙이 어느 노드에도 없습니다. 서비스가 없거나, 클러스터 IP가 없거나, kube-proxy가 아직 규칙을 쓰지 않았습니다";
    NoServiceTry:
        "`kubectl get service {} -n {}`, and `kubectl get pods -n kube-system -l k8s-app=kube-proxy`",
        "`kubectl get service {} -n {}`, 그리고 `kubectl get pods -n kube-system -l k8s-app=kube-proxy`";
    NoPod: "no node runs a pod {} with an address of its own", "자기 주소를 가진 {} 파드가 어느 노드에도 없습니다";
    NoneToPod:
        "no Service leads to the pod {} ({}). A Service leads to pods that its selector names and that are ready",
        "{} 파드({})로 이어지는 서비스가 없습니다. 서비스는 셀렉터에 맞고 준비된 파드로만 이어집니다";
    Unknown:
        "node {} could not be asked: {}. Its rules or its pods are not shown",
        "{} 노드의 정보를 읽을 수 없습니다: {}. 이 노드의 규칙이나 파드는 표시되지 않습니다";
    Unclear:
        "{} names no Service and no pod; write NAME, svc/NAME or pod/NAME",
        "{} 값은 서비스도 파드도 아닙니다. 이름, svc/이름, pod/이름 중 하나를 적으세요";
    Without:
        "`ropewalk net show` without a name shows also the rules that are there for all Services.",
        "이름 없이 `ropewalk net show`를 실행하면 모든 서비스에 공통인 규칙도 볼 수 있습니다.";
    }
}

/// What the rules are asked for.
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
    let named = format!("{namespace}/{name}");
    match kind.to_lowercase().as_str() {
        "svc" | "service" | "services" => Some(About::Service(named)),
        "po" | "pod" | "pods" => Some(About::Pod(named)),
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
        return Ok(super::codes::USAGE);
    };
    let mut control = Control::connect(&home.cluster(name)?).await?;
    let network: Network = serde_json::from_value(control.ask(&Ask::Network).await?)?;
    let chosen = choose(&about, &network);
    let has_failed = !network.failed.is_empty();
    if output == Some(Output::Json) {
        let of_nodes = chosen.unwrap_or_default();
        std::println!("{}", serde_json::to_string_pretty(&Network { nodes: of_nodes.clone(), ..network })?);
        return Ok(i32::from(has_failed || of_nodes.values().all(Vec::is_empty)));
    }
    let code = match chosen {
        Ok(nodes) => {
            let width = columns();
            print!("{}", page(lang, &nodes, &network.pods, width));
            if about != About::All {
                print!("\n{}", wrapped(&lang.say(Word::Without, &[]), "", width));
            }
            i32::from(has_failed)
        }
        Err(nothing) => {
            let (why, tip) = nothing.say(lang);
            eprintln!("ropewalk: {why}");
            if let Some(tip) = tip {
                eprintln!("  {}: {tip}", lang.say(Say::Try, &[]));
            }
            1
        }
    };
    for line in unknown(lang, &network.failed) {
        eprintln!("ropewalk: {line}");
    }
    Ok(code)
}

/// Says of each node that could not be asked why.
fn unknown(lang: Lang, failed: &BTreeMap<String, String>) -> Vec<String> {
    let line = |(node, why): (&String, &String)| lang.say(Word::Unknown, &[node, &prose::harmless(why)]);
    failed.iter().map(line).collect()
}

/// Why there is nothing to show.
#[derive(Debug, PartialEq, Eq)]
enum Nothing {
    /// All rules were asked for.
    NoRules,
    /// `namespace/name`
    NoService(String),
    NoPod(String),
    NoneToPod(String, Ipv4Addr),
}

impl Nothing {
    fn say(&self, lang: Lang) -> (String, Option<String>) {
        match self {
            Nothing::NoRules => {
                let tip = "`kubectl get pods -n kube-system -l k8s-app=kube-proxy`";
                (lang.say(Word::NoRules, &[]), Some(tip.into()))
            }
            Nothing::NoService(named) => {
                let (namespace, name) = named.split_once('/').unwrap_or(("default", named));
                let tip = lang.say(Word::NoServiceTry, &[name, namespace]);
                (lang.say(Word::NoService, &[named]), Some(tip))
            }
            Nothing::NoPod(named) => (lang.say(Word::NoPod, &[named]), None),
            Nothing::NoneToPod(named, ip) => (lang.say(Word::NoneToPod, &[named, &ip.to_string()]), None),
        }
    }
}

type OfNodes = BTreeMap<String, Vec<Installed>>;

/// The rules that were asked for, of each node that has some.
fn choose(about: &About, network: &Network) -> Result<OfNodes, Nothing> {
    let keep = |is_meant: &dyn Fn(&Installed) -> bool| -> OfNodes {
        let kept = network.nodes.iter().map(|(node, rules)| {
            (node.clone(), rules.iter().filter(|rule| is_meant(rule)).cloned().collect::<Vec<_>>())
        });
        kept.filter(|(_, rules)| !rules.is_empty()).collect()
    };
    let of = |named: &str, rule: &Installed| {
        rule.service
            .as_deref()
            .and_then(|key| key.rsplit_once(':'))
            .is_some_and(|(service, _)| service == named)
    };
    let service = |named: &str| Some(keep(&|rule| of(named, rule))).filter(|rules| !rules.is_empty());
    let pod = |named: &str| {
        let mut addresses = network.pods.iter();
        let ip = *addresses.find(|(_, name)| *name == named).ok_or(Nothing::NoPod(named.into()))?.0;
        let leads = |rule: &Installed| endpoint(&rule.does).is_some_and(|(to, _)| to == ip);
        let all = network.nodes.values().flatten();
        let keys: Vec<&String> =
            all.filter(|rule| leads(rule)).filter_map(|rule| rule.service.as_ref()).collect();
        let rules = keep(&|rule| {
            rule.service.as_ref().is_some_and(|key| keys.contains(&key))
                && endpoint(&rule.does).is_none_or(|(to, _)| to == ip)
        });
        if rules.is_empty() { Err(Nothing::NoneToPod(named.into(), ip)) } else { Ok(rules) }
    };
    match about {
        About::All => Some(keep(&|_| true)).filter(|rules| !rules.is_empty()).ok_or(Nothing::NoRules),
        About::Service(named) => service(named).ok_or_else(|| Nothing::NoService(named.clone())),
        About::Pod(named) => pod(named),
        About::Either(named) => match service(named) {
            Some(rules) => Ok(rules),
            None => pod(named).map_err(|nothing| match nothing {
                Nothing::NoPod(named) => Nothing::NoService(named),
                other => other,
            }),
        },
    }
}

/// The endpoint that a rule or an element is about alone.
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

/// The name without its number, which each node gives for itself.
fn kind(chain: &str) -> String {
    chain.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// What rules do, without the number that each node gives a Service; of a rule of another program,
/// which chain it is in and its text. Nodes with equal results are shown together.
fn alike<'a>(rules: &[&'a Installed]) -> Vec<(Does, Option<(String, &'a str)>)> {
    let plain = |rule: &Installed| match rule.does.clone() {
        Does::LeadsAddress { address, port, chain } => {
            Does::LeadsAddress { address, port, chain: kind(&chain) }
        }
        Does::LeadsNodePort { port, chain } => Does::LeadsNodePort { port, chain: kind(&chain) },
        Does::Marks { chain } => Does::Marks { chain: kind(&chain) },
        Does::LeadsInside { chain } => Does::LeadsInside { chain: kind(&chain) },
        Does::Chooses { map } => Does::Chooses { map: kind(&map) },
        other => other,
    };
    let foreign =
        |rule: &'a Installed| (rule.does == Does::Other).then(|| (kind(&rule.within), rule.text.as_str()));
    rules.iter().map(|&rule| (plain(rule), foreign(rule))).collect()
}

/// The rules of all nodes: Service by Service, and nodes that have the same ones together.
fn page(lang: Lang, nodes: &OfNodes, pods: &BTreeMap<Ipv4Addr, String>, width: usize) -> String {
    let mut services: Vec<Option<&str>> =
        nodes.values().flatten().map(|rule| rule.service.as_deref()).collect();
    services.sort_unstable();
    services.dedup();
    let mut out = String::new();
    for service in services {
        let title =
            service.map_or_else(|| lang.say(Word::ForAll, &[]), |key| key.trim_end_matches(':').into());
        out.push_str(&format!("{}{title}\n", if out.is_empty() { "" } else { "\n" }));
        // (nodes, rules)
        let mut groups: Vec<(Vec<&str>, Vec<&Installed>)> = Vec::new();
        for (node, rules) in nodes {
            let own: Vec<&Installed> =
                rules.iter().filter(|rule| rule.service.as_deref() == service).collect();
            if own.is_empty() {
                continue;
            }
            match groups.iter_mut().find(|(_, rules)| alike(rules) == alike(&own)) {
                Some((nodes, _)) => nodes.push(node),
                None => groups.push((vec![node], own)),
            }
        }
        for (nodes, rules) in groups {
            let names = nodes.join(", ");
            let head = match nodes.len() {
                1 => lang.say(Word::OnNodes, &[&names]),
                count => lang.say(Word::Alike, &[&count.to_string(), &names]),
            };
            out.push_str(&wrapped(&head, "  ", width));
            for rule in rules {
                // A privileged pod may write rules of its own, with any names.
                let line = format!("{}: {}", rule.within, rule.text);
                out.push_str(&format!("    {}\n", prose::harmless(&line)));
                out.push_str(&wrapped(&sentence(lang, &rule.does, pods), "      ", width));
            }
        }
    }
    out
}

fn sentence(lang: Lang, does: &Does, pods: &BTreeMap<Ipv4Addr, String>) -> String {
    let who = |ip: &Ipv4Addr| pods.get(ip).map_or_else(|| ip.to_string(), |pod| format!("{ip} ({pod})"));
    let at = |word, ip: &Ipv4Addr, port: &u16| lang.say(word, &[&who(ip), &port.to_string()]);
    match does {
        Does::EntersFromPods => lang.say(Word::EntersFromPods, &[]),
        Does::EntersFromNode => lang.say(Word::EntersFromNode, &[]),
        Does::FindsAddress => lang.say(Word::FindsAddress, &[]),
        Does::FindsNodePort => lang.say(Word::FindsNodePort, &[]),
        Does::LeadsAddress { address, port, chain } => {
            lang.say(Word::LeadsAddress, &[&address.to_string(), &port.to_string(), chain])
        }
        Does::LeadsNodePort { port, chain } => lang.say(Word::LeadsNodePort, &[&port.to_string(), chain]),
        Does::Marks { chain } => lang.say(Word::Marks, &[chain]),
        Does::LeadsInside { chain } => lang.say(Word::LeadsInside, &[chain]),
        Does::Drops => lang.say(Word::Drops, &[]),
        Does::Chooses { map } => lang.say(Word::Chooses, &[map]),
        Does::Endpoint { number, ip, port } => {
            lang.say(Word::Endpoint, &[&number.to_string(), &who(ip), &port.to_string()])
        }
        Does::LeadsToSticky { number, ip, port } => {
            lang.say(Word::LeadsToSticky, &[&number.to_string(), &who(ip), &port.to_string()])
        }
        Does::KnowsClients { ip, port } => at(Word::KnowsClients, ip, port),
        Does::Remembers { ip, port } => at(Word::Remembers, ip, port),
        Does::Translates { ip, port } => at(Word::Translates, ip, port),
        Does::Client { client, ip, port } => {
            lang.say(Word::Client, &[&who(client), &who(ip), &port.to_string()])
        }
        Does::Refused { address, port } => at(Word::Refused, address, port),
        Does::RefusedNodePort { port } => lang.say(Word::RefusedNodePort, &[&port.to_string()]),
        Does::RefusesListedPorts => lang.say(Word::RefusesListedPorts, &[]),
        Does::RefusesListed => lang.say(Word::RefusesListed, &[]),
        Does::RefusesUnknown => lang.say(Word::RefusesUnknown, &[]),
        Does::Masquerades => lang.say(Word::Masquerades, &[]),
        Does::Hairpin => lang.say(Word::Hairpin, &[]),
        Does::Other => lang.say(Word::Other, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 5);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 244, 2, 7);

    fn rule(service: Option<&str>, number: u32, does: Does) -> Installed {
        Installed {
            service: service.map(String::from),
            within: format!("chain s{number}"),
            text: "rule".into(),
            does,
        }
    }

    /// Two nodes, on which the Service has different numbers.
    fn network() -> Network {
        let of = |number: u32| {
            let lot = |number, ip| Does::Endpoint { number, ip, port: 80 };
            vec![
                rule(None, 0, Does::FindsAddress),
                rule(Some("default/web:"), number, Does::Chooses { map: format!("e_s{number}") }),
                rule(Some("default/web:"), number, lot(0, POD)),
                rule(Some("default/web:"), number, lot(1, OTHER)),
            ]
        };
        Network {
            nodes: [("a".into(), of(4)), ("b".into(), of(7))].into(),
            pods: [(POD, "default/web-1".to_string())].into(),
            failed: BTreeMap::new(),
        }
    }

    #[test]
    fn nodes_with_the_same_rules_are_shown_together() {
        let network = network();
        let chosen = choose(&parse(Some("web"), "default").unwrap(), &network).unwrap();
        let page = page(Lang::En, &chosen, &network.pods, 100);
        assert_eq!(page.matches("alike on 2 nodes: a, b").count(), 1, "{page}");
        assert!(
            page.starts_with("default/web\n") && page.contains("10.244.1.5 (default/web-1), port 80"),
            "{page}"
        );
        assert!(!page.contains("Is the destination"), "{page}");
    }

    #[test]
    fn rules_of_another_program_are_alike_only_if_they_read_the_same() {
        let other = |text: &str| vec![Installed { text: text.into(), ..rule(None, 0, Does::Other) }];
        let nodes: OfNodes = [("a", "drop"), ("b", "accept"), ("c", "drop")]
            .map(|(node, text)| (node.to_string(), other(text)))
            .into();
        let page = page(Lang::En, &nodes, &BTreeMap::new(), 80);
        assert!(page.contains("alike on 2 nodes: a, c\n") && page.contains("chain s0: accept"), "{page}");
    }

    #[test]
    fn a_node_that_could_not_be_asked_is_named_beside_the_others() {
        let mut network = network();
        network.nodes.remove("a");
        network.failed.insert("a".into(), "cannot list the table: \u{1b}[2JOperation not permitted".into());
        let chosen = choose(&About::Service("default/web".into()), &network).unwrap();
        assert_eq!(chosen.keys().collect::<Vec<_>>(), ["b"]);
        for lang in [Lang::En, Lang::Ko] {
            let said = unknown(lang, &network.failed).join("\n");
            assert!(said.contains("Operation not permitted") && !said.contains('\u{1b}'), "{said:?}");
        }
        let english = unknown(Lang::En, &network.failed);
        assert!(english[0].starts_with("node a could not be asked: cannot list the table"), "{english:?}");
    }

    #[test]
    fn a_name_in_the_table_writes_nothing_but_itself() {
        let odd = Installed { within: "chain \u{1b}[2J".into(), ..rule(None, 0, Does::Other) };
        let page = page(Lang::En, &[("a".into(), vec![odd])].into(), &BTreeMap::new(), 80);
        assert!(!page.contains('\u{1b}') && page.contains("[2J"), "{page:?}");
    }

    #[test]
    fn a_pod_is_shown_with_the_services_that_lead_to_it() {
        let network = network();
        let rules = choose(&About::Pod("default/web-1".into()), &network).unwrap();
        let to: Vec<_> = rules["a"].iter().filter_map(|rule| endpoint(&rule.does)).collect();
        assert_eq!((to, rules["a"].len()), (vec![(POD, 80)], 2));
        let alone = Network { nodes: BTreeMap::new(), ..network };
        let nothing = choose(&About::Pod("default/web-1".into()), &alone).unwrap_err();
        assert_eq!(nothing, Nothing::NoneToPod("default/web-1".into(), POD));
    }

    #[test]
    fn what_is_not_there_is_named() {
        for (what, said) in [
            ("web", "kube-proxy has not written"),
            ("pod/ghost", "no node runs a pod"),
            ("svc/ghost", "default/ghost"),
            ("", "there are no rules"),
        ] {
            let about = parse(Some(what).filter(|what| !what.is_empty()), "default").unwrap();
            let mut network = network();
            network.nodes.clear();
            network.pods.clear();
            let (told, _) = choose(&about, &network).unwrap_err().say(Lang::En);
            assert!(told.contains(said), "{what}: {told}");
        }
        assert!(["deploy/web", "a//b", "a/b/c/d"].iter().all(|what| parse(Some(what), "default").is_none()));
        assert_eq!(parse(Some("shop/svc/db"), "default"), Some(About::Service("shop/db".into())));
    }
}
