//! Which form of an answer the client wants: the object, a Table, or only its metadata.

use crate::request::accept;
use crate::request::http::{Answer, Query, json, json_line};
use crate::storage::object::Object;
use api::gostr::quote;
use api::kinds::Kind;
use api::table::{self, Include, Printing};
use api::{Status, gojson, value};
use bytes::Bytes;
use clock::Timestamp;
use serde_json::{Value, json};
use std::borrow::Cow;

/// The form of objects in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Object,
    /// With the apiVersion: `meta.k8s.io/v1` or `v1beta1`.
    Table(&'static str, Include),
    Partial(&'static str),
}

const TYPES: [&str; 3] = ["application/json", "application/yaml", PROTOBUF];

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answered {
    Object,
    List,
    Review,
}

/// Chooses the form of an object from the Accept header; the first range that can be satisfied
/// wins, in the order of [`accept::ranges`].
///
/// # Errors
/// 406 if no range can be satisfied, or if the first that can asks for the metadata of a list.
pub(crate) fn form(accept: &str, query: &Query) -> Result<Form, Status> {
    choose(accept, query, Answered::Object)
}

/// Chooses the form of a list, as [`form`] that of an object.
///
/// # Errors
/// 406 if no range can be satisfied, or if the first that can asks for the metadata of an object.
pub(crate) fn form_of_list(accept: &str, query: &Query) -> Result<Form, Status> {
    choose(accept, query, Answered::List)
}

/// Chooses the form of an answered review. Reviews have no printer columns, so a range that wants a
/// Table is not satisfied.
///
/// Example: `application/json;as=Table;v=v1;g=meta.k8s.io` is refused; with `,application/json`
/// after it the answer is the review itself.
///
/// # Errors
/// 406 if no range can be satisfied.
pub(crate) fn form_of_review(accept: &str, query: &Query) -> Result<Form, Status> {
    choose(accept, query, Answered::Review)
}

/// Chooses the form of the objects of a watch. As upstream there is no YAML of a stream, and a
/// range behind YAML is not looked at (`NegotiateOutputMediaTypeStream`).
///
/// # Errors
/// 406 if no range can be satisfied, or if YAML is the first that can.
pub(crate) fn form_of_watch(accept: &str, query: &Query) -> Result<Form, Status> {
    let is_known = |range: &accept::Range<'_>| TYPES.iter().any(|media| range.takes(media));
    let first = accept::ranges(accept).into_iter().find(is_known);
    let is_yaml = |range: accept::Range<'_>| !range.takes("application/json") && !range.takes(PROTOBUF);
    if first.is_some_and(is_yaml) {
        return Err(not_acceptable());
    }
    form(accept, query)
}

/// Chooses the form of an answer from the Accept header:
///
/// ```text
/// application/json;as=Table;v=v1;g=meta.k8s.io,application/json    Table: kubectl get
/// application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io metadata: a garbage collector
/// application/json                                                 the object
/// text/html                                                        406
/// ```
///
/// The columns of a Table come from the server, so that an old kubectl prints new kinds well.
fn choose(accept: &str, query: &Query, answered: Answered) -> Result<Form, Status> {
    if accept.is_empty() {
        return Ok(Form::Object);
    }
    for range in accept::ranges(accept) {
        if !range.takes("application/json") && !range.takes("application/yaml") {
            continue;
        }
        let [as_kind, group, version] = ["as", "g", "v"].map(|key| range.parameter(key));
        let api_version = match version {
            "v1" => "meta.k8s.io/v1",
            "v1beta1" => "meta.k8s.io/v1beta1",
            _ => "",
        };
        match (as_kind, group, api_version) {
            ("", ..) => return Ok(Form::Object),
            (_, "meta.k8s.io", "") => {}
            ("Table", "meta.k8s.io", v) if answered != Answered::Review => {
                return Ok(Form::Table(v, include(query)?));
            }
            ("PartialObjectMetadata" | "PartialObjectMetadataList", "meta.k8s.io", v) => {
                check_partial(as_kind, answered)?;
                return Ok(Form::Partial(v));
            }
            _ => {}
        }
    }
    // Protobuf alone is asked for by some typed clients: they read JSON as well.
    if accept.contains(PROTOBUF) {
        return Ok(Form::Object);
    }
    Err(not_acceptable())
}

/// Checks that the metadata of an object or of a list is asked for, whichever is answered. As
/// upstream no later range is tried (`asPartialObjectMetadata`, `asPartialObjectMetadataList`).
///
/// # Errors
/// 406 for the other one.
fn check_partial(as_kind: &str, answered: Answered) -> Result<(), Status> {
    let is_list = answered == Answered::List;
    if is_list == (as_kind == "PartialObjectMetadataList") {
        return Ok(());
    }
    let what = if is_list { "a list" } else { "not a list" };
    let why = format!("you requested {as_kind}, but the requested object is {what}");
    Err(Status::new(406, "NotAcceptable", why))
}

/// Checks that the client takes a document that has one form only, as those of discovery. No
/// `Accept` header takes everything.
///
/// Example: a browser sends `text/html,*/*;q=0.8` and gets JSON; `text/html` alone is refused. A
/// client of protobuf gets JSON, too, as in `choose`.
///
/// # Errors
/// 406 if no range can be satisfied.
pub(crate) fn check_plain(accept: &str) -> Result<(), Status> {
    let takes = |range: &accept::Range<'_>| {
        TYPES.iter().any(|media| range.takes(media)) && range.parameter("as").is_empty()
    };
    let is_any = accept.is_empty() || accept.contains(PROTOBUF);
    match is_any || accept::ranges(accept).iter().any(takes) {
        true => Ok(()),
        false => Err(not_acceptable()),
    }
}

fn not_acceptable() -> Status {
    let why = format!("only the following media types are accepted: {}", TYPES.join(", "));
    Status::new(406, "NotAcceptable", why)
}

fn include(query: &Query) -> Result<Include, Status> {
    match query.get("includeObject") {
        "" | "Metadata" => Ok(Include::Metadata),
        "Object" => Ok(Include::Object),
        "None" => Ok(Include::None),
        other => Err(Status::bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {}: must be 'Metadata', 'Object', 'None', or empty",
            quote(other)
        ))),
    }
}

/// Returns an object in the version that was asked for.
pub(crate) fn versioned<'a>(kind: &Kind, object: &'a Value) -> Cow<'a, Value> {
    kind.from_stored(object)
}

/// Brings a stored object into the version that was asked for.
type Convert = for<'a> fn(&Kind, &'a Value) -> Cow<'a, Value>;

/// Returns how answers of this subresource (empty: of the object itself) are converted. Those of
/// `/status` leave nothing out: upstream's `StatusREST` has no `Store.Decorator`.
///
/// Example: an ExternalName Service shows its `internalTrafficPolicy` in `/status` alone.
fn conversion_of(subresource: &str) -> Convert {
    match subresource {
        "status" => Kind::from_stored_whole,
        _ => Kind::from_stored,
    }
}

/// Returns the bytes of one object in the version that was asked for.
fn encoded(kind: &Kind, convert: Convert, object: &Object) -> Bytes {
    match convert(kind, &object.value) {
        Cow::Borrowed(_) => object.bytes.clone(),
        Cow::Owned(value) => Bytes::from(gojson::to_vec(&value)),
    }
}

/// Makes the row of one object in a Table.
///
/// The cells of a kind of the table are made from the stored form: there is one printer per
/// resource. Those of a custom kind belong to the version that was asked for, as its columns do:
/// its schema may have a default for a field that the stored object lacks. An object in a row has
/// that version, too (upstream: `asTable`).
pub(super) fn row(kind: &Kind, object: &Value, include: Include, now: Timestamp) -> Value {
    converted_row(kind, Kind::from_stored, object, include, now)
}

/// As [`row`], with the conversion of the object in it.
fn converted_row(kind: &Kind, convert: Convert, object: &Value, include: Include, now: Timestamp) -> Value {
    let printing = table::printing(kind);
    if kind.custom.is_some() {
        return table::row(printing, &convert(kind, object), include, now);
    }
    let mut row = table::row(printing, object, include, now);
    if include == Include::Object
        && let Cow::Owned(shown) = convert(kind, object)
    {
        row["object"] = shown;
    }
    row
}

/// Makes a whole Table of rows that are made already.
pub(crate) fn table(api_version: &str, printing: Printing, rows: Vec<Value>, meta: Value) -> Value {
    let columns = table::definitions(printing);
    json!({"kind": "Table", "apiVersion": api_version, "metadata": meta, "columnDefinitions": columns, "rows": rows})
}

/// Answers with one object.
pub(crate) fn one(code: u16, kind: &Kind, form: Form, object: &Object) -> Answer {
    one_through(code, kind, "", form, object)
}

/// Answers with one object that was read or written through this subresource; empty: through none.
pub(crate) fn one_through(code: u16, kind: &Kind, subresource: &str, form: Form, object: &Object) -> Answer {
    let convert = conversion_of(subresource);
    match form {
        Form::Object => json_line(code, encoded(kind, convert, object)),
        _ => json(code, &converted_value(kind, convert, form, &object.value)),
    }
}

/// Returns one object in the form that the client wants.
pub(crate) fn one_value(kind: &Kind, form: Form, value: &Value) -> Value {
    converted_value(kind, Kind::from_stored, form, value)
}

/// As [`one_value`], with the conversion of the object.
fn converted_value(kind: &Kind, convert: Convert, form: Form, value: &Value) -> Value {
    match form {
        Form::Object => convert(kind, value).into_owned(),
        Form::Table(api_version, include) => {
            let meta = json!({"resourceVersion": value::text(value, "metadata.resourceVersion")});
            let row = converted_row(kind, convert, value, include, table::now());
            table(api_version, table::printing(kind), vec![row], meta)
        }
        Form::Partial(api_version) => table::partial(value, api_version),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_has_no_table() {
        let (q, table) = (Query::default(), "application/json;as=Table;v=v1;g=meta.k8s.io");
        let refused = form_of_review(table, &q).err();
        assert_eq!(refused.map(|status| (status.code, status.reason)), Some((406, "NotAcceptable")));
        assert_eq!(form_of_review(&format!("{table},application/json"), &q).unwrap(), Form::Object);
        assert_eq!(form_of_review("", &q).unwrap(), Form::Object);
    }

    #[test]
    fn the_first_satisfiable_range_wins() {
        let q = Query::default();
        let kubectl = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        assert_eq!(form(kubectl, &q).unwrap(), Form::Table("meta.k8s.io/v1", Include::Metadata));
        assert_eq!(form("application/vnd.kubernetes.protobuf,application/json", &q).unwrap(), Form::Object);
        assert_eq!(form("application/vnd.kubernetes.protobuf", &q).unwrap(), Form::Object);
        assert_eq!(form("application/json;as=Foo;g=x;v=v1,*/*", &q).unwrap(), Form::Object);
        assert_eq!(form("text/html", &q).unwrap_err().code, 406);
        assert_eq!(form("Application/JSON", &q).unwrap_err().code, 406, "as upstream");
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        assert_eq!(form(&format!("{table};q=0.5,application/json"), &q).unwrap(), Form::Object);
        let first = form(&format!("application/json;q=0.5,{table}"), &q).unwrap();
        assert_eq!(first, Form::Table("meta.k8s.io/v1", Include::Metadata));
        let refused = form(table, &Query::parse(Some("includeObject=all"))).unwrap_err();
        let why = r#"Table as requested: includeObject: Invalid value: "all": must be 'Metadata',"#;
        assert!(refused.code == 400 && refused.message.contains(why), "{}", refused.message);
    }

    #[test]
    fn a_watch_has_no_yaml() {
        let q = Query::default();
        for accept in ["application/yaml", "application/json;q=0.5,application/yaml"] {
            assert_eq!(form_of_watch(accept, &q).unwrap_err().code, 406, "{accept}");
        }
        for accept in ["", "*/*", "application/json,application/yaml", PROTOBUF] {
            assert_eq!(form_of_watch(accept, &q).unwrap(), Form::Object, "{accept}");
        }
    }

    #[test]
    fn metadata_are_those_of_an_object_or_of_a_list() {
        let q = Query::default();
        let partial = |kind: &str| format!("application/json;as={kind};v=v1;g=meta.k8s.io,application/json");
        let [one, list] = ["PartialObjectMetadata", "PartialObjectMetadataList"].map(partial);
        let wanted = Form::Partial("meta.k8s.io/v1");
        assert_eq!((form(&one, &q).unwrap(), form_of_list(&list, &q).unwrap()), (wanted, wanted));
        let refused = form_of_list(&one, &q).unwrap_err();
        let why = "you requested PartialObjectMetadata, but the requested object is a list";
        assert_eq!((refused.code, refused.message.as_str()), (406, why));
        for refused in [form(&list, &q), form_of_review(&list, &q), form_of_watch(&list, &q)] {
            assert_eq!(refused.unwrap_err().code, 406);
        }
    }
}
