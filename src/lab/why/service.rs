//! Why no pod answers behind a Service.

use super::facts::Facts;
use super::pod::is_ready;
use super::question::Explanation;
use super::reader::{Reader, alive, flag, is_unread, near};
use super::texts::Word;
use api::meta;
use api::value::{at, int, list, text};
use serde_json::Value;

/// A port of the learner's own machine.
pub(super) fn port(reader: &Reader, port: u16) -> Explanation {
    let mut out = Explanation { about: format!("localhost:{port}"), ..Explanation::default() };
    if is_unread(reader, &mut out, &["services"]) {
        return out;
    }
    let has = |s: &&Value| list(s, "spec.ports").iter().any(|p| int(p, "nodePort") == Some(port.into()));
    match reader.facts.all("services").find(has) {
        Some(found) => {
            let name = format!("{}/{}", meta::namespace(found), meta::name(found));
            reader.fine(&mut out, Word::PortOf, &[&port.to_string(), &name]);
            service(reader, &mut out, found);
        }
        None => {
            reader.line(&mut out, Word::PortOfNobody, &[&port.to_string()]);
            let had = |body: &Value| {
                list(body, "spec.ports").iter().any(|p| int(p, "nodePort") == Some(port.into()))
            };
            let gone = reader.facts.records.iter().rev().find(|r| {
                r.write().is_some_and(|write| write.deleted)
                    && r.object.as_ref().is_some_and(|o| o.resource == "services")
                    && r.body
                        .as_ref()
                        .and_then(|b| serde_json::from_slice::<Value>(b).ok())
                        .is_some_and(|b| had(&b))
            });
            if let Some(record) = gone {
                let name = record.object.as_ref().map_or("", |o| o.name.as_str());
                let who = record.request.as_ref().map_or("", |r| r.user.as_str());
                reader.line(&mut out, Word::PortWasOf, &[name, who, &clock::rfc3339(record.at)]);
            }
            out.tips.push("kubectl get services -A".into());
        }
    }
    out
}

/// Explains whether a Service leads to pods, and why not.
pub(super) fn service(reader: &Reader, out: &mut Explanation, service: &Value) {
    let (namespace, name) = (meta::namespace(service), meta::name(service));
    if text(service, "spec.type") == "ExternalName" {
        reader.fine(out, Word::External, &[text(service, "spec.externalName")]);
        return;
    }
    if is_unread(reader, out, &["endpointslices", "pods"]) {
        return;
    }
    let selector = at(service, "spec.selector");
    let written: Vec<String> = selector
        .as_object()
        .into_iter()
        .flatten()
        .map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or_default()))
        .collect();
    let written = written.join(",");
    let of_slices = endpoints(reader.facts, namespace, name);
    let (endpoints, others): (Vec<&Value>, Vec<&Value>) = of_slices.into_iter().partition(|e| is_offered(e));
    let listed = endpoints.len();
    if written.is_empty() {
        // A person or a component fills the list, as that of `default/kubernetes`.
        match listed {
            0 => reader.line(out, Word::NoSelector, &[]),
            _ => reader.fine(out, Word::Listed, &[&listed.to_string()]),
        }
        return;
    }
    let pods = reader.facts.selected(namespace, selector);
    if pods.is_empty() {
        nobody_selected(reader, out, service, &written, listed);
        return;
    }
    // Such a Service lists its pods before they are ready, and while they end.
    let early = at(service, "spec.publishNotReadyAddresses") == true;
    let serves = |p: &&&Value| if early { has_address(p) } else { is_ready(p) && !meta::is_terminating(p) };
    let ready: Vec<&&Value> = pods.iter().filter(serves).collect();
    if ready.is_empty() {
        let ending = others.iter().filter(|endpoint| still_serves(endpoint)).count();
        let (selected, ending) = (pods.len().to_string(), (ending > 0).then(|| ending.to_string()));
        // What leads to the pods of a headless Service is its name, which leads to ready ones only.
        match ending.filter(|_| text(service, "spec.clusterIP") != "None") {
            Some(ending) => reader.line(out, Word::AllEnding, &[&selected, &written, &ending]),
            None => reader.line(out, Word::NobodyReady, &[&selected, &written]),
        }
        out.tips.push(format!("why pod/{}{}", meta::name(pods[0]), flag(namespace)));
        return;
    }
    // Those that are listed may be pods of before, if nothing keeps the list up to date.
    if !ready.iter().any(|pod| is_listed(pod, &endpoints)) {
        reader.line(out, Word::NotListed, &[]);
        alive(reader, out, "kube-controller-manager");
    } else {
        reader.fine(out, Word::Listed, &[&listed.to_string()]);
    }
    if text(service, "spec.clusterIP") == "None" {
        reader.fine(out, Word::Headless, &[]);
        return;
    }
    for port in list(service, "spec.ports") {
        target(reader, out, port, ready[0]);
    }
    if reader.facts.asks_cause {
        // Of every Service: if only a wrong one had this line, the line would tell which it is.
        reader.fine(out, Word::LabAsks, &[]);
    }
    outside(reader, out, service);
}

/// A selector that no pod matches. While a lab asks for the cause, only what `kubectl describe`
/// shows, too: which labels the pods have instead is the answer.
fn nobody_selected(reader: &Reader, out: &mut Explanation, service: &Value, written: &str, listed: usize) {
    let namespace = meta::namespace(service);
    if reader.facts.asks_cause {
        reader.fine(out, Word::Selects, &[written]);
        reader.fine(out, Word::Listed, &[&listed.to_string()]);
        reader.line(out, Word::LabAsks, &[]);
        out.tips.push(format!("kubectl describe svc/{}{}", meta::name(service), flag(namespace)));
        return;
    }
    reader.line(out, Word::NobodySelected, &[written]);
    nearly(reader, out, namespace, at(service, "spec.selector"));
    out.tips.push(format!("kubectl get pods{} --show-labels", flag(namespace)));
}

/// The endpoints of a Service in its slices, ready or not.
fn endpoints<'a>(facts: &'a Facts, namespace: &'a str, service: &'a str) -> Vec<&'a Value> {
    let is_its = move |s: &&Value| meta::label(s, "kubernetes.io/service-name") == Some(service);
    let slices = facts.within("endpointslices", namespace).filter(is_its);
    slices.flat_map(|s| list(s, "endpoints")).collect()
}

/// Returns whether an endpoint is ready. Source: EndpointConditions: a value that is missing is to
/// be read as true.
fn is_offered(endpoint: &Value) -> bool {
    at(endpoint, "conditions.ready") != false
}

/// Returns whether the pod of an endpoint is being deleted and still answers. kube-proxy sends to
/// such endpoints while none is ready. Source: KEP-1669.
fn still_serves(endpoint: &Value) -> bool {
    at(endpoint, "conditions.terminating") == true && at(endpoint, "conditions.serving") == true
}

/// Returns whether a slice can list a pod: one that has no node has no address, and one that has
/// ended is left out. Source: `endpointslice/util.ShouldPodBeInEndpoints`.
fn has_address(pod: &Value) -> bool {
    let has_ended = matches!(text(pod, "status.phase"), "Succeeded" | "Failed");
    !has_ended && !text(pod, "status.podIP").is_empty()
}

/// Returns whether an address of the pod is among those of the endpoints.
fn is_listed(pod: &Value, endpoints: &[&Value]) -> bool {
    let further = list(pod, "status.podIPs").iter().map(|ip| text(ip, "ip"));
    let own: Vec<&str> = further.chain([text(pod, "status.podIP")]).collect();
    let mut addresses = endpoints.iter().flat_map(|endpoint| list(endpoint, "addresses"));
    addresses.any(|address| address.as_str().is_some_and(|address| own.contains(&address)))
}

/// What `<pending>` under EXTERNAL-IP means. The node ports work without that address.
fn outside(reader: &Reader, out: &mut Explanation, service: &Value) {
    let is_given = !list(service, "status.loadBalancer.ingress").is_empty();
    if text(service, "spec.type") != "LoadBalancer" || is_given {
        return;
    }
    reader.fine(out, Word::NoBalancer, &[]);
    let ports = list(service, "spec.ports").iter().filter_map(|port| int(port, "nodePort"));
    let ports: Vec<String> = ports.filter(|port| *port != 0).map(|port| port.to_string()).collect();
    if !ports.is_empty() {
        reader.fine(out, Word::NodePorts, &[&ports.join(", ")]);
    }
}

/// Pods with the same key or the same value: the usual slip. A label that some pod has as it is
/// wanted is none.
fn nearly(reader: &Reader, out: &mut Explanation, namespace: &str, selector: &Value) {
    for (key, value) in selector.as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        let pods = reader.facts.within("pods", namespace);
        let values: Vec<&str> = pods.filter_map(|p| meta::label(p, key)).collect();
        if values.contains(&value) {
            continue;
        }
        if let Some(other) = values.iter().find(|other| near(other, value)).or(values.first()) {
            reader.line(out, Word::OtherValue, &[key, other, value]);
            return;
        }
        let labels =
            reader.facts.within("pods", namespace).filter_map(|p| at(p, "metadata.labels").as_object());
        let other_key = labels.flatten().find(|(_, v)| v.as_str() == Some(value)).map(|(k, _)| k.clone());
        if let Some(other) = other_key {
            reader.line(out, Word::OtherKey, &[&other, value, key]);
            return;
        }
    }
}

/// The protocol of a port. Source: `ContainerPort` and `ServicePort`: TCP, if none is named.
fn protocol(port: &Value) -> &str {
    match text(port, "protocol") {
        "" => "TCP",
        named => named,
    }
}

/// Explains whether the port that the Service sends to exists in the pod. Source:
/// `podutil.FindPort`: a name is looked for among the containers and the sidecars, and the protocol
/// has to be the same.
fn target(reader: &Reader, out: &mut Explanation, port: &Value, pod: &Value) {
    let wanted = at(port, "targetPort");
    if reader.facts.asks_cause {
        // Where the pods listen is for the learner to find.
        let (from, to) = (int(port, "port").unwrap_or(0).to_string(), wanted.to_string());
        reader.fine(out, Word::SendsTo, &[&from, to.trim_matches('"')]);
        return;
    }
    // Sidecars stand among the init containers.
    let sidecars = list(pod, "spec.initContainers").iter().filter(|c| text(c, "restartPolicy") == "Always");
    let containers = list(pod, "spec.containers").iter().chain(sidecars);
    let declared: Vec<&Value> = containers.flat_map(|c| list(c, "ports")).collect();
    if let Some(name) = wanted.as_str() {
        let is_it = |p: &&Value| text(p, "name") == name && protocol(p) == protocol(port);
        if !declared.iter().any(is_it) {
            reader.line(out, Word::NoNamedPort, &[name]);
        }
        return;
    }
    let Some(number) = wanted.as_i64() else { return };
    let numbers: Vec<i64> = declared.iter().filter_map(|p| int(p, "containerPort")).collect();
    if !numbers.is_empty() && !numbers.contains(&number) {
        let known: Vec<String> = numbers.iter().map(i64::to_string).collect();
        reader.line(out, Word::OtherPort, &[&number.to_string(), &known.join(", ")]);
    } else {
        let from = int(port, "port").unwrap_or(0).to_string();
        reader.fine(out, Word::SendsTo, &[&from, &number.to_string()]);
    }
}
