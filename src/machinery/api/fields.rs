//! Field selectors: `status.phase!=Failed,spec.nodeName=n1`. Which fields may be asked for stands
//! in the table of kinds.

use super::gostr::quote;
use super::kinds::Kind;
use super::value;
use serde_json::Value;
use std::borrow::Cow;

/// The fields of every kind that has namespaces.
const METADATA: [&str; 2] = ["metadata.name", "metadata.namespace"];

/// One term: the selector's name for the field, the path it is found at, the value, and whether it
/// must be equal.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// As the selector spells it, e.g. `spec.nodeName`.
    pub field: String,
    /// Where the object has it, in most cases the same.
    pub path: String,
    /// The value, without the selector's escapes.
    pub value: String,
    /// False for `!=`.
    pub equal: bool,
}

/// All terms must hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FieldSelector(pub Vec<Term>);

impl FieldSelector {
    /// True if it has no terms, and so selects every object.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads a query parameter; `known` pairs the fields of a kind with their paths.
    ///
    /// # Errors
    /// Upstream's sentence for a part that is no term, an escape that is none, or a field that
    /// cannot be selected by.
    pub fn parse(text: &str, known: &[(&str, &str)]) -> Result<FieldSelector, String> {
        FieldSelector::read(text, known, &METADATA, not_supported)
    }

    /// As [`FieldSelector::parse`], for objects of a kind. Upstream words it in other ways for
    /// kinds without fields of their own and for Jobs. Nodes, Namespaces and other kinds without
    /// namespaces that list their fields do not list `metadata.namespace`.
    ///
    /// # Errors
    /// As [`FieldSelector::parse`].
    pub fn of_kind(text: &str, kind: &Kind) -> Result<FieldSelector, String> {
        let lists_its_fields = kind.custom.is_some() || !kind.fields.is_empty();
        let metadata = if lists_its_fields && !kind.namespaced { &METADATA[..1] } else { &METADATA[..] };
        FieldSelector::read(text, &kind.selectable(), metadata, |field| match kind.kind {
            _ if kind.custom.is_some() => not_supported(field),
            "Job" => format!("field label {} not supported for Job", quote(field)),
            _ if kind.fields.is_empty() => {
                let only = r#"only "metadata.name", "metadata.namespace""#;
                format!("{} is not a known field selector: {only}", quote(field))
            }
            _ => not_supported(field),
        })
    }

    /// Reads a query parameter; `unknown` is the sentence for a field that is neither in `metadata`
    /// nor in `known`.
    fn read(
        text: &str,
        known: &[(&str, &str)],
        metadata: &[&str],
        unknown: impl Fn(&str) -> String,
    ) -> Result<FieldSelector, String> {
        let mut terms = Vec::new();
        for part in split(text).into_iter().filter(|p| !p.is_empty()) {
            let Some((field, operator, value)) = term(part) else {
                return Err(format!("invalid selector: '{text}'; can't understand '{part}'"));
            };
            let (value, equal) = (unescape(value)?, operator != "!=");
            let path = match known.iter().find(|(name, _)| *name == field) {
                _ if metadata.contains(&field) => field,
                Some((_, path)) => *path,
                None => return Err(unknown(field)),
            };
            terms.push(Term { field: field.into(), path: path.into(), value, equal });
        }
        Ok(FieldSelector(terms))
    }

    /// True if the object meets all terms. A field that the object lacks is the empty text; those
    /// of truth values and of counts are `false` and `0`.
    pub fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|t| (found(object, &t.path) == t.value.as_str()) == t.equal)
    }

    /// As [`FieldSelector::matches`], for an object of a custom kind, whose fields `value` finds by
    /// their paths. Whatever its type, a field that the object lacks is the empty text, as upstream
    /// (`selectableFields` in apiextensions-apiserver, `pkg/registry/customresource/strategy.go`).
    pub fn matches_values<'a>(&self, value: impl Fn(&str) -> Cow<'a, Value>) -> bool {
        self.0.iter().all(|t| {
            let value = value(&t.path);
            (printed(&value).unwrap_or_default() == t.value.as_str()) == t.equal
        })
    }

    /// Returns the name that `metadata.name=` asks for.
    pub fn name(&self) -> Option<&str> {
        self.0.iter().find(|t| t.equal && t.field == "metadata.name").map(|t| t.value.as_str())
    }
}

fn not_supported(field: &str) -> String {
    format!("field label not supported: {field}")
}

/// Returns the name that `metadata.name=` requires, for authorization, which does not know a kind's
/// other fields. `None` if the selector requires none, cannot be read, or requires what is no name
/// (as upstream's `path.IsValidPathSegmentName`).
pub fn required_name(text: &str) -> Option<String> {
    required(text, "metadata.name")
}

/// Returns the name that another field requires, whose values are names: `spec.nodeName`.
pub fn required(text: &str, wanted: &str) -> Option<String> {
    let mut name = None;
    for part in split(text).into_iter().filter(|p| !p.is_empty()) {
        let (field, operator, value) = term(part)?;
        let value = unescape(value).ok()?;
        if field == wanted && operator != "!=" && name.is_none() {
            name = Some(value);
        }
    }
    name.filter(|n| !n.is_empty() && n != "." && n != ".." && !n.contains(['/', '%']))
}

/// True for text that is a field selector, of whichever fields.
pub fn is_readable(text: &str) -> bool {
    let parts = split(text).into_iter().filter(|p| !p.is_empty());
    parts.map(term).all(|term| term.is_some_and(|(_, _, value)| unescape(value).is_ok()))
}

/// Returns a field as text; a path may list alternatives: `source.component|reportingComponent`.
fn found<'a>(object: &'a Value, path: &str) -> Cow<'a, str> {
    if let Some(text) = path.split('|').find_map(|path| printed(value::at(object, path))) {
        return text;
    }
    match path {
        "spec.unschedulable" | "spec.hostNetwork" => "false".into(),
        "status.succeeded" | "status.replicas" => "0".into(),
        _ => "".into(),
    }
}

/// Returns a value as text; `None` for the empty text, and for what is no scalar.
fn printed(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(s) if !s.is_empty() => Some(s.as_str().into()),
        Value::Bool(b) => Some(if *b { "true".into() } else { "false".into() }),
        Value::Number(n) => Some(n.to_string().into()),
        _ => None,
    }
}

/// Splits a text at its commas. One behind a backslash belongs to a value.
fn split(text: &str) -> Vec<&str> {
    let (mut all, mut from, mut escaped) = (vec![], 0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                all.push(&text[from..i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    all.push(&text[from..]);
    all
}

/// Cuts a term at its first operator.
fn term(part: &str) -> Option<(&str, &str, &str)> {
    part.char_indices().find_map(|(i, _)| {
        let operator = ["!=", "==", "="].into_iter().find(|o| part[i..].starts_with(o))?;
        Some((&part[..i], operator, &part[i + operator.len()..]))
    })
}

fn unescape(value: &str) -> Result<String, String> {
    let (mut out, mut chars) = (String::with_capacity(value.len()), value.chars());
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("invalid field selector: invalid escape sequence: \\{other}"));
                }
            },
            // upstream prints the character's number
            '=' => return Err(format!("invalid field selector: unescaped character in value: {}", c as u32)),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_number_that_nobody_has_written_yet_is_zero() {
        let jobs = [("status.successful", "status.succeeded")];
        let matches = |text: &str| FieldSelector::parse(text, &jobs).unwrap().matches(&json!({"status": {}}));
        assert!(matches("status.successful=0") && !matches("status.successful=1"));
    }

    #[test]
    fn a_backslash_keeps_commas_and_signs_in_a_value() {
        let value = |text: &str| FieldSelector::parse(text, &[]).map(|s| s.0[0].value.clone());
        assert_eq!(value(r"metadata.name==a\,b\=c\\d,metadata.namespace!=x"), Ok(r"a,b=c\d".into()));
        let wrong = "invalid field selector: invalid escape sequence: \\d";
        assert_eq!(value(r"metadata.name=c\d"), Err(wrong.into()));
        assert!(value("metadata.name=a=b").unwrap_err().ends_with("unescaped character in value: 61"));
    }

    /// As `DefaultMetaV1FieldSelectorConversion` and the conversions of single kinds say it.
    #[test]
    fn a_field_that_is_unknown_is_told_in_the_words_of_the_kind() {
        let only = "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
        for (group, kind, why) in [
            ("apps", "Deployment", only),
            ("apps", "ReplicaSet", only),
            ("", "ConfigMap", only),
            ("", "Pod", "field label not supported: spec.x"),
            ("batch", "Job", "field label \"spec.x\" not supported for Job"),
        ] {
            let kind = crate::kinds::find(group, "v1", kind).unwrap();
            assert_eq!(FieldSelector::of_kind("spec.x=y", kind), Err(why.to_string()));
            assert!(FieldSelector::of_kind("metadata.name=y", kind).is_ok());
        }
    }

    /// As `DefaultMetaV1FieldSelectorConversion` and the conversions of single kinds upstream.
    #[test]
    fn a_namespace_is_no_field_of_some_kinds_without_namespaces() {
        let wrong = Err("field label not supported: metadata.namespace".to_string());
        for (group, kind, is_known) in [
            ("", "Pod", true),
            ("", "PersistentVolume", true),
            ("rbac.authorization.k8s.io", "ClusterRole", true),
            ("", "Node", false),
            ("", "Namespace", false),
            ("certificates.k8s.io", "CertificateSigningRequest", false),
        ] {
            let found = crate::kinds::find(group, "v1", kind).unwrap();
            let result = FieldSelector::of_kind("metadata.namespace=", found).map(|_| ());
            assert_eq!(result, if is_known { Ok(()) } else { wrong.clone() }, "{kind}");
        }
    }

    /// The conversion of ReplicaSets upstream lists no field of its own.
    #[test]
    fn only_replication_controllers_are_selected_by_their_number_of_pods() {
        let is_selected_by = |group: &str, kind: &str| {
            FieldSelector::of_kind("status.replicas=0", crate::kinds::find(group, "v1", kind).unwrap())
                .is_ok()
        };
        assert!(is_selected_by("", "ReplicationController") && !is_selected_by("apps", "ReplicaSet"));
    }

    #[test]
    fn an_empty_value_matches_what_is_not_there() {
        let known =
            [("involvedObject.namespace", "involvedObject.namespace"), ("status.phase", "status.phase")];
        let event = json!({"metadata": {"name": "e"}, "involvedObject": {"name": "node1"}});
        let yes = |s: &str| FieldSelector::parse(s, &known).unwrap().matches(&event);
        assert!(yes("involvedObject.namespace="));
        assert!(yes("metadata.name=e,status.phase!=Failed"));
        assert!(!yes("metadata.name!=e"));
        assert_eq!(
            FieldSelector::parse("spec.foo=x", &known).unwrap_err(),
            "field label not supported: spec.foo"
        );
    }
}
