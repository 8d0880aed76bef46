//! The hops of a trace, as rows that the table and the picture show alike.

use super::hop::{hop_line, request_line};
use std::collections::BTreeMap;
use std::time::Duration;
use tap::Record;
use ui::prose::harmless;

/// One hop as a line of the answer.
pub(super) struct Row {
    /// When the hop began, in milliseconds since the first one began.
    pub from: f64,
    /// When it ended, in milliseconds since the first one began.
    pub to: f64,
    /// The component, and its node without the prefix `ropewalk-`.
    pub actor: String,
    /// `pods/web -n default`; empty if the record is about no object.
    pub object: String,
    /// What the component did, and how long it took.
    pub act: String,
}

/// True for a record of an Event or a Lease: each component writes them all the time. A record of a
/// person's own request is a hop like any other.
fn is_routine(record: &Record) -> bool {
    let is_by_person = |request: &tap::Request| request.is_persons() || request.by_hand().is_some();
    record.object.as_ref().is_some_and(|o| matches!(o.resource.as_str(), "events" | "leases"))
        && !record.request.as_ref().is_some_and(is_by_person)
}

/// Returns the hops that are shown. The stages of one API request are one row. Routine records are
/// left out, unless there are no others: `trace lease/NAME` asks for them. `-o json` has every
/// record.
pub(super) fn rows(records: &[Record]) -> Vec<Row> {
    let Some(first) = records.first() else { return vec![] };
    let has_others = records.iter().any(|record| !is_routine(record));
    let start = first.at - Duration::from_micros(first.took_us);
    // The records of each request, by its id. There may be tens of thousands of requests: an object
    // that a program writes all the time fills the tap.
    let mut stages: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in records {
        if let Some(request) = &record.request {
            stages.entry(request.id.as_str()).or_default().push(record);
        }
    }
    let mut out = Vec::new();
    for record in records {
        if has_others && is_routine(record) {
            continue;
        }
        let (act, subject) = match &record.request {
            None => (hop_line(record), record),
            Some(request) => {
                let own = stages.get(request.id.as_str()).map(Vec::as_slice).unwrap_or_default();
                // One row stands for all records of a request: that of the last one.
                if own.last().is_some_and(|last| !std::ptr::eq(*last, record)) {
                    continue;
                }
                let written = own.iter().find(|r| r.revision.is_some()).copied().unwrap_or(record);
                (request_line(request, own), written)
            }
        };
        let to = (record.at - start).total(jiff::Unit::Millisecond).unwrap_or_default();
        let node = record.node.trim_start_matches("ropewalk-");
        let actor = format!("{} {node}", record.component).trim_end().to_string();
        // The sender of a request chooses these texts.
        let [object, act] = [object_text(subject), act].map(|text| harmless(&text).into_owned());
        out.push(Row { from: (to - record.took_us as f64 / 1000.0).max(0.0), to, actor, object, act });
    }
    out
}

/// Names the object of a record: `pods/web/binding -n default`. Without the subresource, the
/// request that binds a pod would read as one that makes it.
fn object_text(record: &Record) -> String {
    let Some(object) = &record.object else { return String::new() };
    let part = match record.request.as_ref().map_or("", |r| r.subresource.as_str()) {
        "" => String::new(),
        subresource => format!("/{subresource}"),
    };
    match (&*object.namespace, &*object.name) {
        (_, "") => object.resource.clone(),
        ("", name) => format!("{}/{name}{part}", object.resource),
        (namespace, name) => format!("{}/{name}{part} -n {namespace}", object.resource),
    }
}
