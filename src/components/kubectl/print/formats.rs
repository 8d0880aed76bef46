//! `-o json|yaml|kyaml|name|jsonpath=…|go-template=…|custom-columns=…`

use super::columns::Columns;
use super::jsonpath::JsonPath;
use super::template::Template;
use super::{json, kyaml, yaml};
use crate::ctx::Ctx;
use crate::error::{Fail, go_io, text};
use crate::output::Output;
use api::gostr::quote;
use api::value;
use serde_json::{Value, json};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Formats that every printing verb knows.
const COMMON: &[&str] = &[
    "go-template",
    "go-template-file",
    "json",
    "jsonpath",
    "jsonpath-as-json",
    "jsonpath-file",
    "kyaml",
    "name",
    "template",
    "templatefile",
    "yaml",
];
/// `get` knows these too.
const OF_GET: &[&str] = &[
    "custom-columns",
    "custom-columns-file",
    "go-template",
    "go-template-file",
    "json",
    "jsonpath",
    "jsonpath-as-json",
    "jsonpath-file",
    "kyaml",
    "name",
    "template",
    "templatefile",
    "wide",
    "yaml",
];

/// Formats whose names may be written in capital letters.
const UNCASED: &[&str] = &["json", "kyaml", "name", "yaml"];

enum How {
    Json,
    Yaml,
    Kyaml,
    Name,
    Path(JsonPath, bool),
    Template(Template),
    Columns(Columns),
}

/// Prints objects as `-o` says.
pub(crate) struct Format {
    how: How,
    managed_fields: bool,
    printed: AtomicUsize,
    /// Gets the debug text of a template that fails.
    output: Arc<Output>,
}

/// The format of `-o`; `None` for the human-readable one (no `-o`, or `wide` where `get` allows
/// it).
pub(crate) fn of(ctx: &Ctx, get: bool) -> Result<Option<Format>, Fail> {
    from_name(ctx, ctx.flags.text("output"), get)
}

/// As [`of`], with the format's name given.
pub(crate) fn from_name(ctx: &Ctx, output: &str, get: bool) -> Result<Option<Format>, Fail> {
    let template_flag = ctx.flags.text("template");
    let output = if output.is_empty() && !template_flag.is_empty() { "go-template" } else { output };
    // As in kubectl these names may have capital letters; formats with a template may not.
    let lower = output.to_lowercase();
    let output = if UNCASED.contains(&lower.as_str()) { lower.as_str() } else { output };
    let (name, inline) = output.split_once('=').unwrap_or((output, ""));
    let allowed = if get { OF_GET } else { COMMON };
    if output.is_empty() || (get && output == "wide") {
        return Ok(None);
    }
    // `-o json=x` is no format: only those with a template have an argument, and only one.
    let bare = UNCASED.contains(&name) || name == "wide" || !template_flag.is_empty();
    if !allowed.contains(&name) || (bare && name != output) {
        return text(format!(
            "unable to match a printer suitable for the output format {}, allowed formats are: {}",
            quote(output),
            allowed.join(",")
        ));
    }
    let argument = if inline.is_empty() { template_flag } else { inline };
    let from_file = |what: &str| -> Result<String, Fail> {
        let bytes = std::fs::read(ctx.path(argument)).map_err(|e| {
            let call = if e.kind() == ErrorKind::IsADirectory { "read" } else { "open" };
            Fail::Text(format!("error reading {what} {argument}, {call} {argument}: {}", go_io(&e)))
        });
        Ok(String::from_utf8_lossy(&bytes?).into_owned())
    };
    let needed = || match argument {
        "" => text("template format specified but no template given"),
        given => Ok(given.to_string()),
    };
    let how = match name {
        "json" => How::Json,
        "yaml" => How::Yaml,
        "kyaml" => How::Kyaml,
        "name" => How::Name,
        "jsonpath" | "jsonpath-as-json" | "jsonpath-file" => {
            let given = needed()?;
            let source = if name == "jsonpath-file" { from_file("--template")? } else { given };
            let mut path = JsonPath::parse(&source)
                .map_err(|why| Fail::Text(format!("error parsing jsonpath {source}, {why}")))?;
            path.strict = !ctx.flags.is("allow-missing-template-keys");
            How::Path(path, name == "jsonpath-as-json")
        }
        "custom-columns" | "custom-columns-file" => {
            if argument.is_empty() {
                return text("custom-columns format specified but no custom columns given");
            }
            let headers = !ctx.flags.is("no-headers");
            let columns = match name {
                "custom-columns" => Columns::parse(argument, headers),
                _ => Columns::parse_file(&from_file("template")?),
            };
            How::Columns(columns.map_err(Fail::Text)?)
        }
        _ => {
            let given = needed()?;
            let source = if name.ends_with("file") { from_file("--template")? } else { given };
            let mut template = Template::parse(&source)
                .map_err(|why| Fail::Text(format!("error parsing template {source}, {why}")))?;
            template.strict = !ctx.flags.is("allow-missing-template-keys");
            How::Template(template)
        }
    };
    let managed_fields = ctx.flags.is("show-managed-fields");
    Ok(Some(Format { how, managed_fields, printed: AtomicUsize::new(0), output: ctx.output.clone() }))
}

/// Bounds of a Go template that a lesson judges, in the process of a cluster: nodes that run, and
/// bytes.
const JUDGED_NODES_MAX: usize = 100_000;
const JUDGED_BYTES_MAX: usize = 1 << 20;

/// The text that `kubectl get -o FORMAT=TEMPLATE` prints of an object or of a list, for programs
/// that have to know what a command has printed (lessons).
///
/// # Errors
/// kubectl's: the format takes no template, the template cannot be read, or it fails with this
/// object. And a Go template that runs for too long or prints too much to be judged.
pub fn print_template(format: &str, template: &str, object: &Value) -> Result<String, String> {
    match format {
        "jsonpath" | "jsonpath-as-json" => {
            JsonPath::parse(template)?.print(object, format == "jsonpath-as-json")
        }
        "go-template" | "template" => {
            Template::parse(template)?.print_within(object, JUDGED_NODES_MAX, JUDGED_BYTES_MAX)
        }
        "custom-columns" => {
            let columns = Columns::parse(template, false)?;
            match object["items"].as_array() {
                Some(items) => columns.print(items, true),
                None => columns.print(std::slice::from_ref(object), true),
            }
        }
        other => Err(format!("the format {} takes no template", quote(other))),
    }
}

/// `pod/web`, `deployment.apps/web`; `pod/<unknown>` of an object that has no name yet. Source:
/// cli-runtime's `NamePrinter.PrintObj`.
pub(crate) fn name_of(object: &Value) -> String {
    let kind = value::text(object, "kind").to_lowercase();
    let name = match value::text(object, "metadata.name") {
        "" => "<unknown>",
        name => name,
    };
    match value::text(object, "apiVersion").split_once('/') {
        Some((group, _)) => format!("{kind}.{group}/{name}"),
        None => format!("{kind}/{name}"),
    }
}

impl Format {
    pub(crate) fn is_name(&self) -> bool {
        matches!(self.how, How::Name)
    }

    /// Prints one object (or a List). `sorted`: it came from a server or a file, whose fields Go
    /// keeps in a map.
    pub(crate) fn print(&self, object: &Value, sorted: bool) -> Result<String, Fail> {
        let count = self.printed.fetch_add(1, Ordering::Relaxed) + 1;
        let without_managed_fields = |object: &Value| {
            let mut object = object.clone();
            if !self.managed_fields {
                drop_managed(&mut object);
            }
            object
        };
        let items: Vec<Value> = match object.get("items") {
            Some(Value::Array(items)) => items.clone(),
            _ => vec![object.clone()],
        };
        Ok(match &self.how {
            How::Json => json::pretty(&without_managed_fields(object), "    ", sorted) + "\n",
            How::Yaml => {
                let text = yaml::to_string(&without_managed_fields(object));
                if count > 1 { format!("---\n{text}") } else { text }
            }
            How::Kyaml => kyaml::to_string(&without_managed_fields(object), sorted),
            How::Name => items.iter().map(|i| name_of(i) + "\n").collect(),
            How::Path(path, as_json) => path.print(object, *as_json).map_err(Fail::Text)?,
            How::Template(template) => template.run(object).map_err(|broken| {
                self.output.out(&template.debug_text(&broken, object));
                Fail::Text(template.error(&broken))
            })?,
            How::Columns(columns) => columns.print(&items, count == 1).map_err(Fail::Text)?,
        })
    }

    /// Prints objects as watch events of this `kind`, e.g. `ADDED` (`--output-watch-events`).
    /// `-o name` prints the names of the objects, `-o json` one line for each event. Source:
    /// cli-runtime's `NamePrinter` and `JSONPrinter`.
    pub(crate) fn print_events(&self, kind: &str, objects: &[Value]) -> Result<String, Fail> {
        let event = |object: &Value| json!({"type": kind, "object": object});
        let quoted = json::compact(&Value::from(kind));
        let line = |object: &Value| format!("{{\"type\":{quoted},\"object\":{}}}\n", json::compact(object));
        match &self.how {
            How::Name => Ok(objects.iter().map(|object| name_of(object) + "\n").collect()),
            How::Json => Ok(objects.iter().map(line).collect()),
            _ => self.print_each(&objects.iter().map(event).collect::<Vec<Value>>()),
        }
    }

    /// Prints several objects, each as [`Format::print`] does. Columns are as wide as all of them
    /// need.
    pub(crate) fn print_each(&self, objects: &[Value]) -> Result<String, Fail> {
        match &self.how {
            How::Columns(_) if !objects.is_empty() => self.print(&json!({"items": objects}), true),
            _ => objects.iter().map(|object| self.print(object, true)).collect(),
        }
    }
}

fn drop_managed(object: &mut Value) {
    if let Some(Value::Object(meta)) = object.get_mut("metadata") {
        meta.shift_remove("managedFields");
    }
    for item in value::list_mut(object, "items") {
        if let Some(Value::Object(meta)) = item.get_mut("metadata") {
            meta.shift_remove("managedFields");
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Env;
    use crate::testing::{Server, at, config_map};
    use serde_json::json;

    #[tokio::test]
    async fn formats_without_a_template_may_be_in_capital_letters() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        for output in ["JSON", "Yaml", "kYAML", "NAME"] {
            let lower = output.to_lowercase();
            let result = server.kubectl(&["get", "cm", "a", "-o", output]).await;
            let want = server.kubectl(&["get", "cm", "a", "-o", &lower]).await;
            assert_eq!((result.code, &result.out), (0, &want.out), "{result:?}");
        }
        for output in ["Go-Template={{.kind}}", "wide=x", "json=x", "NAME="] {
            let result = server.kubectl(&["get", "cm", "a", "-o", output]).await;
            assert!(result.code == 1 && result.err.contains("unable to match a printer"), "{result:?}");
        }
    }

    /// The end of the text is that of cli-runtime's `JSONPathPrinter.PrintObj`.
    #[tokio::test]
    async fn a_jsonpath_that_fails_ends_with_empty_lines() {
        let server = Server::start().await;
        let mut object = config_map("a", json!({}));
        object["metadata"]["finalizers"] = json!(["x/y"]);
        server.hold(&at("a"), object);
        let result = server.kubectl(&["get", "cm", "a", "-o", "jsonpath={.metadata.finalizers[5]}"]).await;
        assert!(result.code == 1 && result.err.contains("array index out of bounds"), "{result:?}");
        assert!(result.err.ends_with("}\n\n\n") && !result.err.ends_with("\n\n\n\n"), "{result:?}");
    }

    #[tokio::test]
    async fn a_template_stands_in_one_place_and_may_be_any_bytes() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        server.hold(&at("a"), config_map("a", json!({})));
        std::fs::write(dir.path().join("t"), b"\xff{{.kind}}").unwrap();
        let file = format!("go-template-file={}", dir.path().join("t").display());
        let result = server.kubectl(&["get", "cm", "a", "-o", &file]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "\u{fffd}ConfigMap"), "{result:?}");
        let result =
            server.kubectl(&["get", "cm", "a", "-o", "jsonpath={.kind}", "--template", "{.x}"]).await;
        assert!(result.code == 1 && result.err.contains("unable to match a printer"), "{result:?}");
    }

    #[tokio::test]
    async fn an_object_that_has_no_name_yet_is_unknown() {
        let server = Server::start().await;
        let text = r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "g-"}}"#;
        let words = ["create", "-f", "-", "--dry-run=client"];
        let result = server.kubectl_in(&words, text, Env::default()).await;
        assert_eq!(
            (result.code, result.out.as_str()),
            (0, "configmap/<unknown> created (dry run)\n"),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn a_go_template_obeys_the_flag_for_missing_keys() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        let line = ["get", "cm", "a", "-o", "go-template={{.nope}}"];
        let result = server.kubectl(&line).await;
        assert_eq!((result.code, result.out.as_str()), (0, "<no value>"), "{result:?}");
        let result = server.kubectl(&[&line[..], &["--allow-missing-template-keys=false"]].concat()).await;
        assert!(result.code == 1 && result.err.contains("map has no entry for key \"nope\""), "{result:?}");
    }

    /// The text on standard output is that of cli-runtime's `GoTemplatePrinter.PrintObj`.
    #[tokio::test]
    async fn a_go_template_that_fails_prints_what_it_was_about() {
        let server = Server::start().await;
        let mut map = config_map("a", json!({}));
        map["data"] = json!({"k": "v"});
        server.hold(&at("a"), map);
        let template = "go-template=<{{.data.k}}>{{len .data.k.x}}";
        let result = server.kubectl(&["get", "cm", "a", "-o", template]).await;
        let why = "template: output:1:24: executing \"output\" at <.data.k.x>: can't evaluate field x in type interface {}";
        assert_eq!(result.code, 1, "{result:?}");
        let error =
            format!("error: error executing template \"<{{{{.data.k}}}}>{{{{len .data.k.x}}}}\": {why}\n");
        assert_eq!(result.err, error);
        let begin = format!(
            "<v>Error executing template: {why}. Printing more information for debugging the template:\n\ttemplate was:\n\t\t<{{{{.data.k}}}}>{{{{len .data.k.x}}}}\n\traw data was:\n\t\t{{\"apiVersion\":\"v1\","
        );
        assert!(result.out.starts_with(&begin) && result.out.ends_with("]\n\n"), "{result:?}");
    }
}
