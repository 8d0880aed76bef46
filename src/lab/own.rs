//! What belongs to a lesson, and not to the learner's own work: of what its lines name, what was made in it.

use super::format::Lesson;
use std::collections::BTreeSet;

/// Flags of kubectl that take the next word.
const WITH_VALUE: &[&str] = &["-n", "-l", "-f", "-o", "-p", "-c"];
/// Letters and digits of the names that controllers draw.
const DRAWN: &str = "bcdfghjklmnpqrstvwxz2456789";

/// The name under which an object is noted.
pub fn key(resource: &str, namespace: &str, name: &str) -> String {
    format!("{resource}/{namespace}/{name}")
}

/// Names of objects that the lines of a lesson's setup and solutions make or delete.
pub fn names(lesson: &Lesson) -> BTreeSet<String> {
    let lines = lesson.setup.iter().chain(lesson.steps.iter().flat_map(|step| &step.solution));
    lines.flat_map(|line| names_in(line)).collect()
}

fn names_in(line: &str) -> Vec<String> {
    let line = line.trim_start_matches('-').trim();
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if let Some((_, rest)) = line.split_once("metadata: {name: ") {
        return vec![rest.chars().take_while(|c| part(*c)).collect()];
    }
    let words = shlex::split(line).unwrap_or_default();
    let words = words.iter().skip(usize::from(words.first().is_some_and(|w| w == "kubectl" || w == "k")));
    let (mut plain, mut named, mut words) = (Vec::new(), None, words.map(String::as_str));
    while let Some(word) = words.next() {
        match word {
            "|" | ">" | "&&" | "||" | ";" | "--" => break,
            // What a command prints is known to nobody before.
            word if word.contains("$(") || word.contains('`') => break,
            word if WITH_VALUE.contains(&word) => _ = words.next(),
            word if word.starts_with("--name=") => named = word.strip_prefix("--name="),
            word if word.starts_with('-') => {}
            word => plain.push(word),
        }
    }
    let found = match (plain.as_slice(), named) {
        (["expose", ..], Some(name)) => vec![name],
        (["run", name, ..], _) => vec![*name],
        (["create" | "expose", _, .., name], _) => vec![*name],
        (["delete", kind, ..], None) if kind.contains('/') => plain[1..].to_vec(),
        (["delete", _, names @ ..], None) => names.to_vec(),
        _ => vec![],
    };
    let name = |word: &str| word.rsplit('/').next().unwrap_or(word).to_string();
    found.into_iter().filter(|word| word.chars().all(|c| part(c) || c == '/')).map(name).collect()
}

/// What a controller would have had to be told to make an object of this name: plurals and names.
pub fn owners(resource: &str, name: &str) -> Vec<(&'static str, String)> {
    let drawn = |text: &str, long: std::ops::RangeInclusive<usize>| {
        long.contains(&text.len()) && text.chars().all(|c| DRAWN.contains(c))
    };
    let parent = |name: &str, long: std::ops::RangeInclusive<usize>| {
        name.rsplit_once('-').filter(|(_, tail)| drawn(tail, long)).map(|(head, _)| head.to_string())
    };
    let deployment = |set: &str| parent(set, 6..=10).map(|name| ("deployments", name));
    match resource {
        "replicasets" => deployment(name).into_iter().collect(),
        "pods" => {
            let Some(set) = parent(name, 5..=5) else { return vec![] };
            deployment(&set).into_iter().chain([("replicasets", set.clone())]).collect()
        }
        _ => vec![],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::format::Library;

    #[test]
    fn only_what_a_lesson_makes_or_deletes_is_named_by_it() {
        for (line, found) in [
            ("-kubectl create deployment dpy-nginx --image=nginx", vec!["dpy-nginx"]),
            ("kubectl delete service pod-svc door --ignore-not-found", vec!["pod-svc", "door"]),
            ("kubectl delete pod/web svc/web", vec!["web", "web"]),
            ("kubectl delete deployment,replicaset,pod -l app=dpy-nginx --now", vec![]),
            ("-kubectl run tester --image=busybox -- sleep infinity", vec!["tester"]),
            ("kubectl expose pod nginx-pod --type=NodePort --name=pod-svc --port=80", vec!["pod-svc"]),
            ("kubectl create service clusterip menu -n shop --tcp=80:80", vec!["menu"]),
            ("kubectl create deployment web --dry-run=client -o yaml | grep -v null > web.yaml", vec!["web"]),
            ("metadata: {name: nginx-pod, labels: {run: x}}", vec!["nginx-pod"]),
            ("spec: {containers: [{name: web, image: 'nginx:1.27'}]}", vec![]),
            ("kubectl delete $(kubectl get pods -o name | head -1)", vec![]),
            ("kubectl get pods web", vec![]),
        ] {
            assert_eq!(names_in(line), found, "{line}");
        }
        let library = Library::built_in();
        let of = |id: &str| names(library.get(id).unwrap());
        assert_eq!(of("first-voyage/04"), ["nginx-pod".to_string()].into());
        assert!(of("first-voyage/12").contains("web") && !of("first-voyage/11").contains("nginx"));
    }

    #[test]
    fn names_that_controllers_draw_are_told_from_others() {
        let of = |resource: &str, name: &str| -> Vec<String> {
            owners(resource, name).into_iter().map(|(kind, name)| format!("{kind}/{name}")).collect()
        };
        assert_eq!(of("replicasets", "dpy-nginx-657f4db74"), ["deployments/dpy-nginx"]);
        let pod = of("pods", "dpy-nginx-657f4db74-x2x9q");
        assert_eq!(pod, ["deployments/dpy-nginx", "replicasets/dpy-nginx-657f4db74"]);
        for (resource, name) in [
            ("deployments", "web-2"),
            ("pods", "web-2"),
            ("pods", "web-bright"),
            ("services", "web-657f4db74"),
        ] {
            assert!(of(resource, name).is_empty(), "{resource}/{name}");
        }
    }
}
