//! Whether the answer to a request has shown its learner a field of an object: judged by the
//! columns or the format that was asked for, so that a list of bare names (`-o name`) is no look at
//! an address.
//!
//! Example: `kubectl get pods` prints the columns Name, Ready, Status, Restarts and Age. It has
//! shown RESTARTS and not IP, which `-o wide` adds; `-o yaml` has shown both, `-o
//! jsonpath='{.items[*].status.podIP}'` the address alone, and `-o name` neither.
//!
//! What went to a file or to `/dev/null` was not shown. A pipe is a look: `grep`, `less` or `wc`
//! reads on.
//!
//! What a template shows, kubectl's own printer tells: the template is run over the object as it is
//! and over a copy whose field has another value. If the two texts differ, the field was in them.

use super::covers::covers;
use super::facts;
use super::value::{self, at, str_field};
use api::table;
use cel::Value;
use serde_json::{Value as Json, json};

/// Returns whether the object was in the answer, and in that the field. `column` is its column in
/// the table of `kubectl get`, `path` where it stands in the object. What a client does not tell of
/// its format counts for the learner.
pub(super) fn shows(request: &Value, object: &Value, column: &str, path: &str) -> bool {
    let is_look = matches!(str_field(request, "verb"), "get" | "list")
        && matches!(at(request, "code"), Some(Value::Int(200)));
    let is_unseen = !str_field(request, "unseen").is_empty();
    if !is_look || is_unseen || !covers(request, object) {
        return false;
    }
    let is_table = at(request, "table") == Some(&Value::Bool(true));
    let has_column = |wide: bool| has_column(str_field(object, "kind"), column, wide);
    match str_field(request, "command") {
        // It prints all of an object that people look for, in its own words.
        "kubectl describe" => {
            at(request, "aside") != Some(&Value::Bool(true)) || shows_aside(request, object, column)
        }
        // A table has all columns on its way; which of them another client prints is not known.
        "" => !is_table || has_column(true),
        "kubectl get" if at(request, "output_known") != Some(&Value::Bool(true)) => {
            !is_table || has_column(true)
        }
        "kubectl get" => match str_field(request, "output") {
            "" if is_table => has_column(false),
            "wide" if is_table => has_column(true),
            output => prints(output, object, path, listing(request)),
        },
        _ => false,
    }
}

/// Returns whether a description shows the field of an object that was only looked up beside what
/// it describes. Events are printed whole. Of a node's pods there are the names and ages, and
/// neither addresses nor restarts; the pods of a ReplicaSet are counted.
fn shows_aside(request: &Value, object: &Value, column: &str) -> bool {
    match str_field(object, "kind") {
        "Event" => true,
        "Pod" => {
            str_field(request, "fields").contains("spec.nodeName=")
                && matches!(column, "Name" | "Node" | "Age")
        }
        _ => false,
    }
}

/// Returns whether the table of a kind has a column, among those that `-o wide` adds (`wide`) or
/// among the others.
fn has_column(kind: &str, column: &str, wide: bool) -> bool {
    let Some(kind) = facts::kind(kind) else { return false };
    let all = table::definitions(table::printing(kind));
    all.as_array().into_iter().flatten().any(|c| {
        let is_named = c["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(column));
        is_named && (wide || c["priority"] == 0)
    })
}

/// What kubectl prints at once.
#[derive(Clone, Copy, PartialEq)]
enum Listing {
    /// A list, as it was answered.
    Whole,
    /// Objects that were got by their names: one by itself, or a list that kubectl has made of
    /// them.
    Either,
    /// Each object by itself (`--watch`).
    Single,
}

fn listing(request: &Value) -> Listing {
    match str_field(request, "verb") {
        _ if at(request, "watch") == Some(&Value::Bool(true)) => Listing::Single,
        "list" => Listing::Whole,
        _ => Listing::Either,
    }
}

/// Returns whether what stands after `-o` prints the field at `path` of an object that is not sent
/// as a table.
fn prints(output: &str, object: &Value, path: &str, listing: Listing) -> bool {
    let (format, template) = output.split_once('=').unwrap_or((output, ""));
    match format {
        // Its end is not known.
        _ if output.len() >= kubectl::MANNER_MAX => true,
        // Without a format the answer was printed as it came (`--raw`).
        "" | "yaml" | "json" | "kyaml" => true,
        // What stands in the file, or behind `--template`, is not known.
        "custom-columns-file" | "jsonpath-file" | "go-template-file" | "templatefile" => true,
        "jsonpath" | "jsonpath-as-json" | "go-template" | "template" if template.is_empty() => true,
        "custom-columns" | "jsonpath" | "jsonpath-as-json" | "go-template" | "template" => {
            let [one, other] = variants(object, path);
            let differs = |of: fn(&str, &Json) -> Json| {
                let printed = |object| kubectl::print_template(format, template, &of(template, object));
                match (printed(&one), printed(&other)) {
                    (Ok(one), Ok(other)) => one != other,
                    // `{{.data.password | base64decode}}`: the other value is no base64.
                    (Ok(_), Err(_)) => true,
                    (Err(_), _) => false,
                }
            };
            (listing != Listing::Single && differs(in_list))
                || (listing != Listing::Whole && differs(|_, object| object.clone()))
        }
        _ => false,
    }
}

/// An object of two, which differ in what stands at `path`. A text that stands at other places, too
/// (`status.podIP` in `status.podIPs`), differs there as well.
fn variants(object: &Value, path: &str) -> [Json; 2] {
    let whole = value::to_json(object);
    let is = at(object, path).map_or(Json::Null, value::to_json);
    [0, 1].map(|nth| {
        let mut whole = whole.clone();
        if let Json::String(text) = &is
            && !text.is_empty()
        {
            replace(&mut whole, &is, &altered(&is, nth));
        }
        let parts: Vec<&str> = path.split('.').collect();
        set(&mut whole, &parts, altered(&is, nth));
        whole
    })
}

/// The value itself (0) or another of its type (1).
fn altered(value: &Json, nth: usize) -> Json {
    match (value, nth) {
        // It was there at the time of the answer, or will be at the next.
        (Json::Null, nth) => format!("value {nth}").into(),
        (value, 0) => value.clone(),
        (Json::Bool(is), _) => (!is).into(),
        (Json::Number(is), _) => (is.as_i64().unwrap_or_default().wrapping_add(1)).into(),
        (Json::String(is), _) => format!("{is}'").into(),
        (Json::Array(items), _) => items.iter().map(|item| altered(item, 1)).collect(),
        (Json::Object(fields), _) => fields.iter().map(|(k, v)| (k.clone(), altered(v, 1))).collect(),
    }
}

/// Puts another value wherever this one stands.
fn replace(within: &mut Json, from: &Json, to: &Json) {
    match within {
        Json::Array(items) => items.iter_mut().for_each(|item| replace(item, from, to)),
        Json::Object(fields) => fields.values_mut().for_each(|field| replace(field, from, to)),
        value if value == from => *value = to.clone(),
        _ => {}
    }
}

/// Sets what stands at a path, and makes what leads there.
fn set(within: &mut Json, path: &[&str], to: Json) {
    let Some((first, rest)) = path.split_first() else {
        *within = to;
        return;
    };
    if let Ok(index) = first.parse::<usize>() {
        if !within.is_array() {
            *within = Json::Array(vec![]);
        }
        if let Some(items) = within.as_array_mut() {
            items.resize(items.len().max(index.min(PLACES_MAX) + 1), Json::Null);
            set(&mut items[index.min(PLACES_MAX)], rest, to);
        }
        return;
    }
    if !within.is_object() {
        *within = json!({});
    }
    set(&mut within[*first], rest, to);
}

/// A list as kubectl prints it. Which place the object has in it is not known: it stands at all
/// that the template names.
fn in_list(template: &str, object: &Json) -> Json {
    let numbers = template.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse::<usize>().ok());
    // A number beyond all places names none, as the width of a column.
    let places = numbers.filter(|n| *n <= PLACES_MAX).max().unwrap_or_default() + 1;
    json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": vec![object; places]})
}

/// Places of a list that a template may name, at most.
const PLACES_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> Value {
        value::of_json(&json!({"kind": "Pod", "metadata": {"namespace": "d", "name": "web"}}))
    }

    fn asked(command: &str, table: bool, output: Option<&str>) -> Value {
        value::of_json(&json!({
            "verb": "list", "code": 200, "object": "Pod/d/*", "command": command, "table": table,
            "output": output.unwrap_or_default(), "output_known": output.is_some(),
        }))
    }

    #[test]
    fn what_is_written_to_a_file_is_not_shown() {
        let seen = |unseen: &str| {
            let mut request = value::to_json(&asked("kubectl get", true, Some("wide")));
            request["unseen"] = unseen.into();
            shows(&value::of_json(&request), &pod(), "IP", "status.podIP")
        };
        assert_eq!(["", "file", "null"].map(seen), [true, false, false]);
    }

    #[test]
    fn a_look_shows_the_columns_or_the_format_that_was_asked_for() {
        let restarts = "status.containerStatuses.0.restartCount";
        for (command, table, output, of_ip, of_restarts) in [
            ("kubectl get", true, Some(""), false, true),
            ("kubectl get", true, Some("wide"), true, true),
            ("kubectl get", false, Some("yaml"), true, true),
            ("kubectl get", false, Some("json"), true, true),
            ("kubectl get", false, Some(""), true, true), // --raw
            ("kubectl get", false, Some("name"), false, false),
            ("kubectl get", false, Some("custom-columns=podIP:.metadata.name"), false, false),
            ("kubectl get", false, Some("custom-columns=N:.metadata.name,A:.status.podIP"), true, false),
            ("kubectl get", false, Some("custom-columns=A:status.podIP"), true, false),
            ("kubectl get", false, Some("jsonpath={.items[*].status.podIP}"), true, false),
            ("kubectl get", false, Some("jsonpath={.items[*]['metadata.name','status.podIP']}"), true, false),
            (
                "kubectl get",
                false,
                Some("jsonpath={range .items[*]}{.metadata.name}{\"\\t\"}{.status.podIP}{end}"),
                true,
                false,
            ),
            ("kubectl get", false, Some("jsonpath={range .items[*]}{.metadata.name}{end}"), false, false),
            (
                "kubectl get",
                false,
                Some("jsonpath={.items[0].status.containerStatuses[0].restartCount}"),
                false,
                true,
            ),
            ("kubectl get", false, Some("jsonpath={.items[?(@.metadata.name==\"web\")].status}"), true, true),
            ("kubectl get", false, Some("jsonpath={.items[*]}"), true, true),
            ("kubectl get", false, Some("go-template={{range .items}}{{.status.podIP}}{{end}}"), true, false),
            (
                "kubectl get",
                false,
                Some("go-template={{range .items}}{{.metadata.name}} {{end}}"),
                false,
                false,
            ),
            ("kubectl get", false, Some("go-template-file=f"), true, true),
            ("kubectl get", true, None, true, true), // a stock kubectl does not tell
            ("kubectl get", false, None, true, true),
            ("kubectl describe", false, Some(""), true, true),
            ("kubectl wait", false, Some(""), false, false),
            ("", false, None, true, true), // curl
        ] {
            let request = asked(command, table, output);
            let shown = (
                shows(&request, &pod(), "IP", "status.podIP"),
                shows(&request, &pod(), "Restarts", restarts),
            );
            assert_eq!(shown, (of_ip, of_restarts), "{command} table {table} -o {output:?}");
        }
    }

    /// A template is more than the words in it.
    #[test]
    fn a_template_shows_what_it_prints() {
        let pod = value::of_json(&json!({
            "kind": "Pod", "metadata": {"namespace": "d", "name": "web"}, "spec": {"nodeName": "n1"},
            "status": {"podIP": "10.0.0.7", "podIPs": [{"ip": "10.0.0.7"}], "phase": "Running"},
        }));
        let shown = |verb: &str, output: &str| {
            let request = asked("kubectl get", false, Some(output));
            let request = value::with(&request, "verb", value::text(verb));
            shows(&request, &pod, "IP", "status.podIP")
        };
        for output in [
            "jsonpath={..podIP}",
            "jsonpath={.items[*]..podIP}",
            "jsonpath={range .items[*].status}{.podIP}{\"\\n\"}{end}",
            "jsonpath={.items[*].status.podIPs[0].ip}",
            "jsonpath={.items[7].status.podIP}",
            "jsonpath={.items[?(@.metadata.name == \"web\")].status.podIP}",
            "jsonpath-as-json={.items[*].status['phase','podIP']}",
            "go-template={{range .items}}{{with .status}}{{.podIP}}{{end}}{{end}}",
            "go-template={{range $i, $p := .items}}{{$p.status.podIP}}{{end}}",
            "go-template={{(index .items 0).status.podIP}}",
            "custom-columns=N:.metadata.name,A:.status.*",
        ] {
            assert!(shown("list", output), "{output}");
        }
        for output in [
            "jsonpath={.items[*].metadata.name} .status.podIP .spec.nodeName",
            "jsonpath={.items[*].metadata.name}{\".status.podIP\"}",
            "jsonpath={.items[?(@.metadata.name == \"web\")].metadata.name}",
            "jsonpath={.items[?(@.metadata.name == \"other\")].status.podIP}",
            "jsonpath={range .items[*].status}{.phase}{end}",
            "jsonpath={.status.podIP}",
            "jsonpath={.items[*].status.podIP",
            "go-template={{range .items}}{{if .status.podIP}}{{.metadata.name}}{{end}}{{end}}",
            "go-template={{range .items}}{{.metadata.name}}{{end}} .status.podIP",
            "custom-columns=.status.podIP:.metadata.name",
        ] {
            assert!(!shown("list", output), "{output}");
        }
        let long = format!("jsonpath={{.items[*].metadata.name}}{}", " ".repeat(kubectl::MANNER_MAX));
        assert!(shown("list", &long[..kubectl::MANNER_MAX]), "its end was cut off");
        let watched = |output: &str| {
            let request = asked("kubectl get", false, Some(output));
            let request = value::with(&request, "watch", Value::Bool(true));
            shows(&request, &pod, "IP", "status.podIP")
        };
        assert!(watched("jsonpath={.status.podIP} {.spec.nodeName}"), "each pod by itself");
        assert!(!watched("jsonpath={.items[*].status.podIP}"), "there is no list");
        assert!(shown("get", "jsonpath={.status.podIP}"), "one pod by its name");
        assert!(shown("get", "jsonpath={.items[*].status.podIP}"), "two of them");
        assert!(!shown("get", "jsonpath={.metadata.name} .status.podIP"));
    }

    #[test]
    fn a_template_that_decodes_a_field_shows_it() {
        let secret = json!({"kind": "Secret", "metadata": {"namespace": "d", "name": "login"},
            "data": {"password": "cm9wZQ=="}});
        let request = json!({"verb": "get", "code": 200, "object": "Secret/d/login", "table": false,
            "command": "kubectl get", "output_known": true,
            "output": "go-template={{.data.password | base64decode}}"});
        let (secret, request) = (value::of_json(&secret), value::of_json(&request));
        assert!(shows(&request, &secret, "", "data.password"));
        assert!(!shows(&request, &secret, "", "data.other"));
    }

    #[test]
    fn of_what_describe_looks_up_besides_only_that_is_shown_which_it_prints() {
        let request = value::with(&asked("kubectl describe", false, Some("")), "aside", Value::Bool(true));
        assert!(!covers(&request, &pod()), "a ReplicaSet's pods are counted");
        assert!(!shows(&request, &pod(), "Name", "metadata.name"));
        let on_node = value::with(&request, "fields", value::text("spec.nodeName=n1,status.phase!=Failed"));
        let of_node = value::of_json(&json!({
            "kind": "Pod", "metadata": {"namespace": "d", "name": "web"}, "spec": {"nodeName": "n1"},
        }));
        let shown = |column: &str| shows(&on_node, &of_node, column, "");
        assert!(shown("Name") && shown("Node") && shown("Age"));
        assert!(covers(&on_node, &of_node) && !shown("IP") && !shown("Restarts"));
        let event = value::of_json(&json!({"kind": "Event", "metadata": {"namespace": "d", "name": "e"}}));
        let request = value::with(&request, "object", value::text("Event/d/*"));
        assert!(shows(&request, &event, "Message", "message"));
    }

    #[test]
    fn what_was_not_in_the_answer_was_not_shown() {
        let request = asked("kubectl get", true, Some("wide"));
        let shown =
            |key: &str, to: Value| shows(&value::with(&request, key, to), &pod(), "IP", "status.podIP");
        assert!(shown("code", Value::Int(200)));
        assert!(!shown("code", Value::Int(404)));
        assert!(!shown("verb", value::text("delete")));
        assert!(!shown("object", value::text("Pod/other/*")));
        assert!(!shown("labels", value::text("nothing=here")));
        assert!(!shows(&request, &pod(), "Nothing", "status.podIP"), "the table has no such column");
    }
}
