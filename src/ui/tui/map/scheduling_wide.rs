//! The scheduling view where there is room: one decision with the plug-in and the words by which
//! each node was refused, or its scores; below it the decisions before, a line each.
//!
//! ```text
//! pod big  cpu 1500m
//!
//! node           filter                                            score
//! control-plane  x TaintToleration: untolerated taint(s)               -
//!                  {node-role.kubernetes.io/control-plane: }
//! worker         + NodeResourcesFit 79                                79 L
//! chosen: worker  0.38 ms
//!
//! earlier decisions
//! web            L worker 79  + worker2 79  x TaintToleration control-plane
//! ```

use super::super::cluster::{Cluster, Pod};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, cut_middle, fold_in, time_of_day, took};
use super::super::words::Word;
use super::canvas::Canvas;
use super::hops::short;
use super::scheduling::{by_rank, no_node, reason};
use api::quantity::Quantity;
use tap::{Decision, ObjectRef, Record, Refusal, Verdict};

/// The row of the first node.
const TOP: usize = 3;
/// Earlier decisions that have a line even if the nodes of the first need more than one each, as
/// long as each node has one.
const EARLIER: usize = 4;
/// Lines of the Event of a pod that waits, at most.
const EVENT: usize = 3;
/// What further lines of a text begin with.
const INDENT: &str = "  ";
/// Cells of a score with its sign, at the right edge.
const SCORE: usize = 8;

/// Draws all below the line of the pod.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, record: &Record, decision: &Decision) {
    let verdicts = &decision.verdicts;
    let names = verdicts.iter().map(|v| cells(short(&v.node))).max().unwrap_or_default();
    let first = names.clamp(8, canvas.width() / 4) + 2;
    let score = canvas.width().saturating_sub(SCORE);
    let heads = [(1, Word::Node), (1 + first, Word::Filter), (score, Word::Score)];
    for (x, word) in heads {
        let head = canvas.word(word, &[]);
        canvas.put(x, TOP - 1, &head, Tone::Dim);
    }
    let earlier = earlier(model, record);
    let older = match earlier.len() {
        0 => 0,
        count => 2 + count.min(EARLIER),
    };
    // Two rows tell what came of it. The older decisions give way to the nodes of this one.
    let free = canvas.height().saturating_sub(TOP + 2);
    let room = free.saturating_sub(older).max(verdicts.len().min(free)).max(1);
    let shown = if verdicts.len() > room { room - 1 } else { verdicts.len() };
    let mut spare = room.saturating_sub(verdicts.len());
    let pod = record.object.as_ref().map(|pod| (pod.namespace.clone(), pod.name.clone()));
    let pod = pod.and_then(|key| model.cluster.pods.get(&key));
    let waiting = pod.filter(|pod| pod.node.is_empty());
    let mut y = TOP;
    for verdict in verdicts.iter().take(shown) {
        let is_chosen = decision.chosen.as_ref() == Some(&verdict.node);
        let told = found(canvas, &model.cluster, waiting, verdict);
        y = node(canvas, verdict, told, is_chosen, (first, score), y, &mut spare);
    }
    if shown < verdicts.len() {
        let text = canvas.word(Word::MoreNodes, &[&(verdicts.len() - shown).to_string()]);
        canvas.put(1, y, &text, Tone::Dim);
        y += 1;
    }
    y = result(canvas, &model.cluster, record, decision, y);
    if earlier.is_empty() || y + 1 >= canvas.height() {
        return;
    }
    y += usize::from(y + earlier.len() + 1 < canvas.height());
    let head = canvas.word(Word::Earlier, &[]);
    canvas.put(1, y, &head, Tone::Dim);
    for (at, (pod, decision)) in earlier.into_iter().enumerate() {
        // A decision is kept longer than its pod.
        let is_gone = !model.cluster.pods.contains_key(&(pod.namespace.clone(), pod.name.clone()));
        let sign = if is_gone { format!("{} ", canvas.sign(Sign::Ghost)) } else { String::new() };
        line(canvas, &format!("{sign}{}", pod.name), decision, first, y + 1 + at);
    }
}

/// Returns the other decisions that the play head has come to, the newest first.
fn earlier<'a>(model: &'a Model, shown: &Record) -> Vec<(&'a ObjectRef, &'a Decision)> {
    let others = model.traffic.newest_decisions().filter(|other| other.object != shown.object);
    let told = others.filter_map(|record| match &record.event {
        tap::Event::Schedule(decision) => Some((record.object.as_ref()?, decision)),
        _ => None,
    });
    told.filter(|(pod, _)| !model.traffic.undecided(&pod.namespace, &pod.name)).collect()
}

/// Returns what was found about a node, with its tone. `waiting`: the pod, if it still waits for a
/// node.
fn found(canvas: &Canvas<'_>, scene: &Cluster, waiting: Option<&Pod>, verdict: &Verdict) -> (String, Tone) {
    if let Some(first) = verdict.refused.first() {
        let told = |refused: &Refusal| {
            let lack = waiting.and_then(|pod| lack(canvas, scene, pod, &verdict.node, refused));
            lack.map_or_else(|| reason(refused), |lack| format!("{} ({lack})", reason(refused)))
        };
        let reasons: Vec<String> = verdict.refused.iter().map(told).collect();
        let plug_in = match first.filter.is_empty() {
            true => String::new(),
            false => format!("{}: ", first.filter),
        };
        return (format!("{} {plug_in}{}", canvas.sign(Sign::Unmet), reasons.join(", ")), Tone::Bad);
    }
    let scores: Vec<String> = verdict.scores.iter().map(|(name, score)| format!("{name} {score}")).collect();
    let text = match scores.is_empty() {
        true => canvas.word(Word::Fits, &[]),
        false => scores.join(" + "),
    };
    (format!("{} {text}", canvas.sign(Sign::Met)), Tone::Good)
}

/// Returns how much a pod asks for, and how much of it is free on a node that has too little: `asks
/// 1500m, free 400m`. `None`: it is not about the processor or memory, or the size of the node is
/// unknown.
fn lack(canvas: &Canvas<'_>, scene: &Cluster, pod: &Pod, node: &str, refused: &Refusal) -> Option<String> {
    let size = scene.nodes.get(node)?;
    let field: fn(&Pod) -> i64 = match refused.reason.as_str() {
        "Insufficient cpu" => |pod: &Pod| pod.cpu,
        "Insufficient memory" => |pod: &Pod| pod.memory,
        _ => return None,
    };
    let is_cpu = refused.reason.ends_with("cpu");
    let all = if is_cpu { size.cpu } else { size.memory };
    if all <= 0 {
        return None;
    }
    let others = scene.pods.values().filter(|other| other.node == node && !other.is_over);
    let free = others.fold(all, |left, other| left.saturating_sub(field(other))).max(0);
    let told = |amount: i64| match is_cpu {
        true => Quantity::of_milli(amount).to_string(),
        false => format!("{}Mi", amount >> 20),
    };
    Some(canvas.word(Word::Lack, &[&told(field(pod)), &told(free)]))
}

/// One node's verdict: one line, or more as far as there are spare ones. The row behind it.
fn node(
    canvas: &mut Canvas<'_>,
    verdict: &Verdict,
    (text, tone): (String, Tone),
    is_chosen: bool,
    (first, score): (usize, usize),
    y: usize,
    spare: &mut usize,
) -> usize {
    let name = if is_chosen { Tone::Strong } else { Tone::Plain };
    canvas.put_in(1, y, first - 1, short(&verdict.node), name);
    let (before, is_refused) = (score.saturating_sub(first + 3), !verdict.refused.is_empty());
    // A node that is refused has no score: its reason has that room, too.
    let room = if is_refused { canvas.width().saturating_sub(first + 2) } else { before };
    let lines = fold_in(&text, room, INDENT, 1 + *spare);
    *spare = spare.saturating_sub(lines.len().saturating_sub(1));
    for (at, line) in lines.iter().enumerate() {
        canvas.put_in(1 + first, y + at, room, line, tone);
    }
    if !is_refused {
        let x = canvas.put(score, y, &verdict.total.to_string(), Tone::Strong);
        if is_chosen {
            canvas.put(x + 1, y, canvas.sign(Sign::Leader), Tone::Accent);
        }
    } else if lines.first().is_some_and(|line| cells(line) <= before) {
        canvas.put(score, y, canvas.sign(Sign::Line), Tone::Dim);
    }
    y + lines.len()
}

/// What came of it: the node, or that the pod waits, with the words of its Event. The row behind
/// it.
fn result(canvas: &mut Canvas<'_>, scene: &Cluster, record: &Record, decision: &Decision, y: usize) -> usize {
    let facts = format!("{}  {}", took(record.took_us), time_of_day(record.at));
    match decision.chosen.as_deref() {
        Some(node) => {
            let text = canvas.word(Word::ChosenNode, &[short(node)]);
            canvas.row(1, y, &[(&text, Tone::Strong), ("  ", Tone::Plain), (&facts, Tone::Dim)]);
            y + 1
        }
        None => {
            let text = no_node(canvas, scene, record);
            canvas.row(1, y, &[(&text, Tone::Warn), ("  ", Tone::Plain), (&facts, Tone::Dim)]);
            let key = record.object.as_ref().map(|o| (o.namespace.clone(), o.name.clone()));
            let events = key.map_or(vec![], |key| match scene.pods.get(&key) {
                Some(pod) => scene.events_of(pod),
                None => scene.events_about("Pod", &key),
            });
            let Some(event) = events.iter().rev().find(|event| event.reason == "FailedScheduling") else {
                return y + 1;
            };
            let text = format!("{} {}: {}", canvas.sign(Sign::Warn), event.reason, event.message);
            let most = canvas.height().saturating_sub(y + 1).min(EVENT);
            let lines = fold_in(&text, canvas.width().saturating_sub(2), INDENT, most);
            for (at, line) in lines.iter().enumerate() {
                canvas.put(1, y + 1 + at, line, Tone::Bad);
            }
            y + 1 + lines.len()
        }
    }
}

/// A decision on one line: the node that was chosen first, and last those that were refused, behind
/// the plug-in that did it.
fn line(canvas: &mut Canvas<'_>, pod: &str, decision: &Decision, first: usize, y: usize) {
    if y >= canvas.height() {
        return;
    }
    let name = cut_middle(pod, first - 1, canvas.sign(Sign::Ellipsis));
    canvas.put(1, y, &name, Tone::Plain);
    let mut x = 1 + first;
    let mut refused: Vec<(&str, Vec<&str>)> = Vec::new();
    for verdict in by_rank(decision) {
        let node = short(&verdict.node);
        if let Some(first) = verdict.refused.first() {
            match refused.iter().position(|(filter, _)| *filter == first.filter) {
                Some(at) => refused[at].1.push(node),
                None => refused.push((&*first.filter, vec![node])),
            }
            continue;
        }
        let (sign, tone) = match decision.chosen.as_ref() == Some(&verdict.node) {
            true => (Sign::Leader, Tone::Strong),
            false => (Sign::Met, Tone::Good),
        };
        x = canvas.put(x, y, &format!("{} {node} {}", canvas.sign(sign), verdict.total), tone) + 2;
    }
    for (filter, nodes) in refused {
        let text = format!("{} {filter} {}", canvas.sign(Sign::Unmet), nodes.join(" "));
        x = canvas.put(x, y, &text, Tone::Bad) + 2;
    }
}
