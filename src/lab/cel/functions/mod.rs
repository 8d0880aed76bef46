//! The functions of lessons' expressions: one table.

use super::acts;
use super::budget::{self, Budget};
use super::call;
use super::callable::{Callable, Run};
use super::change;
use super::commands;
use super::compare;
use super::covers::covers;
use super::facts::{Facts, Object, Probe};
use super::kubectl_calls;
use super::language::function_name;
use super::lookups;
use super::owned;
use super::shell;
use super::shown;
use super::value::{self, at, millis, str_field};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use cel::{Context, Value};
use cluster::guest::Inside;
use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::sync::Arc;

pub(super) struct Function {
    pub name: &'static str,
    /// How many values it takes.
    pub takes: RangeInclusive<usize>,
    /// Its first value is a kind.
    pub kind_first: bool,
    /// Where its answer comes from.
    pub asks: Asks,
    pub run: Run,
}

/// Where a function's answer comes from: one that is true now may be false again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// Its values, and what has happened.
    Past,
    /// The trace, which it searches by itself.
    Trace,
    /// What is true now.
    Now,
    /// What is true now, and has to be asked for over the network.
    Network,
}

const fn of(name: &'static str, takes: RangeInclusive<usize>, run: Run) -> Function {
    Function { name, takes, kind_first: false, asks: Asks::Past, run }
}
const fn by_kind(name: &'static str, takes: RangeInclusive<usize>, run: Run) -> Function {
    Function { kind_first: true, ..of(name, takes, run) }
}
const fn now(function: Function) -> Function {
    Function { asks: Asks::Now, ..function }
}
const fn trace(function: Function) -> Function {
    Function { asks: Asks::Trace, ..function }
}
const fn network(name: &'static str, takes: RangeInclusive<usize>, run: Run) -> Function {
    Function { asks: Asks::Network, ..of(name, takes, run) }
}

pub(super) const TABLE: &[Function] = &[
    now(by_kind("objects", 2..=3, |facts, args| {
        let selector = if args.len() > 2 { Some(word(args, 2)?) } else { None };
        Ok(value::list(
            facts.objects(word(args, 0)?, word(args, 1)?, selector)?.into_iter().map(|o| o.value).collect(),
        ))
    })),
    now(by_kind("object", 3..=3, |facts, args| Ok(one(facts, args)?.map_or_else(value::empty, |o| o.value)))),
    now(by_kind("present", 3..=3, |facts, args| Ok(Value::Bool(one(facts, args)?.is_some())))),
    now(by_kind("pods_of", 3..=3, |facts, args| {
        let pods = owned::pods_of(facts, word(args, 0)?, word(args, 1)?, word(args, 2)?)?;
        Ok(value::list(pods.into_iter().map(|o| o.value).collect()))
    })),
    now(of("backends", 2..=2, |facts, args| {
        let addresses = owned::backends(facts, word(args, 0)?, word(args, 1)?)?;
        Ok(value::list(addresses.iter().map(|a| value::text(a)).collect()))
    })),
    by_kind("before", 3..=3, |facts, args| {
        let then = facts.before(word(args, 0)?, word(args, 1)?, word(args, 2)?)?;
        Ok(then.unwrap_or_else(value::empty))
    }),
    now(of("restarted", 1..=1, |facts, args| change::restarted(facts, &args[0]).map(Value::Bool))),
    now(of("replaced", 1..=1, |facts, args| change::replaced(facts, &args[0]).map(Value::Bool))),
    now(of("unchanged_since_step", 1..=1, |facts, args| {
        change::is_unchanged(facts, &args[0]).map(Value::Bool)
    })),
    by_kind("events", 3..=3, |facts, args| {
        Ok(value::list(facts.events(word(args, 0)?, word(args, 1)?, word(args, 2)?)?))
    }),
    by_kind("history", 3..=3, |facts, args| {
        Ok(value::list(facts.history(word(args, 0)?, word(args, 1)?, word(args, 2)?)?))
    }),
    // The compiler replaces a call of it by its own node: this one is never called.
    of("requests", 2..=3, |_, _| Err("requests() was not compiled".into())),
    of("is_request", 3..=4, |_, args| {
        let commands = if args.len() > 3 { word(args, 3)? } else { "" };
        Ok(Value::Bool(is_request(&args[0], word(args, 1)?, word(args, 2)?, commands)))
    }),
    of("covers", 2..=2, |_, args| Ok(Value::Bool(covers(&args[0], &args[1])))),
    of("shows", 4..=4, |_, args| {
        Ok(Value::Bool(shown::shows(&args[0], &args[1], word(args, 2)?, word(args, 3)?)))
    }),
    of("removes", 2..=2, |facts, args| Ok(Value::Bool(acts::removes(facts, &args[0], word(args, 1)?)))),
    of("own_program", 1..=1, |_, args| Ok(Value::Bool(acts::runs_own_program(&args[0])))),
    now(of("mirrors", 1..=1, |facts, args| {
        Ok(value::list(acts::mirrors(facts, word(args, 0)?)?.into_iter().map(|o| o.value).collect()))
    })),
    of("knock", 1..=1, |_, args| {
        let code = i32::try_from(value::int_field(&args[0], "code")).unwrap_or(-1);
        Ok(acts::knock(str_field(&args[0], "line"), code).unwrap_or_default().value())
    }),
    of("commands", 1..=2, |_, args| {
        let wanted = if args.len() > 1 { Some(word(args, 1)?) } else { None };
        let found = commands::commands(str_field(&args[0], "line"), value::int_field(&args[0], "code"));
        let found = found.iter().filter(|command| wanted.is_none_or(|wanted| command.is(wanted)));
        Ok(value::list(found.map(commands::Command::value).collect()))
    }),
    of("kubectl_calls", 1..=1, |_, args| {
        let found = kubectl_calls::calls(str_field(&args[0], "line"), value::int_field(&args[0], "code"));
        Ok(value::list(found.iter().map(kubectl_calls::Call::value).collect()))
    }),
    of("opens_shell", 1..=1, |_, args| Ok(Value::Bool(shell::opens_shell(str_field(&args[0], "line"))))),
    of("alike", 2..=2, |_, args| compare::alike(&args[0], &args[1]).map(Value::Bool)),
    of("near", 3..=3, |_, args| compare::near(&args[0], &args[1], &args[2]).map(Value::Bool)),
    of("same_items", 2..=2, |_, args| compare::same_items(&args[0], &args[1]).map(Value::Bool)),
    of("fits", 2..=2, |_, args| compare::fits(&args[0], &args[1]).map(Value::Bool)),
    of("base64", 1..=1, |_, args| Ok(value::text(&BASE64.encode(word(args, 0)?)))),
    of("sum", 1..=1, |_, args| compare::sum(&args[0]).map(Value::Int)),
    of("min", 1..=10, |_, args| extreme(args, Ordering::Less)),
    of("max", 1..=10, |_, args| extreme(args, Ordering::Greater)),
    of("get", 3..=3, |_, args| match at(&args[0], word(args, 1)?) {
        Some(Value::Null) | None => Ok(args[2].clone()),
        Some(found) => Ok(found.clone()),
    }),
    of("ready", 1..=1, |_, args| ready(&args[0]).map(Value::Bool)),
    network("http", 1..=3, call::http),
    of("refused", 1..=1, |_, args| has_failed(&args[0], "refused")),
    of("timed_out", 1..=1, |_, args| has_failed(&args[0], "timeout")),
    of("no_such_host", 1..=1, |_, args| has_failed(&args[0], "name")),
    // From the nodes themselves: what a pod says of another may be made up.
    network("fetch", 1..=1, |facts, args| {
        let url = word(args, 0)?.to_string();
        let nth = facts.nth(format!("from every node {url}"));
        facts.probe(Probe::Within { url, nth }).and_then(no_error)
    }),
    network("exec", 2..=2, |facts, args| {
        let (target, command) = (word(args, 0)?.to_string(), word(args, 1)?.to_string());
        let nth = facts.nth(format!("{target} {command}"));
        facts.probe(Probe::Exec { target, command, nth }).and_then(no_error)
    }),
    network("logs", 1..=1, |facts, args| log(facts, word(args, 0)?, None)),
    network("new_logs", 1..=1, |facts, args| log(facts, word(args, 0)?, facts.step_at)),
    network("new_lines", 1..=1, |facts, args| {
        let log = stamped(facts, word(args, 0)?)?;
        let told = |(at, line): (jiff::Timestamp, &str)| {
            value::map([("at", value::time(at)), ("line", value::text(line.trim_end_matches('\n')))])
        };
        Ok(value::list(lines_since(&log, facts.step_at).map(told).collect()))
    }),
    network("can", 4..=4, |facts, args| {
        let part = |n| word(args, n).map(String::from);
        let probe = Probe::Can { user: part(0)?, verb: part(1)?, resource: part(2)?, namespace: part(3)? };
        facts.probe(probe).and_then(no_error)
    }),
    network("load", 0..=0, |facts, _| facts.probe(Probe::Load).and_then(told_load)),
    network("contexts", 0..=0, |facts, _| facts.probe(Probe::Contexts).and_then(no_error)),
    network("shell", 0..=0, |facts, _| facts.probe(Probe::Shell).and_then(no_error)),
    network("store", 1..=1, |facts, args| {
        facts.probe(Probe::Inside(Inside::Key(word(args, 0)?.into()))).and_then(no_error)
    }),
    network("members", 0..=0, |facts, _| facts.probe(Probe::Inside(Inside::Members)).and_then(no_error)),
    now(of("faults", 0..=0, |facts, _| facts.probe(Probe::Inside(Inside::Faults)).and_then(no_error))),
    // -- for debriefs
    trace(of("hop", 3..=3, |facts, args| {
        Ok(hops(facts, args)?.into_iter().find(happened).unwrap_or_else(value::empty))
    })),
    trace(of("hops", 3..=3, |facts, args| Ok(value::list(hops(facts, args)?)))),
    trace(of("asked", 2..=2, |facts, args| {
        Ok(learners(facts, word(args, 0)?, word(args, 1)?).next().unwrap_or_else(value::empty))
    })),
    trace(of("wrote", 2..=2, |facts, args| {
        let mut all = learners(facts, word(args, 0)?, word(args, 1)?);
        Ok(all.find(|t| value::int_field(t, "revision") > 0).unwrap_or_else(value::empty))
    })),
    trace(of("lookups", 1..=1, |facts, args| Ok(value::list(lookups::of_pod(facts, &args[0]))))),
    trace(of("removed", 1..=1, |facts, args| {
        let wanted = word(args, 0)?;
        let fits = |t: &&Value| {
            let asked = str_field(t, "object");
            let object = asked.strip_suffix("/eviction").unwrap_or(asked);
            about(object, wanted) && acts::removes(facts, t, object)
        };
        Ok(facts.trace.iter().rev().find(fits).cloned().unwrap_or_else(value::empty))
    })),
    of("since", 2..=2, |_, args| match (begun(&args[0]), &args[1]) {
        (Some(begun), Value::List(all)) => {
            Ok(value::list(all.iter().filter(|t| moment(t).is_some_and(|at| at >= begun)).cloned().collect()))
        }
        _ => Err("since() takes a record and a list of records".into()),
    }),
    of("last", 1..=1, |_, args| match &args[0] {
        Value::List(all) => Ok(all.last().cloned().unwrap_or_else(value::empty)),
        other => Err(format!("last() takes a list, not {:?}", other.type_of())),
    }),
    of("ms", 1..=1, |_, args| match &args[0] {
        Value::Duration(_) => Ok(value::text(&value::show(&args[0]))),
        Value::Int(ms) => Ok(value::text(&millis(*ms as f64))),
        Value::Float(ms) => Ok(value::text(&millis(*ms))),
        other => Err(format!("ms() takes a duration, not {:?}", other.type_of())),
    }),
    of("after", 2..=2, |_, args| match (at(&args[0], "at"), at(&args[1], "at")) {
        // What came before does not follow: the sentence is left out.
        (_, Some(Value::Timestamp(b))) if begun(&args[0]).is_some_and(|a| *b < a) => {
            Err("the second record is the earlier one".into())
        }
        // Others may have seen a change before the answer to it was out.
        (Some(Value::Timestamp(a)), Some(Value::Timestamp(b))) => {
            let later = (*b - *a).num_microseconds().unwrap_or_default().max(0);
            Ok(value::text(&millis(later as f64 / 1000.0)))
        }
        _ => Err("after() takes two records".into()),
    }),
    of("name", 1..=1, |_, args| {
        Ok(value::text(str_field(&args[0], "object").split('/').nth(2).unwrap_or_default()))
    }),
    trace(of("because", 1..=1, |facts, args| {
        let cause = at(&args[0], "cause").ok_or("because() takes a record")?;
        let led = |t: &&Value| match cause {
            Value::Int(_) => at(t, "revision") == Some(cause),
            Value::String(id) if !id.is_empty() => str_field(t, "request") == id.as_str(),
            _ => false,
        };
        Ok(facts.trace.iter().find(led).cloned().unwrap_or_else(value::empty))
    })),
];

/// Makes functions known to an evaluation.
pub(super) fn declare(
    context: &mut Context<'_, '_>,
    facts: &Arc<Facts>,
    budget: &Arc<Budget>,
    names: &[&'static str],
) {
    facts.begin();
    budget::declare(context, budget);
    for function in TABLE.iter().filter(|f| names.contains(&f.name)) {
        let (name, run, facts) = (function.name, function.run, facts.clone());
        let callable = Callable { name, run, facts, budget: budget.clone() };
        context.add_variable_as_val(function_name(function.name), Box::new(callable));
    }
}

/// The least or greatest of the values, or of the one list among them.
fn extreme(args: &[Value], wanted: Ordering) -> Result<Value, String> {
    let items = match args {
        [Value::List(items)] => items.as_slice(),
        items => items,
    };
    let mut found = items.first().ok_or("an empty list has no least and no greatest value")?;
    for item in items {
        match item.partial_cmp(found) {
            Some(order) if order == wanted => found = item,
            Some(_) => {}
            None => return Err("values of different types cannot be compared".into()),
        }
    }
    Ok(found.clone())
}

/// Returns whether a record is a request of the learner's own, with one of these verbs, about an
/// object, made by one of these kubectl commands (any if there is none).
fn is_request(record: &Value, verbs: &str, object: &str, commands: &str) -> bool {
    let command = str_field(record, "command");
    let command = command.strip_prefix("kubectl ").unwrap_or(command);
    at(record, "own") == Some(&Value::Bool(true))
        && verbs.split(' ').any(|v| v == str_field(record, "verb"))
        && (commands.is_empty() || commands.split(',').any(|c| is_command(command, c.trim())))
        && about(str_field(record, "object"), object)
}

/// `create` is also `create configmap`.
fn is_command(command: &str, wanted: &str) -> bool {
    command.strip_prefix(wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// An answer that says why there is none.
fn no_error(answer: Value) -> Result<Value, String> {
    match str_field(&answer, "error") {
        "" => Ok(answer),
        why => Err(why.into()),
    }
}

/// Returns whether a request, or a command in a container, has failed in this way. A list has if
/// each of its answers has, and there is one.
fn has_failed(answer: &Value, wanted: &str) -> Result<Value, String> {
    let one = |answer: &Value| match at(answer, "failure") {
        Some(Value::String(failure)) => Ok(failure.as_str() == wanted),
        _ => Err("that is no answer of http(), fetch() or exec()".to_string()),
    };
    let failed = match answer {
        Value::List(all) if all.is_empty() => false,
        Value::List(all) => all.iter().map(one).collect::<Result<Vec<_>, _>>()?.into_iter().all(|is| is),
        answer => one(answer)?,
    };
    Ok(Value::Bool(failed))
}

/// The counts of a load; of them, too, `error` is a field: the newest failure.
fn told_load(counts: Value) -> Result<Value, String> {
    if at(&counts, "sent").is_some() { Ok(counts) } else { no_error(counts) }
}

/// Returns a container's log, each line with the time at which it was written before it.
fn stamped(facts: &Facts, target: &str) -> Result<Arc<String>, String> {
    match facts.probe(Probe::Logs { target: target.into() }).and_then(no_error)? {
        Value::String(log) => Ok(log),
        _ => Err("the log is no text".into()),
    }
}

/// Returns the lines of a container's log that were written at `since` or later; `None`: all of
/// them.
fn log(facts: &Facts, target: &str, since: Option<jiff::Timestamp>) -> Result<Value, String> {
    let log = stamped(facts, target)?;
    Ok(value::text(&lines_since(&log, since).map(|(_, line)| line).collect::<String>()))
}

/// Returns the lines of a stamped log that were written at `since` or later, each with its time.
fn lines_since(
    log: &str,
    since: Option<jiff::Timestamp>,
) -> impl Iterator<Item = (jiff::Timestamp, &str)> + '_ {
    log.split_inclusive('\n').filter_map(move |line| {
        let (stamp, text) = line.split_once(' ')?;
        let at: jiff::Timestamp = stamp.parse().ok()?;
        since.is_none_or(|since| at >= since).then_some((at, text))
    })
}

fn word(args: &[Value], at: usize) -> Result<&str, String> {
    match args.get(at) {
        Some(Value::String(s)) => Ok(s),
        Some(other) => Err(format!("value {} is to be a string, not {:?}", at + 1, other.type_of())),
        None => Err(format!("value {} is missing", at + 1)),
    }
}

fn one(facts: &Facts, args: &[Value]) -> Result<Option<Object>, String> {
    facts.object(word(args, 0)?, word(args, 1)?, word(args, 2)?)
}

/// Records of a component, verb and object since the step began. Acts of the teacher are none of
/// the learner's story.
fn hops(facts: &Facts, args: &[Value]) -> Result<Vec<Value>, String> {
    let (component, verb, object) = (word(args, 0)?, word(args, 1)?, word(args, 2)?);
    let fits = |t: &&Value| {
        let own = str_field(t, "component") == component || str_field(t, "by_component") == component;
        own && str_field(t, "verb") == verb
            && about(str_field(t, "object"), object)
            && str_field(t, "user") != tap::TEACHER
    };
    Ok(facts.trace.iter().filter(fits).cloned().collect())
}

/// The learner's requests of some verbs (parted by spaces) that came to something, about an object
/// or its scale, the newest first: after a mistake and its correction the correction counts. Looks
/// that the learner did not mean, such as those of the map or of Tab completion, are left out.
fn learners<'a>(facts: &'a Facts, verbs: &'a str, object: &'a str) -> impl Iterator<Item = Value> + 'a {
    let fits = move |t: &&Value| {
        let own = str_field(t, "object");
        tap::is_person(tap::actor(str_field(t, "user"), str_field(t, "impersonator")))
            && at(t, "own") != Some(&Value::Bool(false))
            && verbs.split(' ').any(|v| v == str_field(t, "verb"))
            && about(own.strip_suffix("/scale").unwrap_or(own), object)
            && happened(t)
    };
    facts.trace.iter().rev().filter(fits).cloned()
}

/// When a hop was over, and when it began: what follows from a request may be seen before the
/// answer to it is sent.
fn moment(record: &Value) -> Option<chrono::DateTime<chrono::FixedOffset>> {
    match at(record, "at") {
        Some(Value::Timestamp(at)) => Some(*at),
        _ => None,
    }
}
fn begun(record: &Value) -> Option<chrono::DateTime<chrono::FixedOffset>> {
    match at(record, "took") {
        Some(Value::Duration(took)) => moment(record).map(|at| at - *took),
        _ => moment(record),
    }
}

/// Returns whether a request had an effect. One that was refused or only tried had none.
fn happened(record: &Value) -> bool {
    value::int_field(record, "code") < 400 && at(record, "dry_run") != Some(&Value::Bool(true))
}

/// `Pod` means every pod itself; `Pod/default/web/exec` exactly that; `*` stands for any part.
fn about(object: &str, wanted: &str) -> bool {
    let (have, want): (Vec<&str>, Vec<&str>) = (object.split('/').collect(), wanted.split('/').collect());
    let part = |n: usize| want.get(n).is_none_or(|w| *w == "*" || Some(w) == have.get(n));
    part(0) && part(1) && part(2) && have.get(3) == want.get(3)
}

fn condition(o: &Value, wanted: &str) -> bool {
    let Some(Value::List(all)) = at(o, "status.conditions") else { return false };
    all.iter().any(|c| str_field(c, "type") == wanted && str_field(c, "status") == "True")
}

/// Returns whether an object does its work. `{}` does not.
fn ready(o: &Value) -> Result<bool, String> {
    let int = |path: &str| match at(o, path) {
        Some(Value::Int(n)) => *n,
        _ => 0,
    };
    let wanted = if at(o, "spec.replicas").is_some() { int("spec.replicas") } else { 1 };
    let seen = int("status.observedGeneration") >= int("metadata.generation");
    Ok(match str_field(o, "kind") {
        "" => false,
        "Pod" => condition(o, "Ready") && at(o, "metadata.deletionTimestamp").is_none(),
        "Node" => condition(o, "Ready"),
        "Deployment" => {
            seen && ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"]
                .iter()
                .all(|f| int(&format!("status.{f}")) == wanted)
        }
        "ReplicaSet" | "ReplicationController" => {
            seen && int("status.replicas") == wanted && int("status.readyReplicas") == wanted
        }
        "StatefulSet" => {
            // Pods below the partition stay as they are (upstream: `StatefulSetStatusViewer`).
            let is_current = match int("spec.updateStrategy.rollingUpdate.partition") {
                0 => at(o, "status.currentRevision") == at(o, "status.updateRevision"),
                partition => int("status.updatedReplicas") >= wanted - partition,
            };
            seen && is_current && int("status.replicas") == wanted && int("status.readyReplicas") == wanted
        }
        "DaemonSet" => {
            let all = int("status.desiredNumberScheduled");
            seen && all > 0 && int("status.updatedNumberScheduled") == all && int("status.numberReady") == all
        }
        "Job" => condition(o, "Complete"),
        "PersistentVolumeClaim" => at(o, "status.phase") == Some(&value::text("Bound")),
        "Namespace" => at(o, "status.phase") == Some(&value::text("Active")),
        kind => return Err(format!("ready() knows no readiness of a {kind}")),
    })
}

#[cfg(test)]
mod tests;
