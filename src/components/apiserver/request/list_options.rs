//! Options of lists, watches and deletions of collections, judged before anything is read
//! (upstream: `ValidateListOptions` of `apimachinery/pkg/apis/meta/internalversion/validation`).
//!
//! What a revision itself may be, and whether a `continue` token can be read, is judged where the
//! objects are (`registry::read`).

use crate::request::http::Query;
use api::Status;
use api::errors::Errors;

const MATCH: &str = "resourceVersionMatch";
const INITIAL: &str = "sendInitialEvents";
const EXACT: &str = "Exact";
const NOT_OLDER_THAN: &str = "NotOlderThan";
const WITH_CONTINUE: &str = "resourceVersionMatch is forbidden when continue is provided";

/// Judges the options of a request with this verb: `list`, `watch` or `deletecollection`. The
/// refusal names everything that is wrong.
///
/// | options | list, deletecollection | watch |
/// |---|---|---|
/// | `resourceVersionMatch=NotOlderThan` | only with `resourceVersion` | only with `sendInitialEvents` |
/// | `resourceVersionMatch=Exact` | only with `resourceVersion`, which is not `0` | never |
/// | `resourceVersionMatch` and `continue` | never | never |
/// | `sendInitialEvents` | never | only with `resourceVersionMatch=NotOlderThan` |
///
/// A watch from no revision or `0` without both options is one with
/// `sendInitialEvents=true&resourceVersionMatch=NotOlderThan` (upstream: `SetListOptionsDefaults`).
///
/// # Errors
/// 400 for a `limit` or `timeoutSeconds` that is no number or empty; 422 for options that may not
/// stand together.
pub(crate) fn check(verb: &str, query: &Query) -> Result<(), Status> {
    for number in ["limit", "timeoutSeconds"] {
        query.number(number)?;
    }
    let mut errors = Errors::default();
    match verb {
        "watch" => check_watch(query, &mut errors),
        _ => check_list(query, &mut errors),
    }
    match errors.is_empty() {
        true => Ok(()),
        false => Err(Status::invalid("meta.k8s.io", "ListOptions", "", &errors)),
    }
}

fn check_list(query: &Query, errors: &mut Errors) {
    let (how, version) = (query.get(MATCH), query.get("resourceVersion"));
    if !how.is_empty() {
        if version.is_empty() {
            let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
            errors.forbidden(MATCH, why);
        }
        if !query.get("continue").is_empty() {
            errors.forbidden(MATCH, WITH_CONTINUE);
        }
        if !matches!(how, EXACT | NOT_OLDER_THAN) {
            errors.not_supported(MATCH, &how.into(), &[EXACT, NOT_OLDER_THAN, ""]);
        }
        if how == EXACT && version == "0" {
            let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
            errors.forbidden(MATCH, why);
        }
    }
    if query.has(INITIAL) {
        errors.forbidden(INITIAL, "sendInitialEvents is forbidden for list");
    }
}

fn check_watch(query: &Query, errors: &mut Errors) {
    let (how, is_initial_given) = (query.get(MATCH), query.has(INITIAL));
    let is_from_start = matches!(query.get("resourceVersion"), "" | "0");
    let (how, is_initial_given) = match how.is_empty() && !is_initial_given && is_from_start {
        true => (NOT_OLDER_THAN, true),
        false => (how, is_initial_given),
    };
    if is_initial_given && how != NOT_OLDER_THAN {
        let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
        errors.forbidden(MATCH, why);
    }
    if how.is_empty() {
        return;
    }
    if !is_initial_given {
        let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
        errors.forbidden(MATCH, why);
    }
    if how != NOT_OLDER_THAN {
        errors.not_supported(MATCH, &how.into(), &[NOT_OLDER_THAN]);
    }
    if !query.get("continue").is_empty() {
        errors.forbidden(MATCH, WITH_CONTINUE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Api;

    /// The code of the refusal, and how many things are wrong; 200 without a refusal.
    fn judged(verb: &str, query: &str) -> (u16, usize) {
        match check(verb, &Query::parse(Some(query))) {
            Ok(()) => (200, 0),
            Err(status) => (status.code, status.details["causes"].as_array().map_or(0, Vec::len)),
        }
    }

    #[test]
    fn options_that_may_not_stand_together_are_refused_all_at_once() {
        for (query, of_list, of_watch) in [
            ("", (200, 0), (200, 0)),
            ("resourceVersion=7", (200, 0), (200, 0)),
            ("resourceVersion=7&resourceVersionMatch=NotOlderThan", (200, 0), (422, 1)),
            ("resourceVersion=7&resourceVersionMatch=Exact", (200, 0), (422, 2)),
            ("resourceVersion=0&resourceVersionMatch=NotOlderThan", (200, 0), (422, 1)),
            ("resourceVersion=0&resourceVersionMatch=Exact", (422, 1), (422, 2)),
            ("resourceVersionMatch=NotOlderThan", (422, 1), (422, 1)),
            ("resourceVersionMatch=Sideways", (422, 2), (422, 2)),
            ("resourceVersion=7&resourceVersionMatch=Exact&continue=x", (422, 1), (422, 3)),
            ("sendInitialEvents=true", (422, 1), (422, 1)),
            ("sendInitialEvents=false&resourceVersion=7", (422, 1), (422, 1)),
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan", (422, 2), (200, 0)),
            ("sendInitialEvents=true&resourceVersionMatch=Exact", (422, 2), (422, 2)),
            ("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x", (422, 3), (422, 1)),
            ("continue=x", (200, 0), (422, 1)),
            ("continue=x&resourceVersion=7", (200, 0), (200, 0)),
            ("limit=x", (400, 0), (400, 0)),
            ("timeoutSeconds=x", (400, 0), (400, 0)),
            ("limit=", (400, 0), (400, 0)),
            ("timeoutSeconds=", (400, 0), (400, 0)),
            ("limit=-1&timeoutSeconds=-1", (200, 0), (200, 0)),
        ] {
            assert_eq!(judged("list", query), of_list, "list {query}");
            assert_eq!(judged("deletecollection", query), of_list, "deletecollection {query}");
            assert_eq!(judged("watch", query), of_watch, "watch {query}");
        }
    }

    #[test]
    fn a_number_that_cannot_be_read_is_refused_in_upstreams_words() {
        for (value, why) in [
            ("", "invalid syntax"),
            ("1.5", "invalid syntax"),
            ("9".repeat(20).as_str(), "value out of range"),
        ] {
            let refused = check("list", &Query::parse(Some(&format!("limit={value}")))).unwrap_err();
            assert_eq!(refused.message, format!("strconv.ParseInt: parsing {value:?}: {why}"));
        }
    }

    #[tokio::test]
    async fn lists_watches_and_deleted_collections_are_judged_by_their_options() {
        let api = Api::bare().await;
        let maps = "/api/v1/namespaces/default/configmaps";
        let exact = "resourceVersion=0&resourceVersionMatch=Exact";
        let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
        let (code, refused) = api.get(&format!("{maps}?{exact}")).await;
        assert!(code == 422 && refused["message"].as_str().unwrap().contains(why), "{refused}");
        for (method, query, code) in [
            ("GET", "timeoutSeconds=x", 400),
            ("GET", "watch=1&limit=x&resourceVersion=1", 400),
            ("GET", "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&continue=x", 422),
            ("DELETE", "timeoutSeconds=x", 400),
            ("DELETE", exact, 422),
        ] {
            let (found, answer) = api.ask(method, &format!("{maps}?{query}"), serde_json::json!({})).await;
            assert_eq!(found, code, "{method} {query}: {answer}");
        }
    }
}
