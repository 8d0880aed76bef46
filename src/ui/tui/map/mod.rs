//! The diagrams. Each draws from the model alone; a number on the screen is a measured number.

mod blocked;
mod canvas;
mod cluster;
mod common;
mod control;
mod ghosts;
mod hops;
mod namespaces;
mod network;
mod network_wide;
mod plan;
mod plan_node;
mod pod;
mod pod_wide;
mod quotas;
mod raft;
mod raft_wide;
mod rollout;
mod rollout_wide;
mod scaler;
mod scheduling;
mod scheduling_wide;
mod scrubber;
mod sequence;
mod steps;
mod strip;
mod unowned;

pub(crate) use canvas::Canvas;
pub(crate) use common::{ages_due, corner};
pub(crate) use hops::short;
pub(crate) use raft::leader;
pub(crate) use steps::{Step, steps};
pub(crate) use strip::strip;

use super::cluster::WATCHED;
use super::layout::Pane;
use super::model::{Model, View};
use super::words::Word;
use common::not_listed;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// Why there is nothing to draw yet, in words. `None`: the watches have answered.
fn unheard(model: &Model) -> Option<String> {
    if model.cluster.heard {
        return None;
    }
    let denied = not_listed(model, &WATCHED.iter().map(|(plural, ..)| *plural).collect::<Vec<_>>());
    let seconds = model.now.as_secs().to_string();
    let waiting = || model.lang.say(Word::MapWaiting, &[&seconds]);
    Some(if denied.is_empty() { waiting() } else { denied })
}

/// A picture beside a question may show its answer: on a large screen, too, it waits for the guess,
/// or for a learner who goes to the map or chooses a view.
pub(crate) fn hides_answer(model: &Model) -> bool {
    model.ponders() && model.focus != Pane::Map
}

/// Draws the view that is chosen; a word of waiting until the watches answer.
pub(crate) fn render(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let mut canvas = Canvas::new(model, area, buffer);
    if hides_answer(model) {
        return canvas.note(1, &model.lang.say(Word::MapAfterGuess, &[]));
    }
    if let Some(waiting) = unheard(model) {
        return canvas.note(1, &waiting);
    }
    // Two pictures have a place for the line of the play head in their own last row.
    let has_line = match model.view {
        View::Cluster => plan::fits(&canvas),
        View::ControlPlane => control::fits(&canvas),
        View::Raft | View::Scheduling | View::Network | View::Rollout | View::Pod => false,
    };
    if !has_line && scrubber::fits(&canvas, model) {
        let last = canvas.height() - 1;
        scrubber::draw(&mut canvas, model, 1, last);
        canvas.area.height -= 1;
    }
    match model.view {
        View::Cluster => cluster::draw(&mut canvas, model, &model.scene()),
        View::ControlPlane => control::draw(&mut canvas, model),
        View::Raft => raft::draw(&mut canvas, model),
        View::Scheduling => scheduling::draw(&mut canvas, model, &model.scene()),
        View::Network => network::draw(&mut canvas, model, &model.scene()),
        View::Rollout => rollout::draw(&mut canvas, model, &model.scene()),
        View::Pod => pod::draw(&mut canvas, model, &model.scene()),
    }
}
