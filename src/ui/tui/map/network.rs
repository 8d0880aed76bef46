//! How does it get there? From a Service's addresses through the rules to the pods.

use super::super::cluster::{Cluster, Key, Pod, Service, Stand};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::took;
use super::super::words::Word;
use super::canvas::Canvas;
use super::common::{is_roomy, none_of, subject};
use super::ghosts::{Ghost, ghost_line, ghosts};
use super::hops::short;
use super::network_wide;
use super::strip::{Lines, unwell};

/// The Service that the view is about.
fn shown<'a>(model: &Model, scene: &'a Cluster) -> Option<(&'a Key, &'a Service)> {
    let services = model.services(scene);
    let keys: Vec<Key> = services.iter().map(|(key, _)| (*key).clone()).collect();
    let at = subject(model, "services", &keys)?;
    services.get(at).copied()
}

/// Draws a Service with its endpoints, and where its connections go.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, scene: &Cluster) {
    let Some((key, service)) = shown(model, scene) else {
        return canvas.note(1, &none_of(model, "services", Word::NoService));
    };
    let last = canvas.height().saturating_sub(1);
    let name = format!("{}/{}", key.0, key.1);
    let x = canvas.row(
        1,
        0,
        &[("Service ", Tone::Dim), (&name, Tone::Strong), ("  ", Tone::Plain), (&service.kind, Tone::Accent)],
    );
    let selector: Vec<String> = service.selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let selects = match selector.is_empty() {
        true => canvas.word(Word::NoSelector, &[]),
        false => canvas.word(Word::Selects, &[&selector.join(",")]),
    };
    let endpoints = scene.endpoints(key);
    let ready = endpoints.iter().filter(|e| e.ready).count();
    let text = sentence(canvas, scene, key, service, ready, endpoints.len());
    let tone = if ready == 0 && !service.is_alias() { Tone::Bad } else { Tone::Strong };
    let gone = former(model, key, service);
    if is_roomy(canvas) {
        canvas.put(x + 3, 0, &selects, Tone::Plain);
        return network_wide::draw(canvas, model, scene, (key, service), &(text, tone), &gone);
    }
    let mut y = ports(canvas, model, key, service);
    canvas.put(1, y, &selects, Tone::Plain);
    canvas.put(1, y + 1, &text, tone);
    y += 2;
    let shown = last.saturating_sub(y);
    for endpoint in endpoints.iter().take(shown) {
        let pod = scene.pods.get(&(key.0.clone(), endpoint.pod.clone()));
        let (sign, tone) = match (endpoint.ready, pod) {
            (true, _) => (Sign::Ready, Tone::Good),
            (false, Some(pod)) if pod.stand == Stand::Leaving => (Sign::Leaving, Tone::Dim),
            (false, _) => (Sign::Starting, Tone::Warn),
        };
        let x = canvas.put(2, y, &format!("{} {} ", canvas.sign(sign), endpoint.ip), tone);
        canvas.row(
            x,
            y,
            &[(&endpoint.pod, Tone::Plain), (" ", Tone::Plain), (short(&endpoint.node), Tone::Dim)],
        );
        y += 1;
    }
    // Its former pods, in the rows that are left.
    for (at, ghost) in gone.iter().take(last.saturating_sub(y)).enumerate() {
        let room = canvas.width().saturating_sub(3);
        ghost_line(canvas, ghost, (2, y + at), room);
    }
    let text = match (ready, &model.traffic.rules) {
        (_, Some(record)) => canvas.word(
            Word::RulesWritten,
            &[&format!("kube-proxy {}", short(&record.node)), &took(record.took_us)],
        ),
        // A headless Service's name leads to all pods: nothing picks one.
        (2.., None) if !service.is_headless() => canvas.word(Word::PickOne, &[&ready.to_string()]),
        (_, None) => String::new(),
    };
    canvas.put(1, last, &text, Tone::Dim);
}

/// The pods with the Service's labels that the command on the stage made go away.
fn former<'a>(model: &'a Model, key: &Key, service: &Service) -> Vec<Ghost<'a>> {
    let carried = |ghost: &Ghost<'_>| {
        let labels = &ghost.pod.labels;
        let carries = service.selector.iter().all(|(k, v)| labels.get(k) == Some(v));
        ghost.pod.namespace == key.0 && !service.selector.is_empty() && carries
    };
    ghosts(model).into_iter().filter(carried).collect()
}

/// Two lines about a Service: it with its first address, and its endpoints.
pub(super) fn lines(canvas: &Canvas<'_>, model: &Model, scene: &Cluster) -> Lines {
    let Some((key, service)) = shown(model, scene) else {
        return Lines::none(none_of(model, "services", Word::NoService));
    };
    let mut counts = vec![(scene.label(&key.0, &key.1), Tone::Strong), (service.kind.clone(), Tone::Accent)];
    let arrow = canvas.sign(Sign::Right);
    if service.is_alias() {
        let way = format!("{} {arrow} {}", service.address(None), service.alias_of);
        counts.push((way, Tone::Plain));
    } else if let Some(port) = service.ports.first() {
        let outside = port.node_port.map_or(String::new(), |port| format!("localhost:{port} {arrow} "));
        let way = format!("{outside}{} {arrow} {}", service.address(Some(port)), port.target);
        counts.push((way, Tone::Plain));
    }
    let endpoints = scene.endpoints(key);
    let ready = endpoints.iter().filter(|e| e.ready).count();
    let text = sentence(canvas, scene, key, service, ready, endpoints.len());
    let mut news = match ready {
        0 if !service.is_alias() => vec![(format!("{} {text}", canvas.sign(Sign::Failed)), Tone::Bad)],
        _ => vec![(text, Tone::Strong)],
    };
    // While a command is replayed, the numbers are those of the lit hop. The whole map has the line
    // of the play head, which says so; a strip has not.
    let now = model.cluster.endpoints(key).iter().filter(|e| e.ready).count();
    if now != ready {
        news.push((canvas.word(Word::EndpointsNow, &[&now.to_string()]), Tone::Accent));
    }
    news.extend(unwell(canvas, scene).filter(|_| !model.traffic.moving()));
    if let Some(visits) = model.traffic.visits.get(key).filter(|visits| **visits > 0) {
        news.push((canvas.word(Word::Visits, &[&visits.to_string()]), Tone::Accent));
    }
    if let Some(record) = &model.traffic.rules {
        let proxy = format!("kube-proxy {}", short(&record.node));
        news.push((canvas.word(Word::RulesWritten, &[&proxy, &took(record.took_us)]), Tone::Dim));
    }
    Lines { counts, news }
}

/// Rows that stay free of addresses: the name, the selector, how many endpoints are ready, one of
/// them, and the last row.
const OTHER_ROWS: usize = 5;

/// Draws the addresses of a Service, from line 1 on; returns the line behind them. Where they would
/// take the rows of the endpoints, each port has one row, and ports beyond are counted.
fn ports(canvas: &mut Canvas<'_>, model: &Model, key: &Key, service: &Service) -> usize {
    let arrow = canvas.sign(Sign::Right);
    let mut y = 1;
    if service.is_alias() {
        alias(canvas, service, y);
        return y + 1;
    }
    let room = canvas.height().saturating_sub(OTHER_ROWS).max(1);
    let rows: usize = service.ports.iter().map(|port| 1 + usize::from(port.node_port.is_some())).sum();
    if rows > room {
        let shown = if service.ports.len() > room { (room - 1).max(1) } else { room };
        return dense_ports(canvas, model, (key, service), shown);
    }
    for port in &service.ports {
        if let Some(node_port) = port.node_port {
            let x = canvas.row(
                1,
                y,
                &[
                    ("localhost:", Tone::Plain),
                    (&node_port.to_string(), Tone::Strong),
                    (" ", Tone::Plain),
                    (arrow, Tone::Dim),
                    (" NodePort", Tone::Dim),
                ],
            );
            if let Some(visits) = model.traffic.visits_of_port(key, node_port) {
                let text = canvas.word(Word::Visits, &[&visits.to_string()]);
                canvas.put(x + 2, y, &text, Tone::Accent);
            }
            y += 1;
        }
        canvas.row(
            1,
            y,
            &[
                (&service.address(Some(port)), Tone::Strong),
                (" ", Tone::Plain),
                (arrow, Tone::Dim),
                (" targetPort ", Tone::Dim),
                (&port.target, Tone::Plain),
            ],
        );
        y += 1;
    }
    y
}

/// Draws the first addresses of a Service, each in one row, and how many there are beyond; returns
/// the line behind them.
fn dense_ports(
    canvas: &mut Canvas<'_>,
    model: &Model,
    (key, service): (&Key, &Service),
    shown: usize,
) -> usize {
    let arrow = format!(" {} ", canvas.sign(Sign::Right));
    let mut y = 1;
    for port in service.ports.iter().take(shown) {
        let mut x = 1;
        if let Some(node_port) = port.node_port {
            let local = format!("localhost:{node_port}");
            x = canvas.row(x, y, &[(&local, Tone::Plain), (&arrow, Tone::Dim)]);
        }
        let address = service.address(Some(port));
        let way = [(address.as_str(), Tone::Strong), (arrow.as_str(), Tone::Dim)];
        x = canvas.row(x, y, &way);
        x = canvas.put(x, y, &port.target, Tone::Plain);
        if let Some(visits) = port.node_port.and_then(|port| model.traffic.visits_of_port(key, port)) {
            let text = canvas.word(Word::Visits, &[&visits.to_string()]);
            canvas.put(x + 2, y, &text, Tone::Accent);
        }
        y += 1;
    }
    let beyond = service.ports.len().saturating_sub(shown);
    if beyond > 0 {
        canvas.put(1, y, &format!("+{beyond}"), Tone::Dim);
        y += 1;
    }
    y
}

/// Draws the name of a Service that is an alias, and the name that it leads to.
pub(super) fn alias(canvas: &mut Canvas<'_>, service: &Service, y: usize) {
    let (name, arrow) = (service.address(None), format!(" {} ", canvas.sign(Sign::Right)));
    canvas.row(1, y, &[(&name, Tone::Strong), (&arrow, Tone::Dim), (&service.alias_of, Tone::Plain)]);
}

/// How many of a Service's endpoints are ready, or why it has none. Whether the selector fits any
/// pod is what the lab `broken-selector` asks, so an open lab gets the numbers alone.
fn sentence(
    canvas: &Canvas<'_>,
    scene: &Cluster,
    key: &Key,
    service: &Service,
    ready: usize,
    all: usize,
) -> String {
    if service.is_alias() {
        return canvas.word(Word::Alias, &[]);
    }
    // A pod without an address, because no node has it yet, is no endpoint, though it carries the
    // labels.
    let carries = |pod: &&Pod| {
        pod.namespace == key.0 && service.selector.iter().all(|(k, v)| pod.labels.get(k) == Some(v))
    };
    let carriers: Vec<&Pod> = scene.pods.values().filter(carries).collect();
    let addressed = carriers.iter().filter(|pod| !pod.ip.is_empty()).count();
    let count = carriers.len().to_string();
    let tells_why = all == 0 && !service.selector.is_empty() && !canvas.asks_cause;
    match (tells_why, carriers.len()) {
        (true, 0) => canvas.word(Word::NoEndpoints, &[]),
        (true, _) if addressed == 0 => canvas.word(Word::NoAddresses, &[&count]),
        // They have ended, or lack the named port, or their endpoints are not written yet.
        (true, _) => canvas.word(Word::NotEndpoints, &[&count]),
        _ => canvas.word(Word::Endpoints, &[&ready.to_string(), &all.to_string()]),
    }
}
