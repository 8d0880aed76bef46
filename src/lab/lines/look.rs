//! How to find out what a line of kubectl's would delete or change, before it runs: by a `get` of
//! the objects that it names, or by its trial (`--dry-run=server`). Everything here is read from
//! the line and from kubectl's table of verbs; `actor::cost::look` asks the server.

use super::{Act, in_scope};
use cluster::guest::LessonScope;
use kubectl::parse;

/// How to find out what a line would delete or change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Nothing that is there: it looks, or makes something new.
    Nothing,
    /// What this `get` finds is deleted.
    Deletes(Vec<String>),
    /// What this `get` finds is changed, if it is not as the line wants it.
    Changes(Vec<String>),
    /// Its trial answers with the objects as they would be.
    Trial,
    /// Neither a `get` nor a trial shows it.
    Unknown,
}

/// Returns how to find out what a line would delete or change. `words`: those of the line,
/// `kubectl` first; `verb`: the place of its verb among them.
///
/// ```text
/// delete pod web            Deletes: get pod web
/// scale deploy/web          Changes: get deploy/web
/// apply -f -                Trial
/// create deployment web     Nothing: a Deployment that is there makes the line fail
/// edit deploy/web           Unknown: a person decides it in an editor
/// ```
///
/// # Errors
/// See [`look_for_deletion`].
pub(crate) fn find_way(parsed: &parse::Parsed, words: &[String], verb: usize) -> Result<Way, String> {
    let flags = &parsed.flags;
    if flags.is_trial() || flags.is("local") || flags.is("list") {
        return Ok(Way::Nothing); // a trial itself, or one without a server
    }
    // Any path of the API, written without a trial.
    if !flags.text("raw").is_empty() && ["create", "delete", "replace"].contains(&parsed.verb.path) {
        return Ok(Way::Unknown);
    }
    if let Some(look) = look_for_change(parsed) {
        return Ok(Way::Changes(look));
    }
    if parsed.verb.path == "replace" && flags.is("force") {
        return Ok(Way::Deletes(look_at_files(parsed)));
    }
    let Some(act) = Act::of(parsed.verb) else { return Ok(Way::Unknown) };
    Ok(match act {
        Act::Applies | Act::Changes => Way::Trial,
        Act::Debugs => match (flags.text("copy-to"), look_at_pods(parsed)) {
            ("", look) => Way::Changes(look),
            (_, look) if flags.is("replace") => Way::Deletes(look),
            _ => Way::Nothing,
        },
        Act::Deletes => Way::Deletes(look_for_deletion(words.to_vec(), verb)?),
        Act::Edits => Way::Unknown,
        // A line of these that names nothing, for which there was no look above, changes nothing.
        Act::ChangesNodes | Act::Signs | Act::Steers => Way::Nothing,
        Act::Configures | Act::Holds | Act::Looks | Act::Reaches => Way::Nothing,
        Act::Creates | Act::Generates => Way::Nothing, // what is there already is refused
    })
}

/// Says why a line has no place in a setup: before it runs the learner could not be told what it
/// would delete or change, and so not be asked for consent. `None`: that can be found out, or it
/// is no line of kubectl's.
pub(crate) fn cannot_be_asked(line: &str) -> Option<String> {
    let (words, verb) = kubectl_words(line, &LessonScope::default())?;
    let parsed = parse::parse(&words[1..]).ok()?;
    match find_way(&parsed, &words, verb) {
        Ok(Way::Trial) => trial(&words, &[]).err(),
        Ok(Way::Unknown) => Some(unknown(line)),
        Ok(_) => None,
        Err(why) => Some(why),
    }
}

/// Says that no `get` and no trial shows what a line takes.
pub(crate) fn unknown(line: &str) -> String {
    format!("kubectl cannot tell beforehand what `{line}` would change or delete")
}

/// The words of a line of kubectl's, which is `kubectl` first, and the place of the verb: options
/// may stand before it. `None`: it is no such line.
pub(crate) fn kubectl_words(line: &str, scope: &LessonScope) -> Option<(Vec<String>, usize)> {
    let line = in_scope::line(line.trim_start_matches('-').trim_start(), scope);
    let mut words = shlex::split(&line)?;
    match words.first().map(String::as_str) {
        None | Some("fault") => return None,
        Some("kubectl") => {}
        Some("k") => words[0] = "kubectl".into(),
        Some(_) => words.insert(0, "kubectl".into()),
    }
    let at = parse::parse(&words[1..]).ok()?.verb_at?;
    Some((words, at + 1))
}

/// The trial of a line, with further flags.
///
/// # Errors
/// It would be no trial, because the flags would be no flags: behind `--` they are words.
pub(crate) fn trial(words: &[String], more: &[&str]) -> Result<Vec<String>, String> {
    let mut all = words.to_vec();
    // Beside --force kubectl refuses every trial on the server.
    let known = parse::parse(&words[1..]).is_ok_and(|parsed| parsed.flags.is("force"));
    all.extend(known.then(|| "--force=false".to_string()));
    all.extend(more.iter().copied().chain(["--dry-run=server", "-o", "json"]).map(String::from));
    let is_trial = |parsed: parse::Parsed| {
        (parsed.flags.text("dry-run"), parsed.flags.text("output")) == ("server", "json")
    };
    match parse::parse(&all[1..]).is_ok_and(is_trial) {
        true => Ok(all),
        false => Err(unknown(&words.join(" "))),
    }
}

/// The command that asks for the objects of a line's files.
pub(crate) fn look_at_files(parsed: &parse::Parsed) -> Vec<String> {
    let mut look = vec!["kubectl".to_string(), "get".into()];
    look.extend(named_by_flags(parsed).into_iter().filter(|(flag, _)| flag != "-l").flat_map(pair));
    look.extend(["--ignore-not-found", "-o", "json"].map(String::from));
    look
}

/// The command that asks for the pods of a `debug`: words behind `--` are the container's.
fn look_at_pods(parsed: &parse::Parsed) -> Vec<String> {
    let names = &parsed.args[..parsed.dash.unwrap_or(parsed.args.len()).min(parsed.args.len())];
    let mut look = vec!["kubectl".to_string(), "get".into()];
    if names.first().is_some_and(|name| !name.contains('/')) {
        look.push("pods".into());
    }
    look.extend(names.iter().cloned());
    look.extend(named_by_flags(parsed).into_iter().flat_map(pair));
    look.extend(["--ignore-not-found", "-o", "json"].map(String::from));
    look
}

/// What a line's flags say about which objects are meant, as flags of `get`; `-R` has no value.
fn named_by_flags(parsed: &parse::Parsed) -> Vec<(String, String)> {
    let flags = &parsed.flags;
    let text = |flag: &str, name: &str| (flag.to_string(), flags.text(name).to_string());
    let mut named = vec![text("-n", "namespace"), text("-l", "selector")];
    named.extend(flags.list("filename").into_iter().map(|file| ("-f".to_string(), file)));
    named.push(text("-k", "kustomize"));
    named.retain(|(_, value)| !value.is_empty());
    named.extend(flags.is("recursive").then(|| ("-R".to_string(), String::new())));
    named
}

fn pair((flag, value): (String, String)) -> impl Iterator<Item = String> {
    [Some(flag), Some(value).filter(|value| !value.is_empty())].into_iter().flatten()
}

/// Flags of `delete` that `get` does not know.
const OF_DELETIONS: &[&str] =
    &["--now", "--force", "--wait", "--grace-period", "--cascade", "--all", "--timeout"];

/// The command that shows what a `delete` would delete, whose verb stands at a place.
///
/// # Errors
/// It would be no `get` that answers with JSON: it may do something, and would not tell what is
/// lost. The text is for people.
fn look_for_deletion(mut words: Vec<String>, verb: usize) -> Result<Vec<String>, String> {
    let line = words.join(" ");
    words[verb] = "get".into();
    let has_value = |name: &str| {
        let flag = parse::parse(&["delete".into()]).ok().and_then(|delete| delete.verb.flag(name));
        flag.is_some_and(|flag| flag.alone.is_empty())
    };
    let mut is_value = false;
    words.retain(|word| {
        let (flag, value) = word.split_once('=').map_or((word.as_str(), false), |(flag, _)| (flag, true));
        let flag = flag.replace('_', "-"); // kubectl takes both signs
        let is_known = OF_DELETIONS.contains(&flag.as_str());
        let drop = std::mem::take(&mut is_value) || is_known;
        is_value = is_known && !value && has_value(&flag[2..]);
        !drop
    });
    words.extend(["--ignore-not-found".into(), "-o".into(), "json".into()]);
    let is_look = |parsed: &parse::Parsed| parsed.verb.path == "get" && parsed.flags.text("output") == "json";
    match parse::parse(&words[1..]).is_ok_and(|parsed| is_look(&parsed)) {
        true => Ok(words),
        false => Err(format!("kubectl get cannot show what `{line}` would delete")),
    }
}

/// The command that asks for the objects that a line changes, where its trial would not tell them
/// as they would be: `rollout restart deploy/web` is looked at by `get deploy/web`.
fn look_for_change(parsed: &parse::Parsed) -> Option<Vec<String>> {
    let flags = &parsed.flags;
    let mut look = vec!["kubectl".to_string(), "get".into()];
    let is_name = |word: &&String| !word.contains(['=', ':']) && !word.ends_with('-');
    match parsed.verb.path {
        "scale" if flags.changed("replicas") => look.extend(parsed.args.iter().cloned()),
        "rollout pause" | "rollout restart" | "rollout resume" | "rollout undo" => {
            look.extend(parsed.args.iter().cloned());
        }
        "certificate approve" | "certificate deny" => {
            look.extend((!parsed.args.is_empty()).then(|| "certificatesigningrequests".to_string()));
            look.extend(parsed.args.iter().cloned());
        }
        // What a taint is follows the names of its nodes.
        "taint" => look.extend(parsed.args.iter().take_while(is_name).cloned()),
        "cordon" | "drain" | "uncordon" => {
            look.push("nodes".into());
            look.extend(parsed.args.iter().cloned());
        }
        _ => return None,
    }
    let named = named_by_flags(parsed);
    let names_any = !named.is_empty() || !parsed.args.is_empty();
    look.extend(named.into_iter().flat_map(pair));
    look.extend(["--ignore-not-found", "-o", "json"].map(String::from));
    names_any.then_some(look)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_line_changes_is_looked_for_by_a_get() {
        let of = |line: &str| {
            let (words, _) = kubectl_words(line, &LessonScope::default()).unwrap();
            look_for_change(&parse::parse(&words[1..]).unwrap()).map(|look| look.join(" "))
        };
        for (line, asks) in [
            ("-kubectl scale deployment dpy-nginx --replicas=3", "deployment dpy-nginx"),
            ("scale --replicas 0 deploy/web -n shop", "deploy/web -n shop"),
            ("k scale rs -l app=web --replicas=5", "rs -l app=web"),
            ("rollout undo deploy/web --to-revision=1", "deploy/web"),
            ("rollout restart -f web.yaml", "-f web.yaml"),
            ("rollout restart -k web", "-k web"),
            ("rollout undo -R -f -", "-f - -R"),
            ("taint nodes n1 n2 a=b:NoSchedule c-", "nodes n1 n2"),
            ("taint node -l zone=a a:NoExecute-", "node -l zone=a"),
            ("cordon n1", "nodes n1"),
            ("drain n1 --ignore-daemonsets --force", "nodes n1"),
        ] {
            assert_eq!(of(line), Some(format!("kubectl get {asks} --ignore-not-found -o json")), "{line}");
        }
        for line in
            ["kubectl scale deployment web", "rollout status deploy/web", "kubectl get pods", "cordon"]
        {
            assert_eq!(of(line), None, "{line}");
        }
    }

    #[test]
    fn options_before_the_verb_hide_no_deletion() {
        for line in
            ["kubectl delete pod web", "-kubectl -n shop delete pod web", "k --namespace=shop delete po/web"]
        {
            let (words, verb) = kubectl_words(line, &LessonScope::default()).unwrap();
            assert_eq!((words[0].as_str(), words[verb].as_str()), ("kubectl", "delete"), "{line}");
        }
        assert!(kubectl_words("fault kill etcd", &LessonScope::default()).is_none());
    }

    /// An option's value may be called like the verb.
    #[test]
    fn what_a_line_deletes_is_looked_for_by_a_get() {
        let look = |line: &str| {
            let (words, verb) = kubectl_words(line, &LessonScope::default()).unwrap();
            assert_eq!(words[verb], "delete", "{line}");
            look_for_deletion(words, verb).map(|words| words.join(" "))
        };
        for (line, asks) in [
            ("kubectl -n delete delete pod web --now", "kubectl -n delete get pod web"),
            ("delete pod web -n delete --cascade=orphan", "kubectl get pod web -n delete"),
            ("k -n delete delete pod -l a=delete --all", "kubectl -n delete get pod -l a=delete"),
            ("kubectl delete pod web --grace_period 0", "kubectl get pod web"),
        ] {
            assert_eq!(look(line), Ok(format!("{asks} --ignore-not-found -o json")), "{line}");
        }
        // A look that would fail, or answer no JSON, would say that nothing is lost.
        for line in ["kubectl delete pod web --dry-run=server", "kubectl delete pod -- web"] {
            assert!(look(line).unwrap_err().contains(line), "{line}");
        }
    }

    /// `--dry-run=false` deletes, so it is no trial.
    #[test]
    fn a_trial_takes_nothing() {
        let takes_nothing = |flag: &str| {
            let (words, verb) =
                kubectl_words(&format!("kubectl delete pod web {flag}"), &LessonScope::default()).unwrap();
            matches!(find_way(&parse::parse(&words[1..]).unwrap(), &words, verb), Ok(Way::Nothing))
        };
        for flag in ["--dry-run", "--dry-run=client", "--dry-run=server", "--dry-run=True"] {
            assert!(takes_nothing(flag), "{flag}");
        }
        for flag in ["", "--dry-run=none", "--dry-run=false", "--dry-run=0"] {
            assert!(!takes_nothing(flag), "{flag}");
        }
    }

    /// Lines as setups have them, and the line that shows what each would change.
    #[test]
    fn every_verb_that_writes_is_looked_at_before() {
        let of = |line: &str| {
            let (words, verb) = kubectl_words(line, &LessonScope::default()).unwrap();
            find_way(&parse::parse(&words[1..]).unwrap(), &words, verb)
        };
        let get = |asks: &str| {
            let line = format!("kubectl get {asks} --ignore-not-found -o json");
            line.split(' ').map(String::from).collect::<Vec<_>>()
        };
        for (line, way) in [
            ("replace --force -R -f -", Way::Deletes(get("-f - -R"))),
            ("debug web -n shop --copy-to=x --replace -- sh", Way::Deletes(get("pods web -n shop"))),
            ("delete pod web --grace-period 0", Way::Deletes(get("pod web"))),
            ("debug pod/web --image=busybox", Way::Changes(get("pod/web"))),
            ("debug web --copy-to=x", Way::Nothing),
            ("certificate approve ann bob", Way::Changes(get("certificatesigningrequests ann bob"))),
            ("certificate deny -f -", Way::Changes(get("-f -"))),
            ("replace -f -", Way::Trial),
            ("auth reconcile -f -", Way::Trial),
            ("apply --prune -l app=shop -f -", Way::Trial),
            ("set image deploy/web web=x", Way::Trial),
            ("apply --dry-run=client -f -", Way::Nothing),
            ("label pod web a=b --local", Way::Nothing),
            ("create -f -", Way::Nothing),
            ("create --raw /api/v1/namespaces/default/pods/web/eviction -f -", Way::Unknown),
            ("delete --raw /api/v1/namespaces/default/pods/web", Way::Unknown),
            ("edit deploy web", Way::Unknown),
        ] {
            assert_eq!(of(line), Ok(way), "{line}");
        }
    }

    /// Only what a person writes in an editor is refused in setups. So is a verb without an
    /// [`Act`].
    #[test]
    fn what_each_verb_takes_is_known() {
        let unknown: Vec<&str> = kubectl::table::all()
            .iter()
            .filter(|verb| {
                let words: Vec<String> = std::iter::once("kubectl")
                    .chain(verb.path.split_whitespace())
                    .map(String::from)
                    .collect();
                let parsed = parse::parse(&words[1..]).unwrap();
                find_way(&parsed, &words, 1) == Ok(Way::Unknown)
            })
            .map(|verb| verb.path)
            .collect();
        assert_eq!(unknown, ["edit", "apply edit-last-applied"]);
    }

    #[test]
    fn a_trial_is_asked_for_without_what_kubectl_refuses_beside_it() {
        let of = |line: &str, more: &[&str]| {
            let (words, _) = kubectl_words(line, &LessonScope::default()).unwrap();
            trial(&words, more).map(|words| words.join(" "))
        };
        assert_eq!(
            of("apply --force -f -", &[]),
            Ok("kubectl apply --force -f - --force=false --dry-run=server -o json".into())
        );
        assert_eq!(
            of("apply --prune -l a=b -f - -o name", &["--prune=false"]),
            Ok("kubectl apply --prune -l a=b -f - -o name --prune=false --dry-run=server -o json".into())
        );
        assert!(of("annotate pod web -- a=b", &[]).is_err(), "behind `--` flags are words");
    }
}
