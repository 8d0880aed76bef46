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
    let rules = choose(&parse(Some("web"), "default").unwrap(), &network).unwrap();
    let page = page(Lang::En, &rules, &network.pods, 100);
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
    let nodes: NodeRules = [("a", "drop"), ("b", "accept"), ("c", "drop")]
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
    let rules = choose(&About::Service("default/web".into()), &network).unwrap();
    assert_eq!(rules.keys().collect::<Vec<_>>(), ["b"]);
    for lang in [Lang::En, Lang::Ko] {
        let lines = failure_lines(lang, &network.failed).join("\n");
        assert!(lines.contains("Operation not permitted") && !lines.contains('\u{1b}'), "{lines:?}");
    }
    let english = failure_lines(Lang::En, &network.failed);
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
    for (what, expected) in [
        ("web", "kube-proxy has not written"),
        ("pod/ghost", "no node runs a pod"),
        ("svc/ghost", "default/ghost"),
        ("", "there are no rules"),
    ] {
        let about = parse(Some(what).filter(|what| !what.is_empty()), "default").unwrap();
        let mut network = network();
        network.nodes.clear();
        network.pods.clear();
        let (reason, _) = choose(&about, &network).unwrap_err().say(Lang::En);
        assert!(reason.contains(expected), "{what}: {reason}");
    }
    assert!(["deploy/web", "a//b", "a/b/c/d"].iter().all(|what| parse(Some(what), "default").is_none()));
    assert_eq!(parse(Some("shop/svc/db"), "default"), Some(About::Service("shop/db".into())));
}
