//! The rows of the control-plane view: what each component did for a command, in order. Equal acts
//! that a component does one after the other are one row with a number.
//!
//! ```text
//! patch replicasets, create pods, create pods, create pods    4 hops
//! patch replicasets, create pods x3                           2 rows
//! ```

use super::super::flow::{Did, Flow, Gate, Hop, Spot};
use super::super::model::Model;
use super::super::words::Word;
use super::hops::{describe, event_words, kind, short};
use tap::Event;

/// Rows of a component that may come again and again in the same order: the scheduler chooses a
/// node, binds the pod, and has bound it.
const ROUND: usize = 3;

/// A column of the diagram, from left to right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lane {
    You,
    Api,
    Store,
    Deployments,
    ReplicaSets,
    /// All other controllers.
    Controllers,
    Scheduler,
    Kubelet,
    Proxy,
}

impl Lane {
    /// The head of the column on two lines.
    pub(super) fn head(self) -> (&'static str, &'static str) {
        match self {
            Lane::You => ("", ""),
            Lane::Api => ("kube-apiserver", ""),
            Lane::Store => ("etcd", ""),
            Lane::Deployments => ("deploy-", "ment"),
            Lane::ReplicaSets => ("replica", "set"),
            Lane::Controllers => ("control", "lers"),
            Lane::Scheduler => ("sched-", "uler"),
            Lane::Kubelet => ("kubelet", ""),
            Lane::Proxy => ("proxy", ""),
        }
    }

    /// The head of the column where there is room for one letter.
    pub(super) fn letter(self) -> &'static str {
        match self {
            Lane::You => "y",
            Lane::Api => "a",
            Lane::Store => "e",
            Lane::Deployments => "d",
            Lane::ReplicaSets => "r",
            Lane::Controllers => "c",
            Lane::Scheduler => "s",
            Lane::Kubelet => "k",
            Lane::Proxy => "p",
        }
    }

    /// True if the component does not run now, as its pods tell. Then nothing happens in its
    /// column, e.g. while the kubelet's back-off lasts.
    pub(super) fn is_away(self, model: &Model) -> bool {
        let pods = match self {
            Lane::Deployments | Lane::ReplicaSets | Lane::Controllers => "kube-controller-manager-",
            Lane::Scheduler => "kube-scheduler-",
            Lane::You | Lane::Api | Lane::Store | Lane::Kubelet | Lane::Proxy => return false,
        };
        model.cluster.component(pods) == Some(false)
    }

    /// What the component does and why, in one sentence.
    pub(super) fn why(self) -> Word {
        match self {
            Lane::You | Lane::Api => Word::WhyStages,
            Lane::Store => Word::WhyStored,
            Lane::Deployments => Word::WhyDeployments,
            Lane::ReplicaSets => Word::WhyReplicaSets,
            Lane::Controllers => Word::WhyControllers,
            Lane::Scheduler => Word::WhyScheduler,
            Lane::Kubelet => Word::WhyKubelet,
            Lane::Proxy => Word::WhyProxy,
        }
    }
}

/// What a row shows.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// The stages of the API server that the command's request has passed.
    Stages(Vec<String>),
    Stored,
    Answered {
        code: u16,
        refused: Option<Gate>,
    },
    /// A watch sent the component a change.
    Heard,
    /// A request of a component; `failed`: it was refused.
    Asked {
        failed: bool,
    },
    /// Anything else that a component did.
    Done,
}

/// A row of the diagram.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub act: Act,
    pub lane: Lane,
    /// The last hop in this row. `None`: the row shows none.
    pub last: Option<usize>,
    /// When its first hop ended, in microseconds since the command began.
    pub since: u64,
    /// How long its last hop took.
    pub took: u64,
    /// The revision that its last hop made.
    pub revision: Option<u64>,
    /// Acts with the same key become one row.
    key: String,
    text: String,
    count: usize,
}

impl Row {
    /// What stands beside the column.
    pub(super) fn text(&self, ascii: bool) -> String {
        let (times, arrow) = if ascii { ('x', '>') } else { ('×', '→') };
        let mut text = self.text.clone();
        if self.count > 1 {
            text = format!("{} {times}{}", self.key, self.count);
        }
        if let (Act::Asked { failed: false }, Some(revision)) = (&self.act, self.revision) {
            text = format!("{text} {arrow} {revision}");
        }
        text
    }

    /// True if both rows can be one that counts them.
    fn is_like(&self, other: &Row) -> bool {
        let counted = matches!(self.act, Act::Asked { .. } | Act::Done);
        counted && self.act == other.act && self.lane == other.lane && self.key == other.key
    }

    /// Counts one more act that [`Row::is_like`] this one.
    fn add(&mut self, other: &Row) {
        self.count += 1;
        (self.last, self.took, self.revision) = (other.last, other.took, other.revision);
    }
}

/// The columns beside you, the API server and etcd: of the components that the command has reached,
/// and of those that it cannot reach because they are away.
pub(super) fn lanes(model: &Model, flow: &Flow) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = flow.hops.iter().map(|hop| lane(model, flow, hop)).collect();
    lanes.extend([Lane::Controllers, Lane::Scheduler].into_iter().filter(|lane| lane.is_away(model)));
    lanes.sort();
    lanes.dedup();
    lanes.retain(|lane| *lane > Lane::Store);
    lanes
}

/// The nodes whose kubelets take part.
pub(super) fn kubelets(flow: &Flow) -> Vec<&str> {
    let mut nodes: Vec<&str> = flow.hops.iter().filter_map(kubelet).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// The node whose kubelet takes part in a hop.
fn kubelet(hop: &Hop) -> Option<&str> {
    match (&hop.from, &hop.to) {
        (Spot::Kubelet(node), _) | (_, Spot::Kubelet(node)) => Some(node),
        _ => None,
    }
}

/// The rows up to the hop that is lit.
pub(super) fn rows(model: &Model, flow: &Flow, now: usize) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let several = kubelets(flow).len() > 1;
    for (at, hop) in flow.hops.iter().enumerate().take(now.saturating_add(1)) {
        let mut row = row(model, flow, at, hop);
        if let (true, Some(node)) = (several, kubelet(hop)) {
            row.key = format!("{}: {}", short(node), row.key);
            row.text = format!("{}: {}", short(node), row.text);
        }
        if let (Act::Stages(stages), Some(Row { act: Act::Stages(all), last, took, .. })) =
            (&row.act, rows.last_mut())
        {
            all.extend(stages.iter().cloned());
            (*last, *took) = (row.last, row.took);
            continue;
        }
        let mut run = rows.iter_mut().rev().take(ROUND).take_while(|earlier| earlier.lane == row.lane);
        if let Some(like) = run.find(|earlier| earlier.is_like(&row)) {
            like.add(&row);
            continue;
        }
        let begins = rows.last().is_none_or(|earlier| earlier.lane != row.lane);
        if begins && row.lane > Lane::Store && matches!(row.act, Act::Asked { .. }) {
            let since = row.since.saturating_sub(row.took);
            let heard = Row { act: Act::Heard, last: None, since, took: 0, revision: None, ..row.clone() };
            rows.push(heard);
        }
        rows.push(row);
    }
    rows
}

/// The rows with one more above an answer that comes first: the API server records the stages of a
/// look only for kubectl, and the answer tells which ones it has passed.
///
/// ```text
/// 403 of authorization    authenticate
/// 401                     none
/// 200, 404                authenticate, authorize
/// ```
pub(super) fn with_stages(mut rows: Vec<Row>) -> Vec<Row> {
    let Some(first) = rows.first() else { return rows };
    let Act::Answered { refused, .. } = first.act else { return rows };
    let passed: &[&str] = match refused {
        Some(Gate::Authentication) => &[],
        Some(Gate::Authorization) => &["authenticate"],
        Some(Gate::Admission | Gate::Validation) | None => &["authenticate", "authorize"],
    };
    let stages = Row {
        act: Act::Stages(passed.iter().map(|stage| (*stage).to_string()).collect()),
        lane: Lane::Api,
        last: None,
        since: first.since.saturating_sub(first.took),
        took: 0,
        ..first.clone()
    };
    rows.insert(0, stages);
    rows
}

/// The row of one hop, which is the hop `at` of the command.
fn row(model: &Model, flow: &Flow, at: usize, hop: &Hop) -> Row {
    let act = match &hop.did {
        Did::Stage(stage) => Act::Stages(vec![stage.clone()]),
        Did::Stored => Act::Stored,
        Did::Answered { code, refused, .. } => Act::Answered { code: *code, refused: *refused },
        Did::Asked { code, .. } => Act::Asked { failed: *code >= 400 },
        _ => Act::Done,
    };
    let lane = lane(model, flow, hop);
    let (key, text) = words(model, hop);
    Row {
        act,
        lane,
        last: Some(at),
        since: flow.since(hop),
        took: hop.took_us,
        revision: hop.revision,
        key,
        text,
        count: 1,
    }
}

/// The column in which a hop is drawn.
fn lane(model: &Model, flow: &Flow, hop: &Hop) -> Lane {
    let spot = match &hop.did {
        Did::Answered { .. } => return Lane::You,
        Did::Asked { .. } => &hop.from,
        _ => &hop.to,
    };
    match spot {
        Spot::Client => Lane::You,
        Spot::Api => Lane::Api,
        Spot::Store => Lane::Store,
        Spot::Scheduler => Lane::Scheduler,
        Spot::Kubelet(_) => Lane::Kubelet,
        Spot::Proxy(_) => Lane::Proxy,
        Spot::Other(_) => Lane::Controllers,
        Spot::Controller(name) => match name.as_str() {
            "deployment-controller" => Lane::Deployments,
            "replicaset-controller" => Lane::ReplicaSets,
            "" => controller(model, flow, hop),
            _ => Lane::Controllers,
        },
    }
}

/// All controllers ask with one name, that of the controller manager: what was written tells which
/// of them it was. The garbage collector deletes ReplicaSets, too, and pods whose ReplicaSet is
/// gone.
fn controller(model: &Model, flow: &Flow, hop: &Hop) -> Lane {
    let Some(object) = &hop.object else { return Lane::Controllers };
    let deletes = matches!(&hop.did, Did::Asked { verb, .. } if verb == "delete");
    match (object.resource.as_str(), hop.subresource.as_str()) {
        ("deployments", "status") => Lane::Deployments,
        ("replicasets", "status") => Lane::ReplicaSets,
        ("replicasets", _) if !deletes => Lane::Deployments,
        ("pods", "") => {
            let set = object.name.rsplit_once('-').map_or("", |(set, _)| set);
            let is_set = |other: &Hop| {
                other.object.as_ref().is_some_and(|o| {
                    o.resource == "replicasets" && o.namespace == object.namespace && o.name == set
                })
            };
            let goes = |other: &Hop| {
                let verb = match &other.did {
                    Did::Asked { verb, .. } | Did::Answered { verb, .. } => verb,
                    _ => return false,
                };
                verb == "delete" && is_set(other)
            };
            if deletes && flow.hops.iter().any(goes) {
                return Lane::Controllers;
            }
            let key = (object.namespace.clone(), set.to_string());
            let known = model.cluster.replicasets.contains_key(&key) || flow.hops.iter().any(is_set);
            if known { Lane::ReplicaSets } else { Lane::Controllers }
        }
        _ => Lane::Controllers,
    }
}

/// Returns the act in words, without the name of its component: the text of a row that counts
/// several equal acts, and that of a row with one.
fn words(model: &Model, hop: &Hop) -> (String, String) {
    let name = hop.object.as_ref().map_or("", |o| o.name.as_str());
    let resource = hop.object.as_ref().map_or("", |o| kind(&o.resource));
    let same = |text: String| (text.clone(), text);
    match &hop.did {
        Did::Asked { verb, code, refused, .. } => {
            let binds = hop.from == Spot::Scheduler && verb == "create";
            let text = if binds { "bind".to_string() } else { format!("{verb} {resource}") };
            let gate = refused.map_or(String::new(), |gate| format!(" {}", model.lang.say(gate.word(), &[])));
            same(if *code >= 400 { format!("{text} {code}{gate}") } else { text })
        }
        Did::Answered { verb, code, .. } => same(format!("{verb} {code}")),
        Did::Scheduled { chosen: Some(_), fit, of, scores } => {
            let scores: Vec<String> = scores.iter().take(3).map(ToString::to_string).collect();
            let counts = [fit.to_string(), of.to_string(), scores.join(" / ")];
            let text = model.lang.say(Word::BriefFit, &counts.each_ref().map(String::as_str));
            ("schedule".into(), text)
        }
        Did::Scheduled { chosen: None, of, .. } => {
            ("schedule".into(), model.lang.say(Word::BriefNobody, &[&of.to_string()]))
        }
        Did::Bound { node } => ("bound".into(), format!("bound {}", short(node))),
        Did::Rules { rules, changed } => ("rules".into(), format!("rules {rules} ({changed})")),
        Did::Told(Event::Status { phase }) => same(phase.clone()),
        Did::Told(event) => (event.verb().to_string(), event_words(model.lang, event, name)),
        _ => same(describe(model.lang, hop)),
    }
}
