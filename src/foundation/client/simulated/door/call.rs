//! Requests as a door reads them: by their paths, for objects, Events or discovery.

use super::super::served::{SERVED, kind};
use super::BoxError;
use api::discovery;
use api::kinds::{self, Catalog, Kind};
use api::value::{self, text};
use bytes::Bytes;
use http::{Method, header};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A request that was understood.
pub(super) struct Call {
    pub method: Method,
    pub kind: &'static Kind,
    pub namespace: String,
    pub name: String,
    pub sub: String,
    pub query: BTreeMap<String, String>,
    pub content_type: String,
    pub body: Value,
    /// The uid of what it has created.
    pub made: String,
}

impl Call {
    pub(super) fn writes(&self) -> bool {
        self.method != Method::GET
    }

    /// Returns true if the field selector of the request chooses the object.
    pub(super) fn selects(&self, object: &Value) -> bool {
        selects(self.query.get("fieldSelector").map(String::as_str).unwrap_or_default(), object)
    }
}

/// A request for an Event. No component watches Events, so they are kept apart from the store and
/// are no part of its history.
pub(super) struct EventCall {
    pub method: Method,
    pub namespace: String,
    pub name: String,
    pub content_type: String,
    pub body: Value,
}

/// What a path leads to.
pub(super) enum Place {
    Call(Box<Call>),
    Discovery(&'static Bytes),
    Event(Box<EventCall>),
    Nothing,
}

/// Returns true if a field selector of the form `a.b=c,d=e` chooses the object.
pub(super) fn selects(fields: &str, object: &Value) -> bool {
    let mut terms = fields.split(',').filter_map(|term| term.split_once('='));
    terms.all(|(path, wanted)| text(object, path) == wanted)
}

/// The discovery documents `/api` and `/apis`, with the kinds that this server has.
static DISCOVERY: LazyLock<[Bytes; 2]> = LazyLock::new(|| {
    [true, false].map(|core| {
        let mut document = discovery::aggregated(&Catalog::default(), core, "v2");
        for group in value::list_mut(&mut document, "items") {
            let of = text(group, "metadata.name").to_string();
            for version in value::list_mut(group, "versions") {
                let mut kept = value::list(version, "resources").to_vec();
                kept.retain(|r| SERVED.iter().any(|(g, _, plural)| *g == of && r["resource"] == *plural));
                value::put(version, "resources", kept);
            }
        }
        Bytes::from(document.to_string())
    })
});

/// Reads a request: what its path leads to, and its body.
///
/// # Errors
/// The body is no JSON.
pub(super) fn place(parts: &http::request::Parts, body: &Bytes) -> Result<Place, BoxError> {
    let path = parts.uri.path();
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty()).collect();
    let (group, version, rest) = match steps.as_slice() {
        ["api"] => return Ok(Place::Discovery(&DISCOVERY[0])),
        ["apis"] => return Ok(Place::Discovery(&DISCOVERY[1])),
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Ok(Place::Nothing),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let content_type = parts.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let content_type = content_type.unwrap_or_default().to_string();
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(body)? };
    let (plural, name, sub) = match rest {
        ["events", name @ ..] => {
            let (method, namespace) = (parts.method.clone(), namespace.into());
            let name = name.first().copied().unwrap_or_default().into();
            return Ok(Place::Event(Box::new(EventCall { method, namespace, name, content_type, body })));
        }
        [plural] => (*plural, "", ""),
        [plural, name] => (*plural, *name, ""),
        [plural, name, sub] => (*plural, *name, *sub),
        _ => return Ok(Place::Nothing),
    };
    let served = SERVED.contains(&(group, version, plural));
    let Some(_) = kinds::resource(group, version, plural).filter(|_| served) else {
        return Ok(Place::Nothing);
    };
    let query = parts.uri.query().unwrap_or_default();
    let query = pairs_of(query);
    Ok(Place::Call(Box::new(Call {
        method: parts.method.clone(),
        kind: kind(plural),
        namespace: namespace.into(),
        name: name.into(),
        sub: sub.into(),
        query,
        content_type,
        body,
        made: String::new(),
    })))
}

fn pairs_of(query: &str) -> BTreeMap<String, String> {
    let decode = |text: &str| percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decode(name), decode(value))).collect()
}
