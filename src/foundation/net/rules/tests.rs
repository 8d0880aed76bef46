//! Which chains serve the addresses of a service, and what fits into a message.

use super::*;
use crate::plan::tests::rule as service;

/// The kernel refuses a whole transaction in which one rule refers to a chain that does not
/// exist.
#[test]
fn every_endpoint_that_a_chain_chooses_has_a_chain_that_remembers_its_clients() {
    let (ending, ready) = ((Ipv4Addr::new(10, 244, 1, 2), 80), (Ipv4Addr::new(10, 244, 2, 2), 80));
    let base =
        ServiceRule { node_port: Some(30080), affinity_seconds: Some(10800), ..service("x", &[ready]) };
    let external = ServiceRule { local_endpoints: Some(vec![ending]), ..base.clone() };
    let internal = ServiceRule { endpoints: vec![ending], all_endpoints: Some(vec![ready]), ..base.clone() };
    for rule in [base, external, internal] {
        let made = rule.used();
        for (chain, endpoints) in choosers(&Names(0), &rule) {
            assert!(endpoints.iter().all(|e| made.contains(e)), "{chain}: {endpoints:?} of {made:?}");
        }
    }
}

#[test]
fn clients_inside_the_cluster_are_led_to_a_chain_with_the_endpoints_of_all_nodes() {
    let (here, there) = ((Ipv4Addr::new(10, 244, 1, 2), 80), (Ipv4Addr::new(10, 244, 2, 2), 80));
    let external = ServiceRule {
        node_port: Some(30080),
        local_endpoints: Some(vec![here]),
        ..service("x", &[here, there])
    };
    let both =
        ServiceRule { endpoints: vec![here], all_endpoints: Some(vec![here, there]), ..external.clone() };
    for (rule, expected) in [(external, vec!["x0", "s0"]), (both, vec!["x0", "y0", "s0"])] {
        let chains = choosers(&Names(0), &rule);
        assert!(chains.iter().map(|(name, _)| name).eq(expected), "what is led to is made before");
        let to = Names(0).everywhere(&rule);
        let (_, endpoints) = chains.iter().find(|(name, _)| *name == to).unwrap();
        assert_eq!(*endpoints, rule.everywhere());
    }
}

/// What a pod sends to an external address may leave this node, and comes back through it.
#[test]
fn external_addresses_mark_for_masquerading_unless_the_policy_is_local() {
    let endpoint = (Ipv4Addr::new(10, 244, 1, 2), 80);
    let (cluster, external) = (Ipv4Addr::new(10, 96, 0, 9), Ipv4Addr::new(203, 0, 113, 7));
    let rule = |addresses: &[Ipv4Addr], node_port, local: bool| ServiceRule {
        addresses: addresses.to_vec(),
        node_port,
        local_endpoints: local.then(|| vec![endpoint]),
        ..service("x", &[endpoint])
    };
    let chains = |rule: &ServiceRule| -> Vec<String> {
        entries(&Names(0), rule).into_iter().map(|(_, chain)| chain).collect()
    };
    for (node_port, local, expected, marked) in [
        (None, false, ["s0", "x0"], true),
        (Some(30080), false, ["s0", "x0"], true),
        (None, true, ["s0", "s0"], false),
        (Some(30080), true, ["s0", "s0"], false),
    ] {
        let rule = rule(&[cluster, external], node_port, local);
        assert_eq!((chains(&rule), is_marked(&rule)), (expected.map(String::from).to_vec(), marked));
    }
    let inside = rule(&[cluster], None, false);
    assert_eq!((chains(&inside), is_marked(&inside)), (vec!["s0".to_string()], false));
}

/// A node port without endpoints would else be answered by a program of the node that has the port.
#[test]
fn a_node_port_has_a_key_for_the_set_of_what_is_refused() {
    let rule = ServiceRule { node_port: Some(30080), ..service("x", &[]) };
    let (addresses, ports) = keys(&rule);
    assert_eq!((addresses.len(), ports), (1, vec![port_key(&rule, 30080)]));
    assert!(keys(&service("x", &[])).1.is_empty());
}

/// An older kernel refuses to delete a chain that an element of a deleted map led to. Then all
/// rules are written anew, and no Service knows its clients any more.
#[test]
fn a_map_that_leads_to_chains_is_emptied_before_it_is_deleted() {
    let endpoints = [(Ipv4Addr::new(10, 244, 1, 2), 80), (Ipv4Addr::new(10, 244, 2, 2), 80)];
    let plain = service("x", &endpoints);
    let sticky = ServiceRule { affinity_seconds: Some(10800), ..plain.clone() };
    assert_eq!(sticky_choices(&sticky, &endpoints), [SetElement::mark(0), SetElement::mark(1)]);
    assert!(sticky_choices(&plain, &endpoints).is_empty(), "this map has addresses");
}

/// An attribute has at most 64 KiB: a Service with 2800 external addresses in one message would
/// make the kernel refuse the whole transaction.
#[test]
fn elements_of_any_number_fit_into_messages() {
    let elements: Vec<SetElement> = (0..2800).map(SetElement::mark).collect();
    let sizes: Vec<usize> = portions(&elements).map(<[SetElement]>::len).collect();
    assert_eq!(sizes, [500, 500, 500, 500, 500, 300]);
    assert_eq!(portions(&[]).count(), 0, "no message without elements");
}
