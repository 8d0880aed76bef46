//! The pod view where there is room: the conditions that a pod comes to one after the other, its
//! containers with their probes, restarts and back-off, and what happened to it.
//!
//! ```text
//! + scheduled ---- + initialised ---- o containers ready ---- o ready
//!   12:06:13         12:06:13           ContainersNotReady      ContainersNotReady
//! x web   waiting: CrashLoopBackOff   3 restarts
//!         probes: readiness x GET :80/healthz
//!         ended before: Error, exit code 1  12:07:02   back-off 40s
//! what happened to it
//! ```

use super::super::cluster::{Cluster, Condition, Container, ContainerState, Exit, Happened, Pod, is_failure};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, fold_in, time_of_day};
use super::super::words::Word;
use super::canvas::Canvas;
use super::common::{age, moment, restarts};
use super::ghosts::ghost_line;
use super::pod::{former, hops_about};

/// The row of the conditions.
const PHASES: usize = 3;
/// The conditions in the order in which a pod comes to them.
const CONDITIONS: [(&str, Word); 4] = [
    ("PodScheduled", Word::PhaseScheduled),
    ("Initialized", Word::PhaseInitialized),
    ("ContainersReady", Word::PhaseContainers),
    ("Ready", Word::PhaseReady),
];
/// Rows that are kept for what happened, however many containers there are.
const STORY: usize = 4;
/// The columns of a container's state and of its restarts.
const STATE: (usize, usize) = (18, 56);

/// Draws all below the pod's name and facts.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, scene: &Cluster, pod: &Pod) {
    origin(canvas, model, pod);
    phases(canvas, pod);
    let end = canvas.height().saturating_sub(STORY + 1);
    let mut y = PHASES + 3;
    for (at, one) in pod.containers.iter().enumerate() {
        let left = pod.containers.len() - at;
        if y + 1 >= end && left > 1 {
            let more = canvas.word(Word::TimeMore, &[&left.to_string()]);
            canvas.put(3, y, &more, Tone::Dim);
            y += 1;
            break;
        }
        y = container(canvas, one, y, end);
    }
    story(canvas, model, scene, pod, y);
}

/// When the pod was created, and what owns it.
fn origin(canvas: &mut Canvas<'_>, model: &Model, pod: &Pod) {
    let mut facts = Vec::new();
    if let Some(created) = pod.created {
        let told = canvas.word(Word::Created, &[&time_of_day(created)]);
        facts.push(format!("{told} ({})", age(canvas, created, moment(model))));
    }
    facts.push(match pod.owner.is_empty() {
        true => canvas.word(Word::NoOwner, &[]),
        false => canvas.word(Word::Owner, &[&pod.owner]),
    });
    canvas.put(1, 2, &facts.join("  "), Tone::Dim);
}

/// The conditions with the times at which the pod came to them; those that it has not come to with
/// the reason.
fn phases(canvas: &mut Canvas<'_>, pod: &Pod) {
    let names = CONDITIONS.map(|(kind, word)| (kind, canvas.word(word, &[])));
    // Each has place for a time below its name, and the lines between them share the rest.
    let wide = |name: &str| cells(name).max(8) + 2;
    let taken: usize = names.iter().map(|(_, name)| wide(name)).sum();
    let room = canvas.width().saturating_sub(2 + taken) / (names.len() - 1);
    let mut x = 1;
    for (at, (kind, name)) in names.iter().enumerate() {
        let condition = pod.conditions.iter().find(|condition| condition.kind == *kind);
        let is_met = condition.is_some_and(|condition| condition.met);
        let (sign, tone) = match (condition, is_met) {
            (None, _) => (Sign::Waiting, Tone::Dim),
            (_, true) => (Sign::Met, Tone::Good),
            (_, false) => (Sign::Starting, Tone::Warn),
        };
        let end = canvas.put(x, PHASES, &format!("{} {name}", canvas.sign(sign)), tone);
        let told = condition.map_or(String::new(), below);
        canvas.put_in(x + 2, PHASES + 1, wide(name) + room - 3, &told, Tone::Dim);
        let next = x + wide(name) + room;
        if at + 1 < names.len() {
            let (line, tone) = match is_met {
                true => (Sign::LineLit, Tone::Good),
                false => (Sign::Line, Tone::Dim),
            };
            canvas.put(end + 1, PHASES, &canvas.sign(line).repeat(next.saturating_sub(end + 2)), tone);
        }
        x = next;
    }
}

/// Returns what stands below a condition: since when it is met, or why it is not.
fn below(condition: &Condition) -> String {
    match (condition.met, condition.since) {
        (true, Some(since)) => time_of_day(since),
        (true, None) => String::new(),
        (false, _) => condition.reason.clone(),
    }
}

/// A container: its state and restarts, its probes, and how it ended before. The row behind it.
fn container(canvas: &mut Canvas<'_>, container: &Container, y: usize, end: usize) -> usize {
    let (sign, tone) = sign_of(container);
    let name = match container.is_init {
        true => canvas.word(Word::ContainerInit, &[&container.name]),
        false => container.name.clone(),
    };
    let (state, count) = STATE;
    let x = canvas.put(1, y, canvas.sign(sign), tone) + 1;
    canvas.put_in(x, y, state - x - 1, &name, Tone::Strong);
    let text = state_text(canvas, &container.state);
    canvas.put_in(state, y, count - state - 1, &text, tone);
    let text = restarts(canvas, container.restarts);
    canvas.put(count, y, &text, if container.restarts > 0 { Tone::Warn } else { Tone::Dim });
    let mut y = y + 1;
    let texts = [probes(canvas, container), pause(canvas, container)];
    for text in texts.into_iter().flatten() {
        if y < end {
            canvas.put(3, y, &text, Tone::Dim);
            y += 1;
        }
    }
    y
}

fn sign_of(container: &Container) -> (Sign, Tone) {
    match &container.state {
        ContainerState::Unknown => (Sign::Waiting, Tone::Dim),
        ContainerState::Waiting { reason, .. } if is_failure(reason) => (Sign::Failed, Tone::Bad),
        ContainerState::Waiting { .. } => (Sign::Starting, Tone::Warn),
        ContainerState::Running(_) if container.ready => (Sign::Ready, Tone::Good),
        ContainerState::Running(_) => (Sign::Starting, Tone::Warn),
        ContainerState::Ended(Exit { code: 0, .. }) => (Sign::Done, Tone::Dim),
        ContainerState::Ended(_) => (Sign::Failed, Tone::Bad),
    }
}

fn state_text(canvas: &Canvas<'_>, state: &ContainerState) -> String {
    match state {
        ContainerState::Unknown => canvas.word(Word::ContainerNone, &[]),
        ContainerState::Waiting { reason, .. } => canvas.word(Word::ContainerWaiting, &[reason]),
        ContainerState::Running(Some(since)) => canvas.word(Word::ContainerSince, &[&time_of_day(*since)]),
        ContainerState::Running(None) => canvas.word(Word::ContainerRunning, &[]),
        ContainerState::Ended(exit) => ended(canvas, exit),
    }
}

/// `Error, exit code 1  12:07:02`
fn ended(canvas: &Canvas<'_>, exit: &Exit) -> String {
    let at = exit.at.map_or(String::new(), |at| format!("  {}", time_of_day(at)));
    format!("{}{at}", canvas.word(Word::ContainerEnded, &[&exit.reason, &exit.code.to_string()]))
}

/// Returns the probes; those of which the status tells the result with its sign. Of a liveness
/// probe the restarts tell.
fn probes(canvas: &Canvas<'_>, container: &Container) -> Option<String> {
    let runs = matches!(container.state, ContainerState::Running(_));
    let probe = |(kind, asks): (&str, &str)| {
        let result = match kind {
            "startup" => Some(container.started),
            // Until the startup probe has succeeded no other probe is made.
            "readiness" if container.started => Some(container.ready),
            _ => None,
        };
        let sign = match result.filter(|_| runs) {
            Some(true) => format!(" {}", canvas.sign(Sign::Met)),
            Some(false) => format!(" {}", canvas.sign(Sign::Unmet)),
            None => String::new(),
        };
        format!("{kind}{sign} {asks}")
    };
    let all = container.probes.iter().map(|it| probe((it.kind, it.asks.as_str())));
    let all: Vec<String> = all.collect();
    (!all.is_empty()).then(|| canvas.word(Word::Probes, &[&all.join("  ")]))
}

/// Returns how the container ended before, and how long the kubelet waits until it starts it again;
/// or what else it waits for.
fn pause(canvas: &Canvas<'_>, container: &Container) -> Option<String> {
    let mut told = Vec::new();
    if let Some(last) = &container.last {
        told.push(canvas.word(Word::ContainerLast, &[&ended(canvas, last)]));
    }
    if let ContainerState::Waiting { message, .. } = &container.state {
        // `back-off 40s restarting failed container=...`
        let delay = message.strip_prefix("back-off ").and_then(|rest| rest.split(' ').next());
        match delay {
            Some(delay) => told.push(canvas.word(Word::ContainerBackOff, &[delay])),
            None if !message.is_empty() => told.push(message.clone()),
            None => {}
        }
    }
    (!told.is_empty()).then(|| told.join("   "))
}

/// What the commands that are kept did to the pod, and below it the newest Events.
fn story(canvas: &mut Canvas<'_>, model: &Model, scene: &Cluster, pod: &Pod, y: usize) {
    let hops = hops_about(model, pod);
    let events = scene.events_of(pod);
    let head = canvas.word(Word::Life, &[]);
    let x = canvas.put(1, y, &head, Tone::Dim);
    if let Some(ghost) = former(model, scene, pod) {
        let room = canvas.width().saturating_sub(x + 4);
        ghost_line(canvas, &ghost, (x + 3, y), room);
    }
    let rows = canvas.height().saturating_sub(y + 1);
    // Events have a heading of their own if something stands above them.
    let heading = usize::from(!hops.is_empty() && !events.is_empty());
    let below = match hops.is_empty() {
        true => rows,
        false => (events.len() + heading).min(rows / 2),
    };
    let above = rows.saturating_sub(below);
    let skip = hops.len().saturating_sub(above);
    let mut y = y + 1;
    for (text, time) in hops.iter().skip(skip) {
        let end = canvas.width().saturating_sub(cells(time) + 1);
        canvas.put_in(3, y, end.saturating_sub(4), text, Tone::Plain);
        canvas.put(end, y, time, Tone::Dim);
        y += 1;
    }
    if heading == 1 && below > 1 {
        let head = canvas.word(Word::Events, &[]);
        canvas.put(1, y, &head, Tone::Dim);
        y += 1;
    }
    let room = canvas.height().saturating_sub(y);
    let mut spare = room.saturating_sub(events.len());
    for event in events.iter().skip(events.len().saturating_sub(room)) {
        y = event_lines(canvas, event, y, &mut spare);
    }
}

/// An Event on one line, or more as far as there are spare ones. Returns the row behind it.
fn event_lines(canvas: &mut Canvas<'_>, event: &Happened, y: usize, spare: &mut usize) -> usize {
    let (sign, tone) = match event.warning {
        true => (canvas.sign(Sign::Warn), Tone::Bad),
        false => (" ", Tone::Plain),
    };
    let count = if event.count > 1 { format!("  ×{}", event.count) } else { String::new() };
    let end = canvas.width().saturating_sub(cells(&count) + 1);
    let text = format!("{sign} {}: {}", event.reason, event.message);
    let room = end.saturating_sub(2);
    let lines = fold_in(&text, room, "    ", 1 + *spare);
    *spare = spare.saturating_sub(lines.len().saturating_sub(1));
    for (at, line) in lines.iter().enumerate() {
        canvas.put_in(1, y + at, room, line, tone);
    }
    canvas.put(end, y, &count, Tone::Dim);
    y + lines.len()
}
