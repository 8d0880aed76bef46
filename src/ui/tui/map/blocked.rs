//! Pods that were not created: the API server refuses what a ReplicaSet, StatefulSet, DaemonSet or
//! Job asks for, for example because of a quota. Such a pod is in no list, and the scheduler never
//! hears of it. Only its owner tells why: a ReplicaSet in its status, the others in their Events.
//!
//! ```text
//! x ReplicaSet web-5c9c7b9f4d: 2 of 3 pods, the next is refused
//!   exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2
//!   This pod does not exist, so there is nothing to schedule.
//! ```
//!
//! While a lab asks for the cause, the reason is left out: the learner is to find it.

use super::super::cluster::{Cluster, Key, Stand};
use super::super::look::{Sign, Tone};
use super::super::text::{cells, cut_middle, fold_in};
use super::super::words::Word;
use super::canvas::Canvas;
use super::rollout::pods_of_set;
use super::strip::Piece;
use clock::Timestamp;

/// Lines of a reason, at most.
const LINES: usize = 2;
/// Cells of a name that are shown in any case.
const NAME: usize = 12;

/// An object that wants more pods than it may have.
struct Blocked<'a> {
    kind: Word,
    namespace: &'a str,
    name: &'a str,
    /// The Deployment of a ReplicaSet; empty for others.
    owner: &'a str,
    wanted: i64,
    /// The pods that it has, without those that are leaving.
    there: i64,
    created: Option<Timestamp>,
    /// What the API server said.
    failure: &'a str,
}

/// The objects whose pods are refused, the newest first.
fn blocked(scene: &Cluster) -> Vec<Blocked<'_>> {
    let failing = scene.replicasets.values().filter(|set| !set.failure.is_empty());
    let sets = failing.map(|set| {
        let pods = pods_of_set(scene, set);
        let active = pods.iter().filter(|pod| pod.stand != Stand::Leaving && !pod.is_over).count();
        Blocked {
            kind: Word::KindReplicaSet,
            namespace: &set.namespace,
            name: &set.name,
            owner: &set.owner,
            wanted: set.wanted,
            there: i64::try_from(active).unwrap_or(i64::MAX),
            created: set.created,
            failure: &set.failure,
        }
    });
    // Most have all that they want: their Events need no look.
    let lacking = scene.workloads.iter().filter(|(_, workload)| workload.there < workload.wanted);
    let others = lacking.filter_map(|((kind, key), workload)| {
        Some(Blocked {
            kind: match *kind {
                "StatefulSet" => Word::KindStatefulSet,
                "DaemonSet" => Word::KindDaemonSet,
                _ => Word::KindJob,
            },
            namespace: &key.0,
            name: &key.1,
            owner: "",
            wanted: workload.wanted,
            there: workload.there,
            created: workload.created,
            failure: scene.refused_of(kind, key)?,
        })
    });
    let mut found: Vec<Blocked<'_>> = sets.chain(others).filter(|it| it.there < it.wanted).collect();
    found.sort_by_key(|it| std::cmp::Reverse(it.created));
    found
}

/// True if the object belongs to this Deployment.
fn is_of(it: &Blocked<'_>, deployment: &Key) -> bool {
    it.namespace == deployment.0 && it.owner == deployment.1
}

/// How many pods of a Deployment were not created.
pub(super) fn missing(scene: &Cluster, deployment: &Key) -> i64 {
    blocked(scene).iter().filter(|it| is_of(it, deployment)).map(|it| it.wanted - it.there).sum()
}

/// Draws the newest object whose pods are refused, and why. Returns the rows that it takes, with
/// the empty one below.
pub(super) fn draw(canvas: &mut Canvas<'_>, scene: &Cluster) -> usize {
    let all = blocked(scene);
    let Some(first) = all.first() else { return 0 };
    let counts = [first.there.to_string(), first.wanted.to_string()];
    let kind = canvas.word(first.kind, &[]);
    let more = if all.len() > 1 { format!("  +{}", all.len() - 1) } else { String::new() };
    let head = |name: &str| {
        let text = canvas.word(Word::Blocked, &[&kind, name, &counts[0], &counts[1]]);
        format!("{} {text}{more}", canvas.sign(Sign::Failed))
    };
    let room = canvas.width().saturating_sub(1 + cells(&head(""))).max(NAME);
    let name = scene.label(first.namespace, first.name);
    let head = head(&cut_middle(&name, room, canvas.sign(Sign::Ellipsis)));
    canvas.put(1, 0, &head, Tone::Bad);
    let mut y = 1;
    if !canvas.asks_cause {
        for line in fold_in(why(first.failure), canvas.width().saturating_sub(4), "", LINES) {
            canvas.put(3, y, &line, Tone::Bad);
            y += 1;
        }
    }
    let text = canvas.word(Word::BlockedWhy, &[]);
    canvas.put(3, y, &text, Tone::Dim);
    y + 2
}

/// The first workload whose pods are refused, on one line: `x web-5c9c7b9f4d 2/3: exceeded quota:
/// small, ...`. `deployment`: only its own ReplicaSets. `None`: nothing is refused.
pub(super) fn line(canvas: &Canvas<'_>, scene: &Cluster, deployment: Option<&Key>) -> Option<Piece> {
    let first = blocked(scene).into_iter().find(|it| deployment.is_none_or(|key| is_of(it, key)))?;
    let name = scene.label(first.namespace, first.name);
    let counts = format!("{}/{}", first.there, first.wanted);
    let head = format!("{} {name} {counts}", canvas.sign(Sign::Failed));
    let text = match canvas.asks_cause {
        true => head,
        false => format!("{head}: {}", why(first.failure)),
    };
    Some((text, Tone::Bad))
}

/// The API server's reason, without the words that name the pod.
fn why(message: &str) -> &str {
    message.split_once(" is forbidden: ").map_or(message, |(_, why)| why)
}
