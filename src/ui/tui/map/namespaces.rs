//! The namespaces on the map. Their names stand beside objects only where these lie in more than
//! one: over the pods of each in a node, and as `staging/web` elsewhere.

use super::super::cluster::{Cluster, Pod};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::cells;
use super::super::words::Word;
use super::canvas::Canvas;
use super::strip::Piece;
use std::collections::BTreeSet;

/// Namespaces that the corner of the map names.
const NAMED_MAX: usize = 3;

/// How many rows the names of namespaces take over these pods of the learner: 0 if all objects of
/// the map lie in one.
pub(super) fn heads(scene: &Cluster, pods: &[&Pod]) -> usize {
    match scene.is_spread() {
        true => pods.iter().map(|pod| pod.namespace.as_str()).collect::<BTreeSet<_>>().len(),
        false => 0,
    }
}

/// The name of a namespace over its pods: `namespace staging` if there is room for the word.
pub(super) fn head(canvas: &Canvas<'_>, scene: &Cluster, namespace: &str, width: usize) -> Piece {
    let (name, tone) = named(canvas, scene, namespace);
    let whole = canvas.word(Word::NamespaceAlone, &[&name]);
    (if cells(&whole) <= width { whole } else { name }, tone)
}

/// The name of a namespace, and whether it is being deleted.
fn named(canvas: &Canvas<'_>, scene: &Cluster, namespace: &str) -> Piece {
    let is_leaving = scene.namespaces.get(namespace).copied().unwrap_or_default();
    match is_leaving {
        true => (format!("{namespace} {} Terminating", canvas.sign(Sign::Leaving)), Tone::Warn),
        false => (namespace.to_string(), Tone::Accent),
    }
}

/// The name of an object on a narrow screen, which has no room for `default`.
pub(super) fn brief(scene: &Cluster, namespace: &str, name: &str) -> String {
    if namespace == "default" { name.to_string() } else { scene.label(namespace, name) }
}

/// The namespaces of the learner, for the corner of the map: empty if there is only `default`.
pub(super) fn list(model: &Model) -> String {
    let own = model.cluster.own_namespaces();
    if own.iter().all(|(name, _)| *name == "default") {
        return String::new();
    }
    let name = |(name, is_leaving): &(&str, bool)| match is_leaving {
        true => format!("{} {name}", model.look.sign(Sign::Leaving)),
        false => name.to_string(),
    };
    let mut names: Vec<String> = own.iter().take(NAMED_MAX).map(name).collect();
    if own.len() > NAMED_MAX {
        names.push(format!("+{}", own.len() - NAMED_MAX));
    }
    model.lang.say(Word::Namespaces, &[&names.join(", ")])
}

/// The namespaces that the line of a narrow screen names by themselves: those that no object there
/// tells of, and those that are being deleted.
pub(super) fn pieces(canvas: &Canvas<'_>, scene: &Cluster) -> Vec<Piece> {
    let used = scene.used_namespaces();
    let own = scene.own_namespaces().into_iter();
    let alone = own.filter(|(name, is_leaving)| *is_leaving || *name != "default" && !used.contains(name));
    let piece = |(name, _): (&str, bool)| {
        let (text, tone) = named(canvas, scene, name);
        (canvas.word(Word::NamespaceAlone, &[&text]), tone)
    };
    alone.map(piece).collect()
}
