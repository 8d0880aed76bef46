//! Lines and manifests of a lesson as they are to be run in its scope, where the namespace that
//! lessons call `default` has another name.

use crate::lines::{self, Place, is_assignment, knows_namespaces, letters};
use cluster::guest::{LESSON_NAMESPACE, LessonScope};
use kubectl::flag::Kind;
use kubectl::manifest::documents;
use kubectl::table::{self, Verb};
use serde_json::Value as Json;

/// Begins the name of a user that is a service account. Its namespace and its name follow.
const ACCOUNT: &str = "system:serviceaccount:";
/// Begins the name of the group of all service accounts of the namespace that follows.
const ACCOUNTS: &str = "system:serviceaccounts:";

/// What a namespace may follow in a line.
const BEFORE_NAMESPACE: &[&str] = &[
    " -n",
    "-n ",
    "-n=",
    "--namespace ",
    "--namespace=",
    "/namespaces/",
    "--serviceaccount ",
    "--serviceaccount=",
    ACCOUNT,
    ACCOUNTS,
];

/// Returns a lesson's line as it is to be run in a scope: where it names `default`, it means the
/// lesson's namespace. The `-n` of a program that knows no namespaces stays as it is.
///
/// ```text
/// get pods -n default                                get pods -n own
/// create rolebinding b --serviceaccount=default:a    create rolebinding b --serviceaccount=own:a
/// get pods --as system:serviceaccount:default:a      get pods --as system:serviceaccount:own:a
/// ```
pub(crate) fn line(line: &str, scope: &LessonScope) -> String {
    let own = scope.real_name(LESSON_NAMESPACE);
    if own == LESSON_NAMESPACE {
        return line.into();
    }
    let mut out = line.to_string();
    for flag in BEFORE_NAMESPACE.iter().copied().chain(joined_flags(line)) {
        let is_short = flag.trim_start().starts_with('-') && !flag.starts_with("--");
        let mut rest = out.as_str();
        let mut turned = String::new();
        while let Some((before, after)) = rest.split_once(flag) {
            turned.push_str(before);
            turned.push_str(flag);
            // A shell takes blanks and quotes away: `-n  "default"`.
            let bare = after.trim_start_matches([' ', '\t']);
            let quote = if bare.starts_with(['"', '\'']) { &bare[..1] } else { "" };
            let named = &bare[quote.len()..];
            let is_whole = |end: &&str| match quote {
                "" => !end.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-'),
                quote => end.starts_with(quote) || end.starts_with(':'),
            };
            let before_value = &out[..out.len() - after.len()];
            let is_namespace = |_: &&str| !is_short || !is_of_other_program(before_value);
            rest = match named.strip_prefix(LESSON_NAMESPACE).filter(is_whole).filter(is_namespace) {
                Some(end) => {
                    turned.push_str(&after[..after.len() - named.len()]);
                    turned.push_str(own);
                    end
                }
                None => after,
            };
        }
        turned.push_str(rest);
        out = turned;
    }
    out
}

/// Returns the flags of a line that are an `-n` with other short flags before it, which have no
/// value. Example: `kubectl logs -fn default web` has `-fn`.
fn joined_flags(line: &str) -> impl Iterator<Item = &str> {
    let has_no_value = |letter| {
        let is_alone = |verb: &Verb| verb.short_flag(letter).is_some_and(|flag| flag.kind == Kind::Bool);
        table::root().children().any(is_alone)
    };
    line.split_whitespace().filter_map(move |word| {
        let (before, _) = word.strip_prefix('-')?.split_once('n')?;
        let is_joined = !before.is_empty() && before.chars().all(has_no_value);
        is_joined.then(|| &word[..=before.len() + 1])
    })
}

/// Returns whether the `-n` at the end of a text is the flag of a program that knows no namespaces.
/// In quotes it may be a part of a script for another program, and behind `$(` the command is not
/// known: then it is taken for a namespace's.
///
/// ```text
/// kubectl exec web -n                     a namespace's
/// kubectl exec web -- grep -n             another program's
/// echo 'kubectl get pods -n               a namespace's
/// ```
fn is_of_other_program(text: &str) -> bool {
    if letters(text).last().is_some_and(|(.., place)| place != Place::Bare) {
        return false;
    }
    let is_between = |c: char, place: Place| place == Place::Bare && matches!(c, '|' | '&' | ';' | '\n');
    let sign = letters(text).filter(|(_, c, place)| is_between(*c, *place)).last();
    let command = &text[sign.map_or(0, |(at, ..)| at + 1)..];
    // What stands behind `--` is a command in a container.
    let own = command.rsplit(" -- ").next().unwrap_or(command);
    let program = own.split_whitespace().find(|word| !is_assignment(word)).unwrap_or_default();
    let may_be_kubectl = own.contains("kubectl") || own.contains(['(', '`']);
    // A `-` before the command says that it may fail.
    !may_be_kubectl && !knows_namespaces(program.trim_start_matches('-'))
}

/// Returns lines of a lesson as they are to be run in a scope: commands as [`line`] does, manifests
/// as [`manifest`] does. A here-document keeps the word that ends it.
pub(crate) fn lines(lines: &[String], scope: &LessonScope) -> Vec<String> {
    let (mut all, mut rest) = (Vec::new(), lines);
    while let Some((command, after)) = rest.split_first() {
        all.push(line(command, scope));
        let (input, behind) = lines::following(command, after);
        let taken = &after[..after.len() - behind.len()];
        rest = behind;
        if !lines::reads_manifest(command) {
            all.extend(taken.iter().map(|text| line(text, scope)));
            continue;
        }
        all.extend(manifest(&input, scope).lines().map(String::from));
        let all_taken: usize = taken.iter().map(|text| text.len() + 1).sum();
        let end = taken.last().filter(|_| input.len() < all_taken);
        all.push(end.cloned().unwrap_or_else(|| ".".into()));
    }
    all
}

/// Returns a lesson's manifest as it is to be applied in a scope: objects, and subjects of a
/// binding, that name `default` mean the lesson's namespace. So do users and groups that stand for
/// accounts of `default`. Then it is written as JSON, a line for each object; a manifest that does
/// not name `default`, or cannot be read, stays as it is.
///
/// Example: in the namespace `own`, `{kind: Pod, metadata: {name: a, namespace: default}}` becomes
/// `{"kind":"Pod","metadata":{"name":"a","namespace":"own"}}`.
pub(crate) fn manifest(text: &str, scope: &LessonScope) -> String {
    let own = scope.real_name(LESSON_NAMESPACE);
    let Ok(mut all) = documents(text.as_bytes()) else { return text.into() };
    if own == LESSON_NAMESPACE || !all.iter_mut().fold(false, |turned, object| rename(object, own) | turned) {
        return text.into();
    }
    all.iter().map(|object| format!("{object}\n")).collect()
}

/// Puts an object that is in `default` into the lesson's namespace; true if anything changed.
fn rename(object: &mut Json, own: &str) -> bool {
    let put = |namespace: &mut Json| {
        let is_default = *namespace == LESSON_NAMESPACE;
        if is_default {
            *namespace = own.into();
        }
        is_default
    };
    let mut changed = object.pointer_mut("/metadata/namespace").is_some_and(put);
    let subjects = object.pointer_mut("/subjects").and_then(Json::as_array_mut);
    for subject in subjects.into_iter().flatten() {
        changed |= subject.get_mut("namespace").is_some_and(put);
        changed |= subject.get_mut("name").is_some_and(|name| rename_accounts(name, own));
    }
    // The items of a list.
    let is_list = object["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    let items = object.get_mut("items").filter(|_| is_list).and_then(Json::as_array_mut);
    for item in items.into_iter().flatten() {
        changed |= rename(item, own);
    }
    changed
}

/// Puts the lesson's namespace into the name of a user or a group that stands for the service
/// accounts of `default`; true if it does.
fn rename_accounts(name: &mut Json, own: &str) -> bool {
    let text = name.as_str().unwrap_or_default();
    let in_default = text.strip_prefix(ACCOUNT).or_else(|| text.strip_prefix(ACCOUNTS));
    let is_of_default = in_default.is_some_and(|rest| rest.split(':').next() == Some(LESSON_NAMESPACE));
    if is_of_default {
        *name = text.replacen(LESSON_NAMESPACE, own, 1).into();
    }
    is_of_default
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_becomes_the_lessons_namespace() {
        let scope = LessonScope { namespace: Some("own".into()), ..LessonScope::default() };
        for (from, to) in [
            ("kubectl get po --namespace=default -o wide", "kubectl get po --namespace=own -o wide"),
            (
                "kubectl get --raw /api/v1/namespaces/default/pods",
                "kubectl get --raw /api/v1/namespaces/own/pods",
            ),
            ("kubectl get pods -n default", "kubectl get pods -n own"),
            ("kubectl get pods -n default-x", "kubectl get pods -n default-x"),
            ("kubectl get pods -ndefault", "kubectl get pods -nown"),
            ("kubectl get pods -n  default", "kubectl get pods -n  own"),
            ("kubectl get pods -n 'default'", "kubectl get pods -n 'own'"),
            (
                "kubectl get pods --namespace=\"default\" -o wide",
                "kubectl get pods --namespace=\"own\" -o wide",
            ),
            ("kubectl logs -fn default web", "kubectl logs -fn own web"),
            ("kubectl exec -itndefault web -- sh", "kubectl exec -itnown web -- sh"),
            ("kubectl get ns -ojson default", "kubectl get ns -ojson default"),
            ("grep -in default a.yaml", "grep -in default a.yaml"),
            ("echo -n 'default value'", "echo -n 'default value'"),
            ("kubectl get namespace default", "kubectl get namespace default"),
        ] {
            assert_eq!(line(from, &scope), to);
            assert_eq!(line(from, &LessonScope::default()), from);
        }
    }

    /// The foreign cluster's own account `default/a` got the rights of the lesson's instead.
    #[test]
    fn accounts_in_default_are_those_of_the_lessons_namespace() {
        let scope = LessonScope { namespace: Some("own".into()), ..LessonScope::default() };
        for (from, to) in [
            (
                "kubectl create rolebinding b --role=r --serviceaccount=default:a",
                "kubectl create rolebinding b --role=r --serviceaccount=own:a",
            ),
            (
                "set subject rolebinding b --serviceaccount 'default:a'",
                "set subject rolebinding b --serviceaccount 'own:a'",
            ),
            (
                "kubectl auth can-i get pods --as=system:serviceaccount:default:default",
                "kubectl auth can-i get pods --as=system:serviceaccount:own:default",
            ),
            (
                "get pods --as-group=system:serviceaccounts:default",
                "get pods --as-group=system:serviceaccounts:own",
            ),
            (
                "get pods --as=system:serviceaccount:default-x:a",
                "get pods --as=system:serviceaccount:default-x:a",
            ),
        ] {
            assert_eq!(line(from, &scope), to);
        }
        let subjects = |namespace: &str| {
            format!(
                "{{\"kind\":\"RoleBinding\",\"subjects\":[{{\"kind\":\"User\",\"name\":\"system:serviceaccount:{namespace}:default\"}},\
                 {{\"kind\":\"Group\",\"name\":\"system:serviceaccounts:{namespace}\"}},\
                 {{\"kind\":\"User\",\"name\":\"default\"}}]}}\n"
            )
        };
        assert_eq!(manifest(&subjects("default"), &scope), subjects("own"));
        assert_eq!(manifest(&subjects("other"), &scope), subjects("other"));
    }

    /// `grep -n default` looked for the name of the lesson's namespace instead.
    #[test]
    fn a_flag_of_a_program_that_knows_no_namespaces_stays() {
        let scope = LessonScope { namespace: Some("own".into()), ..LessonScope::default() };
        for same in [
            "grep -n default notes.txt",
            "-grep  -n  'default' notes.txt",
            "LANG=C grep -n default notes.txt",
            "kubectl exec web -- grep -n default notes.txt",
            "echo -n default | kubectl exec -i web -- cat",
            "kubectl get pods | grep -n default",
        ] {
            assert_eq!(line(same, &scope), same);
        }
        for (from, to) in [
            ("kubectl get pods -n default | grep -n default", "kubectl get pods -n own | grep -n default"),
            (
                "kubectl exec web -n default -- grep -n default a",
                "kubectl exec web -n own -- grep -n default a",
            ),
            ("echo 'kubectl get pods -n default' > a.sh", "echo 'kubectl get pods -n own' > a.sh"),
            ("echo kubectl get pods -n default > a.sh", "echo kubectl get pods -n own > a.sh"),
            ("echo $(k get pods -n default -o name)", "echo $(k get pods -n own -o name)"),
            ("kubectl delete pod $(cat name) -n default", "kubectl delete pod $(cat name) -n own"),
            ("get pod test -n default", "get pod test -n own"),
            ("cp web:/etc/hosts hosts -n default", "cp web:/etc/hosts hosts -n own"),
            ("    -n default \\", "    -n own \\"),
            ("helm list -n default", "helm list -n own"),
            ("echo --namespace=default >> flags", "echo --namespace=own >> flags"),
        ] {
            assert_eq!(line(from, &scope), to);
        }
    }

    /// The relay of a foreign cluster refuses an object in `default`.
    #[test]
    fn a_manifest_in_default_is_applied_in_the_lessons_namespace() {
        let scope = LessonScope { namespace: Some("own".into()), ..LessonScope::default() };
        let two = "# kept only if nothing changes\nkind: Pod\nmetadata:\n  name: a\n  namespace: default\n---\n\
                   {kind: Pod, metadata: {name: b, namespace: other}}\n";
        let turned = "{\"kind\":\"Pod\",\"metadata\":{\"name\":\"a\",\"namespace\":\"own\"}}\n\
                      {\"kind\":\"Pod\",\"metadata\":{\"name\":\"b\",\"namespace\":\"other\"}}\n";
        assert_eq!(manifest(two, &scope), turned);
        assert_eq!(manifest(two, &LessonScope::default()), two, "at home nothing has another name");
        for same in [
            "kind: Pod\nmetadata: {name: a} # default",
            "kind: ConfigMap\ndata:\n  a: |\n    namespace: default\n",
            "kind: [",
        ] {
            assert_eq!(manifest(same, &scope), same);
        }
        let list = "{kind: List, items: [{kind: RoleBinding, metadata: {namespace: default}, \
                    subjects: [{name: s, namespace: default}, {name: u}]}]}";
        let turned = manifest(list, &scope);
        assert!(
            turned.matches("\"namespace\":\"own\"").count() == 2 && !turned.contains(LESSON_NAMESPACE),
            "{turned}"
        );
        let text = ["kubectl apply -n default -f -", "kind: Pod", "metadata: {namespace: default}", "."];
        let text = text.map(String::from);
        let played = lines(&[&text[..], &["kubectl get pods".into()]].concat(), &scope);
        let want = [
            "kubectl apply -n own -f -",
            "{\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"own\"}}",
            ".",
            "kubectl get pods",
        ];
        assert_eq!(played, want);
        assert_eq!(lines(&text, &LessonScope::default()), text);
    }

    /// The word was replaced by the end of a manifest, and the shell took the lines behind it for
    /// the document's.
    #[test]
    fn a_here_document_ends_with_its_own_word() {
        let script = ["cat > a.sh <<'EOF'", "kubectl apply -f -", "kubectl get pods -n default", "EOF"];
        for word in ["EOF", "END"] {
            let first = format!("kubectl apply -f - <<'{word}'");
            let manifest = [first.as_str(), "kind: Pod", "metadata: {namespace: default}", word];
            let text = [&manifest[..], &["kubectl get pods"], &script[..], &["bash a.sh"]].concat();
            let text: Vec<String> = text.into_iter().map(String::from).collect();
            assert_eq!(lines(&text, &LessonScope::default()), text);
            let turned =
                lines(&text, &LessonScope { namespace: Some("own".into()), ..LessonScope::default() });
            let pod = "{\"kind\":\"Pod\",\"metadata\":{\"namespace\":\"own\"}}";
            assert_eq!(turned[..4], [first.as_str(), pod, word, "kubectl get pods"]);
            // A line with a document and its end in it has nothing behind it.
            let whole = [manifest.join("\n"), "kubectl get pods -n default".into()];
            assert_eq!(lines(&whole, &LessonScope::default()), whole);
            assert_eq!(turned[4..], [script[0], script[1], "kubectl get pods -n own", "EOF", "bash a.sh"]);
        }
    }
}
