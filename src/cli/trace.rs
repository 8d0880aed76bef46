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

/// One line a record: time since the first one, who, what, to which object, how long it took.
pub fn table(records: &[Record]) -> String {
    let Some(first) = records.first() else { return "nothing was recorded\n".into() };
    let start = first.at - std::time::Duration::from_micros(first.took_us);
    let mut out = String::new();
    for record in records {
        let since = (record.at - start).total(jiff::Unit::Millisecond).unwrap_or_default();
        let object = record.object.as_ref().map_or(String::new(), |o| match o.namespace.is_empty() {
            true => format!("{}/{}", o.resource, o.name),
            false => format!("{}/{}/{}", o.namespace, o.resource, o.name),
        });
        let who = match record.node.is_empty() {
            true => record.component.clone(),
            false => format!("{} {}", record.component, record.node.trim_start_matches("ropewalk-")),
        };
        let revision = record.revision.map_or(String::new(), |r| format!(" rev {r}"));
        let detail =
            if record.detail.is_null() { String::new() } else { format!(" {}", short(&record.detail)) };
        let took = record.took_us as f64 / 1000.0;
        out.push_str(&format!(
            "{since:>9.2} ms  {who:<38} {:<12} {object}{revision}  {took:.2} ms{detail}\n",
            record.verb
        ));
    }
    out
}

fn short(detail: &serde_json::Value) -> String {
    let text = detail.to_string();
    match text.char_indices().nth(120) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
