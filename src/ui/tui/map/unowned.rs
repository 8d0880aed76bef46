//! The rollout view where there is no Deployment: the pods that there are, by what owns them. Those
//! that nothing owns come first: nothing replaces them.
//!
//! ```text
//! There is no Deployment here.
//! owner: none
//!   * gulls-7c5dcc8d6-2kq9x   Running   worker   3 min
//! owner: buoys  2 of 2 ready
//! ```

use super::super::cluster::{Cluster, Key, Pod};
use super::super::look::Tone;
use super::super::model::Model;
use super::super::words::Word;
use super::canvas::Canvas;
use super::cluster::line_of;
use super::common::{is_roomy, moment};
use super::rollout_wide;
use super::strip::{Lines, counted, news};
use std::collections::BTreeMap;

/// The row of the first owner.
const TOP: usize = 2;

/// The learner's pods by the namespace and the name of their owner, which is empty if there is
/// none.
fn owners(scene: &Cluster) -> Vec<(Key, Vec<&Pod>)> {
    let mut owners: BTreeMap<Key, Vec<&Pod>> = BTreeMap::new();
    for pod in scene.pods.values().filter(|pod| !pod.system()) {
        owners.entry((pod.namespace.clone(), pod.owner.clone())).or_default().push(pod);
    }
    let mut owners: Vec<(Key, Vec<&Pod>)> = owners.into_iter().collect();
    owners.sort_by_key(|((_, owner), _)| !owner.is_empty());
    owners
}

/// `owner: none`, or the owner's name, with the namespace where there is more than one.
fn head(canvas: &Canvas<'_>, scene: &Cluster, (namespace, owner): &Key) -> String {
    match (owner.is_empty(), scene.is_spread()) {
        (true, false) => canvas.word(Word::NoOwner, &[]),
        (true, true) => {
            format!(
                "{}  {}",
                canvas.word(Word::NamespaceAlone, &[namespace]),
                canvas.word(Word::NoOwner, &[])
            )
        }
        (false, _) => canvas.word(Word::Owner, &[&scene.label(namespace, owner)]),
    }
}

/// Draws the pods by their owners; false if there is none.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, scene: &Cluster) -> bool {
    let owners = owners(scene);
    if owners.is_empty() {
        return false;
    }
    let text = canvas.word(Word::NoDeployment, &[]);
    canvas.put(1, 0, &text, Tone::Strong);
    let (moment, end) = (moment(model), canvas.height());
    let mut y = TOP;
    for (at, (owner, pods)) in owners.iter().enumerate() {
        if y >= end {
            break;
        }
        let text = head(canvas, scene, owner);
        let x = canvas.put(1, y, &text, Tone::Dim) + 2;
        if let Some(set) = scene.replicasets.get(owner) {
            let text = canvas.word(Word::Wanted, &[&set.ready.to_string(), &set.wanted.to_string()]);
            let tone = if set.ready >= set.wanted { Tone::Good } else { Tone::Warn };
            canvas.put(x, y, &text, tone);
        }
        y += 1;
        // Each later owner has its line, and the same share of the rows.
        let later = owners.len() - at - 1;
        let share = end.saturating_sub(y + later) / (later + 1);
        if is_roomy(canvas) {
            y = rollout_wide::pods(canvas, scene, pods, moment, y, share);
            continue;
        }
        let width = canvas.width().saturating_sub(4);
        for pod in pods.iter().take(share) {
            line_of(canvas, pod, 3, y, width);
            y += 1;
        }
    }
    true
}

/// Two lines about the pods by their owners. `None`: there are no pods.
pub(super) fn lines(canvas: &Canvas<'_>, model: &Model, scene: &Cluster) -> Option<Lines> {
    let owners = owners(scene);
    if owners.is_empty() {
        return None;
    }
    let piece = |(owner, pods): &(Key, Vec<&Pod>)| {
        let wanted = scene.replicasets.get(owner).map(|set| set.wanted);
        counted(canvas, &head(canvas, scene, owner), pods, wanted)
    };
    let sentence = (canvas.word(Word::NoDeployment, &[]), Tone::Dim);
    let counts = owners.iter().map(piece).chain([sentence]).collect();
    Some(Lines { counts, news: news(canvas, model, scene) })
}
