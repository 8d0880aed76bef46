//! What an act was: which request takes an object away, what a container runs, which pods mirror
//! the cluster's own parts, and at which port a typed line knocks. Each rule stands here once, so
//! that no lesson has to spell it out for every step of its kind.

use super::covers::covers;
use super::facts::{Facts, Object, kind};
use super::value::{self, at, str_field};
use cel::Value;
use runtime::images;

/// Returns whether a record is a request of the learner's that takes this object
/// (`Pod/default/web`) away: a delete, a delete of the whole list, or an eviction. A dry run does
/// not.
///
/// Example: `kubectl drain` posts to `Pod/default/web/eviction`; the pod is gone afterwards as
/// after `kubectl delete pod web`. A delete of the list with a selector takes away only what fits:
/// `DELETE /api/v1/namespaces/default/pods?labelSelector=app=x` is none of `web` unless a version
/// of `web` had that label.
pub(super) fn removes(facts: &Facts, record: &Value, object: &str) -> bool {
    let is_done = matches!(at(record, "code"), Some(Value::Int(200..=299)));
    let is_tried = at(record, "dry_run") == Some(&Value::Bool(true));
    if at(record, "own") != Some(&Value::Bool(true)) || !is_done || is_tried {
        return false;
    }
    let asked = str_field(record, "object");
    let list = object.rsplit_once('/').map(|(place, _)| format!("{place}/*"));
    match str_field(record, "verb") {
        "delete" => asked == object,
        "deletecollection" => list.as_deref() == Some(asked) && is_selected(facts, record, object),
        "create" => asked.strip_suffix("/eviction") == Some(object),
        _ => false,
    }
}

/// Returns whether an object ever fitted the selectors of a request about its list.
fn is_selected(facts: &Facts, record: &Value, object: &str) -> bool {
    if str_field(record, "labels").is_empty() && str_field(record, "fields").is_empty() {
        return true;
    }
    let parts: Vec<&str> = object.split('/').collect();
    let [of, namespace, name] = parts.as_slice() else { return false };
    let Some(known) = kind(of) else { return false };
    let key = (known.plural.to_string(), namespace.to_string(), name.to_string());
    let versions = facts.history.get(&key).map_or(&[][..], |all| all.as_slice());
    versions.iter().any(|version| {
        let told = version.value_as(version.verb, true);
        value::field(&told, "object").is_some_and(|object| covers(record, object))
    })
}

/// Returns whether the pod's first container runs what its image starts by itself. `command` and
/// `args` that write the image's defaults out change nothing; an image whose defaults are not known
/// here runs its own program only without them.
///
/// Example: `nginx` starts `nginx -g "daemon off;"`. So does `command: [nginx, -g, "daemon off;"]`;
/// `args: [sleep, infinity]` does not.
pub(super) fn runs_own_program(pod: &Value) -> bool {
    let words = |field: &str| -> Vec<String> {
        match at(pod, &format!("spec.containers.0.{field}")) {
            Some(Value::List(words)) => words
                .iter()
                .filter_map(|word| if let Value::String(word) = word { Some(word.to_string()) } else { None })
                .collect(),
            _ => vec![],
        }
    };
    let Some(Value::String(reference)) = at(pod, "spec.containers.0.image") else { return false };
    let (command, args) = (words("command"), words("args"));
    if command.is_empty() && args.is_empty() {
        return true;
    }
    let all = images::definitions();
    // Every version of an image here starts in the same way.
    let Some(image) = all.iter().find(|image| image.name == repository(reference)) else { return false };
    let started: Vec<&str> = match command.is_empty() {
        true => image.entrypoint.iter().copied().chain(args.iter().map(String::as_str)).collect(),
        false => command.iter().chain(&args).map(String::as_str).collect(),
    };
    let directory = format!("/{}/", image.links_in);
    let program = |word: &str| {
        let linked = image.symlinks.iter().find(|(path, _)| word.strip_prefix('/') == Some(*path));
        let path = linked.map_or(word.to_string(), |(_, to)| format!("/{}", to.trim_start_matches("../")));
        path.strip_prefix(directory.as_str()).unwrap_or(&path).to_string()
    };
    let own: Vec<&str> = image.entrypoint.iter().chain(image.command).copied().collect();
    started.len() == own.len()
        && started.iter().zip(&own).enumerate().all(|(n, (is, was))| match n {
            0 => program(is) == program(was),
            _ => is == was,
        })
}

/// The registry and the repository of an image, without tag and digest: `nginx:1.27` is
/// `docker.io/library/nginx`.
fn repository(reference: &str) -> String {
    let name = reference.split('@').next().unwrap_or_default();
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => name.into(),
        Some(_) => format!("docker.io/{name}"),
    }
}

/// Lists the pods by which kubelets show a static pod of `kube-system`: named after the node that
/// they run on and owned by it. A pod that a person made and that says the same has borrowed its
/// labels, and is not listed.
///
/// # Errors
/// Pods are not watched yet.
pub(super) fn mirrors(facts: &Facts, component: &str) -> Result<Vec<Object>, String> {
    let mut pods = facts.objects("Pod", "kube-system", None)?;
    pods.retain(|pod| {
        let (meta, node) = (&pod.json["metadata"], pod.json["spec"]["nodeName"].as_str().unwrap_or_default());
        let owners = meta["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
        meta["name"] == format!("{component}-{node}")
            && meta["annotations"]["kubernetes.io/config.mirror"].is_string()
            && owners.iter().any(|owner| owner["kind"] == "Node" && owner["name"] == node)
    });
    Ok(pods)
}

/// A connection that a typed line tried to open.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Knock {
    pub host: String,
    /// As written; empty if it is in a variable.
    pub port: String,
    /// The shell variable that holds the port.
    pub variable: String,
    pub is_refused: bool,
}

impl Knock {
    /// What expressions see of the knock.
    pub(super) fn value(&self) -> Value {
        value::map([
            ("host", value::text(&self.host)),
            ("port", value::text(&self.port)),
            ("variable", value::text(&self.variable)),
            ("refused", Value::Bool(self.is_refused)),
        ])
    }
}

/// Options of a program that knocks: letters and long names without a value, and those with one.
struct Options {
    letters: &'static str,
    valued: &'static str,
    long: &'static [&'static str],
    long_valued: &'static [&'static str],
    /// Exit codes that say: no program took the connection.
    refused: &'static [i32],
}

const CURL: Options = Options {
    letters: "sSvIikLfgqN46G0",
    valued: "mowHAXedubDr",
    long: &[
        "silent",
        "show-error",
        "verbose",
        "head",
        "include",
        "insecure",
        "location",
        "fail",
        "fail-with-body",
        "compressed",
        "get",
        "http1.0",
        "http1.1",
        "ipv4",
        "ipv6",
        "no-progress-meter",
    ],
    long_valued: &[
        "max-time",
        "connect-timeout",
        "output",
        "write-out",
        "header",
        "user-agent",
        "request",
        "data",
        "user",
        "cookie",
        "dump-header",
        "range",
        "retry",
        "retry-delay",
    ],
    refused: &[7, 28],
};
const WGET: Options = Options {
    letters: "qSdv46nc",
    valued: "TtOoU",
    long: &["quiet", "verbose", "no-verbose", "server-response", "spider", "no-proxy"],
    long_valued: &["timeout", "tries", "output-document", "user-agent", "header"],
    refused: &[4],
};
const NC: Options = Options { letters: "zvn46N", valued: "wq", long: &[], long_valued: &[], refused: &[1] };

/// Returns where the line of a curl, wget or nc knocks, and whether it was refused. `None`: it
/// knocks nowhere, at more than one place, or has options or a shell's syntax from which that is
/// not known. The port of its target counts; one in a header or in the name of a file does not. A
/// line that ends with `; echo $?` or `|| true` has lost the code, and a curl is refused there
/// whatever it is.
///
/// Example: `curl -H 'Host: localhost:31000' localhost:1` knocks at port 1.
pub(super) fn knock(line: &str, code: i32) -> Option<Knock> {
    let tail = |(command, rest): (&str, &str), ends: &[&str]| {
        ends.contains(&rest.trim()).then(|| command.to_string())
    };
    let echoes = ["echo $?", "echo \"$?\""];
    let bare = line.split_once(';').and_then(|parts| tail(parts, &echoes));
    let bare = bare.or_else(|| line.split_once("||").and_then(|parts| tail(parts, &["true"])));
    let (is_lost, command) = (bare.is_some(), bare.unwrap_or_else(|| line.to_string()));
    if command.contains([';', '&', '|', '#', '`', '<', '>', '(', ')', '\n']) {
        return None;
    }
    let words = shlex::split(&command)?;
    let (program, rest) = words.split_first()?;
    let options = match program.as_str() {
        "curl" | "/usr/bin/curl" => &CURL,
        "wget" => &WGET,
        "nc" => &NC,
        _ => return None,
    };
    let operands = operands(rest, options)?;
    let (host, port) = match (program.as_str(), operands.as_slice()) {
        ("nc", [host, port]) => ((*host).to_string(), (*port).to_string()),
        ("nc", _) => return None,
        (_, [url]) => address(url)?,
        _ => return None,
    };
    // Between single quotes the shell puts nothing in a variable's place.
    if port.starts_with('$') && operands.iter().any(|word| command.contains(&format!("'{word}'"))) {
        return None;
    }
    let variable = match port.strip_prefix('$') {
        None => String::new(),
        Some(name) => {
            let name = name.strip_prefix('{').and_then(|n| n.strip_suffix('}')).unwrap_or(name);
            let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            is_name.then(|| name.to_string())?
        }
    };
    let is_refused = match is_lost {
        true => program.ends_with("curl"),
        false => options.refused.contains(&code),
    };
    Some(Knock { host, port: if variable.is_empty() { port } else { String::new() }, variable, is_refused })
}

/// The words that are neither options nor their values. `None`: an option is not known.
fn operands<'a>(words: &'a [String], options: &Options) -> Option<Vec<&'a str>> {
    let mut found = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--") {
            match long.split_once('=') {
                Some((name, _)) if options.long_valued.contains(&name) => {}
                None if options.long_valued.contains(&long) => _ = words.next()?,
                None if options.long.contains(&long) => {}
                _ => return None,
            }
            continue;
        }
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            found.push(word.as_str());
            continue;
        };
        for (n, letter) in letters.char_indices() {
            if options.valued.contains(letter) {
                // -T2, or the next word.
                if n + letter.len_utf8() == letters.len() {
                    words.next()?;
                }
                break;
            }
            if !options.letters.contains(letter) {
                return None;
            }
        }
    }
    Some(found)
}

/// Host and port of a URL of HTTP; its scheme may be left out.
fn address(url: &str) -> Option<(String, String)> {
    let rest = match url.split_once("://") {
        Some(("http", rest)) => rest,
        Some(_) => return None,
        None => url,
    };
    let place = rest.split(['/', '?']).next()?;
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port),
        _ => (place, "80"),
    };
    Some((host.trim_start_matches('[').trim_end_matches(']').into(), port.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::version::Version;
    use serde_json::{Value as Json, json};
    use std::sync::Arc;

    #[test]
    fn an_eviction_takes_a_pod_away_and_a_dry_run_does_not() {
        let did = |verb: &str, object: &str, code: i64, dry_run: bool| {
            let record =
                json!({"own": true, "verb": verb, "object": object, "code": code, "dry_run": dry_run});
            removes(&Facts::default(), &value::of_json(&record), "Pod/default/web")
        };
        assert!(did("delete", "Pod/default/web", 200, false));
        assert!(did("deletecollection", "Pod/default/*", 200, false));
        assert!(did("create", "Pod/default/web/eviction", 201, false));
        assert!(
            !did("delete", "Pod/default/web", 200, true) && !did("delete", "Pod/default/web", 404, false)
        );
        assert!(
            !did("delete", "Pod/default/web2", 200, false) && !did("create", "Pod/default/web", 201, false)
        );
        assert!(!did("create", "Pod/default/web/eviction", 429, false), "a budget refused it");
    }

    /// A raw request whose selector fits nothing deletes nothing, also if a controller takes the
    /// pod away at the same time.
    #[test]
    fn a_list_is_taken_away_as_far_as_its_selectors_go() {
        let pod = json!({"kind": "Pod", "metadata": {"namespace": "default", "name": "web", "labels": {"app": "web"}}});
        let version = Version::new(7, None, "ADDED", pod.to_string().into());
        let key = ("pods".to_string(), "default".to_string(), "web".to_string());
        let history = [(key, Arc::new(vec![Arc::new(version)]))].into();
        let facts = Facts { history: Arc::new(history), ..Facts::default() };
        for (labels, fields, is_taken) in [
            ("", "", true),
            ("app=web", "", true),
            ("app in (web, db)", "metadata.name!=tester", true),
            ("nothing=here", "", false),
            ("", "metadata.name=other", false),
        ] {
            let record = json!({"own": true, "verb": "deletecollection", "object": "Pod/default/*", "code": 200,
                "dry_run": false, "labels": labels, "fields": fields});
            let taken = removes(&facts, &value::of_json(&record), "Pod/default/web");
            assert_eq!(taken, is_taken, "{labels} {fields}");
        }
    }

    #[test]
    fn what_a_container_runs_counts_and_not_how_it_is_written() {
        let runs = |image: &str, container: Json| {
            let mut container = container;
            container["image"] = image.into();
            runs_own_program(&value::of_json(&json!({"spec": {"containers": [container]}})))
        };
        let nginx = json!(["nginx", "-g", "daemon off;"]);
        for container in [
            json!({}),
            json!({"command": [], "args": []}),
            json!({"command": nginx}),
            json!({"args": nginx}),
            json!({"command": ["nginx"], "args": ["-g", "daemon off;"]}),
            json!({"command": ["/bin/nginx", "-g", "daemon off;"]}),
            json!({"command": ["/usr/sbin/nginx", "-g", "daemon off;"]}),
        ] {
            assert!(runs("docker.io/library/nginx:1.27", container.clone()), "{container}");
        }
        for container in [
            json!({"command": ["sleep"]}),
            json!({"args": ["sleep", "infinity"]}),
            json!({"command": ["nginx"]}),
        ] {
            assert!(!runs("nginx", container.clone()), "{container}");
        }
        assert!(runs("echo", json!({"command": ["echo-server"]})));
        assert!(runs("registry.example:5000/nginx", json!({})), "it is not known, and nothing is set");
        assert!(!runs("registry.example:5000/nginx", json!({"command": nginx})));
        assert!(!runs_own_program(&value::empty()));
    }

    #[test]
    fn a_mirror_is_its_nodes_and_a_look_alike_is_not() {
        let pod = |name: &str, node: &str, annotated: bool, owner: Option<&str>| {
            let owners: Vec<Json> =
                owner.map(|node| json!({"kind": "Node", "name": node})).into_iter().collect();
            let annotations = if annotated { json!({"kubernetes.io/config.mirror": "x"}) } else { json!({}) };
            let metadata = json!({"namespace": "kube-system", "name": name, "annotations": annotations,
                "labels": {"component": "kube-scheduler"}, "ownerReferences": owners});
            json!({"kind": "Pod", "metadata": metadata, "spec": {"nodeName": node}})
        };
        let mut facts = Facts::default();
        let all = facts.objects.entry("pods".into()).or_default();
        for pod in [
            pod("kube-scheduler-cp", "cp", true, Some("cp")),
            pod("kube-scheduler-copy", "w", true, Some("w")),
            pod("kube-scheduler-w", "w", false, Some("w")),
            pod("kube-scheduler-w2", "w2", true, None),
            pod("etcd-cp", "cp", true, Some("cp")),
        ] {
            let name = pod["metadata"]["name"].as_str().unwrap().to_string();
            Arc::make_mut(all).insert(("kube-system".into(), name), Object::new(pod));
        }
        let found = mirrors(&facts, "kube-scheduler").unwrap();
        let names: Vec<&str> = found.iter().filter_map(|p| p.json["metadata"]["name"].as_str()).collect();
        assert_eq!(names, ["kube-scheduler-cp"]);
    }

    #[test]
    fn only_the_target_of_a_line_is_where_it_knocks() {
        let place = |line: &str| knock(line, 7).map(|k| (k.host, k.port, k.variable));
        let at = |host: &str, port: &str, variable: &str| {
            Some((host.to_string(), port.to_string(), variable.to_string()))
        };
        for line in [
            "curl localhost:31000",
            "curl -sS -m 2 http://localhost:31000/",
            "curl --max-time 2 'localhost:31000/menu?a=b'",
            "wget -qO- -T2 http://localhost:31000",
            "nc -zv -w 2 localhost 31000",
            "curl --fail-with-body --retry 2 -d a=b localhost:31000",
            "curl -sD - --data=a -u me:localhost:1 localhost:31000",
            "wget -nv -O- localhost:31000",
            "nc -q 1 localhost 31000",
            "curl -s localhost:31000; echo $?",
            "curl -s localhost:31000 || true",
        ] {
            assert_eq!(place(line), at("localhost", "31000", ""), "{line}");
        }
        assert_eq!(place("curl localhost:$PORT"), at("localhost", "", "PORT"));
        assert_eq!(place("curl \"localhost:${my_port}/\"; echo $?"), at("localhost", "", "my_port"));
        assert_eq!(place("curl http://[::1]:31000"), at("::1", "31000", ""));
        // The port somewhere else in the line.
        assert_eq!(place("curl -H 'Host: localhost:31000' localhost:1"), at("localhost", "1", ""));
        assert_eq!(place("curl -o localhost:31000 localhost:1"), at("localhost", "1", ""));
        assert_eq!(place("curl localhost:1/localhost:31000"), at("localhost", "1", ""));
        assert_eq!(place("curl localhost/localhost:31000"), at("localhost", "80", ""));
        for line in [
            "curl --no-such-flag localhost:31000",
            "curl -x localhost:31000 localhost:1",
            "curl localhost:1 localhost:31000",
            "curl 'localhost:$PORT'",
            "curl localhost:$(cat port)",
            "sh -c 'exit 7' # curl localhost:31000",
            "echo curl localhost:31000",
            "curl localhost:1; curl localhost:31000",
        ] {
            assert_eq!(place(line), None, "{line}");
        }
    }

    #[test]
    fn an_exit_code_tells_whether_somebody_answered() {
        let refused = |line: &str, code| knock(line, code).is_some_and(|k| k.is_refused);
        assert!(refused("curl localhost:1", 7) && refused("curl localhost:1", 28));
        assert!(!refused("curl localhost:1", 0) && !refused("wget localhost:1", 7));
        assert!(refused("wget localhost:1", 4) && refused("nc localhost 1", 1));
        assert!(refused("curl localhost:1; echo $?", 0), "the code is echo's");
        assert!(!refused("wget localhost:1; echo $?", 0));
    }
}
