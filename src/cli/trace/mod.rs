//! `trace`: the path of a command through the cluster, with times.

mod hop;
mod picture;
mod rows;
mod table;
#[cfg(test)]
mod tests;

use crate::args::Picture;
use crate::codes::USAGE;
use crate::layout::columns;
use cluster::control::{Ask, Control, Trace};
use cluster::home::Home;
use cluster::{Error, Refusal};
use lang::charset::{eprintln, print};
use serde_json::{Value, json};
use tap::Record;
use ui::settings;
use ui::texts::Say;

/// Exit code 0: something was found; 1: nothing was, or the cluster does not run; 2: `what` names
/// nothing that can be traced.
pub(crate) async fn trace(
    name: &str,
    what: &[String],
    namespace: Option<&str>,
    output: Option<Picture>,
) -> anyhow::Result<i32> {
    let home = Home::find()?;
    let lang = settings::language(None, &home);
    let place = home.cluster(name)?;
    let Some(trace) = parse(what, namespace) else {
        let flag = namespace.map(|namespace| format!("-n {namespace}"));
        let written = what.iter().cloned().chain(flag).collect::<Vec<_>>().join(" ");
        eprintln!("ropewalk: {}", lang.say(Say::TraceWhat, &[&written]));
        return Ok(USAGE);
    };
    let mut control = Control::connect(&place).await?;
    let (answer, nothing) = match control.ask(&Ask::Trace { what: trace }).await {
        Ok(answer) => (answer, lang.say(Say::NothingTraced, &[])),
        Err(Error::Refusal(none @ Refusal::NothingTraced)) => (json!([]), none.say(lang)),
        Err(error) => return Err(error.into()),
    };
    let Printout { text, is_empty } = printout(answer, output, columns())?;
    match output {
        Some(_) => std::print!("{text}"),
        None => print!("{text}"),
    }
    if is_empty {
        eprintln!("ropewalk: {nothing}");
    }
    Ok(i32::from(is_empty))
}

/// The text of an answer.
struct Printout {
    text: String,
    /// No hop was found. An empty JSON document is a text all the same.
    is_empty: bool,
}

/// Formats the records that the cluster answered: as JSON, as a picture, or as text of `width`
/// columns. A document for machines is one also when it is empty.
fn printout(answer: Value, output: Option<Picture>, width: usize) -> anyhow::Result<Printout> {
    if output == Some(Picture::Json) {
        let is_empty = answer.as_array().is_none_or(Vec::is_empty);
        return Ok(Printout { text: serde_json::to_string_pretty(&answer)? + "\n", is_empty });
    }
    let records: Vec<Record> = serde_json::from_value(answer)?;
    let is_empty = rows::rows(&records).is_empty();
    let text = match output {
        _ if is_empty => String::new(),
        Some(_) => picture::svg(&records),
        None if width < table::WIDE => table::stacked(&records, width),
        None => table::table(&records),
    };
    Ok(Printout { text, is_empty })
}

/// Reads the arguments: nothing or `LAST`, `pod/web`, `pod web`, `deployments.v1.apps/web`,
/// `kube-system/pod/coredns-…`, or a request's id. `namespace`: that of the flag `-n`, which goes
/// with an object alone, and may not contradict one that is written before the kind. `None`: the
/// arguments are none of these.
fn parse(what: &[String], namespace: Option<&str>) -> Option<Trace> {
    let parts: Vec<&str> = match what {
        [] => vec!["last"],
        [one] => one.split('/').collect(),
        [kind, name] if !kind.contains('/') && !name.contains('/') => vec![kind.as_str(), name.as_str()],
        _ => return None,
    };
    if parts.iter().chain(&namespace).any(|part| part.is_empty()) {
        return None;
    }
    let plural = |kind: &str| {
        let kind = kind.to_lowercase();
        // `deployment`, `deployment.apps` and `deployment.v1.apps`, as kubectl has it.
        let named = |k: &&api::kinds::Kind| {
            let mut names = [k.plural, k.singular.as_str()].into_iter().chain(k.short_names.iter().copied());
            names.any(|name| {
                kind.strip_prefix(name).is_some_and(|rest| {
                    rest.is_empty()
                        || rest.strip_prefix('.').is_some_and(|rest| {
                            rest == k.group || rest == format!("{}.{}", k.version, k.group)
                        })
                })
            })
        };
        api::kinds::all().iter().find(named).map_or(kind.clone(), |k| k.plural.to_string())
    };
    let object = |namespace: &str, kind: &str, name: &str| Trace::Object {
        resource: plural(kind),
        namespace: namespace.into(),
        name: name.into(),
    };
    match parts.as_slice() {
        [_] if namespace.is_some() => None,
        [last] if last.eq_ignore_ascii_case("last") => Some(Trace::Last),
        [id] => Some(Trace::Request((*id).into())),
        [kind, name] => Some(object(namespace.unwrap_or("default"), kind, name)),
        [within, kind, name] if namespace.is_none_or(|n| n == *within) => Some(object(within, kind, name)),
        _ => None,
    }
}
