//! Whether a request was about an object.

use super::facts;
use super::value::{self, at, str_field};
use api::fields::FieldSelector;
use api::labels::Selector;
use cel::Value;

/// Returns whether the request asked for the object: by its name, or in a list whose selectors it
/// fits. `{}` is never asked for. Of a list that `kubectl describe` searches for a prefix it shows
/// only the names that begin so, and none of the pods that it lists to count them, as those of a
/// ReplicaSet, or to search them, as for those that use a claim.
pub(crate) fn covers(request: &Value, object: &Value) -> bool {
    let (kind, name) = (str_field(object, "kind"), at(object, "metadata.name"));
    let Some(Value::String(name)) = name else { return false };
    let namespace = at(object, "metadata.namespace").cloned().unwrap_or_else(|| value::text(""));
    let Value::String(namespace) = &namespace else { return false };
    let asked: Vec<&str> = str_field(request, "object").split('/').collect();
    let [of, within, called] = asked.as_slice() else { return false };
    // Of all namespaces: `Pod/*/*`, and where the kind was not known as one that has any, `Pod//*`.
    let here = within == &namespace.as_str() || *called == "*" && matches!(*within, "*" | "");
    if of != &kind || !here || (*called != "*" && called != &name.as_str()) {
        return false;
    }
    if !name.starts_with(str_field(request, "prefix")) {
        return false;
    }
    let (labels, fields) = (str_field(request, "labels"), str_field(request, "fields"));
    let is_aside = at(request, "aside") == Some(&Value::Bool(true));
    if is_aside && kind == "Pod" && fields.is_empty() {
        return false;
    }
    if labels.is_empty() && fields.is_empty() {
        return true;
    }
    let object = value::to_json(object);
    if !Selector::parse(labels).is_ok_and(|s| s.matches(&object["metadata"]["labels"])) {
        return false;
    }
    // As the server does, which knows what a field is that is not there.
    let known = facts::kind(kind).map(|kind| kind.selectable()).unwrap_or_default();
    FieldSelector::parse(fields, &known).is_ok_and(|s| s.matches(&object))
}
