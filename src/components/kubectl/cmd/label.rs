//! label and annotate: changes labels or annotations of objects.

use super::common::{DryRun, Printer};
use super::record::{CHANGE_CAUSE, changes_cause, record};
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::{Info, Options};
use crate::wire::api::MERGE_PATCH;
use api::gostr::quote;
use api::validate::names;
use api::value;
use serde_json::{Map, Value, json};

/// What distinguishes the two verbs: labels and annotations are both notes.
struct Notes {
    /// `labels`
    field: &'static str,
    /// `label`
    one: &'static str,
    /// `labeled`
    done: &'static str,
    /// The field manager, unless `--field-manager` names one.
    manager: &'static str,
    /// The file name in the hint at `-f`.
    file: &'static str,
}

const LABELS: Notes =
    Notes { field: "labels", one: "label", done: "labeled", manager: "kubectl-label", file: "pod" };
const ANNOTATIONS: Notes = Notes {
    field: "annotations",
    one: "annotation",
    done: "annotated",
    manager: "kubectl-annotate",
    file: "rsrc",
};

pub(crate) async fn label(ctx: &Ctx) -> Result<(), Fail> {
    change(ctx, LABELS).await
}

pub(crate) async fn annotate(ctx: &Ctx) -> Result<(), Fail> {
    change(ctx, ANNOTATIONS).await
}

/// Refuses a line that names no objects, and with `--local` one that names objects of the server.
fn sources(ctx: &Ctx, objects: &[String], file: &str) -> Result<(), Fail> {
    let how = format!("-f {file}.yaml or --filename={file}.json");
    match (ctx.flags.is("local"), objects.is_empty(), ctx.names_files()) {
        (true, ..) if ctx.flags.text("dry-run") == "server" => {
            text("cannot specify --local and --dry-run=server - did you mean --dry-run=client?")
        }
        (true, false, _) => text(format!("can only use local files by {how} when --local=true is set")),
        (true, true, false) => text(format!("one or more files must be specified as {how}")),
        (false, true, false) => {
            text("one or more resources must be specified as <resource> <name> or <resource>/<name>")
        }
        _ => Ok(()),
    }
}

/// Pairs to set and keys to remove.
struct Wanted {
    set: Vec<(String, String)>,
    remove: Vec<String>,
}

impl Wanted {
    /// True if this key is set or removed.
    fn names(&self, key: &str) -> bool {
        self.set.iter().any(|(k, _)| k == key) || self.remove.iter().any(|k| k == key)
    }
}

fn is_change(word: &str) -> bool {
    (word.contains('=') && !word.starts_with('=')) || (word.ends_with('-') && word.len() > 1)
}

fn parse_changes(words: &[String], notes: &Notes) -> Result<Wanted, Fail> {
    let mut wanted = Wanted { set: vec![], remove: vec![] };
    for word in words {
        match word.split_once('=') {
            Some(("", _)) => return text(format!("invalid {} spec: {word}", notes.one)),
            Some((key, given)) => {
                let problems = if notes.field == "labels" { names::label_value(given) } else { vec![] };
                if !problems.is_empty() {
                    return match word.matches('=').count() {
                        1 => text(format!("invalid label value: {}: {}", quote(word), problems.join(";"))),
                        _ => text(format!("invalid label spec: {word}")),
                    };
                }
                // Of two values for one key the last one counts.
                wanted.set.retain(|(known, _)| known != key);
                wanted.set.push((key.into(), given.into()));
            }
            None if word.ends_with('-') => wanted.remove.push(word[..word.len() - 1].to_string()),
            None => return text(format!("unknown {} spec: {word}", notes.one)),
        }
    }
    let both: Vec<&str> = wanted
        .remove
        .iter()
        .filter(|key| wanted.set.iter().any(|(k, _)| k == *key))
        .map(String::as_str)
        .collect();
    if !both.is_empty() {
        return text(match notes.field {
            "labels" => "can not both modify and remove a label in the same command".to_string(),
            _ => format!(
                "can not both modify and remove the following annotation(s) in the same command: {}",
                both.join(", ")
            ),
        });
    }
    Ok(wanted)
}

async fn change(ctx: &Ctx, notes: Notes) -> Result<(), Fail> {
    let dry_run = DryRun::of(ctx)?;
    let printer = Printer::of(ctx, dry_run)?;
    // The first word that is a change ends what names objects.
    let at = ctx.args.iter().position(|a| is_change(a)).unwrap_or(ctx.args.len());
    let (objects, words) = ctx.args.split_at(at);
    if words.iter().any(|w| !is_change(w)) {
        return text(
            "all resources must be specified before ".to_string()
                + notes.one
                + " changes: "
                + words.iter().find(|w| !is_change(w)).map_or("", String::as_str),
        );
    }
    let wanted = parse_changes(words, &notes)?;
    sources(ctx, objects, notes.file)?;
    let list = ctx.flags.is("list");
    if words.is_empty() && !list {
        return text(format!("at least one {} update is required", notes.one));
    }
    if list && !ctx.flags.text("output").is_empty() {
        return text("--list and --output may not be specified together");
    }
    for selector in ["selector", "field-selector"] {
        if ctx.flags.is("all") && !ctx.flags.text(selector).is_empty() {
            return text(format!("cannot set --all and --{selector} at the same time"));
        }
    }
    let options = Options { all_namespaces: ctx.flags.is("all-namespaces"), ..Options::default() };
    let (infos, mut failures) = builder::local_or_there(ctx, objects, options).await?;
    let single = builder::means_one(ctx, objects);
    if !ctx.flags.text("resource-version").is_empty() && (!single || infos.len() > 1) {
        return text("--resource-version may only be used with a single resource");
    }
    for mut info in infos {
        match change_one(ctx, &mut info, &wanted, &notes, dry_run).await {
            Ok(_) if list => show(ctx, &info, &notes, single),
            Ok(operation) => printer.print(ctx, &info.object, operation, true)?,
            Err(fail @ (Fail::Api(_) | Fail::Text(_) | Fail::Many(_))) => failures.push(fail),
            Err(other) => return Err(other),
        }
    }
    Fail::join(failures)
}

/// `--list`
fn show(ctx: &Ctx, info: &Info, notes: &Notes, single: bool) {
    if !single {
        let (kind, group) = (&info.resource.kind, &info.resource.group);
        ctx.line(format!("Listing {} for {kind}.{group}/{}:", notes.field, info.name));
    }
    let indent = if single { "" } else { " " };
    let mut pairs: Vec<String> = value::pairs(&info.object, &format!("metadata.{}", notes.field))
        .map(|(k, v)| format!("{indent}{k}={v}"))
        .collect();
    pairs.sort();
    pairs.iter().for_each(|p| ctx.line(p));
}

/// Refuses to change notes that have another value, as without `--overwrite`.
///
/// # Errors
/// [`Fail::Text`] or [`Fail::Many`] with every such note.
fn check_conflicts(there: &Map<String, Value>, wanted: &Wanted, notes: &Notes) -> Result<(), Fail> {
    let conflicts: Vec<String> = wanted
        .set
        .iter()
        // The cause of a change is about the last change only.
        .filter(|(key, _)| notes.field == "labels" || key != CHANGE_CAUSE)
        .filter_map(|(key, given)| {
            let old = there.get(key).and_then(Value::as_str).filter(|old| old != given)?;
            Some(format!("'{key}' already has a value ({old})"))
        })
        .collect();
    if notes.field == "labels" {
        let each = conflicts.iter().map(|one| Fail::Text(format!("{one}, and --overwrite is false")));
        return Fail::join(each.collect());
    }
    match conflicts.is_empty() {
        true => Ok(()),
        false => text(format!(
            "--overwrite is false but found the following declared annotation(s): {}",
            conflicts.join("; ")
        )),
    }
}

/// Returns the notes that change, and those that go as null. Notes which have the wanted value are
/// left out. A label that is to go and is not there is named, except where nothing is sent
/// (`here`).
fn patch_of(
    ctx: &Ctx,
    there: &Map<String, Value>,
    wanted: &Wanted,
    notes: &Notes,
    here: bool,
) -> Map<String, Value> {
    let mut patch = Map::new();
    for key in &wanted.remove {
        if there.contains_key(key) {
            patch.insert(key.clone(), Value::Null);
        } else if notes.field == "labels" && !here {
            ctx.line(format!("label {} not found.", quote(key)));
        }
    }
    for (key, given) in &wanted.set {
        if there.get(key).and_then(Value::as_str) != Some(given) {
            patch.insert(key.clone(), given.clone().into());
        }
    }
    patch
}

/// Changes the notes of one object, on the server or `here`. Returns what kubectl says was done.
async fn change_one(
    ctx: &Ctx,
    info: &mut Info,
    wanted: &Wanted,
    notes: &Notes,
    dry_run: DryRun,
) -> Result<&'static str, Fail> {
    let path = format!("metadata.{}", notes.field);
    let there: Map<String, Value> = value::map(&info.object, &path).cloned().unwrap_or_default();
    if !ctx.flags.is("overwrite") {
        check_conflicts(&there, wanted, notes)?;
    }
    // With `--list` nothing is written, whatever changes stand beside it.
    let here = dry_run == DryRun::Client || ctx.flags.is("local") || ctx.flags.is("list");
    let patch = patch_of(ctx, &there, wanted, notes, here);
    // As in kubectl a map that was not there becomes an empty one, which counts as a change.
    let is_changed = !patch.is_empty() || value::at(&info.object, &path).is_null();
    let mut body = json!({});
    if is_changed {
        value::put(&mut body, &path, patch);
    }
    let version = ctx.flags.text("resource-version");
    if !version.is_empty() {
        value::put(&mut body, "metadata.resourceVersion", version);
    }
    // As in kubectl a cause that the line itself sets or removes is not written over.
    let is_own = notes.field == "annotations" && wanted.names(CHANGE_CAUSE);
    let recorded = !here && !is_own && changes_cause(ctx, &info.object);
    if recorded {
        record(ctx, &mut body);
    }
    let shrinks = shrinks(&info.object, &body);
    if here {
        api::patch::merge(&mut info.object, &body);
    } else {
        // Also without a change: a user who may not write gets the server's refusal.
        let manager = match ctx.flags.text("field-manager") {
            "" => notes.manager,
            named => named,
        };
        let mut query = vec![("fieldManager", manager)];
        dry_run.query(&mut query);
        info.object =
            ctx.api().await?.patch(&info.path(), &query, MERGE_PATCH, body.to_string().into()).await?;
    }
    Ok(match notes.field {
        "labels" if !ctx.flags.is("overwrite") && shrinks => "unlabeled",
        "labels" if !is_changed && !recorded => "not labeled",
        _ => notes.done,
    })
}

/// True if an object takes fewer bytes as JSON when it is patched, which kubectl calls `unlabeled`
/// (`updateDataChangeMsg`).
fn shrinks(object: &Value, patch: &Value) -> bool {
    let mut patched = object.clone();
    api::patch::merge(&mut patched, patch);
    patched.to_string().len() < object.to_string().len()
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, at, config_map, refusal};
    use serde_json::json;

    async fn with(names: &[&str]) -> Server {
        let server = Server::start().await;
        for name in names {
            server.hold(&at(name), config_map(name, json!({"x": "1", "y": "1"})));
        }
        server
    }

    fn writes(server: &Server) -> usize {
        server.requests().iter().filter(|a| a.method != "GET").count()
    }

    #[tokio::test]
    async fn a_list_shows_changes_and_writes_none() {
        let server = with(&["a"]).await;
        let result = server.kubectl(&["label", "cm", "a", "b=c", "y-", "z-", "--list"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "b=c\nx=1\n"), "{result:?}");
        let result = server.kubectl(&["annotate", "cm", "a", "b=c", "--list"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "b=c\n"), "{result:?}");
        // One object that a selector found is named; one that the user named is not.
        let result = server.kubectl(&["label", "cm", "-l", "x", "--list"]).await;
        assert_eq!(result.out, "Listing labels for ConfigMap./a:\n x=1\n y=1\n", "{result:?}");
        let result = server.kubectl(&["label", "cm", "a", "--list", "-o", "json"]).await;
        assert!(result.err.contains("--list and --output may not be specified together"), "{result:?}");
        assert_eq!((result.code, writes(&server)), (1, 0));
    }

    #[tokio::test]
    async fn a_user_who_may_not_write_is_refused_without_a_change_too() {
        let server = Server::start_with(|request| {
            (request.method == "PATCH").then(|| refusal(403, "Forbidden", "you may not"))
        })
        .await;
        server.hold(&at("a"), config_map("a", json!({"x": "1"})));
        let result = server.kubectl(&["label", "cm", "a", "x=1"]).await;
        let want = "Error from server (Forbidden): you may not\n";
        assert_eq!((result.code, result.out.as_str(), result.err.as_str()), (1, "", want));
    }

    /// The patches are those of kubectl.
    #[tokio::test]
    async fn without_a_change_the_patch_is_empty() {
        let server = with(&["a"]).await;
        for (line, want) in [
            (&["label", "cm", "a", "x=1"][..], json!({})),
            (&["annotate", "cm", "a", "z-"], json!({"metadata": {"annotations": {}}})),
            (
                &["label", "cm", "a", "x=1", "--resource-version=1"],
                json!({"metadata": {"resourceVersion": "1"}}),
            ),
        ] {
            server.kubectl(line).await;
            let sent = server.requests().into_iter().rfind(|a| a.method == "PATCH").expect("a patch");
            assert_eq!(sent.body, want, "{line:?}");
        }
    }

    #[tokio::test]
    async fn local_changes_are_of_files_alone() {
        let server = Server::away().await;
        for (line, why) in [
            (
                &["label", "cm", "a", "x=y", "--local"][..],
                "can only use local files by -f pod.yaml or --filename=pod.json when --local=true is set",
            ),
            (
                &["annotate", "cm", "a", "x=y", "--local"],
                "can only use local files by -f rsrc.yaml or --filename=rsrc.json when --local=true is set",
            ),
            (
                &["label", "x=y", "--local"],
                "one or more files must be specified as -f pod.yaml or --filename=pod.json",
            ),
            (
                &["annotate", "x=y", "--local", "-f", "a.yaml", "--dry-run=server"],
                "cannot specify --local and --dry-run=server - did you mean --dry-run=client?",
            ),
        ] {
            let result = server.kubectl(line).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")), "{line:?}");
        }
        let long = format!("x={}!", "y".repeat(63));
        let result = server.kubectl(&["label", "cm", "a", &long]).await;
        assert!(result.err.contains("must be no more than 63 bytes;a valid label must be"), "{result:?}");
    }

    #[tokio::test]
    async fn labels_that_shrink_without_overwrite_are_unlabeled() {
        for (changes, want) in [
            ("x-", "unlabeled"),
            ("x- --overwrite", "labeled"),
            ("x- z=1", "labeled"),
            ("x- z=", "unlabeled"),
            ("x- y- longer=label", "labeled"),
        ] {
            let server = with(&["a"]).await;
            let words: Vec<&str> = ["label", "cm", "a"].into_iter().chain(changes.split(' ')).collect();
            let result = server.kubectl(&words).await;
            assert_eq!((result.code, result.out), (0, format!("configmap/a {want}\n")), "{changes}");
        }
    }

    #[tokio::test]
    async fn of_two_values_for_one_key_the_last_counts() {
        for (verb, field) in [("label", "labels"), ("annotate", "annotations")] {
            let server = with(&["a"]).await;
            for values in [["z=1", "z=2"], ["z=3", "z=2"]] {
                let line = [&[verb, "cm", "a"][..], &values, &["--overwrite=false"]].concat();
                let result = server.kubectl(&line).await;
                assert_eq!(result.code, 0, "{line:?}: {result:?}");
                let object = server.object(&at("a")).unwrap();
                assert_eq!(object["metadata"][field]["z"], "2", "{line:?}");
            }
        }
    }

    #[tokio::test]
    async fn one_version_is_for_one_object() {
        let server = with(&["a", "b"]).await;
        for verb in ["label", "annotate"] {
            for objects in
                [&["cm", "a", "b"][..], &["cm/a", "cm/b"], &["cm", "a", "missing"], &["cm", "--all"]]
            {
                let args = [&[verb], objects, &["n=1", "--resource-version=1"]].concat();
                let result = server.kubectl(&args).await;
                let want = "error: --resource-version may only be used with a single resource\n";
                assert_eq!((result.code, result.err.as_str(), writes(&server)), (1, want, 0), "{args:?}");
            }
        }
        let result = server.kubectl(&["label", "cm", "a", "n=1", "--resource-version=1"]).await;
        assert_eq!((result.code, writes(&server)), (0, 1), "{result:?}");
    }

    #[tokio::test]
    async fn every_conflict_is_reported_and_a_cause_is_none() {
        let server = with(&["a"]).await;
        let result = server.kubectl(&["label", "cm", "a", "x=2", "y=2"]).await;
        let want = "'x' already has a value (1), and --overwrite is false\n\
                    'y' already has a value (1), and --overwrite is false\n";
        assert_eq!((result.code, result.err.as_str()), (1, want), "{result:?}");
        for cause in ["first", "second"] {
            let result = server
                .kubectl(&["annotate", "cm", "a", &format!("kubernetes.io/change-cause={cause}")])
                .await;
            assert_eq!(result.code, 0, "{result:?}");
        }
        assert_eq!(
            server.object(&at("a")).unwrap()["metadata"]["annotations"]["kubernetes.io/change-cause"],
            "second"
        );
    }
}
