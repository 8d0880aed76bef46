//! What a hop did, as one line: a request with its stages, a decision of the scheduler, any other
//! record.

use tap::{Event, Record};

/// An API request: its stages with their times in milliseconds, and what came of it.
pub(super) fn request_line(request: &tap::Request, stages: &[&Record]) -> String {
    let (mut line, mut committed) = (String::new(), None);
    for stage in stages.iter().filter(|r| r.answer().is_none()) {
        // What a transaction changes beside its object has a record behind the object's own, with
        // the same revision, and took no further time.
        let before = committed;
        if stage.write().is_some() {
            committed = stage.revision;
            if before.is_some() && before == committed {
                continue;
            }
        }
        line.push_str(&format!("{} {:.2}, ", stage.event.verb(), stage.took_us as f64 / 1000.0));
    }
    let revision =
        stages.iter().find_map(|r| r.revision).map_or(String::new(), |r| format!("revision {r}, "));
    let dry = if request.dry_run { "dry run, " } else { "" };
    let agent = request.user_agent.split(['/', ' ']).next().unwrap_or_default();
    let answer = stages.iter().find(|r| r.answer().is_some());
    let verb = answer.and_then(|r| r.answer()).map_or("request", |a| a.verb.as_str());
    let took = answer.map_or(0, |r| r.took_us) as f64 / 1000.0;
    let reason = match answer.and_then(|r| r.answer()).map_or("", |a| a.message.as_str()) {
        "" => String::new(),
        message => format!(": {message}"),
    };
    format!(
        "{verb}: {line}{revision}{dry}{} in {took:.2} ms, for {agent}{reason}",
        answer.map_or(request.code, |r| code_of(r))
    )
}

/// Returns the HTTP status code of a request; 0 for another record.
fn code_of(record: &Record) -> u16 {
    record.request.as_ref().map_or(0, |r| r.code)
}

/// Any other hop: its verb, the time it took, and the part of its detail that people ask for.
pub(super) fn hop_line(record: &Record) -> String {
    let took = match record.took_us {
        0 => String::new(), // it was not measured
        us => format!("{:.2} ms ", us as f64 / 1000.0),
    };
    let detail = match &record.event {
        Event::Schedule(decision) => decision_text(decision),
        event => shortened(&event.detail()),
    };
    format!("{} {took}{detail}", record.event.verb()).trim_end().to_string()
}

/// A scheduling decision: the node, the scores of the nodes that fit, and why the others do not.
pub(super) fn decision_text(decision: &tap::Decision) -> String {
    let verdicts = &decision.verdicts;
    let refusal =
        |v: &tap::Verdict| v.refused.first().map(|refusal| format!("{}: {}", v.node, refusal.reason));
    let refused = verdicts.iter().filter_map(refusal).collect::<Vec<_>>().join(", ");
    let fits = verdicts.iter().filter(|v| v.refused.is_empty());
    let scores = fits.map(|v| format!("{} {}", v.node, v.total)).collect::<Vec<_>>().join(", ");
    match (&decision.chosen, &*refused) {
        (Some(chosen), "") => format!("→ {chosen} (scores {scores})"),
        (Some(chosen), _) => format!("→ {chosen} (scores {scores}; refused {refused})"),
        (None, _) => format!("→ no node (refused {refused})"),
    }
}

/// Letters of a hop's detail that the table shows, at most.
const DETAIL_MAX: usize = 110;

/// Returns a detail as JSON, cut off behind [`DETAIL_MAX`] letters.
fn shortened(detail: &serde_json::Value) -> String {
    let text = if detail.is_null() { String::new() } else { detail.to_string() };
    match text.char_indices().nth(DETAIL_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
