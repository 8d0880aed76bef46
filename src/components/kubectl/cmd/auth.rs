//! auth can-i, auth whoami: what the server thinks of the user.

use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::print::{formats, tab};
use api::gostr;
use api::value;
use serde_json::{Value, json};

const REVIEWS: &str = "/apis/authorization.k8s.io/v1";

pub(crate) async fn can_i(ctx: &Ctx) -> Result<(), Fail> {
    if ctx.flags.is("list") {
        return list(ctx).await;
    }
    let all = ctx.flags.is("all-namespaces");
    let namespace = if all { String::new() } else { ctx.namespace()?.0 };
    let quiet = ctx.flags.is("quiet");
    let [verb, word] = ctx.args.as_slice() else {
        return text(
            "you must specify two arguments: verb resource or verb resource/resourceName.\nSee 'kubectl auth can-i -h' for help and examples.",
        );
    };
    let (word, name) = match word.split_once('/') {
        Some((word, name)) if !word.is_empty() => (word, name),
        _ => (word.as_str(), ""),
    };
    let known = if word.starts_with('/') { NON_RESOURCE_VERBS } else { RESOURCE_VERBS };
    // `--quiet` is about the answer; as in kubectl, warnings are printed all the same.
    let warn = || {
        if !known.contains(&verb.as_str()) {
            ctx.note(format!("Warning: verb '{verb}' is not a known verb\n"));
        }
    };
    let spec = if word.starts_with('/') {
        if !ctx.flags.text("subresource").is_empty() {
            return text("--subresource can not be used with NonResourceURL");
        }
        warn();
        json!({"nonResourceAttributes": {"path": word, "verb": verb}})
    } else {
        let (group, plural) = resource(ctx, word).await?;
        if !all {
            warn();
        }
        let mut attributes =
            json!({"namespace": namespace, "verb": verb, "group": group, "resource": plural});
        if !ctx.flags.text("subresource").is_empty() {
            value::put(&mut attributes, "subresource", ctx.flags.text("subresource"));
        }
        if !name.is_empty() {
            value::put(&mut attributes, "name", name);
        }
        json!({"resourceAttributes": attributes})
    };
    if ctx.flags.is("no-headers") {
        return text("--no-headers cannot be set without --list specified");
    }
    let review = json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": spec, "status": {"allowed": false}});
    let answer = ctx.api().await?.post(&format!("{REVIEWS}/selfsubjectaccessreviews"), &[], &review).await?;
    let allowed = value::flag(&answer, "status.allowed");
    if !quiet {
        ctx.line(verdict(&answer));
    }
    if allowed { Ok(()) } else { Err(Fail::Exit(1)) }
}

const RESOURCE_VERBS: &[&str] = &[
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "use",
    "bind",
    "impersonate",
    "*",
    "approve",
    "sign",
    "escalate",
    "attest",
];
const NON_RESOURCE_VERBS: &[&str] = &["get", "put", "post", "head", "options", "delete", "patch", "*"];

/// `yes`, or `no` and why. Scripts compare the whole line with `yes`.
fn verdict(review: &Value) -> String {
    if value::flag(review, "status.allowed") {
        return "yes".into();
    }
    let reasons = ["status.reason", "status.evaluationError"].map(|path| value::text(review, path));
    reasons
        .iter()
        .filter(|why| !why.is_empty())
        .fold(String::from("no"), |line, why| format!("{line} - {why}"))
}

/// Resources that only the verb `impersonate` has; no server lists them.
const UNLISTED: [&str; 2] = ["users", "groups"];

/// Returns the API group and the plural of a word. An unknown word is sent as it is written, in the
/// core group, with a warning; `*` is sent so, too.
async fn resource(ctx: &Ctx, word: &str) -> Result<(String, String), Fail> {
    if word == "*" {
        return Ok((String::new(), word.into()));
    }
    match ctx.discovery().await?.find(word) {
        Some(found) => {
            if !found.namespaced && !ctx.flags.is("all-namespaces") {
                let group = if found.group.is_empty() {
                    String::new()
                } else {
                    format!(" in group '{}'", found.group)
                };
                ctx.note(format!("Warning: resource '{}' is not namespace scoped{group}\n", found.plural));
            }
            Ok((found.group.clone(), found.plural.clone()))
        }
        None => {
            let (name, group) = word.split_once('.').unwrap_or((word, ""));
            if !UNLISTED.contains(&word.to_lowercase().as_str()) {
                let within = if group.is_empty() { String::new() } else { format!(" in group '{group}'") };
                ctx.note(format!("Warning: the server doesn't have a resource type '{name}'{within}\n"));
            }
            Ok((String::new(), word.into()))
        }
    }
}

async fn list(ctx: &Ctx) -> Result<(), Fail> {
    if !ctx.args.is_empty() {
        return text("list option must be specified with no arguments");
    }
    let flags = &ctx.flags;
    if flags.is("quiet") || flags.is("all-namespaces") || !flags.text("subresource").is_empty() {
        return text(
            "list option can't be specified with neither quiet, all-namespaces nor subresource options",
        );
    }
    let (namespace, _) = ctx.namespace()?;
    let review = json!({"kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {},
        "spec": {"namespace": namespace}, "status": {"resourceRules": null, "nonResourceRules": null, "incomplete": false}});
    let answer = ctx.api().await?.post(&format!("{REVIEWS}/selfsubjectrulesreviews"), &[], &review).await?;
    if value::flag(&answer, "status.incomplete") {
        let why = value::text(&answer, "status.evaluationError");
        ctx.note(format!("Warning: the list may be incomplete: {why}"));
    }
    let mut rows = String::new();
    if !ctx.flags.is("no-headers") {
        rows.push_str("Resources\tNon-Resource URLs\tResource Names\tVerbs\n");
    }
    for row in crate::describe::rules(value::at(&answer, "status")) {
        rows.push_str(&row);
        rows.push('\n');
    }
    ctx.out(tab::align(&rows, 6, 3));
    Ok(())
}

pub(crate) async fn whoami(ctx: &Ctx) -> Result<(), Fail> {
    let format = formats::of(ctx, false)?;
    let review = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "status": {"userInfo": {}}});
    let place = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = ctx.api().await?.post(place, &[], &review).await.map_err(unreviewed)?;
    if let Some(format) = format {
        ctx.out(format.print(&answer, false)?);
        return Ok(());
    }
    let user = value::at(&answer, "status.userInfo");
    let mut rows = "ATTRIBUTE\tVALUE\n".to_string();
    for (title, key) in [("Username", "username"), ("UID", "uid")] {
        if !value::empty(user, key) {
            rows.push_str(&format!("{title}\t{}\n", value::text(user, key)));
        }
    }
    if !value::empty(user, "groups") {
        rows.push_str(&format!("Groups\t{}\n", gostr::plain(value::at(user, "groups"))));
    }
    let mut extra: Vec<(&String, &Value)> = value::map(user, "extra").into_iter().flatten().collect();
    extra.sort_by_key(|(k, _)| *k);
    for (key, values) in extra {
        rows.push_str(&format!("Extra: {key}\t{}\n", gostr::plain(values)));
    }
    ctx.out(tab::align(&rows, 6, 3));
    Ok(())
}

/// kubectl's words for a refused SelfSubjectReview, which an anonymous user may not create.
fn unreviewed(fail: Fail) -> Fail {
    const DISABLED: &str = "the selfsubjectreviews API is not enabled in the cluster";
    match fail.code() {
        Some(403) => Fail::Text(format!("{DISABLED} or you do not have permission to call it")),
        Some(404) => Fail::Text(DISABLED.into()),
        _ => fail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, refusal};

    #[test]
    fn only_a_no_has_reasons() {
        let review =
            |allowed: bool| json!({"status": {"allowed": allowed, "reason": "r", "evaluationError": "e"}});
        assert_eq!(
            (verdict(&review(true)).as_str(), verdict(&review(false)).as_str()),
            ("yes", "no - r - e")
        );
    }

    #[tokio::test]
    async fn a_verb_that_is_not_known_is_named() {
        let server = Server::start().await;
        for (words, warned) in [
            (["nope", "pods"], true),
            (["get", "pods"], false),
            (["list", "/healthz"], true),
            (["get", "/healthz"], false),
        ] {
            let result = server.kubectl(&["auth", "can-i", words[0], words[1]]).await;
            assert_eq!(result.err.contains("is not a known verb\n\n"), warned, "{result:?}");
        }
    }

    #[tokio::test]
    async fn a_refused_review_is_reported_with_what_it_may_mean() {
        let disabled = "error: the selfsubjectreviews API is not enabled in the cluster";
        for (code, reason, want) in [
            (403, "Forbidden", format!("{disabled} or you do not have permission to call it\n")),
            (404, "NotFound", format!("{disabled}\n")),
            (500, "InternalError", "Error from server (InternalError): no\n".into()),
        ] {
            let server = Server::start_with(move |request| {
                request.path.ends_with("/selfsubjectreviews").then(|| refusal(code, reason, "no"))
            })
            .await;
            let result = server.kubectl(&["auth", "whoami"]).await;
            assert_eq!((result.code, result.err), (1, want));
        }
    }

    #[tokio::test]
    async fn warnings_are_printed_beside_no_answer_too() {
        let server = Server::start().await;
        let result = server.kubectl(&["auth", "can-i", "nope", "foos", "-q"]).await;
        assert_eq!((result.code, result.out.as_str()), (1, ""), "{result:?}");
        let want = "Warning: the server doesn't have a resource type 'foos'\n\nWarning: verb 'nope' is not a known verb\n\n";
        assert_eq!(result.err, want);
        let server = Server::start().await;
        let result = server.kubectl(&["auth", "can-i", "nope", "ns", "-A"]).await;
        assert_eq!((result.code, result.err.as_str()), (1, ""), "of all namespaces nothing is warned of");
    }

    #[tokio::test]
    async fn an_incomplete_list_is_called_so() {
        let server = Server::start_with(|request| {
            let answer = json!({"status": {"resourceRules": [], "nonResourceRules": [], "incomplete": true,
                "evaluationError": "webhook authorizer does not support it"}});
            request.path.ends_with("/selfsubjectrulesreviews").then_some((201, answer))
        })
        .await;
        let result = server.kubectl(&["auth", "can-i", "--list"]).await;
        let want = "Warning: the list may be incomplete: webhook authorizer does not support it\n";
        assert_eq!((result.code, result.err.as_str()), (0, want), "{result:?}");
    }

    #[tokio::test]
    async fn words_are_asked_about_in_the_core_group_unless_they_are_known() {
        for (word, group, resource, warned) in [
            ("*", "", "*", ""),
            ("deploy", "apps", "deployments", ""),
            ("users", "", "users", ""),
            ("Groups/g", "", "Groups", ""),
            (
                "foos.example.com",
                "",
                "foos.example.com",
                "Warning: the server doesn't have a resource type 'foos' in group 'example.com'\n\n",
            ),
        ] {
            let server = Server::start().await; // it keeps the review of the word before, which has no name either
            let result = server.kubectl(&["auth", "can-i", "get", word]).await;
            let attributes = server.requests().pop().unwrap().body["spec"]["resourceAttributes"].take();
            assert_eq!(
                (&attributes["group"], &attributes["resource"]),
                (&json!(group), &json!(resource)),
                "{word}"
            );
            assert_eq!(result.err, warned, "{word}");
        }
    }

    #[tokio::test]
    async fn flags_that_a_question_cannot_obey_are_refused() {
        let server = Server::start().await;
        let list =
            "list option can't be specified with neither quiet, all-namespaces nor subresource options";
        for (words, why) in [
            ("get pods web", "you must specify two arguments: verb resource or verb resource/resourceName."),
            ("--list -q", list),
            ("--list -A", list),
            ("--list --subresource=log", list),
            ("get pods --no-headers", "--no-headers cannot be set without --list specified"),
            ("get /healthz --subresource=x", "--subresource can not be used with NonResourceURL"),
        ] {
            let line: Vec<&str> = ["auth", "can-i"].into_iter().chain(words.split(' ')).collect();
            let result = server.kubectl(&line).await;
            assert_eq!(
                (result.code, result.err.lines().next()),
                (1, Some(&*format!("error: {why}"))),
                "{words}"
            );
        }
        assert!(server.requests().is_empty(), "nothing was asked");
    }
}
