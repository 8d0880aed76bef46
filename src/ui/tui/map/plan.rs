//! The cluster as a map on which each part has its place: you, the API server and etcd above,
//! the controllers and the scheduler below them, then the nodes with their pods. The last line
//! compares what is desired with what there is.
//!
//! ```text
//! [ you ]--->[ kube-apiserver ]--->[ etcd ]
//!     [ controller-manager ]   [ scheduler ]
//! [ worker ]  [ worker2 ]
//! web: desired 4, ready 3, starting 1            << < > > >>  =====----
//! ```

use super::super::cluster::{Cluster, Key, Pod, Stand};
use super::super::flow::{Did, Spot};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, cut, measured, took};
use super::super::words::Word;
use super::canvas::Canvas;
use super::cluster::{is_lost, lines, nodes, stand};
use super::common::{caption, lit, not_listed, refusal};
use super::hops::short;
use super::plan_node::{NODE_MIN, node_box};
use super::sequence::{Act, Lane, Row, rows};
use super::strip::Piece;
use super::{blocked, namespaces, quotas, scaler, scrubber};

/// The smallest pane in which all boxes have room.
const SMALLEST: (usize, usize) = (74, 15);
/// From this height on a box has two lines, and there is a row between the boxes.
const TALL: usize = 19;
/// With fewer rows for the nodes a quota and an autoscaler share one line.
const ROWS_FOR_BOTH: usize = 12;
/// The scrubber and its time have at least this many cells.
const SCRUBBER: usize = 34;

/// Returns whether all boxes have room.
pub(super) fn fits(canvas: &Canvas<'_>) -> bool {
    canvas.width() >= SMALLEST.0 && canvas.height() >= SMALLEST.1
}

/// Where the boxes of the upper half are: columns and widths, and the rows.
struct Places {
    you: (usize, usize),
    api: (usize, usize),
    store: (usize, usize),
    controllers: (usize, usize),
    scheduler: (usize, usize),
    /// Rows of a box, with its edges.
    rows: usize,
    /// The first rows of the lower boxes and of the nodes.
    lower: usize,
    nodes: usize,
}

impl Places {
    fn of(canvas: &Canvas<'_>) -> Places {
        let more = (canvas.width() - SMALLEST.0).min(36) / 3;
        let you = (1, 16 + more);
        let api = (you.0 + you.1 + 4, 27 + more);
        let store = (api.0 + api.1 + 4, canvas.width().min(SMALLEST.0 + 3 * more) - (api.0 + api.1 + 5));
        let middle = api.0 + api.1 / 2;
        let tall = canvas.height() >= TALL;
        let rows = if tall { 4 } else { 3 };
        let lower = rows + usize::from(tall);
        let width = 28 + more;
        Places {
            you,
            api,
            store,
            controllers: (middle.saturating_sub(2 + width).max(1), width),
            scheduler: (middle + 2, width),
            rows,
            lower,
            nodes: lower + rows,
        }
    }
}

/// Draws the boxes, what flows between them, and the line of the play head.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, scene: &Cluster) {
    let places = Places::of(canvas);
    let flow = model.traffic.shown();
    let rows = flow.map_or(vec![], |flow| rows(model, flow, model.traffic.play.at));
    upper(canvas, model, scene, &places, &rows);
    lower(canvas, model, scene, &places, &rows);
    let last = canvas.height().saturating_sub(1);
    let foot = foot(canvas, model, scene, places.nodes, last);
    let nodes = nodes(scene);
    let room = canvas.width().saturating_sub(1);
    let width = room / nodes.len().max(1);
    let height = foot.saturating_sub(places.nodes);
    if width < NODE_MIN {
        return lines(canvas, model, &nodes, places.nodes, foot);
    }
    // The control plane's name is the longest.
    let longest = nodes.first().map_or(0, |(node, _)| cells(short(&node.name)));
    let extra = if nodes.len() > 1 && width < 30 && longest > 10 { 4 } else { 0 };
    let others = room.saturating_sub(width + extra) / nodes.len().saturating_sub(1).max(1);
    let mut x = 1;
    for (at, (node, pods)) in nodes.iter().enumerate() {
        let width = if at == 0 { width + extra } else { others };
        node_box(canvas, model, scene, node, pods, (x, places.nodes), (width - 1, height));
        x += width;
    }
}

/// The name of a component: a leader has a sign, and so has one that is down.
fn named(canvas: &Canvas<'_>, model: &Model, name: &str, pod: &str) -> String {
    let leads = ["kube-scheduler", "kube-controller-manager"]
        .iter()
        .any(|lease| pod.starts_with(lease) && model.cluster.leader(lease).is_some());
    let sign = match model.cluster.component(pod) {
        Some(false) => Sign::Down,
        _ if leads => Sign::Leader,
        _ => return name.to_string(),
    };
    format!("{name} {}", canvas.sign(sign))
}

/// A component's box. The one that acts has a sign in its title.
fn component(
    canvas: &mut Canvas<'_>,
    place: (usize, usize),
    rows: (usize, usize),
    title: &str,
    acts: bool,
    texts: &[(String, Tone)],
) {
    let (x, width) = place;
    let mark = if acts { format!("{} ", canvas.sign(Sign::Pick)) } else { String::new() };
    let tone = if acts { Tone::Lit } else { Tone::Strong };
    canvas.frame((x, rows.0), (width, rows.1), &format!("{mark}{title}"), tone);
    let inside = rows.1.saturating_sub(2);
    let texts = &texts[texts.len().saturating_sub(inside)..];
    for (at, (text, tone)) in texts.iter().enumerate() {
        canvas.put_in(x + 2, rows.0 + 1 + at, width.saturating_sub(4), text, *tone);
    }
}

/// You, the API server and etcd, and the way between them.
fn upper(canvas: &mut Canvas<'_>, model: &Model, scene: &Cluster, places: &Places, rows: &[Row]) {
    let (from, to) = lit(model);
    let asks = from == Some(&Spot::Client) || to == Some(&Spot::Client);
    let size = (0, places.rows);
    // The flow of an autoscaler has no command that was typed.
    let typed = model.traffic.shown().filter(|flow| flow.is_typed());
    let command = typed.map_or(vec![], |flow| {
        let object = flow.object().map_or(String::new(), |o| o.name.clone());
        match places.rows > 3 {
            true => vec![(flow.command.clone(), Tone::Plain), (object, Tone::Plain)],
            false => {
                let command = flow.command.strip_prefix("kubectl ").unwrap_or(&flow.command);
                vec![(format!("{command} {object}"), Tone::Plain)]
            }
        }
    });
    let you = canvas.word(Word::You, &[]);
    component(canvas, places.you, size, &you, asks, &command);
    let api = named(canvas, model, "kube-apiserver", "kube-apiserver-");
    let texts = requests(canvas, model, rows);
    component(canvas, places.api, size, &api, to == Some(&Spot::Api) && !stores(model), &texts);
    let store = named(canvas, model, "etcd", "etcd-");
    let texts = revisions(canvas, model, scene);
    component(canvas, places.store, size, &store, stores(model), &texts);
    let answers = to == Some(&Spot::Client);
    way(canvas, places.you, 1, from == Some(&Spot::Client), answers);
    way(canvas, places.api, 2, stores(model), false);
}

/// True if the lit hop reaches the store.
fn stores(model: &Model) -> bool {
    let hop = model.traffic.lit();
    hop.is_some_and(|h| h.to == Spot::Store || matches!(h.did, Did::Asked { .. }) && h.revision.is_some())
}

/// The arrow behind a box of the upper row; `number` is its place on the way of a request.
fn way(canvas: &mut Canvas<'_>, place: (usize, usize), number: usize, there: bool, back: bool) {
    let x = place.0 + place.1;
    let number = canvas.look.number(number);
    let line = |sign: Sign| canvas.look.sign(sign);
    let (text, tone) = match (there, back) {
        (_, true) => (format!("{}{}", line(Sign::TipBack), line(Sign::LineLit).repeat(3)), Tone::Strong),
        (true, _) => {
            let lit = line(Sign::LineLit);
            (format!("{lit}{number}{lit}{}", line(Sign::Tip)), Tone::Strong)
        }
        _ => (format!("{}{}", line(Sign::Line).repeat(3), line(Sign::Tip)), Tone::Dim),
    };
    canvas.put(x, 1, &text, tone);
}

/// What the API server was asked last: at most two lines, the newest below.
fn requests(canvas: &Canvas<'_>, model: &Model, rows: &[Row]) -> Vec<(String, Tone)> {
    if let Some((code, gate)) = refusal(model) {
        let gate = canvas.word(gate.word(), &[]);
        return vec![(format!("{} {gate} {code}", canvas.sign(Sign::Failed)), Tone::Bad)];
    }
    let text = |row: &Row| match &row.act {
        Act::Stages(stages) => {
            Some(format!("{} {}", stages.last().map_or("", String::as_str), measured(row.took)))
        }
        Act::Answered { .. } | Act::Asked { .. } => {
            Some(format!("{}  {}", row.text(canvas.look.ascii), measured(row.took)))
        }
        _ => None,
    };
    let plain = |text: String| (text.trim_end().to_string(), Tone::Plain);
    let mut texts: Vec<(String, Tone)> = rows.iter().rev().filter_map(text).take(2).map(plain).collect();
    texts.reverse();
    texts
}

/// The revisions that the command has made so far, the newest marked, and how long the disk took.
fn revisions(canvas: &Canvas<'_>, model: &Model, scene: &Cluster) -> Vec<(String, Tone)> {
    let flow = model.traffic.shown();
    let hops = flow.map_or(&[][..], |flow| flow.hops.as_slice());
    let written = hops.iter().take(model.traffic.play.at.saturating_add(1)).filter(|hop| hop.writes());
    let mut made: Vec<u64> = written.filter_map(|hop| hop.revision).collect();
    made.sort_unstable();
    made.dedup();
    let Some(newest) = made.last().copied() else {
        let revision = scene.revision.to_string();
        return vec![(canvas.word(Word::RevisionShort, &[&revision]), Tone::Dim)];
    };
    let sign = canvas.sign(Sign::Task);
    let mut text = String::new();
    for revision in &made[made.len().saturating_sub(3)..] {
        let mark = if *revision == newest { sign } else { "" };
        text = format!("{text}{mark}{revision} ");
    }
    let mut texts = vec![(text, Tone::Plain)];
    if let Some(fsync) = flow.and_then(|flow| flow.fsync(newest)).filter(|_| canvas.height() >= TALL) {
        texts.push((format!("fsync {}", took(fsync)), Tone::Dim));
    }
    texts
}

/// The controllers and the scheduler, which watch the API server.
fn lower(canvas: &mut Canvas<'_>, model: &Model, scene: &Cluster, places: &Places, rows: &[Row]) {
    let (from, to) = lit(model);
    let ascii = canvas.look.ascii;
    let size = (places.lower, places.rows);
    let done = |lanes: &[Lane]| -> Vec<(String, Tone)> {
        let of = |row: &&Row| lanes.contains(&row.lane) && row.act != Act::Heard;
        let mut texts: Vec<(String, Tone)> =
            rows.iter().rev().filter(of).take(2).map(|row| (row.text(ascii), Tone::Plain)).collect();
        texts.reverse();
        texts
    };
    let is_controller = |spot: Option<&Spot>| matches!(spot, Some(Spot::Controller(_)));
    let controls = is_controller(from) || is_controller(to);
    let title = named(canvas, model, &canvas.word(Word::Controllers, &[]), "kube-controller-manager-");
    let texts = done(&[Lane::Deployments, Lane::ReplicaSets, Lane::Controllers]);
    component(canvas, places.controllers, size, &title, controls, &texts);
    let schedules = from == Some(&Spot::Scheduler) || to == Some(&Spot::Scheduler);
    let title = named(canvas, model, "scheduler", "kube-scheduler-");
    let mut texts = done(&[Lane::Scheduler]);
    if let Some((waiting, tone)) = tray(canvas, scene) {
        let last = texts.last().filter(|_| places.rows == 3);
        let text = last.map_or(waiting.clone(), |(text, _)| format!("{waiting}  {text}"));
        texts.push((text, tone));
    }
    component(canvas, places.scheduler, size, &title, schedules, &texts);
    for (number, place, acts) in [(3, places.controllers, controls), (4, places.scheduler, schedules)] {
        if acts {
            let number = canvas.look.number(number);
            canvas.put(place.0 + place.1, places.lower + 1, &number, Tone::Strong);
        }
    }
    // Both hear of changes by a watch.
    let sign = canvas.sign(if controls || schedules { Sign::WatchLit } else { Sign::Watch });
    for x in [places.api.0 + 6, places.api.0 + places.api.1 - 5] {
        (places.rows - 1..places.lower).for_each(|y| {
            canvas.put(x, y, sign, Tone::Dim);
        });
    }
    // Without a row between the boxes the word stands in the lower edge of the API server's.
    let y = if places.lower > places.rows { places.rows } else { places.rows - 1 };
    canvas.put(places.api.0 + 8, y, " watch ", Tone::Dim);
}

/// The pods that wait for a node.
fn tray(canvas: &Canvas<'_>, scene: &Cluster) -> Option<(String, Tone)> {
    let waits = |pod: &&Pod| pod.node.is_empty() && pod.stand == Stand::Waiting;
    let mut pods: Vec<&Pod> = scene.pods.values().filter(waits).collect();
    let more = pods.len().saturating_sub(2);
    pods.truncate(2);
    if pods.is_empty() {
        return None;
    }
    let name = |pod: &Pod| namespaces::brief(scene, &pod.namespace, &brief_name(canvas, pod));
    let names: Vec<String> = pods.into_iter().map(name).collect();
    let more = if more > 0 { format!(" +{more}") } else { String::new() };
    Some((format!("{} {}{more}", canvas.sign(Sign::Waiting), names.join(" ")), Tone::Warn))
}

/// The name of a pod in little room. Of a pod without an owner it is whole, because a person chose
/// it: `my-nginx` is not `...inx`.
fn brief_name(canvas: &Canvas<'_>, pod: &Pod) -> String {
    if pod.owner.is_empty() { pod.name.clone() } else { tail(canvas, &pod.name) }
}

/// The end of a generated name, which tells it from the others: `...628`.
pub(super) fn tail(canvas: &Canvas<'_>, name: &str) -> String {
    match name.rsplit_once('-') {
        Some((_, end)) if end.len() == 5 && end.is_ascii() => {
            format!("{}{}", canvas.sign(Sign::Ellipsis), &end[2..])
        }
        _ => name.to_string(),
    }
}

/// The lines between the two at the foot: one for the quotas and, above its Deployment, one for an
/// autoscaler, where there are such. Where the nodes would be left with few of these `rows`, both
/// are one line, in the words of a narrow screen.
fn between(canvas: &Canvas<'_>, model: &Model, scene: &Cluster, rows: usize) -> Vec<Vec<Piece>> {
    let room = canvas.width().saturating_sub(2);
    match (quotas::line(canvas, scene), scaler::shown(model, scene)) {
        (Some(_), Some(scaler)) if rows < ROWS_FOR_BOTH => {
            let all = [vec![scaler::brief(scaler)], quotas::pieces(canvas, scene)];
            vec![all.concat()]
        }
        (quotas, scaler) => {
            let scaler = scaler.map(|scaler| scaler::line(canvas, scene, scaler, room));
            [quotas, scaler].into_iter().flatten().map(|piece| vec![piece]).collect()
        }
    }
}

/// The lines at the foot, below the boxes of the nodes, which begin at the row `nodes`. Returns the
/// first row of them.
fn foot(canvas: &mut Canvas<'_>, model: &Model, scene: &Cluster, nodes: usize, last: usize) -> usize {
    let room = canvas.width().saturating_sub(2);
    let between = between(canvas, model, scene, last.saturating_sub(1 + nodes));
    let first = last.saturating_sub(1 + between.len());
    for (at, line) in between.iter().enumerate() {
        let mut x = 1;
        for (text, tone) in line {
            x = canvas.put(x, first + 1 + at, text, *tone) + 2;
        }
    }
    let moves = model.traffic.moving() || refusal(model).is_some();
    let told = caption(model, false);
    let warning = [not_listed(model, &["nodes", "pods"]), cuts(canvas, model), lost(canvas, scene)];
    let warning = warning.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("  ");
    let warned = !warning.is_empty();
    if warned {
        canvas.put(1, first, &warning, Tone::Warn);
    } else if moves {
        canvas.put(1, first, &told.0, told.1);
    } else {
        service(canvas, model, scene, first);
    }
    // Without a Deployment the line tells which other object lacks a pod.
    let wanted = wanted(canvas, model, scene).map(|text| (text, Tone::Plain));
    let (text, tone) = match wanted.or_else(|| blocked::line(canvas, scene, None)) {
        _ if warned && moves => told,
        Some(piece) => piece,
        None if moves => (String::new(), Tone::Dim),
        None => told,
    };
    if model.traffic.shown().is_none() || room < SCRUBBER {
        canvas.put(1, last, &text, tone);
        return first;
    }
    let x = canvas.put_in(1, last, room - SCRUBBER, &text, tone);
    scrubber::draw(canvas, model, x.max(room.saturating_sub(60)) + 3, last);
    first
}

/// The links that a fault has cut. Nothing while a lab asks for the cause.
pub(super) fn cuts(canvas: &Canvas<'_>, model: &Model) -> String {
    let cuts = &model.traffic.agreement.cuts;
    let links: Vec<String> = cuts.iter().map(|(a, b)| format!("{} - {}", short(a), short(b))).collect();
    match links.is_empty() || model.lab.asks_cause() {
        true => String::new(),
        false => {
            format!("{} {}", canvas.sign(Sign::Cut), canvas.word(Word::CutBetween, &[&links.join(", ")]))
        }
    }
}

/// The pods whose Node was deleted.
pub(super) fn lost(canvas: &Canvas<'_>, scene: &Cluster) -> String {
    // More of them than cells cannot be seen.
    let lost = scene.pods.values().filter(|pod| is_lost(scene, pod)).take(canvas.width());
    let names: Vec<String> = lost.map(|pod| scene.label(&pod.namespace, &pod.name)).collect();
    if names.is_empty() {
        return String::new();
    }
    format!("{} {} {}", canvas.sign(Sign::Down), canvas.word(Word::NodeGone, &[]), names.join(" "))
}

/// The Service that the step names, or the newest, and the pods behind it.
fn service(canvas: &mut Canvas<'_>, model: &Model, scene: &Cluster, y: usize) {
    let services = model.services(scene);
    let Some((key, service)) = services.first() else { return };
    let port = service.ports.first();
    let node_port = port.and_then(|p| p.node_port).map_or(String::new(), |p| format!(" {p}"));
    let arrow = canvas.sign(Sign::Right);
    let x = canvas.put(1, y, &scene.label(&key.0, &key.1), Tone::Strong);
    let times = if canvas.look.ascii { 'x' } else { '×' };
    let visits = model.traffic.visits.get(*key).map_or(String::new(), |n| format!(" {times}{n}"));
    if service.is_alias() {
        canvas.put(x, y, &format!("  {} {arrow} {}", service.kind, service.alias_of), Tone::Plain);
        return;
    }
    let address = service.address(port);
    let text = format!("  {}{node_port}{visits} {arrow} {address} {arrow}", service.kind);
    let mut x = canvas.put(x, y, &text, Tone::Plain);
    let endpoints = scene.endpoints(key);
    if endpoints.is_empty() {
        canvas.put(x + 1, y, &format!("{} 0", canvas.sign(Sign::Failed)), Tone::Bad);
    }
    let all = endpoints.len();
    for (at, endpoint) in endpoints.into_iter().enumerate() {
        let pod = scene.pods.get(&(key.0.clone(), endpoint.pod.clone()));
        let name = match pod {
            Some(pod) => brief_name(canvas, pod),
            None if endpoint.pod.is_empty() => endpoint.ip.clone(),
            None => tail(canvas, &endpoint.pod),
        };
        // The last one needs no room for the number of those that follow.
        let more = format!(" +{}", all - at);
        let needs = cells(&name) + 3 + if at + 1 < all { cells(&more) } else { 0 };
        if x + needs > canvas.width() {
            canvas.put(x, y, &more, Tone::Dim);
            return;
        }
        let (sign, tone) = match (endpoint.ready, pod) {
            (true, _) => (Sign::Ready, Tone::Good),
            (false, Some(pod)) if pod.stand != Stand::Ready => stand(pod.stand),
            (false, _) => (Sign::Leaving, Tone::Dim),
        };
        x = canvas.put(x + 1, y, canvas.sign(sign), tone);
        x = canvas.put(x + 1, y, &name, Tone::Plain);
    }
}

/// What the Deployment wants that the step names, or the newest, and what there is.
fn wanted(canvas: &Canvas<'_>, model: &Model, scene: &Cluster) -> Option<String> {
    let deployments = model.deployments(scene);
    let (key, deployment) = deployments.first()?;
    let pods = pods_of(scene, key);
    let count = |stand: Stand| pods.iter().filter(|pod| pod.stand == stand).count();
    let (desired, ready) = (deployment.wanted.to_string(), count(Stand::Ready).to_string());
    let name = scene.label(&key.0, &key.1);
    let mut text = canvas.word(Word::PlanWanted, &[&name, &desired, &ready]);
    for (stand, word) in [
        (Stand::Waiting, Word::PlanWaiting),
        (Stand::Starting, Word::PlanStarting),
        (Stand::Failed, Word::PlanFailed),
        (Stand::Leaving, Word::PlanLeaving),
    ] {
        let count = count(stand);
        if count > 0 {
            text = format!("{text}, {}", canvas.word(word, &[&count.to_string()]));
        }
    }
    let missing = blocked::missing(scene, key);
    if missing > 0 {
        text = format!("{text}, {}", canvas.word(Word::PlanMissing, &[&missing.to_string()]));
    }
    Some(cut(&text, canvas.width().saturating_sub(2), canvas.sign(Sign::Ellipsis)))
}

/// The pods of all ReplicaSets of a Deployment.
pub(super) fn pods_of<'a>(scene: &'a Cluster, deployment: &Key) -> Vec<&'a Pod> {
    let sets: Vec<&str> = scene.replicasets_of(deployment).into_iter().map(|set| set.name.as_str()).collect();
    let of = |pod: &&Pod| pod.namespace == deployment.0 && sets.contains(&pod.owner.as_str());
    scene.pods.values().filter(of).collect()
}
