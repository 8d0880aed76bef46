//! Steps that several verbs share: dry runs, validation, `--raw`, printing of outcomes, and the
//! annotation of `apply`.

use crate::beside;
use crate::builder::{self, Selection};
use crate::ctx::Ctx;
use crate::error::{Fail, go_io, text};
use crate::flag::parse_bool;
use crate::info::{Info, Options};
use crate::print::formats::{self, Format};
use crate::print::json;
use crate::wire::api::{STRATEGIC_PATCH, encoded};
use api::gostr::quote;
use api::labels::{Op, Selector};
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The annotation in which kubectl keeps the configuration that was applied last.
pub(crate) const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Whether a change is made, or only computed here or on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DryRun {
    No,
    Client,
    Server,
}

impl DryRun {
    /// Reads `--dry-run`, which may also be a boolean; that is deprecated. An empty one, which an
    /// unset variable leaves, is refused: the user may have meant to change nothing. A verb without
    /// this flag does change things. Source: kubectl's `GetDryRunStrategy`.
    ///
    /// # Errors
    /// [`Fail::Text`] in kubectl's words: it has another value.
    pub(crate) fn of(ctx: &Ctx) -> Result<DryRun, Fail> {
        // The warning in the form of klog, with zeros for the time and the process.
        let warn = |line: u32, deprecated: &str, instead: &str| {
            ctx.note(format!(
                "W0000 00:00:00.000000       1 helpers.go:{line}] --dry-run{deprecated} and can be replaced with --dry-run={instead}."
            ));
        };
        match ctx.flags.text("dry-run") {
            "none" => Ok(DryRun::No),
            "" if !ctx.flags.changed("dry-run") => Ok(DryRun::No),
            "server" => Ok(DryRun::Server),
            "client" => Ok(DryRun::Client),
            "unchanged" => {
                warn(719, " is deprecated", "client");
                Ok(DryRun::Client)
            }
            other => match parse_bool(other) {
                Some(true) => {
                    warn(733, &format!("={other} is deprecated (boolean value)"), "client");
                    Ok(DryRun::Client)
                }
                Some(false) => {
                    warn(736, &format!("={other} is deprecated (boolean value)"), "none");
                    Ok(DryRun::No)
                }
                None => text(format!(
                    "Invalid dry-run value ({other}). Must be \"none\", \"server\", or \"client\"."
                )),
            },
        }
    }

    /// `created`, `created (dry run)`, `created (server dry run)`
    pub(crate) fn suffixed(self, operation: &str) -> String {
        match self {
            DryRun::No => operation.to_string(),
            DryRun::Client => format!("{operation} (dry run)"),
            DryRun::Server => format!("{operation} (server dry run)"),
        }
    }

    /// Adds the parameter of a server-side dry run.
    pub(crate) fn query<'a>(self, query: &mut Vec<(&'a str, &'a str)>) {
        if self == DryRun::Server {
            query.push(("dryRun", "All"));
        }
    }
}

/// As [`builder::objects`], but an object of a file is what the file says: it need not be on the
/// server. Source: kubectl's builder, which reads such an object anew for verbs that say `Latest`.
pub(crate) async fn objects_as_given(
    ctx: &Ctx,
    selection: Selection,
) -> Result<(Vec<Info>, Vec<Fail>), Fail> {
    let (mut infos, selection) = match selection {
        Selection::Objects(infos, unread) => {
            let (of_files, named): (Vec<Info>, Vec<Info>) =
                infos.into_iter().partition(|info| !info.source.is_empty());
            (of_files, Selection::Objects(named, unread))
        }
        lists => (vec![], lists),
    };
    let (named, failures) = builder::objects(ctx, selection).await?;
    infos.extend(named);
    Ok((infos, failures))
}

/// Sends a strategic merge patch, as the manager of `--field-manager`, if any, and returns the
/// object that the server answers.
pub(crate) async fn strategic_patch(
    ctx: &Ctx,
    info: &Info,
    dry_run: DryRun,
    patch: &Value,
) -> Result<Value, Fail> {
    let mut query = vec![];
    dry_run.query(&mut query);
    let manager = ctx.flags.text("field-manager");
    if !manager.is_empty() {
        query.push(("fieldManager", manager));
    }
    ctx.api().await?.patch(&info.path(), &query, STRATEGIC_PATCH, encoded(patch)).await
}

/// How strictly the server checks the fields of a written object: `--validate`, which may also be a
/// boolean. Source: kubectl's `GetValidationDirective`.
///
/// # Errors
/// [`Fail::Text`] in kubectl's words: it has another value.
pub(crate) fn validation(ctx: &Ctx) -> Result<&'static str, Fail> {
    let given = ctx.flags.text("validate");
    match (given, parse_bool(given)) {
        ("strict", _) | (_, Some(true)) => Ok("Strict"),
        ("warn", _) => Ok("Warn"),
        ("ignore", _) | (_, Some(false)) => Ok("Ignore"),
        ("", _) if !ctx.flags.changed("validate") => Ok("Strict"), // a verb without this flag
        _ => text(format!(
            "invalid - validate option {}; must be one of: strict (or true), warn, ignore (or false)",
            quote(given)
        )),
    }
}

/// The time limit of the wait for a pod that is not there yet, or does not run yet.
pub(crate) fn pod_running_timeout(ctx: &Ctx) -> Result<Duration, Fail> {
    const TOO_SHORT: &str = "--pod-running-timeout must be higher than zero";
    match ctx.flags.duration("pod-running-timeout") {
        Duration::ZERO if matches!(ctx.verb, "logs" | "cluster-info dump") => text(TOO_SHORT),
        Duration::ZERO => ctx.usage(TOO_SHORT),
        limit => Ok(limit),
    }
}

/// Refuses what does not fit to `--raw`: files from the web, the flags `-R` and `-o`, and a value
/// that is no path.
pub(crate) fn refuse_beside_raw(ctx: &Ctx, files: &[String]) -> Result<(), Fail> {
    if files.iter().any(|file| file.starts_with("http://") || file.starts_with("https://")) {
        return text("--raw cannot read from a url");
    }
    if ctx.flags.is("recursive") {
        return text("--raw and --recursive are mutually exclusive");
    }
    if !ctx.flags.text("output").is_empty() {
        return text("--raw and --output are mutually exclusive");
    }
    let path = ctx.flags.text("raw");
    if !path.starts_with('/') {
        let path = quote(path);
        return text(format!("--raw must be a valid URL path: parse {path}: invalid URI for request"));
    }
    Ok(())
}

/// `--raw`: sends one file (or standard input) as it is and prints the answer as it is.
pub(crate) async fn send_raw(
    ctx: &Ctx,
    method: http::Method,
    path: &str,
    files: &[String],
) -> Result<(), Fail> {
    let [file] = files else { return text("--raw can only use a single local file or stdin") };
    refuse_beside_raw(ctx, files)?;
    let body = match file.as_str() {
        "-" => ctx.read_stdin().await?,
        file => {
            std::fs::read(ctx.path(file)).map_err(|e| Fail::Text(format!("open {file}: {}", go_io(&e))))?
        }
    };
    ask_raw(ctx, method, path, body.into()).await
}

/// Sends a request of `--raw`, and prints the answer as it comes.
pub(crate) async fn ask_raw(
    ctx: &Ctx,
    method: http::Method,
    path: &str,
    body: bytes::Bytes,
) -> Result<(), Fail> {
    let mut answer = ctx.api().await?.raw(method, path, body).await?.into_body();
    while let Some(frame) = answer.frame().await {
        if let Some(data) = frame?.data_ref() {
            ctx.output.bytes(data);
            ctx.output.flush().await;
        }
    }
    Ok(())
}

/// Prints objects as `-o` says, else `KIND/NAME OPERATION`.
pub(crate) struct Printer {
    format: Option<Format>,
    dry_run: DryRun,
}

impl Printer {
    pub(crate) fn of(ctx: &Ctx, dry_run: DryRun) -> Result<Printer, Fail> {
        Ok(Printer { format: formats::of(ctx, false)?, dry_run })
    }

    /// `sorted`: the object's fields came from a map, not from one of Go's structs.
    pub(crate) fn print(&self, ctx: &Ctx, object: &Value, operation: &str, sorted: bool) -> Result<(), Fail> {
        match &self.format {
            Some(format) => ctx.out(format.print(object, sorted)?),
            None => ctx.line(format!("{} {}", formats::name_of(object), self.dry_run.suffixed(operation))),
        }
        Ok(())
    }
}

/// `metadata` of a new object, in the order of Go's struct.
pub(crate) fn metadata(name: &str, namespace: Option<&str>, labels: &[(&str, &str)]) -> Value {
    let mut map = Map::new();
    if !name.is_empty() {
        map.insert("name".into(), name.into());
    }
    if let Some(namespace) = namespace {
        map.insert("namespace".into(), namespace.into());
    }
    if !labels.is_empty() {
        map.insert("labels".into(), labels.iter().map(|(k, v)| (k.to_string(), json!(v))).collect());
    }
    Value::Object(map)
}

/// The labels of `a=b,c=d`. Source: kubectl's `pkg/generate/generate.go`, `ParseLabels`.
pub(crate) fn label_pairs(given: &str) -> Result<Vec<(&str, &str)>, Fail> {
    let pairs = given.split(',').map(|pair| match pair.split('=').collect::<Vec<&str>>()[..] {
        ["", _] => text("unexpected empty label key"),
        [key, text_of] => Ok((key, text_of)),
        _ => text(format!("unexpected label spec: {pair}")),
    });
    pairs.collect()
}

/// Reads a selector that becomes a `metav1.LabelSelector`, which is less than a server's lists
/// take. Source: apimachinery's `ParseToLabelSelector`.
///
/// # Errors
/// [`Fail::Text`]: it is no selector, or has `!=`, `>` or `<`.
pub(crate) fn label_selector(given: &str) -> Result<Selector, Fail> {
    let selector = Selector::parse(given)
        .map_err(|why| Fail::Text(format!("couldn't parse the selector string {}: {why}", quote(given))))?;
    for requirement in &selector.0 {
        match requirement.op {
            Op::GreaterThan => return text("\"gt\" isn't supported in label selectors"),
            Op::LessThan => return text("\"lt\" isn't supported in label selectors"),
            Op::NotEquals => return text("\"!=\" is not a valid label selector operator"),
            Op::Equals | Op::In | Op::NotIn | Op::Exists | Op::DoesNotExist => {}
        }
    }
    Ok(selector)
}

/// The namespace of a generated object: it has one only if the user named it.
pub(crate) fn enforced(ctx: &Ctx) -> Result<Option<String>, Fail> {
    let (namespace, enforced) = ctx.namespace()?;
    Ok(enforced.then_some(namespace))
}

/// Keeps a configuration in an object's annotation; `sorted` as in [`Printer::print`].
pub(crate) fn annotate_last_applied(object: &mut Value, sorted: bool) {
    let mut bare = object.clone();
    let annotations = api::value::slot_map(&mut bare, "metadata.annotations");
    annotations.shift_remove(LAST_APPLIED);
    if !sorted && annotations.is_empty() {
        api::value::remove(&mut bare, "metadata.annotations");
    }
    let text = if sorted { json::compact(&bare) } else { json::compact_ordered(&bare) } + "\n";
    api::value::slot_map(object, "metadata.annotations").insert(LAST_APPLIED.into(), text.into());
}

/// Keeps a file's configuration in its annotation with `--save-config`, or when the file has such
/// an annotation, which would be out of date from now on.
pub(crate) fn remember(ctx: &Ctx, object: &mut Value) {
    let has_one = api::value::at(object, "metadata.annotations").get(LAST_APPLIED).is_some();
    if has_one || ctx.flags.is("save-config") {
        annotate_last_applied(object, true);
    }
}

/// The last part of a path with `--subresource`: `/status`, or nothing.
pub(crate) fn subresource(ctx: &Ctx) -> String {
    match ctx.flags.text("subresource") {
        "" => String::new(),
        name => format!("/{name}"),
    }
}

/// Reads the subresource `below` of each object that was named, in the object's place. The object
/// itself is not read: a user may have a right to `deployments/scale` alone.
pub(crate) async fn subresources(
    ctx: &Ctx,
    selection: Selection,
    below: &str,
) -> Result<(Vec<Info>, Vec<Fail>), Fail> {
    let (infos, mut failures) = match selection {
        Selection::Objects(infos, unread) => (infos, unread),
        lists => return builder::objects(ctx, lists).await,
    };
    let mut found = vec![];
    for mut info in infos {
        match ctx.api().await?.get(&format!("{}{below}", info.path()), &[]).await {
            Ok(object) => {
                info.object = object;
                found.push(info);
            }
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
            Err(other) => return Err(other),
        }
    }
    Ok((found, failures))
}

/// Warns that an object is being deleted while it is changed.
pub(crate) fn warn_if_deleting(ctx: &Ctx, name: &str, object: &Value) {
    if !api::value::text(object, "metadata.deletionTimestamp").is_empty() {
        ctx.note(format!("Warning: Detected changes to resource {name} which is currently being deleted."));
    }
}

/// Finds what the files or the arguments of a verb name that is about one type. An argument without
/// a type is the name of a `resource`. Source: `ResourceNames` of kubectl's builder.
///
/// Example: for `nodes`, `a` and `no/b` are two nodes, and `cm/c` is a ConfigMap. An empty name,
/// such as an unset variable leaves, is refused when it is read.
///
/// # Errors
/// As [`builder::select`].
pub(crate) async fn select_names(ctx: &Ctx, resource: &str, names: &[String]) -> Result<Selection, Fail> {
    if names.is_empty() {
        return builder::select(ctx, names, Options::default()).await;
    }
    if ctx.names_files() {
        return Err(beside::refusal(ctx, &ctx.flags.list("filename"), true));
    }
    let mut pairs = vec![];
    for name in names {
        pairs.push(match name.contains('/') {
            true => builder::type_and_name(name)?,
            false => (resource, name.as_str()),
        });
    }
    let (namespace, _) = ctx.namespace()?;
    let mut infos = vec![];
    for (kind, name) in pairs {
        infos.push(builder::unread(&ctx.resource(kind).await?, &namespace, name));
    }
    Ok(Selection::Objects(infos, vec![]))
}

/// The one argument of a verb that takes exactly one NAME.
pub(crate) fn one_name(ctx: &Ctx) -> Result<String, Fail> {
    let before_dash = ctx.dash.unwrap_or(ctx.args.len());
    match &ctx.args[..before_dash] {
        [name] => Ok(name.clone()),
        names => ctx.usage(format!("exactly one NAME is required, got {}", names.len())),
    }
}

/// The arguments after `--`, or without it those after the name.
pub(crate) fn rest(ctx: &Ctx) -> Vec<String> {
    ctx.args.get(1..).unwrap_or_default().to_vec()
}
