//! events: the events of a namespace or of one object, the oldest first.

use crate::builder::type_and_name;
use crate::ctx::Ctx;
use crate::describe::interval;
use crate::error::{Fail, Refusal, text};
use crate::print::formats;
use crate::print::tab::Remembering;
use crate::print::table::escaped;
use crate::wire::api::JSON;
use crate::wire::paths;
use api::value;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let format = formats::of(ctx, false)?;
    let types = types(ctx)?;
    let all = ctx.flags.is("all-namespaces");
    let (namespace, _) = ctx.namespace()?;
    let path =
        if all { "/api/v1/events".to_string() } else { paths::within("/api/v1", &namespace, "events") };
    let selector = match ctx.flags.text("for") {
        "" => String::new(),
        given => involved(ctx, given).await?,
    };
    let mut query: Vec<(&str, &str)> = vec![];
    if !selector.is_empty() {
        query.push(("fieldSelector", &selector));
    }
    let list = crate::lists::whole(ctx, &path, &query).await?;
    let wanted =
        |e: &Value| types.is_empty() || types.iter().any(|t| t.eq_ignore_ascii_case(value::text(e, "type")));
    let mut events: Vec<Value> = value::list(&list, "items").iter().filter(|e| wanted(e)).cloned().collect();
    events.sort_by_key(time_of);
    let watching = ctx.flags.is("watch");
    if events.is_empty() && !watching {
        if all {
            ctx.note("No events found.");
        } else {
            ctx.note(format!("No events found in {namespace} namespace."));
        }
        return Ok(());
    }
    let mut widths = Remembering::default();
    let mut headers = !ctx.flags.is("no-headers");
    if let (Some(format), false) = (&format, watching) {
        let items: Vec<Value> = events.into_iter().map(typed).collect();
        // kubectl makes the list itself, so it has no resource version.
        let list = json!({"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": items});
        ctx.out(format.print(&list, false)?);
        return Ok(());
    }
    let mut print = |events: &[Value]| -> Result<(), Fail> {
        if let Some(format) = &format {
            for event in events {
                ctx.out(format.print(&typed(event.clone()), false)?);
            }
            return Ok(());
        }
        let mut rows = vec![];
        if std::mem::take(&mut headers) {
            let names = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"].map(String::from);
            rows.push(all.then(|| "NAMESPACE".to_string()).into_iter().chain(names).collect());
        }
        rows.extend(events.iter().map(|e| row(e, all)));
        ctx.out(widths.rows(&rows));
        Ok(())
    };
    // A watch prints the header with its first event.
    if !events.is_empty() {
        print(&events)?;
    }
    if watching {
        let version = value::text(&list, "metadata.resourceVersion");
        let mut query = vec![("resourceVersion", version), ("watch", "true")];
        if !selector.is_empty() {
            query.push(("fieldSelector", &selector));
        }
        follow(ctx, &path, &query, wanted, print).await?;
    }
    Ok(())
}

/// The types of `--types`, which may be of any case; none means all.
fn types(ctx: &Ctx) -> Result<Vec<String>, Fail> {
    let types = ctx.flags.list("types");
    if types.iter().any(|t| !["normal", "warning"].contains(&t.to_lowercase().as_str())) {
        return text("valid --types are Normal or Warning");
    }
    Ok(types)
}

/// Prints the wanted events of a watch as they come, until it ends.
async fn follow(
    ctx: &Ctx,
    path: &str,
    query: &[(&str, &str)],
    wanted: impl Fn(&Value) -> bool,
    mut print: impl FnMut(&[Value]) -> Result<(), Fail>,
) -> Result<(), Fail> {
    let mut changes = ctx.api().await?.watch(path, query, JSON).await?;
    ctx.output.flush().await;
    while let Some(change) = changes.next().await {
        let event = value::at(&change, "object");
        match value::text(&change, "type") {
            "ERROR" => return Err(Fail::Api(Refusal::of(event, 500))),
            "DELETED" => {}
            _ if !wanted(event) => {}
            _ => print(std::slice::from_ref(event))?,
        }
        ctx.output.flush().await;
    }
    Ok(())
}

/// The field selector of events about an object, which `--for` names.
async fn involved(ctx: &Ctx, given: &str) -> Result<String, Fail> {
    let (kind, name) = match given.matches('/').count() {
        1 => type_and_name(given).map_err(|_| Fail::Text("--for must be in resource/name form".into()))?,
        0 => return text("--for must be in resource/name form"),
        _ => return text("arguments in resource/name form may not have more than one slash"),
    };
    ctx.discovery().await?; // its failures keep their form
    let resource = ctx.resource(kind).await.map_err(|fail| match fail {
        Fail::Text(unknown) => Fail::Plain(unknown),
        other => other,
    })?;
    Ok(format!(
        "involvedObject.kind={},involvedObject.apiVersion={},involvedObject.name={name}",
        resource.kind,
        resource.api_version()
    ))
}

/// An event with the fields that Go's struct cannot leave out.
fn typed(mut event: Value) -> Value {
    value::put(&mut event, "apiVersion", "v1");
    value::put(&mut event, "kind", "Event");
    for time in ["eventTime", "firstTimestamp", "lastTimestamp"] {
        value::default(&mut event, time, Value::Null);
    }
    event
}

/// The time at which an event was last seen; some times have fractions of a second, so they are not
/// compared as text.
fn time_of(event: &Value) -> Option<Timestamp> {
    let times =
        ["series.lastObservedTime", "lastTimestamp", "eventTime"].map(|path| value::text(event, path));
    times.iter().find(|t| !t.is_empty())?.parse().ok()
}

fn row(event: &Value, all: bool) -> Vec<String> {
    let part = |path: &str| value::text(event, path).to_string();
    let object = format!("{}/{}", part("involvedObject.kind"), part("involvedObject.name"));
    let message = part("message").trim().to_string();
    let mut cells = if all { vec![part("metadata.namespace")] } else { vec![] };
    cells.extend([interval(event), part("type"), part("reason"), object, message]);
    cells.iter().map(|cell| escaped(cell)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_do_not_steer_the_terminal() {
        let event = json!({"type": "Normal", "reason": "R", "message": "a\u{1b}[2J\rb",
            "involvedObject": {"kind": "Pod", "name": "p"}});
        assert_eq!(row(&event, false)[1..], ["Normal", "R", "Pod/p", "a^[[2J\\rb"]);
    }

    #[tokio::test]
    async fn an_object_is_named_by_one_type_and_one_name() {
        let server = crate::testing::Server::away().await;
        for (given, why) in [
            ("pod", "--for must be in resource/name form"),
            ("pod/", "--for must be in resource/name form"),
            ("pod/a/b", "arguments in resource/name form may not have more than one slash"),
        ] {
            let result = server.kubectl(&["events", "--for", given]).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")), "{given}");
        }
        let server = crate::testing::Server::start().await;
        let result = server.kubectl(&["events", "--for=foo/a"]).await;
        let why = "the server doesn't have a resource type \"foo\"\n";
        assert_eq!((result.code, result.err.as_str()), (1, why), "without `error: `, as in kubectl");
    }

    #[tokio::test]
    async fn a_watch_prints_in_the_format_too() {
        let server = crate::testing::Server::start().await;
        let event =
            json!({"metadata": {"name": "e", "namespace": "default"}, "type": "Normal", "reason": "R"});
        server.hold("/api/v1/namespaces/default/events/e", event);
        let result = server.kubectl(&["events", "-w", "-o", "name"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "event/e\n"), "{result:?}");
        let result = server.kubectl(&["events", "-w", "--types=Warning"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, ""), "no event, no header");
    }

    #[tokio::test]
    async fn no_event_is_no_list_and_a_list_has_no_version() {
        let server = crate::testing::Server::start().await;
        let result = server.kubectl(&["events", "-o", "json"]).await;
        let want = "No events found in default namespace.\n";
        assert_eq!((result.code, result.out.as_str(), result.err.as_str()), (0, "", want));
        let event = json!({"metadata": {"name": "e", "namespace": "default"}, "type": "Normal"});
        server.hold("/api/v1/namespaces/default/events/e", event);
        let result = server.kubectl(&["events", "-o", "jsonpath={.kind}{.metadata}"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "EventList{}"), "{result:?}");
    }
}
