//! What the command on the stage made go away: each stays where it was, with the time of its end,
//! until another command is shown.

use super::super::cluster::Pod;
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, cut_middle, time_of_day};
use super::super::words::Word;
use super::canvas::Canvas;
use clock::Timestamp;

/// A pod that was deleted.
pub(super) struct Ghost<'a> {
    pub pod: &'a Pod,
    ended: Timestamp,
}

impl Ghost<'_> {
    /// `ended 12:03:41`
    pub(super) fn end_time(&self, canvas: &Canvas<'_>) -> String {
        canvas.word(Word::Ended, &[&time_of_day(self.ended)])
    }
}

/// Returns the pods that the command on the stage has made go away so far, the newest first: up to
/// the lit hop, or all of them when nothing is replayed.
pub(super) fn ghosts(model: &Model) -> Vec<Ghost<'_>> {
    let traffic = &model.traffic;
    let Some(flow) = traffic.shown() else { return vec![] };
    let Some((since, newest)) = flow.before().zip(flow.newest()) else { return vec![] };
    let until = traffic.revision().unwrap_or(newest);
    let pods = &model.cluster.pods;
    let is_back = |pod: &Pod| pods.contains_key(&(pod.namespace.clone(), pod.name.clone()));
    let ended = model.cluster.past.ended(since, until).into_iter();
    let gone = ended.filter(|ended| !ended.pod.system() && (traffic.moving() || !is_back(ended.pod)));
    gone.map(|ended| {
        // The record of the deletion has the cluster's own time.
        let hop = flow.hops.iter().find(|hop| hop.made() == Some(ended.revision));
        let noted = || model.opened.checked_add(ended.at).unwrap_or(model.opened);
        Ghost { pod: ended.pod, ended: hop.map_or_else(noted, |hop| hop.at) }
    })
    .collect()
}

/// `† web-...628 ended 12:03:41`
pub(super) fn ghost_line(canvas: &mut Canvas<'_>, ghost: &Ghost<'_>, (x, y): (usize, usize), width: usize) {
    let end = x + width;
    let at = canvas.put_in(x, y, width, &format!("{} ", canvas.sign(Sign::Ghost)), Tone::Dim);
    let name = cut_middle(&ghost.pod.name, end.saturating_sub(at), canvas.sign(Sign::Ellipsis));
    let at = canvas.put_in(at, y, end.saturating_sub(at), &name, Tone::Dim) + 1;
    let time = ghost.end_time(canvas);
    if end.saturating_sub(at) >= cells(&time) {
        canvas.put(at, y, &time, Tone::Dim);
    }
}
