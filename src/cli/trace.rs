//! `trace`: the path of a command through the cluster, with times.

use super::args::Picture;
use super::layout::{columns, wrapped};
use cluster::control::{Ask, Control, Trace};
use cluster::home::Home;
use cluster::{Error, Refusal};
use lang::charset::{eprintln, print};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tap::{Event, Record};
use ui::prose::harmless;
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
    let Some(asked) = parse(what, namespace) else {
        let flag = namespace.map(|namespace| format!("-n {namespace}"));
        let written = what.iter().cloned().chain(flag).collect::<Vec<_>>().join(" ");
        eprintln!("ropewalk: {}", lang.say(Say::TraceWhat, &[&written]));
        return Ok(super::codes::USAGE);
    };
    let mut control = Control::connect(&place).await?;
    let (answer, nothing) = match control.ask(&Ask::Trace { what: asked }).await {
        Ok(answer) => (answer, lang.say(Say::NothingTraced, &[])),
        Err(Error::Refusal(none @ Refusal::NothingTraced)) => (json!([]), none.say(lang)),
        Err(error) => return Err(error.into()),
    };
    match found(answer, output, columns())? {
        Found { text, any: true } => {
            match output {
                Some(_) => std::print!("{text}"),
                None => print!("{text}"),
            }
            Ok(0)
        }
        Found { text, any: false } => {
            std::print!("{text}");
            eprintln!("ropewalk: {nothing}");
            Ok(1)
        }
    }
}

/// What is printed, and whether there is anything in it.
struct Found {
    text: String,
    any: bool,
}

/// An answer in the form that was asked for. A document for machines is one also when it is empty.
fn found(answer: Value, output: Option<Picture>, width: usize) -> anyhow::Result<Found> {
    if output == Some(Picture::Json) {
        let any = answer.as_array().is_some_and(|records| !records.is_empty());
        return Ok(Found { text: serde_json::to_string_pretty(&answer)? + "\n", any });
    }
    let records: Vec<Record> = serde_json::from_value(answer)?;
    let any = !rows(&records).is_empty();
    let text = match output {
        _ if !any => String::new(),
        Some(_) => svg(&records),
        None if width < WIDE => stacked(&records, width),
        None => table(&records),
    };
    Ok(Found { text, any })
}

/// Nothing or `LAST`, `pod/web`, `pod web`, `deployments.v1.apps/web`, `kube-system/pod/coredns-…`,
/// or a request's id. `namespace`: that of the flag `-n`, which goes with an object alone, and may
/// not contradict one that is written before the kind. `None`: none of these.
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

/// One hop as a line of the answer.
struct Row {
    /// Since the first hop began, in milliseconds: its beginning and its end.
    from: f64,
    to: f64,
    who: String,
    object: String,
    what: String,
}

/// True for a record of an Event or a Lease: each component writes them all the time. Those that a
/// person has asked for are hops like any other.
fn is_routine(record: &Record) -> bool {
    let is_asked = |request: &tap::Request| request.is_persons() || request.by_hand().is_some();
    record.object.as_ref().is_some_and(|o| matches!(o.resource.as_str(), "events" | "leases"))
        && !record.request.as_ref().is_some_and(is_asked)
}

/// Returns the hops that are shown. The stages of one API request are one row. Routine records are
/// left out, unless there are no others: `trace lease/NAME` asks for them. `-o json` has every
/// record.
fn rows(records: &[Record]) -> Vec<Row> {
    let Some(first) = records.first() else { return vec![] };
    let has_others = records.iter().any(|record| !is_routine(record));
    let start = first.at - std::time::Duration::from_micros(first.took_us);
    // By request. There may be tens of thousands of them: an object that a program writes all the
    // time fills the tap.
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
        let (what, object) = match &record.request {
            None => (hop_line(record), record),
            Some(request) => {
                let own = stages.get(request.id.as_str()).map(Vec::as_slice).unwrap_or_default();
                // Told once, by the last of its records.
                if own.last().is_some_and(|last| !std::ptr::eq(*last, record)) {
                    continue;
                }
                let written = own.iter().find(|r| r.revision.is_some()).copied().unwrap_or(record);
                (request_line(request, own), written)
            }
        };
        let to = (record.at - start).total(jiff::Unit::Millisecond).unwrap_or_default();
        // `pods/web/binding`: without it, the request that binds a pod reads as one that makes it.
        let part = match object.request.as_ref().map_or("", |r| r.subresource.as_str()) {
            "" => String::new(),
            subresource => format!("/{subresource}"),
        };
        let object = object.object.as_ref().map_or(String::new(), |o| match (&*o.namespace, &*o.name) {
            (_, "") => o.resource.clone(),
            ("", name) => format!("{}/{name}{part}", o.resource),
            (namespace, name) => format!("{}/{name}{part} -n {namespace}", o.resource),
        });
        let node = record.node.trim_start_matches("ropewalk-");
        let who = format!("{} {node}", record.component).trim_end().to_string();
        // The sender of a request chooses these texts.
        let [object, what] = [object, what].map(|text| harmless(&text).into_owned());
        out.push(Row { from: (to - record.took_us as f64 / 1000.0).max(0.0), to, who, object, what });
    }
    out
}

/// One line a hop: when it ended, who, to which object, what and how long.
pub(crate) fn table(records: &[Record]) -> String {
    let line = |r: &Row| format!("{:>8.1} ms  {:<36} {:<52} {}\n", r.to, r.who, r.object, r.what);
    rows(records).iter().map(line).collect()
}

/// A row of the table does not fit into less.
const WIDE: usize = 130;

/// For a narrow terminal: below each hop what it did, broken between words.
fn stacked(records: &[Record], width: usize) -> String {
    const INDENT: &str = "             ";
    let mut out = String::new();
    for row in rows(records) {
        out.push_str(&format!("{:>8.1} ms  {}\n", row.to, row.who));
        out.push_str(&wrapped(&format!("{} {}", row.object, row.what), INDENT, width));
    }
    out
}

/// Draws the hops as an SVG picture: a bar a hop on one axis of time, for slides and reports. One
/// file, no script, readable without colour.
pub(crate) fn svg(records: &[Record]) -> String {
    let (row_height, top, left, axis) = (22.0, 40.0, 270.0, 420.0);
    let rows = rows(records);
    let end = rows.iter().map(|r| r.to).fold(1.0, f64::max);
    let height = top + row_height * rows.len() as f64 + 20.0;
    let x = |ms: f64| left + ms / end * axis;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"1400\" height=\"{height}\" font-family=\"monospace\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    for tick in 0..=4 {
        let ms = end * f64::from(tick) / 4.0;
        out.push_str(&format!(
            "<line x1=\"{0:.1}\" y1=\"28\" x2=\"{0:.1}\" y2=\"{1}\" stroke=\"#cccccc\"/><text x=\"{0:.1}\" y=\"22\" text-anchor=\"middle\" fill=\"#555555\">{ms:.1} ms</text>\n",
            x(ms),
            height - 15.0
        ));
    }
    for (at, row) in rows.iter().enumerate() {
        let y = top + row_height * at as f64;
        let wide = (x(row.to) - x(row.from)).max(2.0);
        out.push_str(&format!(
            "<g><title>{2} {3}: {4}</title><text x=\"8\" y=\"{0:.1}\">{2}</text><rect x=\"{1:.1}\" y=\"{5:.1}\" width=\"{wide:.1}\" height=\"12\" fill=\"#1f6feb\" stroke=\"#0b3d91\"/><text x=\"{6:.1}\" y=\"{0:.1}\">{3} {4}</text></g>\n",
            y + 10.0,
            x(row.from),
            escape(&row.who),
            escape(&row.object),
            escape(&row.what),
            y,
            left + axis + 16.0
        ));
    }
    out + "</svg>\n"
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// An API request: its stages with their times, and what came of it.
fn request_line(request: &tap::Request, stages: &[&Record]) -> String {
    let (mut line, mut committed) = (String::new(), None);
    for stage in stages.iter().filter(|r| r.answer().is_none()) {
        // What a transaction changes beside its object is told behind it, and takes no time more.
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
    let why = match answer.and_then(|r| r.answer()).map_or("", |a| a.message.as_str()) {
        "" => String::new(),
        message => format!(": {message}"),
    };
    format!(
        "{verb}: {line}{revision}{dry}{} in {took:.2} ms, for {agent}{why}",
        answer.map_or(request.code, |r| code_of(r))
    )
}

fn code_of(record: &Record) -> u16 {
    record.request.as_ref().map_or(0, |r| r.code)
}

/// Any other hop: its verb, the time it took, and the part of its detail that people ask for.
fn hop_line(record: &Record) -> String {
    let took = match record.took_us {
        0 => String::new(), // it was not measured
        us => format!("{:.2} ms ", us as f64 / 1000.0),
    };
    let detail = match &record.event {
        Event::Schedule(decision) => decided(decision),
        event => shortened(&event.detail()),
    };
    format!("{} {took}{detail}", record.event.verb()).trim_end().to_string()
}

/// A scheduling decision: the node, the scores of the nodes that fit, and why the others do not.
fn decided(decision: &tap::Decision) -> String {
    let verdicts = &decision.verdicts;
    let first = |v: &tap::Verdict| v.refused.first().map(|refusal| format!("{}: {}", v.node, refusal.reason));
    let refused = verdicts.iter().filter_map(first).collect::<Vec<_>>().join(", ");
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

fn shortened(detail: &serde_json::Value) -> String {
    let text = if detail.is_null() { String::new() } else { detail.to_string() };
    match text.char_indices().nth(DETAIL_MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tap::{Component, Request, Tap, Write};

    /// A script goes by the exit code, and reads a document also when nothing was found.
    #[test]
    fn what_was_not_found_is_told_in_every_form() {
        let told = |answer: &Value, output| {
            let found = found(answer.clone(), output, 200).unwrap();
            (found.text, found.any)
        };
        assert_eq!(told(&json!([]), Some(Picture::Json)), ("[]\n".into(), false));
        for output in [Some(Picture::Svg), None] {
            assert_eq!(told(&json!([]), output), (String::new(), false), "{output:?}");
        }
    }

    /// `kubectl get events` would seem to ask for nothing, and a Lease to be written by nobody.
    #[test]
    fn events_and_leases_that_were_asked_for_are_told() {
        let record = |resource: &str, user: &str| {
            let mut record = Record::new(Event::Answer(Box::default())).object(resource, "default", "web");
            let (id, user) = (format!("{resource} {user}"), user.to_string());
            record.request = Some(Request { id, user, ..Request::default() });
            record
        };
        let told = |records: &[Record]| {
            rows(records).into_iter().map(|row| row.object).collect::<Vec<_>>().join(", ")
        };
        let (pod, node) = (record("pods", "learner"), "system:node:ropewalk-worker");
        let records = [pod, record("events", node), record("leases", node), record("events", "learner")];
        assert_eq!(told(&records), "pods/web -n default, events/web -n default");
        assert_eq!(told(&records[2..3]), "leases/web -n default", "`trace lease/web`");
    }

    #[test]
    fn a_name_gives_the_terminal_no_orders() {
        let record = Record::new(Event::Commit(Write::CREATED)).object("pods", "default", "a\u{1b}[31mb");
        let object = &rows(&[record])[0].object;
        assert!(object.contains("[31mb") && !object.contains('\u{1b}'), "{object:?}");
    }

    #[test]
    fn a_hop_tells_no_time_that_was_not_measured_and_no_refusal_where_there_is_none() {
        let hop = |us| hop_line(&Record::new(Event::Lead).took(Duration::from_micros(us)));
        assert_eq!([hop(0), hop(2000)], ["lead", "lead 2.00 ms"]);
        let alone = tap::Verdict { node: "n".into(), total: 49, ..tap::Verdict::default() };
        let decision = tap::Decision { verdicts: vec![alone], chosen: Some("n".into()) };
        assert_eq!(decided(&decision), "→ n (scores n 49)");
    }

    /// A program that writes one object all the time fills the tap with records about it.
    #[test]
    fn a_trace_of_tens_of_thousands_of_records_is_shown_in_a_moment() {
        let records: Vec<Record> = (0..40_000)
            .map(|number| {
                let event = match number % 2 {
                    0 => Event::Commit(Write::UPDATED),
                    _ => Event::Answer(Box::default()),
                };
                let mut record = Record::new(event).object("configmaps", "default", "busy");
                record.request = Some(Request { id: (number / 2).to_string(), ..Request::default() });
                record
            })
            .collect();
        let began = clock::Instant::now();
        assert_eq!(rows(&records).len(), 20_000);
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }

    #[test]
    fn what_names_nothing_is_a_wrong_argument() {
        let of = |what: &str, namespace: Option<&str>| {
            let words: Vec<String> = what.split(' ').map(String::from).collect();
            parse(&words, namespace)
        };
        for nonsense in ["", "/", "pod/", "/web", "a//web", "a/b/c/d", "pod shop/web", "pod web more", "pod "]
        {
            assert!(of(nonsense, None).is_none(), "{nonsense:?}");
        }
        for (what, namespace) in
            [("LAST", "shop"), ("4b1f", "shop"), ("shop/pod/web", "other"), ("pod/web", "")]
        {
            assert!(of(what, Some(namespace)).is_none(), "{what} -n {namespace}");
        }
        assert!(parse(&[], Some("shop")).is_none() && matches!(parse(&[], None), Some(Trace::Last)));
        let told = |traced: Option<Trace>| match traced {
            Some(Trace::Object { resource, namespace, name }) => format!("{namespace} {resource} {name}"),
            other => format!("{other:?}"),
        };
        for what in ["pod/web", "pod web", "shop/pods/web"] {
            assert_eq!(told(of(what, Some("shop"))), "shop pods web", "{what}");
        }
        assert_eq!(told(of("deploy web", None)), "default deployments web");
        let object = |what: &str| told(of(what, None));
        assert_eq!(object("po/web"), "default pods web");
        assert_eq!(object("shop/Deployment.apps/web"), "shop deployments web");
        for kind in ["deployments.v1.apps", "Deployment.v1.apps", "deploy.apps", "deploy.v1.apps"] {
            assert_eq!(object(&format!("{kind}/web")), "default deployments web", "{kind}");
        }
        assert_eq!(object("pods.v1./web"), "default pods web");
        assert_eq!(object("deployments.v9.apps/web"), "default deployments.v9.apps web");
        assert_eq!(object("widgets.example.com/a"), "default widgets.example.com a");
        assert!(matches!(of("last", None), Some(Trace::Last)));
        assert!(matches!(of("4b1f", None), Some(Trace::Request(id)) if id == "4b1f"));
    }

    /// The scheduler decided by an old view of a node, and the API server refused the binding.
    #[test]
    fn a_refused_binding_reads_as_one_and_says_why() {
        let tap = Tap::new().at("ropewalk-control-plane", Component::ApiServer);
        let message = "node n has changed since the scheduler looked at it".to_string();
        let answer = tap::Answer { verb: "create".into(), message, ..tap::Answer::default() };
        let mut record = Record::new(Event::Answer(Box::new(answer))).object("pods", "default", "web");
        let agent = "kube-scheduler/v1".to_string();
        let (id, subresource) = ("1".to_string(), "binding".to_string());
        record.request =
            Some(Request { id, subresource, user_agent: agent, code: 409, ..Request::default() });
        tap.emit(record);
        let refused = vec![tap::Refusal { reason: "Insufficient cpu".into(), ..tap::Refusal::default() }];
        let verdict = tap::Verdict { node: "n".into(), refused, ..tap::Verdict::default() };
        let decision = tap::Decision { verdicts: vec![verdict], chosen: None };
        tap.emit(Record::new(Event::Schedule(decision)).object("pods", "default", "web"));
        let records: Vec<Record> = tap.since(0).iter().map(|r| (**r).clone()).collect();
        let text = table(&records);
        for told in [
            "pods/web/binding -n default ",
            "create: 409 in 0.00 ms, for kube-scheduler: node n has changed",
            "→ no node (refused n: Insufficient cpu)",
        ] {
            assert!(text.contains(told), "{told}: {text}");
        }
    }

    #[test]
    fn the_stages_of_a_request_are_one_line_and_events_are_none() {
        let tap = Tap::new().at("ropewalk-control-plane", Component::ApiServer);
        let request = |id: &str| {
            Some(Request { id: id.into(), user_agent: "kubectl/v1".into(), code: 201, ..Request::default() })
        };
        for (id, resource, event) in [
            ("1", "pods", Event::Admit(serde_json::Value::Null)),
            ("1", "pods", Event::Commit(Write::CREATED)),
            ("1", "resourcequotas", Event::Commit(Write::UPDATED)),
            ("1", "pods", Event::Answer(Box::default())),
            ("2", "events", Event::Commit(Write::CREATED)),
        ] {
            let mut record = Record::new(event).object(resource, "default", "web");
            record.request = request(id);
            if record.write().is_some() {
                record.revision = Some(7);
            }
            tap.emit(record);
        }
        let start = Event::Start { container: "web".into(), attempt: 0 };
        let kubelet = tap.at("ropewalk-worker", Component::Kubelet);
        kubelet.emit(Record::new(start).object("pods", "default", "web"));
        let records: Vec<Record> = tap.since(0).iter().map(|r| (**r).clone()).collect();
        let text = table(&records);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].contains("admit 0.00, commit 0.00, revision 7, 201 in"), "{text}");
        assert!(lines[1].contains("kubelet worker") && lines[1].contains("start"), "{text}");
        let narrow = stacked(&records, 60);
        assert!(
            narrow.lines().all(|l| l.chars().count() < 60) && narrow.contains("pods/web -n default"),
            "{narrow}"
        );
        let picture = svg(&records);
        assert_eq!(picture.matches("<g>").count(), 2, "{picture}");
        assert!(picture.contains("revision 7, 201 in") && picture.ends_with("</svg>\n"), "{picture}");
    }
}
