//! `trace`: the path of a command through the cluster, with times.

use super::args::Output;
use crate::cluster::control::{Ask, Control, Trace};
use crate::cluster::home::Home;
use crate::tap::Record;

pub async fn trace(name: &str, what: String, output: Option<Output>) -> anyhow::Result<i32> {
    let place = Home::find()?.cluster(name)?;
    let mut control = Control::connect(&place).await?;
    let answer = control.ask(&Ask::Trace { what: parse(&what) }).await?;
    if output == Some(Output::Json) {
        println!("{}", serde_json::to_string_pretty(&answer)?);
        return Ok(0);
    }
    let records: Vec<Record> = serde_json::from_value(answer)?;
    print!("{}", table(&records));
    Ok(if records.is_empty() { 1 } else { 0 })
}

/// `LAST`, `pod/web`, `kube-system/pod/coredns-…`, or a request's id.
fn parse(what: &str) -> Trace {
    let parts: Vec<&str> = what.split('/').collect();
    let plural = |kind: &str| {
        let kind = kind.to_lowercase();
        let named = |k: &&crate::api::kinds::Kind| {
            k.plural == kind || k.singular == kind || k.short_names.contains(&kind.as_str())
        };
        crate::api::kinds::all().iter().find(named).map_or(kind.clone(), |k| k.plural.to_string())
    };
    match parts.as_slice() {
        [last] if last.eq_ignore_ascii_case("last") => Trace::Last,
        [kind, name] => {
            Trace::Object { resource: plural(kind), namespace: "default".into(), name: (*name).into() }
        }
        [namespace, kind, name] => {
            Trace::Object { resource: plural(kind), namespace: (*namespace).into(), name: (*name).into() }
        }
        _ => Trace::Request(what.into()),
    }
}

/// One line a hop: time since the first one, who, what, to which object, how long it took. The stages of one API request are one line;
/// requests that only write Events are left out (they are told by nobody but the recorder). `-o json` has every record.
pub fn table(records: &[Record]) -> String {
    let Some(first) = records.first() else { return "nothing was recorded\n".into() };
    let start = first.at - std::time::Duration::from_micros(first.took_us);
    let mut out = String::new();
    for (at, record) in records.iter().enumerate() {
        let resource = record.object.as_ref().map_or("", |o| o.resource.as_str());
        if matches!(resource, "events" | "leases") {
            continue;
        }
        let (what, object) = match &record.request {
            None => (told(record), record),
            Some(request) => {
                // Told once, by the last of its records.
                let own = |r: &&Record| r.request.as_ref().is_some_and(|q| q.id == request.id);
                if records[at + 1..].iter().any(|r| own(&r)) {
                    continue;
                }
                let stages: Vec<&Record> = records[..=at].iter().filter(own).collect();
                let written = stages.iter().find(|r| r.revision.is_some()).copied().unwrap_or(record);
                (request_line(request, &stages), written)
            }
        };
        let since = (record.at - start).total(jiff::Unit::Millisecond).unwrap_or_default();
        let name = object.object.as_ref().map_or(String::new(), |o| {
            match (o.namespace.is_empty(), o.name.is_empty()) {
                (_, true) => o.resource.clone(),
                (true, false) => format!("{}/{}", o.resource, o.name),
                (false, false) => format!("{}/{} -n {}", o.resource, o.name, o.namespace),
            }
        });
        let node = record.node.trim_start_matches("ropewalk-");
        let who =
            if node.is_empty() { record.component.clone() } else { format!("{} {node}", record.component) };
        out.push_str(&format!("{since:>8.1} ms  {who:<36} {:<52} {what}\n", name));
    }
    out
}

/// An API request: its stages with their times, and what came of it.
fn request_line(request: &crate::tap::Request, stages: &[&Record]) -> String {
    let mut line = String::new();
    for stage in stages.iter().filter(|r| r.verb != "answer") {
        line.push_str(&format!("{} {:.2}, ", stage.verb, stage.took_us as f64 / 1000.0));
    }
    let revision =
        stages.iter().find_map(|r| r.revision).map_or(String::new(), |r| format!("revision {r}, "));
    let dry = if request.dry_run { "dry run, " } else { "" };
    let agent = request.user_agent.split(['/', ' ']).next().unwrap_or_default();
    let answer = stages.iter().find(|r| r.verb == "answer");
    let verb = answer.and_then(|r| r.detail["verb"].as_str()).unwrap_or("request");
    let took = answer.map_or(0, |r| r.took_us) as f64 / 1000.0;
    format!(
        "{verb}: {line}{revision}{dry}{} in {took:.2} ms, for {agent}",
        answer.map_or(request.code, |r| code_of(r))
    )
}

fn code_of(record: &Record) -> u16 {
    record.request.as_ref().map_or(0, |r| r.code)
}

/// Any other hop: its verb, the time it took, and the part of its detail that people ask for.
fn told(record: &Record) -> String {
    let took = record.took_us as f64 / 1000.0;
    let detail = match record.verb.as_str() {
        "schedule" => {
            let verdicts = record.detail["verdicts"].as_array().cloned().unwrap_or_default();
            let refused: Vec<String> = verdicts
                .iter()
                .filter_map(|v| {
                    Some(format!("{}: {}", v["node"].as_str()?, v["refused"][0]["reason"].as_str()?))
                })
                .collect();
            let scores: Vec<String> = verdicts
                .iter()
                .filter(|v| v["refused"].as_array().is_none_or(Vec::is_empty))
                .map(|v| format!("{} {}", v["node"].as_str().unwrap_or_default(), v["total"]))
                .collect();
            let chosen = record.detail["chosen"].as_str().unwrap_or("nobody");
            format!("→ {chosen} (scores {}; refused {})", scores.join(", "), refused.join(", "))
        }
        _ if record.detail.is_null() => String::new(),
        _ => short(&record.detail),
    };
    format!("{} {took:.2} ms {detail}", record.verb)
}

fn short(detail: &serde_json::Value) -> String {
    let text = detail.to_string();
    match text.char_indices().nth(110) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::{Request, Tap};

    #[test]
    fn the_stages_of_a_request_are_one_line_and_events_are_none() {
        let tap = Tap::new().at("ropewalk-control-plane", "kube-apiserver");
        let request = |id: &str| {
            Some(Request { id: id.into(), user_agent: "kubectl/v1".into(), code: 201, ..Request::default() })
        };
        for (id, resource, verb) in [
            ("1", "pods", "admit"),
            ("1", "pods", "commit"),
            ("1", "pods", "answer"),
            ("2", "events", "commit"),
        ] {
            let mut record = Record::new(verb).object(resource, "default", "web");
            record.request = request(id);
            if verb == "commit" {
                record.revision = Some(7);
            }
            tap.emit(record);
        }
        tap.at("ropewalk-worker", "kubelet").emit(Record::new("start").object("pods", "default", "web"));
        let records: Vec<Record> = tap.since(0).iter().map(|r| (**r).clone()).collect();
        let text = table(&records);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("admit 0.00, commit 0.00, revision 7, 201 in"), "{text}");
        assert!(lines[1].contains("kubelet worker") && lines[1].contains("start"), "{text}");
    }
}
