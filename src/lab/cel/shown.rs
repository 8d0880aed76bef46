//! Whether the answer to a request has shown its learner a field of an object: judged by the
//! columns or the format that was asked for, so that a list of bare names (`-o name`) is no look at
//! an address.
//!
//! Example: `kubectl get pods` prints the columns Name, Ready, Status, Restarts and Age. It has
//! shown RESTARTS and not IP, which `-o wide` adds; `-o yaml` has shown both, `-o
//! jsonpath='{.items[*].status.podIP}'` the address alone, and `-o name` neither.

use super::facts;
use super::functions::covers;
use super::value::{at, str_field};
use api::table;
use cel::Value;

/// Was the object in the answer, and in that the field? `column` is its column in the table of
/// `kubectl get`, `path` where it stands in the object. What a client does not tell of its format
/// counts for the learner.
pub fn shows(request: &Value, object: &Value, column: &str, path: &str) -> bool {
    let is_look = matches!(str_field(request, "verb"), "get" | "list")
        && matches!(at(request, "code"), Some(Value::Int(200)));
    if !is_look || !covers(request, object) {
        return false;
    }
    let is_table = at(request, "table") == Some(&Value::Bool(true));
    let has_column = |wide: bool| has_column(str_field(object, "kind"), column, wide);
    match str_field(request, "command") {
        // It prints all of an object that people look for, in its own words.
        "kubectl describe" => true,
        // A table has all columns on its way; which of them another client prints is not known.
        "" => !is_table || has_column(true),
        "kubectl get" if at(request, "output_known") != Some(&Value::Bool(true)) => {
            !is_table || has_column(true)
        }
        "kubectl get" => match str_field(request, "output") {
            "" if is_table => has_column(false),
            "wide" if is_table => has_column(true),
            output => prints(output, path),
        },
        _ => false,
    }
}

/// Does the table of a kind have a column, among those that `-o wide` adds (`wide`) or among the
/// others?
fn has_column(kind: &str, column: &str, wide: bool) -> bool {
    let Some(kind) = facts::kind(kind) else { return false };
    let all = table::definitions(table::printing(kind));
    all.as_array().into_iter().flatten().any(|c| {
        let is_named = c["name"].as_str().is_some_and(|name| name.eq_ignore_ascii_case(column));
        is_named && (wide || c["priority"] == 0)
    })
}

/// Does what stands after `-o` print the field at `path` of an object that is not sent as a table?
fn prints(output: &str, path: &str) -> bool {
    let (format, template) = output.split_once('=').unwrap_or((output, ""));
    match format {
        // Without a format the answer was printed as it came (`--raw`).
        "" | "yaml" | "json" | "kyaml" => true,
        "custom-columns" => {
            // NAME:.metadata.name,IP:.status.podIP
            let mut columns = template.split(',').filter_map(|column| column.split_once(':'));
            columns.any(|(_, field)| reaches(field, path))
        }
        "jsonpath" | "jsonpath-as-json" | "go-template" | "template" => {
            template.is_empty() || is_named_in(template, path)
        }
        // What stands in the file is not known.
        "custom-columns-file" | "jsonpath-file" | "go-template-file" | "templatefile" => true,
        _ => false,
    }
}

/// Does one of a template's expressions print the field at `path`, or something around it?
fn is_named_in(template: &str, path: &str) -> bool {
    let words = template.split(|c: char| c.is_whitespace() || "{}|".contains(c));
    let mut words = words.filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        // These choose what the words behind them are about, and print nothing themselves.
        if matches!(word, "range" | "if" | "with") {
            words.next();
        } else if word.starts_with(['.', '$', '@', '[']) && reaches(word, path) {
            return true;
        }
    }
    false
}

/// Does a path of a template (`.items[*].status.podIP`, `.status`, `$`) lead to the field, or to
/// something that holds it?
fn reaches(field: &str, path: &str) -> bool {
    let is_name = |part: &&str| !part.is_empty() && !part.bytes().all(|b| b.is_ascii_digit());
    let wanted: Vec<&str> = path.split('.').filter(is_name).collect();
    // In brackets stand an index, a condition, or names: ['metadata.name', 'status.podIP'].
    let (mut plain, mut named) = (String::new(), Vec::new());
    let mut rest = field;
    while let Some((before, inside)) = rest.split_once('[') {
        plain.push_str(before);
        let (inside, after) = inside.split_once(']').unwrap_or((inside, ""));
        if inside.starts_with(['\'', '"']) {
            named.extend(inside.split(',').map(|name| name.trim().trim_matches(['\'', '"'])));
        }
        rest = after;
    }
    plain.push_str(rest);
    let parts = |text: &str| -> Vec<String> {
        let words = text.split('.').filter(|part| !matches!(*part, "$" | "@" | "items"));
        words.filter(is_name).map(String::from).collect()
    };
    let outer = parts(&plain);
    let leads = |inner: Vec<String>| {
        let whole: Vec<String> = outer.iter().cloned().chain(inner).collect();
        whole.len() <= wanted.len() && whole.iter().zip(&wanted).all(|(have, want)| have == want)
    };
    match named.is_empty() {
        true => leads(vec![]),
        false => named.into_iter().any(|name| leads(parts(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::value;
    use super::*;
    use serde_json::json;

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
