//! The network view where there is room: each address of the Service with the connections that came
//! through it and the place where one is refused, then the EndpointSlices with their pods, and the
//! pods that carry the labels but get nothing.
//!
//! ```text
//! localhost:31234 --> 10.98.113.25:80 --> targetPort 80     connections: 5
//!
//! EndpointSlice pod-svc-x7k2p  1 of 2 endpoints ready
//! | * 10.244.1.5:80   web-7ksfg  worker     gets connections
//! | o 10.244.2.7:80   web-jc628  worker2    not ready
//! ```

use super::super::cluster::{Cluster, Endpoint, Key, Pod, Port, Service, Slice, Stand};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, cut_middle, took};
use super::super::words::Word;
use super::canvas::Canvas;
use super::cluster::stand;
use super::common::node_name;
use super::ghosts::{Ghost, ghost_line};
use super::hops::short;
use super::network::alias;
use super::strip::Piece;
use tap::Event;

/// The row of the first address.
const TOP: usize = 2;
/// The column of an endpoint's pod.
const POD: usize = 23;
/// The column of an endpoint's node, counted from the right edge.
const NODE: usize = 31;
/// The column of what an endpoint gets, counted from the right edge.
const GETS: usize = 17;

/// Draws all below the Service's name; `sentence` says how many endpoints are ready, or why there
/// are none.
pub(super) fn draw(
    canvas: &mut Canvas<'_>,
    model: &Model,
    scene: &Cluster,
    (key, service): (&Key, &Service),
    sentence: &(String, Tone),
    gone: &[Ghost<'_>],
) {
    let endpoints = scene.endpoints(key);
    let ready = endpoints.iter().filter(|endpoint| endpoint.ready).count();
    // While no endpoint is ready, terminating ones that still serve get the connections.
    let is_used = |endpoint: &Endpoint| endpoint.ready || ready == 0 && endpoint.drains;
    let of = |(slice_key, slice): &(&Key, &Slice)| slice_key.0 == key.0 && slice.service == key.1;
    // Why the rules of the nodes refuse connections to a port.
    let refusal = |port: &Port| {
        let leads = |(_, slice): (&Key, &Slice)| slice.serves(port) && slice.endpoints.iter().any(is_used);
        match scene.slices.iter().filter(of).any(leads) {
            _ if service.is_headless() => None, // there are no rules for it
            true => None,
            false if endpoints.iter().any(|endpoint| is_used(endpoint)) => Some(Word::RefusedTarget),
            false => Some(Word::RefusedRules),
        }
    };
    let ways: Vec<(&Port, Option<Word>)> = service.ports.iter().map(|port| (port, refusal(port))).collect();
    let mut y = addresses(canvas, model, key, service, &ways);
    canvas.put(1, y, &sentence.0, sentence.1);
    let leads = ways.iter().any(|(_, refusal)| refusal.is_none());
    if ready > 1 && leads && !service.is_headless() {
        let text = canvas.word(Word::PickOne, &[&ready.to_string()]);
        canvas.put(1 + cells(&sentence.0) + 2, y, &text, Tone::Dim);
    }
    y += 1;
    let last = canvas.height().saturating_sub(1);
    for (slice_key, slice) in scene.slices.iter().filter(of) {
        if y >= last {
            break;
        }
        canvas.row(1, y, &[("EndpointSlice ", Tone::Dim), (&slice_key.1, Tone::Plain)]);
        y += 1;
        for endpoint in &slice.endpoints {
            if y < last {
                let has_port = !slice.ports.is_empty() || service.is_headless();
                let gets_any = is_used(endpoint).then_some(has_port);
                one(canvas, scene, key, (endpoint, gets_any), slice, y);
                y += 1;
            }
        }
    }
    for pod in left_out(scene, key, service, &endpoints) {
        if y < last {
            let (sign, tone) = stand(pod.stand);
            let text = format!("{} {}", canvas.sign(sign), pod.status);
            canvas.put_in(3, y, POD - 4, &text, tone);
            let node = node_name(canvas, scene, &pod.node);
            gets(canvas, (&pod.name, node), (Word::NotInSlice, Tone::Warn), y);
            y += 1;
        }
    }
    for (at, ghost) in gone.iter().take(last.saturating_sub(y)).enumerate() {
        let room = canvas.width().saturating_sub(4);
        ghost_line(canvas, ghost, (3, y + at), room);
    }
    written(canvas, model, last);
}

/// Tells of the last writing of a node's rules.
fn written(canvas: &mut Canvas<'_>, model: &Model, y: usize) {
    let Some(record) = &model.traffic.rules else { return };
    let node = short(&record.node);
    let text = match &record.event {
        Event::Rules { rules, changed } => {
            let (rules, changed) = (rules.to_string(), changed.to_string());
            canvas.word(Word::HopProxy, &[node, &rules, &changed])
        }
        _ => String::new(),
    };
    canvas.put(1, y, &format!("{text}  {}", took(record.took_us)), Tone::Dim);
}

/// The way through each port, with its connections, and below it the place where it ends if the
/// rules of the nodes refuse it. The row behind them and an empty one.
fn addresses(
    canvas: &mut Canvas<'_>,
    model: &Model,
    key: &Key,
    service: &Service,
    ways: &[(&Port, Option<Word>)],
) -> usize {
    let traffic = &model.traffic;
    let arrow = format!(" {} ", canvas.sign(Sign::Right));
    let mut y = TOP;
    if service.is_alias() {
        alias(canvas, service, y);
        return y + 2;
    }
    for &(port, refusal) in ways {
        let mut x = 1;
        let mut is_closed = false;
        if let Some(node_port) = port.node_port {
            let number = u16::try_from(node_port).unwrap_or_default();
            is_closed = traffic.open_ports.as_ref().is_some_and(|open| !open.contains(&number));
            let way = if is_closed { Tone::Bad } else { Tone::Plain };
            let local = format!("localhost:{node_port}");
            x = canvas.row(x, y, &[(&local, way), (&arrow, Tone::Dim)]);
            if is_closed {
                let text = canvas.word(Word::RefusedPort, &[&node_port.to_string()]);
                canvas.put(1, y + 1, &format!("{} {text}", canvas.sign(Sign::Failed)), Tone::Bad);
            }
        }
        let address = service.address(Some(port));
        let begin = x;
        let way = [(address.as_str(), Tone::Strong), (arrow.as_str(), Tone::Dim), ("targetPort ", Tone::Dim)];
        x = canvas.row(x, y, &way);
        x = canvas.put(x, y, &port.target, Tone::Plain);
        if let Some(visits) = port.node_port.and_then(|port| traffic.visits_of_port(key, port)) {
            let text = canvas.word(Word::Visits, &[&visits.to_string()]);
            canvas.put(x + 3, y, &text, Tone::Accent);
        }
        y += 1 + usize::from(is_closed);
        // The rules of each node refuse what no endpoint can take.
        if let Some(word) = refusal {
            let text = canvas.word(word, &[]);
            let at = if is_closed { 1 } else { begin };
            canvas.put(at, y, &format!("{} {text}", canvas.sign(Sign::Failed)), Tone::Bad);
            y += 1;
        }
    }
    y + 1
}

/// An endpoint: address, pod, node, and whether it gets connections. `gets_any` is `None` while it
/// is not used, and false where the connections have no port to go to.
fn one(
    canvas: &mut Canvas<'_>,
    scene: &Cluster,
    key: &Key,
    (endpoint, gets_any): (&Endpoint, Option<bool>),
    slice: &Slice,
    y: usize,
) {
    let pod = scene.pods.get(&(key.0.clone(), endpoint.pod.clone()));
    let is_leaving = pod.is_some_and(|pod| pod.stand == Stand::Leaving);
    let (sign, tone, word) = match (gets_any, is_leaving) {
        (Some(true), true) => (Sign::Leaving, Tone::Warn, Word::EndpointGets),
        (Some(true), false) => (Sign::Ready, Tone::Good, Word::EndpointGets),
        (Some(false), true) => (Sign::Leaving, Tone::Warn, Word::EndpointIdle),
        (Some(false), false) => (Sign::Ready, Tone::Warn, Word::EndpointIdle),
        (None, true) => (Sign::Leaving, Tone::Dim, Word::EndpointLeaves),
        (None, false) => (Sign::Starting, Tone::Warn, Word::EndpointWaits),
    };
    canvas.put(1, y, canvas.sign(Sign::Rail), Tone::Dim);
    let address = format!("{} {}", canvas.sign(sign), endpoint.ip);
    let room = POD - 4;
    let ports = ports_of(slice, room.saturating_sub(cells(&address)));
    canvas.put_in(3, y, room, &format!("{address}{ports}"), tone);
    let node = node_name(canvas, scene, &endpoint.node);
    gets(canvas, (&endpoint.pod, node), (word, tone), y);
}

/// The ports of a slice behind an address: `:80,443`, or `:80 +1` where there is too little room.
fn ports_of(slice: &Slice, room: usize) -> String {
    let mut numbers: Vec<String> = slice.ports.iter().map(|(_, number)| number.to_string()).collect();
    numbers.dedup(); // TCP and UDP
    let all = format!(":{}", numbers.join(","));
    match numbers.as_slice() {
        [] => String::new(),
        [first, more @ ..] if cells(&all) > room && !more.is_empty() => format!(":{first} +{}", more.len()),
        _ => all,
    }
}

/// A pod with its node, and what it gets of the Service.
fn gets(canvas: &mut Canvas<'_>, (pod, node): (&str, Piece), (word, tone): (Word, Tone), y: usize) {
    let [node_at, gets_at] = [NODE, GETS].map(|from_right| canvas.width().saturating_sub(from_right));
    let room = node_at.saturating_sub(POD + 1);
    let name = cut_middle(pod, room, canvas.sign(Sign::Ellipsis));
    canvas.put_in(POD, y, room, &name, Tone::Plain);
    canvas.put_in(node_at, y, NODE - GETS - 1, &node.0, node.1);
    let text = canvas.word(word, &[]);
    canvas.put(gets_at, y, &text, tone);
}

/// The pods that carry the labels of a Service's selector, but stand in no EndpointSlice of it.
fn left_out<'a>(scene: &'a Cluster, key: &Key, service: &Service, endpoints: &[&Endpoint]) -> Vec<&'a Pod> {
    if service.selector.is_empty() {
        return vec![];
    }
    let carries = |pod: &&Pod| {
        let labels = service.selector.iter().all(|(k, v)| pod.labels.get(k) == Some(v));
        pod.namespace == key.0 && labels && endpoints.iter().all(|endpoint| endpoint.pod != pod.name)
    };
    scene.pods.values().filter(carries).collect()
}
