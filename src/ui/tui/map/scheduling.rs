//! Why there? The scheduler's decision about one pod, from its own record.

use super::super::cluster::{Cluster, Pod};
use super::super::look::{Sign, Tone};
use super::super::model::Model;
use super::super::text::{cells, took};
use super::super::words::Word;
use super::blocked;
use super::canvas::Canvas;
use super::common::is_roomy;
use super::hops::short;
use super::scheduling_wide;
use super::strip::Lines;
use std::cmp::Reverse;
use tap::{Decision, Event, Record, Refusal, Verdict};

/// Draws the decision about a pod; above it why another one was never created, and so never came
/// to the scheduler.
pub(super) fn draw(canvas: &mut Canvas<'_>, model: &Model, scene: &Cluster) {
    let is_wide = is_roomy(canvas);
    let above = blocked::draw(canvas, scene);
    decided(&mut canvas.below(above), model, is_wide, above > 0);
}

/// Draws a decision. `is_told`: it stands above why there is none.
fn decided(canvas: &mut Canvas<'_>, model: &Model, is_wide: bool, is_told: bool) {
    let place = model.place(&model.traffic.decided());
    let Some(record) = model.traffic.newest_decisions().nth(place) else {
        if is_told {
            return;
        }
        return canvas.note(1, &model.lang.say(Word::NoDecision, &[]));
    };
    let Some(object) = &record.object else { return };
    let pod = model.cluster.pods.get(&(object.namespace.clone(), object.name.clone()));
    let asks = pod.map_or(String::new(), |p: &Pod| {
        let selector =
            if p.selector.is_empty() { String::new() } else { format!("  nodeSelector {}", p.selector) };
        format!("  {}{selector}", p.asks)
    });
    let name = model.cluster.label(&object.namespace, &object.name);
    // A decision is kept longer than its pod.
    let gone = if pod.is_none() { canvas.word(Word::Gone, &[]) } else { String::new() };
    canvas.row(1, 0, &[("pod ", Tone::Dim), (&name, Tone::Strong), (&asks, Tone::Plain), (&gone, Tone::Dim)]);
    if model.traffic.undecided(&object.namespace, &object.name) {
        return canvas.note(2, &model.lang.say(Word::Undecided, &[]));
    }
    let Event::Schedule(decision) = &record.event else { return };
    if is_wide {
        return scheduling_wide::draw(canvas, model, record, decision);
    }
    table(canvas, model, record, decision);
}

/// A line for each node in a small pane, below the line of the pod.
fn table(canvas: &mut Canvas<'_>, model: &Model, record: &Record, decision: &Decision) {
    let verdicts = &decision.verdicts;
    let names = verdicts.iter().map(|v| cells(short(&v.node))).max().unwrap_or(4);
    let (first, wide) = (names.min(canvas.width() / 3).max(4) + 2, canvas.width() >= 60);
    let score = if wide { canvas.width() * 62 / 100 } else { canvas.width().saturating_sub(6) };
    let heads = [Word::Node, Word::Filter, Word::Score].map(|w| model.lang.say(w, &[]));
    canvas.put(1, 2, &heads[0], Tone::Dim);
    canvas.put(1 + first, 2, &heads[1], Tone::Dim);
    canvas.put(score, 2, &heads[2], Tone::Dim);
    let chosen = decision.chosen.as_deref();
    let last = canvas.height().saturating_sub(1);
    for (at, verdict) in verdicts.iter().enumerate() {
        let y = 3 + at;
        if y + 1 >= last {
            let left = (verdicts.len() - at).to_string();
            let text = canvas.word(Word::MoreNodes, &[&left]);
            canvas.put(1, y, &text, Tone::Dim);
            break;
        }
        let node = verdict.node.as_str();
        let is_chosen = chosen == Some(node);
        canvas.put_in(1, y, first - 1, short(node), if is_chosen { Tone::Strong } else { Tone::Plain });
        match verdict.refused.first() {
            Some(refused) => {
                let plug_in = match wide && !refused.filter.is_empty() {
                    true => format!("{}: ", refused.filter),
                    false => String::new(),
                };
                let text = format!("{} {plug_in}{}", canvas.sign(Sign::Unmet), reason(refused));
                canvas.put(1 + first, y, &text, Tone::Bad);
            }
            None => {
                let text = format!("{} {}", canvas.sign(Sign::Met), canvas.word(Word::Fits, &[]));
                canvas.put_in(1 + first, y, score.saturating_sub(first + 2), &text, Tone::Good);
                let total = verdict.total.to_string();
                let x = canvas.put(score, y, &total, Tone::Strong);
                if is_chosen {
                    canvas.put(x + 1, y, canvas.sign(Sign::Leader), Tone::Accent);
                }
                if wide {
                    let parts: Vec<String> = verdict.scores.iter().map(|(k, v)| format!("{k} {v}")).collect();
                    canvas.put(x + 3, y, &parts.join(" + "), Tone::Dim);
                }
            }
        }
    }
    let text = match chosen {
        Some(node) => format!("{}  {}", canvas.word(Word::ChosenNode, &[short(node)]), took(record.took_us)),
        None => no_node(canvas, &model.cluster, record),
    };
    canvas.put(1, last, &text, if chosen.is_some() { Tone::Strong } else { Tone::Warn });
}

/// Two lines about a decision: the pod with its node, and the verdict about each node.
pub(super) fn lines(canvas: &Canvas<'_>, model: &Model, scene: &Cluster) -> Lines {
    let refused = blocked::line(canvas, scene, None);
    let place = model.place(&model.traffic.decided());
    let record = model.traffic.newest_decisions().nth(place);
    let decision = record.and_then(|record| match &record.event {
        Event::Schedule(decision) => Some((record, record.object.as_ref()?, decision)),
        _ => None,
    });
    let Some((record, object, decision)) = decision else {
        return match refused {
            Some(refused) => Lines { counts: vec![], news: vec![refused] },
            None => Lines::none(canvas.word(Word::NoDecision, &[])),
        };
    };
    let fit = decision.verdicts.iter().filter(|verdict| verdict.refused.is_empty()).count();
    let (fit, all) = (fit.to_string(), decision.verdicts.len().to_string());
    let chosen = decision.chosen.as_deref();
    let result = match chosen {
        Some(node) => (canvas.word(Word::BriefFit, &[&fit, &all, short(node)]), Tone::Good),
        None => (no_node(canvas, &model.cluster, record), Tone::Warn),
    };
    let key = (object.namespace.clone(), object.name.clone());
    let gone = match model.cluster.pods.contains_key(&key) {
        true => String::new(),
        false => canvas.word(Word::Gone, &[]).trim().to_string(),
    };
    let name = model.cluster.label(&object.namespace, &object.name);
    let counts = vec![(format!("pod {name}"), Tone::Strong), result, (gone, Tone::Dim)];
    let verdict = |verdict: &Verdict| {
        let node = short(&verdict.node);
        match verdict.refused.first() {
            Some(refused) => (format!("{node} {} {}", canvas.sign(Sign::Unmet), reason(refused)), Tone::Bad),
            None if chosen == Some(verdict.node.as_str()) => {
                (format!("{node} {} {}", canvas.sign(Sign::Leader), verdict.total), Tone::Strong)
            }
            None => (format!("{node} {} {}", canvas.sign(Sign::Met), verdict.total), Tone::Good),
        }
    };
    let verdicts = by_rank(decision).into_iter().map(verdict);
    Lines { counts, news: refused.into_iter().chain(verdicts).collect() }
}

/// Returns the sentence for a pod that no node fits: it waits, or it waited until it was deleted.
pub(super) fn no_node(canvas: &Canvas<'_>, scene: &Cluster, record: &Record) -> String {
    let key = record.object.as_ref().map(|object| (object.namespace.clone(), object.name.clone()));
    match key.is_some_and(|key| scene.pods.contains_key(&key)) {
        true => canvas.word(Word::ChosenNobody, &[]),
        false => canvas.word(Word::ChosenNobodyThen, &[]),
    }
}

/// The verdicts, that of the chosen node first, those that refuse last.
pub(super) fn by_rank(decision: &Decision) -> Vec<&Verdict> {
    let mut verdicts: Vec<&Verdict> = decision.verdicts.iter().collect();
    verdicts.sort_by_key(|verdict| {
        let is_chosen = decision.chosen.as_ref() == Some(&verdict.node);
        (!is_chosen, !verdict.refused.is_empty(), Reverse(verdict.total))
    });
    verdicts
}

/// Why a node was refused: the words that an Event counts nodes with are left out.
pub(super) fn reason(refused: &Refusal) -> String {
    let whole = refused.reason.as_str();
    let reason =
        whole.strip_prefix("node(s) had ").or_else(|| whole.strip_prefix("node(s) ")).unwrap_or(whole);
    match &refused.detail {
        Some(detail) => format!("{reason} {detail}"),
        None => reason.to_string(),
    }
}
