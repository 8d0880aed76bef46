//! The lines at the foot: keys for where the learner is, and how the cluster stands.

use super::super::layout::Pane;
use super::super::look::{Sign, Tone};
use super::super::map;
use super::super::model::{Model, View};
use super::super::text::{cells, cut, fit};
use super::super::words::Word;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

/// The names of the panes where only one is shown.
pub(super) fn tabs(model: &Model, area: Rect, buffer: &mut Buffer) {
    if area.is_empty() {
        return;
    }
    let mut x = area.x;
    for (pane, text) in tab_texts(model) {
        let here = model.focus == pane;
        let text = cut(&text, usize::from(area.right().saturating_sub(x)), "");
        buffer.set_string(x, area.y, &text, model.look.tone(if here { Tone::Title } else { Tone::Dim }));
        x += cells(&text) as u16;
    }
    let hint = "F6 >";
    if usize::from(area.right().saturating_sub(x)) > hint.len() {
        buffer.set_string(area.right() - hint.len() as u16, area.y, hint, model.look.tone(Tone::Dim));
    }
}

fn tab_texts(model: &Model) -> [(Pane, String); 3] {
    let tabs = [(Pane::Shell, Word::PaneShell), (Pane::Lesson, Word::PaneLesson), (Pane::Map, Word::PaneMap)];
    tabs.map(|(pane, word)| {
        let name = model.lang.say(word, &[]);
        (pane, if model.focus == pane { format!("[{name}] ") } else { format!(" {name}  ") })
    })
}

/// The pane whose name stands at this cell of the line of names.
pub(crate) fn tab_at(model: &Model, x: u16) -> Option<Pane> {
    let mut end = 0;
    tab_texts(model).into_iter().find_map(|(pane, text)| {
        end += cells(&text);
        (usize::from(x) < end).then_some(pane)
    })
}

/// The keys that work here and now.
fn keys(model: &Model) -> String {
    let lang = model.lang;
    if let Some(notice) = model.notice {
        return lang.say(notice, &[]);
    }
    if model.prefix {
        return lang.say(Word::FootPrefix, &[]);
    }
    match model.focus {
        Pane::Shell if model.program_has_keys() => lang.say(Word::FootProgram, &[]),
        // There F2 shows the whole map, unless it gives a large pane its place back.
        Pane::Shell if model.form().hides_map() && !model.zoom => lang.say(Word::FootStrip, &[]),
        Pane::Shell => lang.say(Word::Foot, &[]),
        Pane::Map => {
            let (views, slower) = (View::ALL.len().to_string(), model.traffic.play.slower.to_string());
            let word = if model.form().hides_map() { Word::FootMapWhole } else { Word::FootMap };
            lang.say(word, &[&views, &slower])
        }
        Pane::Lesson => {
            if model.shown_lab().is_some() {
                return lang.say(Word::FootLab, &[]);
            }
            if model.plays() {
                return lang.say(Word::FootPlaying, &[]);
            }
            match (model.open_lesson(), model.question()) {
                (_, Some(predict)) => {
                    let letters: Vec<&str> = predict.choices.iter().map(|(c, _)| c.as_str()).collect();
                    lang.say(Word::FootPredict, &[&letters.join(" ")])
                }
                (Some(_), None) if model.asks_answer() && model.lesson.draft.is_some() => {
                    lang.say(Word::FootDraft, &[])
                }
                (Some(_), None) if model.asks_answer() => lang.say(Word::FootAnswer, &[]),
                (Some(_), None) => lang.say(Word::FootLesson, &[]),
                (None, None) if model.open_ids().next().is_some() => lang.say(Word::FootListBack, &[]),
                (None, None) => lang.say(Word::FootList, &[]),
            }
        }
    }
}

/// The revision of the newest change of an object, also of a kind that the map does not show, such
/// as a Secret; a renewed Lease does not count. The view of Raft shows each entry of the store's
/// log, also those of heartbeats: there it is the store's own, which `etcdctl` answers.
fn revision(model: &Model) -> u64 {
    match model.view {
        View::Raft => model.cluster.revision.max(model.traffic.stored_revision()),
        _ => model.cluster.revision.max(model.traffic.newest_change),
    }
}

fn status(model: &Model) -> String {
    let lang = model.lang;
    let mut parts = vec![model.name.clone()];
    if model.is_declared {
        let leave = if model.lab.open().is_some() { "lab leave" } else { "lesson leave" };
        parts.push(lang.say(Word::StatusLeave, &[leave]));
    }
    let seconds = model.now.as_secs().to_string();
    match &model.status {
        _ if model.ended => parts.extend(model.stale_reason()),
        None => parts.push(lang.say(Word::StatusWaiting, &[&seconds])),
        Some(status) if !model.ready() => {
            let of =
                |have: &str, all: &str| format!("{}/{}", status["progress"][have], status["progress"][all]);
            let (nodes, pods) = (of("nodesReady", "nodes"), of("podsRunning", "pods"));
            parts.push(lang.say(Word::StatusStarting, &[&nodes, &pods, &seconds]));
        }
        Some(_) => {
            parts.extend(model.stale_reason());
            let control = model.cluster.nodes.values().filter(|n| n.control_plane).count();
            let nodes = format!("{control}+{}", model.cluster.nodes.len() - control);
            parts.push(lang.say(Word::StatusNodes, &[&nodes]));
            parts.push(lang.say(Word::StatusPods, &[&model.cluster.pods.len().to_string()]));
            parts.push(lang.say(Word::StatusRevision, &[&revision(model).to_string()]));
            // A member alone has nothing to agree on: its leader and term are for the view of Raft.
            let is_told = |leader: Option<&str>| leader.is_none() || control > 1 || model.view == View::Raft;
            if let Some((leader, term)) = map::leader(model).filter(|(leader, _)| is_told(*leader)) {
                parts.push(match leader {
                    Some(leader) => lang.say(Word::StatusLeader, &[map::short(leader)]),
                    None => lang.say(Word::StatusNoLeader, &[]),
                });
                parts.push(lang.say(Word::StatusTerm, &[&term.to_string()]));
            }
            if let Some(scale) =
                model.lesson.view.as_ref().and_then(|view| view.clock).filter(|scale| *scale != 1)
            {
                let times = if model.look.ascii { "x" } else { "×" };
                parts.push(lang.say(Word::StatusClock, &[&format!("{times}{scale}")]));
            }
        }
    }
    if model.traffic.lost > 0 {
        parts.push(lang.say(Word::StatusLost, &[&model.traffic.lost.to_string()]));
    }
    parts.join(&format!(" {} ", model.look.sign(Sign::Dot)))
}

/// Draws the lines at the foot of the screen: what is known of the cluster, and the keys.
pub(super) fn foot(model: &Model, area: Rect, buffer: &mut Buffer) {
    let ellipsis = model.look.sign(Sign::Ellipsis);
    let room = usize::from(area.width).saturating_sub(1);
    if area.height >= 1 {
        let tone = if model.prefix { Tone::Lit } else { Tone::Plain };
        // With one line only, what matters most stands in it.
        let stale = model.stale_reason().filter(|_| area.height == 1);
        let tone = if stale.is_some() { Tone::Bad } else { tone };
        let keys = match (&stale, model.look.ascii) {
            (Some(stale), _) => format!("{stale}  {}", keys(model)),
            (None, true) => keys(model).replace("↑↓", "Up/Dn").replace("← →", "<- ->"),
            (None, false) => keys(model),
        };
        buffer.set_string(area.x + 1, area.y, cut(&keys, room, ellipsis), model.look.tone(tone));
    }
    if area.height >= 2 {
        let lang = match model.lang {
            crate::texts::Lang::En => "EN",
            crate::texts::Lang::Ko => "KO",
        };
        let text = fit(&status(model), room.saturating_sub(4), ellipsis);
        let tone = if model.stale_reason().is_some() { Tone::Bad } else { Tone::Dim };
        buffer.set_string(area.x + 1, area.y + 1, format!("{text} {lang}"), model.look.tone(tone));
    }
}
