//! The `/etc/resolv.conf` of a pod: the cluster's DNS for most, and what the pod itself asks for.
//! Source: `pkg/kubelet/network/dns/dns.go`.

use api::cidr::canonical_text;
use cri::Dns;
use k8s_openapi::api::core::v1::Pod;
use std::net::Ipv4Addr;

/// Name servers that a resolver asks; further ones are left out.
const SERVERS_MAX: usize = 3;
/// Search domains, and characters of all of them with the blanks between.
const SEARCHES_MAX: usize = 32;
const SEARCH_LINE_MAX: usize = 2048;
/// Characters of one search domain: with a longer one glibc ends the program.
const SEARCH_MAX: usize = 253;

/// Returns the resolver's configuration of a pod, and a message for each kind of entry that had to
/// be left out.
///
/// ```text
/// dnsPolicy     hostNetwork   servers                   searches
/// ClusterFirst  no            the cluster's, the pod's  NS.svc.DOMAIN svc.DOMAIN DOMAIN, the pod's
/// ClusterFirst  yes           the pod's                 the pod's
/// None          any           the pod's                 the pod's
/// ```
///
/// A pod of the namespace `shop` asks for `db`: the name has fewer than five dots (`ndots:5`), so
/// `db.shop.svc.cluster.local` is tried first. That is why a Service can be called by its short
/// name in its own namespace, and as `db.shop` from another one.
pub(crate) fn of_pod(pod: &Pod, cluster_dns: Ipv4Addr, domain: &str) -> (Dns, Vec<String>) {
    let spec = pod.spec.clone().unwrap_or_default();
    let mut dns = Dns::default();
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let host_network = spec.host_network.unwrap_or(false);
    if policy == "ClusterFirstWithHostNet" || (policy == "ClusterFirst" && !host_network) {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        dns.servers = vec![cluster_dns.to_string()];
        dns.searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.into()];
        dns.options = vec!["ndots:5".into()];
    }
    if let Some(own) = &spec.dns_config {
        let servers = own.nameservers.iter().flatten().map(|server| canonical_text(server));
        add_new(&mut dns.servers, servers);
        add_new(&mut dns.searches, own.searches.iter().flatten().cloned());
        let options = own.options.iter().flatten();
        let options = options.map(|o| (o.name.as_deref().unwrap_or_default(), o.value.as_deref()));
        merge_options(&mut dns.options, options);
    }
    let left_out = bound(&mut dns);
    (dns, left_out)
}

/// Adds what is not there yet.
fn add_new(all: &mut Vec<String>, own: impl Iterator<Item = String>) {
    for one in own {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

/// Adds the pod's own options of `resolv.conf` to those that are there, and replaces those of the
/// same name: musl takes the first of two, glibc the last.
fn merge_options<'a>(options: &mut Vec<String>, own: impl Iterator<Item = (&'a str, Option<&'a str>)>) {
    for (name, value) in own.filter(|(name, _)| !name.is_empty()) {
        let option = value.filter(|v| !v.is_empty()).map_or(name.to_string(), |v| format!("{name}:{v}"));
        match options.iter_mut().find(|known| known.split(':').next() == Some(name)) {
            Some(known) => *known = option,
            None => options.push(option),
        }
    }
}

/// Cuts servers and searches to what resolvers take; says so in upstream's words.
fn bound(dns: &mut Dns) -> Vec<String> {
    let mut left_out = vec![];
    if dns.servers.len() > SERVERS_MAX {
        dns.servers.truncate(SERVERS_MAX);
        let servers = dns.servers.join(" ");
        left_out.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {servers}"
        ));
    }
    let before = dns.searches.len();
    dns.searches.truncate(SEARCHES_MAX);
    dns.searches.retain(|search| search.len() <= SEARCH_MAX);
    while dns.searches.join(" ").len() > SEARCH_LINE_MAX {
        dns.searches.pop();
    }
    if dns.searches.len() < before {
        let searches = dns.searches.join(" ");
        left_out.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {searches}"
        ));
    }
    left_out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(spec: Value) -> (Dns, Vec<String>) {
        let pod = json!({"metadata": {"name": "p", "namespace": "shop"}, "spec": spec});
        of_pod(&serde_json::from_value(pod).unwrap(), Ipv4Addr::new(10, 96, 0, 10), "cluster.local")
    }

    #[test]
    fn the_clusters_dns_comes_first_and_nothing_twice() {
        let own =
            json!({"nameservers": ["9.9.9.9", "10.96.0.10"], "searches": ["svc.cluster.local", "corp"]});
        let (dns, left_out) = of(json!({"containers": [], "dnsConfig": own}));
        assert_eq!(dns.servers, ["10.96.0.10", "9.9.9.9"]);
        assert_eq!(dns.searches, ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp"]);
        assert!(left_out.is_empty(), "{left_out:?}");
        let (dns, _) = of(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": own}));
        assert_eq!((dns.servers.len(), dns.options.len()), (2, 0));
        let (dns, _) = of(json!({"containers": [], "hostNetwork": true}));
        assert!(dns.servers.is_empty(), "the node's own would be asked, and nodes have none");
    }

    #[test]
    fn a_name_server_is_one_however_it_is_written() {
        let own = json!({"nameservers": ["010.96.0.010", "::ffff:9.9.9.9", "FD00:0::1"]});
        let (dns, _) = of(json!({"containers": [], "dnsConfig": own}));
        assert_eq!(dns.servers, ["10.96.0.10", "9.9.9.9", "fd00::1"]);
    }

    #[test]
    fn what_a_resolver_does_not_take_is_left_out_and_named() {
        let (dns, left_out) =
            of(json!({"containers": [], "dnsConfig": {"nameservers": ["1.1.1.1", "2.2.2.2", "3.3.3.3"]}}));
        assert_eq!(dns.servers, ["10.96.0.10", "1.1.1.1", "2.2.2.2"]);
        assert!(
            left_out[0].ends_with("the applied nameserver line is: 10.96.0.10 1.1.1.1 2.2.2.2"),
            "{left_out:?}"
        );
        let long: Vec<String> = (0..40).map(|n| format!("{n}.{}", "a".repeat(120))).collect();
        let (dns, left_out) = of(json!({"containers": [], "dnsConfig": {"searches": long}}));
        assert!(dns.searches.len() < SEARCHES_MAX && dns.searches.join(" ").len() <= SEARCH_LINE_MAX);
        assert_eq!((left_out.len(), dns.searches[3].as_str()), (1, long[0].as_str()));
    }

    #[test]
    fn a_dns_option_of_the_pod_replaces_the_one_of_that_name() {
        let mut options = vec!["ndots:5".to_string()];
        let own = [("ndots", Some("2")), ("edns0", None), ("", Some("x")), ("ndots", Some("3"))];
        merge_options(&mut options, own.into_iter());
        assert_eq!(options, ["ndots:3", "edns0"]);
    }
}
