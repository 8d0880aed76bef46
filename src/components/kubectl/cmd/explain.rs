//! explain: a resource's fields, out of the server's OpenAPI v3 document.

use crate::ctx::Ctx;
use crate::error::{Fail, text};
use api::gostr::{self, quote};
use api::value;
use client::discovery::Resource;
use serde_json::Value;
use std::sync::Arc;

/// Columns of a description, its inset of four not counted.
const WIDTH: usize = 76;
/// Values of an enum in a list of fields.
const CHOICES_MAX: usize = 4;

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let word = field_word(ctx)?;
    let (name, path) = word.split_once('.').unwrap_or((word, ""));
    // `deployments.apps` and `deployments.v1.apps` name a resource too; else the dots lead to a
    // field.
    let (resource, path) = match ctx.resource(name).await {
        Ok(found) if !path.is_empty() => {
            qualified(ctx, word).await?.unwrap_or_else(|| (found, path.to_string()))
        }
        Err(Fail::Text(unknown)) => return Err(Fail::Plain(unknown)),
        found => (found?, path.to_string()),
    };
    let (resource, path) = match ctx.flags.text("api-version") {
        "" => (resource, path),
        wanted => in_version(ctx, resource, word, wanted).await?,
    };
    let place = match resource.group.as_str() {
        "" => format!("/openapi/v3/api/{}", resource.version),
        group => format!("/openapi/v3/apis/{group}/{}", resource.version),
    };
    let document = ctx.api().await?.get(&place, &[]).await?;
    let schemas = Schemas(value::at(&document, "components.schemas"));
    let Some(mut schema) = schemas.of(&resource) else {
        // As Go prints it: the core group is the empty text before the slash.
        let Resource { group, version, plural, .. } = &*resource;
        return text(format!("GVR ({group}/{version}, Resource={plural}) not found in OpenAPI schema"));
    };
    if !resource.group.is_empty() {
        ctx.line(format!("GROUP:      {}", resource.group));
    }
    ctx.line(format!("KIND:       {}\nVERSION:    {}\n", resource.kind, resource.version));
    let mut head = String::new();
    for field in path.split('.').filter(|f| !f.is_empty()) {
        schema = match schemas.resolved(schema).get("properties").and_then(|p| p.get(field)) {
            Some(schema) => schema,
            // As in kubectl, the last field of the path is named, wherever the path goes astray.
            None => {
                let last = path.rsplit('.').find(|f| !f.is_empty()).unwrap_or(field);
                return text(format!("field {} does not exist", quote(last)));
            }
        };
        let values = value::list(schema, "enum").iter().map(|v| format!("    {}\n", choice(v)));
        let values: String = values.collect();
        let values = if values.is_empty() { "\n".to_string() } else { format!("ENUM:\n{values}") };
        head = format!("FIELD: {field} <{}>\n{values}\n", schemas.kind(schema));
    }
    ctx.out(head);
    let description = schemas.descriptions(schema).join("\n");
    ctx.out(match description.is_empty() {
        true => "DESCRIPTION:\n    <empty>\n".to_string(),
        false => format!("DESCRIPTION:\n{}    \n", inset(&description)),
    });
    let object = schemas.resolved(schema);
    if value::map(object, "properties").is_some_and(|p| !p.is_empty()) {
        ctx.line("FIELDS:");
        match ctx.flags.is("recursive") {
            true => ctx.out(schemas.tree(object, 1, &mut vec![])),
            false => ctx.out(schemas.fields(object)),
        }
    }
    ctx.line("");
    Ok(())
}

/// Returns the one argument: a resource, or the path of a field.
fn field_word(ctx: &Ctx) -> Result<&str, Fail> {
    let word = match ctx.args.as_slice() {
        [] => {
            return text(
                "You must specify the type of resource to explain. Use \"kubectl api-resources\" for a complete list of supported resources.",
            );
        }
        [word] => word,
        _ => return text("We accept only this format: explain RESOURCE"),
    };
    if ctx.flags.text("output") != "plaintext" {
        return text(format!("unrecognized format: {}", ctx.flags.text("output")));
    }
    Ok(word)
}

/// The resource of the same name in the group and version that `--api-version` says, which need not
/// be those that the server prefers. With that flag the dots of the word lead to fields alone.
async fn in_version(
    ctx: &Ctx,
    resource: Arc<Resource>,
    word: &str,
    wanted: &str,
) -> Result<(Arc<Resource>, String), Fail> {
    let path = word.split_once('.').map_or("", |(_, path)| path);
    let mut all = ctx.discovery().await?.resources.iter();
    match all.find(|r| r.plural == resource.plural && r.api_version() == wanted) {
        Some(found) => Ok((found.clone(), path.to_string())),
        None => {
            // Go prints the empty name of the core group before its slash: `/v1`.
            let slash = if wanted.contains('/') { "" } else { "/" };
            text(format!("couldn't find resource for \"{slash}{wanted}, Resource={}\"", resource.plural))
        }
    }
}

/// The resource that a word with its group names, and the path of fields behind it.
async fn qualified(ctx: &Ctx, word: &str) -> Result<Option<(Arc<Resource>, String)>, Fail> {
    let discovery = ctx.discovery().await?;
    // The longest prefix of the word comes first.
    let mut ends = std::iter::once(word.len()).chain(word.rmatch_indices('.').map(|(at, _)| at));
    let found = ends.find_map(|end| {
        let name = &word[..end];
        let resource = discovery.find(name).filter(|r| name.contains('.') && !r.group.is_empty())?;
        let named = name.split_once('.').is_some_and(|(_, rest)| {
            rest == resource.group || rest == format!("{}.{}", resource.version, resource.group)
        });
        named.then(|| (resource, word[end..].trim_start_matches('.').to_string()))
    });
    Ok(found)
}

fn required(parent: &Value, field: &str) -> &'static str {
    match value::list(parent, "required").iter().any(|r| r == field) {
        true => " -required-",
        false => "",
    }
}

/// Returns the text of a value that a field may have; quotes show the empty one.
fn choice(value: &Value) -> String {
    match gostr::plain(value) {
        empty if empty.is_empty() => "\"\"".to_string(),
        text => text,
    }
}

/// `enum: a, b`: the values of a field, at most [`CHOICES_MAX`] of them.
fn choices(schema: &Value, inset: &str) -> String {
    let all: Vec<String> = value::list(schema, "enum").iter().map(choice).collect();
    match all.len() {
        0 => String::new(),
        n if n > CHOICES_MAX => format!("{inset}enum: {}, ....\n", all[..CHOICES_MAX].join(", ")),
        _ => format!("{inset}enum: {}\n", all.join(", ")),
    }
}

/// How many references are followed, one after another.
const STEPS_MAX: usize = 100;

/// The schemas of one group and version.
struct Schemas<'a>(&'a Value);

impl<'a> Schemas<'a> {
    fn of(&self, resource: &Resource) -> Option<&'a Value> {
        let all = self.0.as_object()?;
        let marked = |schema: &&Value| {
            value::list(schema, "x-kubernetes-group-version-kind").iter().any(|gvk| {
                value::text(gvk, "group") == resource.group
                    && value::text(gvk, "version") == resource.version
                    && value::text(gvk, "kind") == resource.kind
            })
        };
        let suffix = format!(".{}.{}", resource.version, resource.kind);
        all.values()
            .find(marked)
            .or_else(|| all.iter().find(|(name, _)| name.ends_with(&suffix)).map(|(_, s)| s))
    }

    /// The schema that a schema refers to, behind its name.
    fn referred(&self, schema: &'a Value) -> Option<(&'a str, &'a Value)> {
        let one = value::list(schema, "allOf").first().unwrap_or(schema);
        let name = one.get("$ref")?.as_str()?.strip_prefix("#/components/schemas/")?;
        Some((name.rsplit('.').next().unwrap_or(name), self.0.get(name)?))
    }

    /// The schema one step closer to the fields: that of a reference, of items, or of values.
    fn inner(&self, schema: &'a Value) -> Option<&'a Value> {
        self.referred(schema)
            .map(|(_, s)| s)
            .or_else(|| schema.get("items"))
            .or_else(|| schema.get("additionalProperties").filter(|a| a.is_object()))
    }

    /// The schema itself and those that [`Schemas::inner`] leads to, one after another. A document
    /// may refer in a circle, so the steps have a bound.
    fn chain(&self, schema: &'a Value) -> impl Iterator<Item = &'a Value> {
        std::iter::successors(Some(schema), |at| self.inner(at)).take(STEPS_MAX)
    }

    /// The schema that has the fields.
    fn resolved(&self, schema: &'a Value) -> &'a Value {
        self.chain(schema).last().unwrap_or(schema)
    }

    /// The description of a schema, then those of the schemas that it refers to.
    fn descriptions(&self, schema: &'a Value) -> Vec<&'a str> {
        self.chain(schema)
            .map(|at| value::text(at, "description"))
            .filter(|description| !description.is_empty())
            .collect()
    }

    /// `string`, `[]Container`, `map[string]string`
    fn kind(&self, schema: &'a Value) -> String {
        if let Some((name, referred)) = self.referred(schema) {
            return match value::text(referred, "type") {
                "" | "object" => name.to_string(),
                plain => plain.to_string(),
            };
        }
        if let Some(items) = schema.get("items") {
            return format!("[]{}", self.kind(items));
        }
        if let Some(more) = schema.get("additionalProperties").filter(|a| a.is_object()) {
            return format!("map[string]{}", self.kind(more));
        }
        match value::text(schema, "type") {
            "object" | "" => "Object".into(),
            plain => plain.to_string(),
        }
    }

    fn properties(&self, object: &'a Value) -> Vec<(&'a String, &'a Value)> {
        let mut all: Vec<_> = value::map(object, "properties").into_iter().flatten().collect();
        all.sort_by_key(|(name, _)| *name);
        all
    }

    fn fields(&self, object: &'a Value) -> String {
        let mut out = String::new();
        for (name, schema) in self.properties(object) {
            out.push_str(&format!("  {name}\t<{}>{}\n", self.kind(schema), required(object, name)));
            out.push_str(&choices(schema, "  "));
            let description = match value::text(schema, "description") {
                "" => "<no description>",
                description => description,
            };
            out.push_str(&inset(description));
            out.push('\n');
        }
        out
    }

    /// All fields below a schema. `above`: the schemas around it, which are not entered again.
    fn tree(&self, object: &'a Value, level: usize, above: &mut Vec<*const Value>) -> String {
        let mut out = String::new();
        above.push(object);
        for (name, schema) in self.properties(object) {
            let inset = "  ".repeat(level);
            out.push_str(&format!("{inset}{name}\t<{}>{}\n", self.kind(schema), required(object, name)));
            out.push_str(&choices(schema, &inset));
            let below = self.resolved(schema);
            if !above.contains(&(below as *const Value)) {
                out.push_str(&self.tree(below, level + 1, above));
            }
        }
        above.pop();
        out
    }
}

/// Wraps a text, with four spaces before each line.
fn inset(text: &str) -> String {
    wrapped(text, WIDTH).lines().map(|line| format!("    {line}\n")).collect()
}

/// Breaks lines at spaces; a longer word has a line of its own, and spaces within a line stay as
/// they are.
fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            out.push('\n');
        }
        let (mut column, mut rest) = (0, line);
        while !rest.is_empty() {
            let gap = rest.len() - rest.trim_start_matches([' ', '\t']).len();
            let word = rest[gap..].find([' ', '\t']).unwrap_or(rest.len() - gap);
            let (spaces, letters) = (&rest[..gap], &rest[gap..gap + word]);
            rest = &rest[gap + word..];
            let length = letters.chars().count();
            if column > 0 && column + gap + length > width {
                out.push('\n');
                column = 0;
            } else {
                out.push_str(spaces);
                column += gap;
            }
            out.push_str(letters);
            column += length;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{STEPS_MAX, Schemas, choices, wrapped};
    use crate::testing::Server;
    use serde_json::json;

    #[tokio::test]
    async fn a_short_name_of_several_is_warned_of_once() {
        let server = Server::start_with(|request| {
            let group = |name: &str| {
                let widgets = json!({"resource": "widgets", "responseKind": {"kind": "Widget"},
                    "shortNames": ["wd"], "scope": "Cluster", "verbs": ["get"]});
                json!({"metadata": {"name": name}, "versions": [{"version": "v1", "resources": [widgets]}]})
            };
            let items = [group("a.example.com"), group("b.example.com")];
            let list = || (200, json!({"kind": "APIGroupDiscoveryList", "items": items}));
            (request.path == "/apis").then(list)
        })
        .await;
        let result = server.kubectl(&["explain", "wd.spec"]).await;
        assert_eq!(result.err.matches("Warning: short name \"wd\"").count(), 1, "{result:?}");
    }

    /// `events` alone means those of the core group; `--api-version` names the others.
    #[tokio::test]
    async fn a_version_that_is_not_preferred_can_be_asked_for() {
        let server = Server::start_with(|request| {
            let version = |version: &str| {
                json!({"version": version, "resources": [{"resource": "events", "responseKind": {"kind": "Event"},
                    "scope": "Namespaced", "singularResource": "event", "verbs": ["list"]}]})
            };
            let group = |name: &str, versions: &[&str]| {
                let versions: Vec<_> = versions.iter().map(|v| version(v)).collect();
                json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": name}, "versions": versions}]})
            };
            let group_version = request.path.strip_prefix("/openapi/v3/");
            match request.path.as_str() {
                "/api" => Some((200, group("", &["v1"]))),
                "/apis" => Some((200, group("events.k8s.io", &["v1", "v1beta1"]))),
                _ => group_version.map(|of| {
                    let (group, version) = of.split_once('/').map_or(("", ""), |(_, of)| of.split_once('/').unwrap_or(("", of)));
                    let schema = json!({"description": format!("of {of}"), "properties": {"note": {"type": "string", "description": format!("note of {of}")}},
                        "x-kubernetes-group-version-kind": [{"group": group, "version": version, "kind": "Event"}]});
                    (200, json!({"components": {"schemas": {"e": schema}}}))
                }),
            }
        })
        .await;
        for (wanted, of) in [
            ("v1", "api/v1"),
            ("events.k8s.io/v1", "apis/events.k8s.io/v1"),
            ("events.k8s.io/v1beta1", "apis/events.k8s.io/v1beta1"),
        ] {
            let version = format!("--api-version={wanted}");
            let result = server.kubectl(&["explain", "events", &version]).await;
            assert!(
                result.code == 0 && result.out.contains(&format!("\n    of {of}\n")),
                "{wanted}: {result:?}"
            );
            let result = server.kubectl(&["explain", "ev.note", &version]).await;
            assert_eq!(result.code, 1, "no short name: {result:?}");
            let result = server.kubectl(&["explain", "event.note", &version]).await;
            assert!(result.out.contains(&format!("\n    note of {of}\n")), "{wanted}: {result:?}");
        }
        let result = server.kubectl(&["explain", "events.nope.deep"]).await;
        assert_eq!((result.code, result.err.as_str()), (1, "error: field \"deep\" does not exist\n"));
        let result = server.kubectl(&["explain", "events", "--api-version=batch/v1"]).await;
        assert_eq!(result.err, "error: couldn't find resource for \"batch/v1, Resource=events\"\n");
        let result = server.kubectl(&["explain", "events", "--api-version=v2"]).await;
        assert_eq!(result.err, "error: couldn't find resource for \"/v2, Resource=events\"\n");
    }

    #[test]
    fn references_in_a_circle_end() {
        let to = |name: &str| json!({"$ref": format!("#/components/schemas/{name}"), "description": "d"});
        let all = json!({"a": to("b"), "b": to("a")});
        let schemas = Schemas(&all);
        assert_eq!(schemas.descriptions(&all["a"]).len(), STEPS_MAX);
        assert!(schemas.resolved(&all["a"]).get("$ref").is_some());
    }

    #[test]
    fn lines_break_at_spaces() {
        assert_eq!(wrapped("one two  three", 7), "one two\nthree");
        assert_eq!(wrapped("one  two three", 9), "one  two\nthree");
        assert_eq!(wrapped("https://a.very/long/word x", 8), "https://a.very/long/word\nx");
        assert_eq!(wrapped("a\n\nb", 8), "a\n\nb");
    }

    #[test]
    fn an_empty_choice_is_seen() {
        assert_eq!(choices(&json!({"enum": ["", "File"]}), "  "), "  enum: \"\", File\n");
        let many = json!({"enum": ["a", "b", "c", "d", "e"]});
        assert_eq!(choices(&many, ""), "enum: a, b, c, d, ....\n");
    }
}
