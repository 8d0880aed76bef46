//! The ResourceQuotas of the learner's namespaces. None is shown while a lab asks for a cause: it
//! may be this one.
//!
//! ```text
//! namespace staging  quota small  pods: 2/2, requests.cpu: 20m/1
//! ```

use super::super::cluster::{Cluster, Key, Quota};
use super::super::look::Tone;
use super::super::words::Word;
use super::canvas::Canvas;
use super::strip::Piece;

/// The quotas that are drawn.
fn shown<'a>(canvas: &Canvas<'_>, scene: &'a Cluster) -> impl Iterator<Item = (&'a Key, &'a Quota)> {
    let asks_cause = canvas.asks_cause;
    scene.quotas.iter().filter(move |(key, _)| !asks_cause && !key.0.starts_with("kube-"))
}

/// Each quota behind the name of its namespace, on one line: those that are used up first. `None`:
/// there is no quota to show.
pub(super) fn line(canvas: &Canvas<'_>, scene: &Cluster) -> Option<Piece> {
    let mut quotas: Vec<_> = shown(canvas, scene).collect();
    quotas.sort_by_key(|(_, quota)| !quota.is_full());
    let tone = if quotas.first()?.1.is_full() { Tone::Warn } else { Tone::Plain };
    let mut namespace = "";
    let mut told = Vec::new();
    for (key, quota) in quotas {
        let text = canvas.word(Word::Quota, &[&key.1, &quota.usage()]);
        let is_other = key.0 != namespace;
        namespace = key.0.as_str();
        told.push(match is_other {
            true => format!("{}  {text}", canvas.word(Word::NamespaceAlone, &[namespace])),
            false => text,
        });
    }
    Some((told.join("  "), tone))
}

/// The namespaces that have a quota, on a narrow screen: each with what is used.
pub(super) fn pieces(canvas: &Canvas<'_>, scene: &Cluster) -> Vec<Piece> {
    let piece = |(key, quota): (&Key, &Quota)| {
        let tone = if quota.is_full() { Tone::Warn } else { Tone::Plain };
        (canvas.word(Word::Quota, &[&key.0, &quota.usage()]), tone)
    };
    shown(canvas, scene).map(piece).collect()
}
