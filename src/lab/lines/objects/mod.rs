//! The objects that lines of a lesson or lab name: which they make, delete or change, and in which
//! namespaces. These belong to the lesson, and not to the learner's own work.

use crate::format::lesson::Lesson;
use crate::lines::{self, Act};
use api::kinds::{self, Kind};
use api::status::qualified;
use cluster::guest::LESSON_NAMESPACE;
use kubectl::{manifest, parse};
use serde_json::Value;
use std::collections::BTreeSet;

#[cfg(test)]
mod tests;
mod touched;

pub(crate) use touched::touched;

/// Letters and digits of the names that controllers draw.
const DRAWN: &str = "bcdfghjklmnpqrstvwxz2456789";

/// The name under which an object is noted: `deployments.apps/default/web`. `resource` is the
/// qualified plural.
pub(crate) fn key(resource: &str, namespace: &str, name: &str) -> String {
    format!("{resource}/{namespace}/{name}")
}

/// The qualified plural of a recorded object. Records name the plural alone; the group is in the
/// object itself, or, without a body, the group of the built-in kind with that plural.
pub(crate) fn resource(plural: &str, body: Option<&[u8]>) -> String {
    let body: Option<Value> = body.and_then(|body| serde_json::from_slice(body).ok());
    let written = body.as_ref().and_then(|body| body["apiVersion"].as_str());
    let group = match written {
        Some(version) => version.split_once('/').map_or("", |(group, _)| group),
        None => kinds::stored(plural).map_or("", |k| k.group),
    };
    qualified(group, plural)
}

/// The lines of a lesson's setup, and of the setups and solutions of its steps.
pub(crate) fn parts_of(lesson: &Lesson) -> impl Iterator<Item = &Vec<String>> {
    let steps = lesson.steps.iter().flat_map(|step| [&step.setup, &step.solution]);
    std::iter::once(&lesson.setup).chain(steps)
}

/// Keys of the objects that the lines of a lesson's setup and solutions make or delete.
pub(crate) fn of_lesson(lesson: &Lesson) -> BTreeSet<String> {
    parts_of(lesson).flat_map(|lines| made_or_deleted(lines)).collect()
}

/// Keys of the objects that these lines make or delete.
pub(crate) fn made_or_deleted(lines: &[String]) -> BTreeSet<String> {
    lines::commands(lines).into_iter().flat_map(|(line, input)| names_in(&line, &input)).collect()
}

/// Keys of the objects that these lines make and that must not be there before, as far as they name
/// them.
pub(crate) fn made_new(lines: &[String]) -> BTreeSet<String> {
    let all = lines::commands(lines).into_iter().filter(|(line, _)| !line.starts_with('-') && !deletes(line));
    all.flat_map(|(line, input)| names_in(&line, &input)).collect()
}

/// Keys of the objects that these lines make, whether they may be there before or not.
pub(crate) fn made(lines: &[String]) -> BTreeSet<String> {
    let all = lines::commands(lines).into_iter().filter(|(line, _)| !deletes(line));
    all.flat_map(|(line, input)| names_in(&line, &input)).collect()
}

/// Returns whether a line is kubectl's `delete`.
fn deletes(line: &str) -> bool {
    parsed(line).is_some_and(|parsed| Act::of(parsed.verb) == Some(Act::Deletes))
}

/// The namespaces in which a lesson is played. `None`: it changes more than namespaces hold.
pub(crate) fn places(lesson: &Lesson) -> Option<BTreeSet<String>> {
    let all = parts_of(lesson).map(|lines| namespaces(lines)).collect::<Option<Vec<_>>>()?;
    // The learner may do it otherwise, in the namespace that every lesson calls its own.
    Some(all.into_iter().flatten().chain([LESSON_NAMESPACE.to_string()]).collect())
}

/// Returns whether a way back to a step of the lesson takes back the objects that these lines
/// change. It is bounded by the namespaces in which the lesson is played, unless a solution changes
/// more than that.
///
/// ```text
/// a lesson in `default`               label node --all a=b    no: the nodes keep their label
/// one whose solution cordons a node   label node --all a=b    yes: everything goes back
/// ```
pub fn takes_back(lesson: &Lesson, lines: &[String]) -> bool {
    let Some(places) = places(lesson) else { return true };
    namespaces(lines).is_some_and(|changed| changed.is_subset(&places))
}

/// Words of Ropewalk's that change no object, or only what a way back does not restore.
const HARMLESS: [&str; 9] = ["drill", "fault", "lab", "lesson", "map", "progress", "trace", "what", "why"];
/// Words of Ropewalk's that change objects of every namespace.
const WHOLE: [&str; 4] = ["etcdctl", "redo", "rewind", "undo"];

/// The namespaces outside which these lines change nothing. `None`: they change objects that are in
/// no namespace, or in namespaces that are not known.
pub(crate) fn namespaces(lines: &[String]) -> Option<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for (line, input) in lines::commands(lines) {
        for command in lines::commands_in(line.trim_start_matches('-').trim()) {
            let command = behind_ropewalk(&command);
            let first = command.first().map_or("", String::as_str);
            if WHOLE.contains(&first) {
                return None;
            }
            let words = match lines::cluster_program(command) {
                _ if HARMLESS.contains(&first) => continue,
                Some(("kubectl", words)) => words,
                Some(_) => return None,
                None => continue,
            };
            let Ok(parsed) = parse::parse(words) else { return None };
            let act = Act::of(parsed.verb);
            match act {
                Some(Act::Looks) => continue,
                Some(Act::ChangesNodes | Act::Signs) => return None,
                _ if parsed.flags.is("all-namespaces") => return None,
                _ => {}
            }
            let keys = keys(&parsed, &input);
            let kind = kind_about(&parsed);
            for key in &keys {
                match key.split('/').collect::<Vec<_>>().as_slice() {
                    ["namespaces", "", name] => found.insert(name.to_string()),
                    [_, "", _] => return None,
                    [_, namespace, _] => found.insert(namespace.to_string()),
                    _ => return None,
                };
            }
            if !keys.is_empty() {
                continue;
            }
            if kind.is_some_and(|kind| !kind.namespaced) && act != Some(Act::Creates) {
                found.extend(namespaces_named(&parsed.args)?);
                continue;
            }
            found.insert(namespace_of(&parsed).to_string());
        }
    }
    Some(found)
}

/// Returns the kind that a command names in its arguments; of several, one that is in no namespace.
///
/// ```text
/// label pods,nodes --all a=b      Node
/// label pod/web node/n1 a=b       Node
/// exec web -- node server.js      none: these are words of the container
/// ```
fn kind_about(parsed: &parse::Parsed) -> Option<&'static Kind> {
    if Act::of(parsed.verb) == Some(Act::Reaches) {
        return None; // `web` of `exec web` is a pod
    }
    let args = &parsed.args[..parsed.dash.unwrap_or(parsed.args.len())];
    let kinds = |word: &String| -> Vec<&'static Kind> {
        let named = word.split('/').next().unwrap_or_default();
        named.split(',').filter_map(kind_of).collect()
    };
    let listed = args.iter().map(kinds).find(|kinds| !kinds.is_empty()).unwrap_or_default();
    let with_names = naming(args).filter(|word| word.contains('/')).flat_map(kinds);
    listed.into_iter().chain(with_names).min_by_key(|kind| kind.namespaced)
}

/// The words of a command without a `ropewalk` before them, which runs kubectl and etcdctl, too.
fn behind_ropewalk(words: &[String]) -> &[String] {
    match words {
        [first, rest @ ..] if first == "ropewalk" => rest,
        words => words,
    }
}

/// The namespaces that stand behind a verb as `namespace shop` or `namespace/shop`. `None`: it is
/// about other objects, too, or chooses namespaces by a selector.
fn namespaces_named(args: &[String]) -> Option<Vec<String>> {
    let is_namespaces = |word: &str| kind_of(word).is_some_and(|kind| kind.plural == "namespaces");
    let mut words = naming(args).peekable();
    let names: Vec<String> = match words.peek()?.contains('/') {
        true => words
            .map(|word| word.split_once('/').filter(|(kind, _)| is_namespaces(kind)))
            .map(|named| named.map(|(_, name)| name.to_string()))
            .collect::<Option<_>>()?,
        false => {
            words.next().filter(|kind| is_namespaces(kind))?;
            words.cloned().collect()
        }
    };
    (!names.is_empty()).then_some(names)
}

/// Returns the arguments that name kinds and objects. What is set (`a=b`) or taken away (`a-`) is
/// no name.
fn naming(args: &[String]) -> impl Iterator<Item = &String> {
    args.iter().filter(|word| !word.contains('=') && !word.ends_with('-'))
}

/// Returns the namespace in which a command works: the one that it names, else `default`.
fn namespace_of(parsed: &parse::Parsed) -> &str {
    match parsed.flags.text("namespace") {
        "" => LESSON_NAMESPACE,
        named => named,
    }
}

fn names_in(line: &str, input: &str) -> Vec<String> {
    parsed(line).map(|parsed| keys(&parsed, input)).unwrap_or_default()
}

/// The first command of a line, if it is one of kubectl's, also behind `timeout 5` or a variable.
pub(crate) fn parsed(line: &str) -> Option<parse::Parsed> {
    let line = lines::first_command(line.trim_start_matches('-').trim());
    let words = shlex::split(line).unwrap_or_default();
    // What a command prints is not known before it runs.
    let is_printed = |word: &str| word.contains("$(") || word.contains('`');
    let words: Vec<String> = words.into_iter().take_while(|word| !is_printed(word)).collect();
    let (_, words) = lines::cluster_program(&words).filter(|(program, _)| *program == "kubectl")?;
    parse::parse(words).ok()
}

/// Keys of the objects that a command makes or deletes. `input`: the manifest that it reads.
fn keys(parsed: &parse::Parsed, input: &str) -> Vec<String> {
    let namespace = namespace_of(parsed);
    let noted = |kind: &Kind, namespace: &str, name: &str| {
        key(&kind.qualified(), if kind.namespaced { namespace } else { "" }, name)
    };
    if parsed.flags.changed("filename") {
        let found = manifest::documents(input.as_bytes()).unwrap_or_default();
        let of = |object: &Value| {
            let text = |at: &str| object.pointer(at).and_then(Value::as_str);
            let (group, version) = text("/apiVersion")?.split_once('/').unwrap_or(("", text("/apiVersion")?));
            let kind = kinds::find(group, version, text("/kind")?)?;
            Some(noted(kind, text("/metadata/namespace").unwrap_or(namespace), text("/metadata/name")?))
        };
        return found.iter().flat_map(flat).filter_map(of).collect();
    }
    let args = &parsed.args[..parsed.dash.unwrap_or(parsed.args.len())];
    let given = || args.iter().map(String::as_str);
    let of_word = |word: &str| kind_of(word).into_iter();
    match parsed.verb.path.split(' ').collect::<Vec<_>>().as_slice() {
        ["run"] => {
            let exposed = parsed.flags.is("expose").then_some("services");
            let kinds: Vec<&'static Kind> = ["pods"].into_iter().chain(exposed).filter_map(kind_of).collect();
            given().take(1).flat_map(|name| kinds.iter().map(move |k| (*k, name))).collect::<Vec<_>>()
        }
        // Called as what they stand for, or as the flag says.
        [verb @ ("autoscale" | "expose")] => {
            let named = match parsed.flags.text("name") {
                "" => args.last().map(|word| word.rsplit('/').next().unwrap_or(word)),
                name => Some(name),
            };
            let made = if *verb == "expose" { "services" } else { "horizontalpodautoscalers" };
            named.into_iter().flat_map(|name| of_word(made).map(move |k| (k, name))).collect()
        }
        ["create", kind, ..] => {
            args.last().into_iter().flat_map(|n| of_word(kind).map(move |k| (k, n.as_str()))).collect()
        }
        ["delete"] if given().any(|word| word.contains('/')) => given()
            .filter_map(|word| word.split_once('/'))
            .flat_map(|(kind, name)| of_word(kind).map(move |k| (k, name)))
            .collect(),
        ["delete"] => {
            let kinds = given().take(1).flat_map(|word| word.split(',')).filter_map(kind_of);
            kinds.flat_map(|kind| given().skip(1).map(move |name| (kind, name))).collect()
        }
        _ => vec![],
    }
    .into_iter()
    .map(|(kind, name)| noted(kind, namespace, name))
    .collect()
}

/// The objects of a document: itself, or the items of a `List`, which kubectl applies one by one.
fn flat(document: &Value) -> Vec<&Value> {
    let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    match document["items"].as_array().filter(|_| is_list) {
        Some(items) => items.iter().flat_map(flat).collect(),
        None => vec![document],
    }
}

/// The built-in kind that kubectl understands by a word: `deploy`, `deployments.apps` or
/// `deployments.v1.apps`.
pub(crate) fn kind_of(word: &str) -> Option<&'static Kind> {
    let (name, group) = word.split_once('.').map_or((word, None), |(name, group)| (name, Some(group)));
    let name = name.to_lowercase();
    kinds::all().iter().filter(|k| k.is_stored()).find(|k| {
        let called = k.plural == name || k.singular == name || k.short_names.contains(&name.as_str());
        let is_its = |group: &str| group == k.group || group.split_once('.') == Some((k.version, k.group));
        called && group.is_none_or(is_its)
    })
}

/// The owners from which a controller would have made an object of this name: qualified plurals and
/// names.
pub(crate) fn owners(resource: &str, name: &str) -> Vec<(&'static str, String)> {
    let drawn = |text: &str, long: std::ops::RangeInclusive<usize>| {
        long.contains(&text.len()) && text.chars().all(|c| DRAWN.contains(c))
    };
    let parent = |name: &str, long: std::ops::RangeInclusive<usize>| {
        name.rsplit_once('-').filter(|(_, tail)| drawn(tail, long)).map(|(head, _)| head.to_string())
    };
    let deployment = |set: &str| parent(set, 6..=10).map(|name| ("deployments.apps", name));
    match resource {
        "replicasets.apps" => deployment(name).into_iter().collect(),
        "pods" => {
            let Some(set) = parent(name, 5..=5) else { return vec![] };
            deployment(&set).into_iter().chain([("replicasets.apps", set.clone())]).collect()
        }
        _ => vec![],
    }
}
