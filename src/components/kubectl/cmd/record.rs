//! --record: the command line as the cause of a change, which `rollout history` shows. kubectl
//! calls the flag deprecated and obeys it still. Source: cli-runtime's `record_flags.go`.

use crate::ctx::Ctx;
use crate::wire::api::{MERGE_PATCH, encoded};
use api::value;
use serde_json::{Value, json};

/// The annotation with the reason for the last change of an object.
pub(super) const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

/// Writes the command line into an object, or into a patch of one, if `--record` was given.
pub(super) fn record(ctx: &Ctx, object: &mut Value) {
    if ctx.flags.is("record") {
        let cause = command_line(ctx);
        value::slot_map(object, "metadata.annotations").insert(CHANGE_CAUSE.into(), cause.into());
    }
}

/// True if [`record`] gives an object another cause than it has.
pub(super) fn changes_cause(ctx: &Ctx, object: &Value) -> bool {
    let known = value::at(object, "metadata.annotations")[CHANGE_CAUSE].as_str();
    ctx.flags.is("record") && known != Some(command_line(ctx).as_str())
}

/// As [`record`], by a patch of its own, for an object that this command has changed already.
/// Returns the object with the annotation. `None`: nothing was recorded. As in kubectl a refusal of
/// the annotation is no failure, for the change itself was made.
pub(super) async fn record_behind(ctx: &Ctx, path: &str, query: &[(&str, &str)]) -> Option<Value> {
    let mut patch = json!({});
    record(ctx, &mut patch);
    if value::empty(&patch, "metadata") {
        return None;
    }
    ctx.api().await.ok()?.patch(path, query, MERGE_PATCH, encoded(&patch)).await.ok()
}

/// The command line as Go's parser reads it: first the words, then the flags by their long names.
/// A password or token is left out.
///
/// Example: `set image -nshop deploy/web c=nginx:2 --record` is `kubectl set image deploy/web
/// c=nginx:2 --namespace=shop --record=true`.
fn command_line(ctx: &Ctx) -> String {
    let words = std::iter::once(ctx.command_path()).chain(ctx.args.iter().cloned());
    let flags = ctx.flags.in_order().map(|(name, given)| match name {
        "password" | "token" => format!("--{name}=CLASSIFIED"),
        name => format!("--{name}={given}"),
    });
    words.chain(flags).collect::<Vec<String>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, at, config_map};

    const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/default/deployments/web";

    async fn with_both() -> Server {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({"z": "1"})));
        let containers = json!([{"name": "c", "image": "nginx:1"}]);
        let spec = json!({"replicas": 1, "template": {"spec": {"containers": containers}}});
        let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "default"}, "spec": spec});
        server.hold(DEPLOYMENT, deployment);
        let scale = json!({"kind": "Scale", "metadata": {}, "spec": {"replicas": 1}});
        server.hold(&format!("{DEPLOYMENT}/scale"), scale);
        server
    }

    /// The cause in the last request that wrote something.
    fn cause(server: &Server) -> String {
        let written = server.requests().into_iter().rfind(|request| request.method != "GET");
        let body = written.map(|request| request.body).unwrap_or_default();
        value::at(&body, "metadata.annotations")[CHANGE_CAUSE].as_str().unwrap_or_default().to_string()
    }

    #[tokio::test]
    async fn a_command_line_is_recorded() {
        for (line, want) in [
            ("set image deploy/web c=nginx:2 --record", "c=nginx:2 --record=true"),
            ("set image deploy/web c=nginx:1 --record", "c=nginx:1 --record=true"),
            ("set serviceaccount deploy/web --record robot", "deploy/web robot --record=true"),
            ("scale deploy/web --replicas=3 --record", "deploy/web --replicas=3 --record=true"),
            ("patch cm a --record -p {}", "cm a --record=true --patch={}"),
            ("label cm a x=y --record=1 --token=secret", "x=y --record=1 --token=CLASSIFIED"),
            ("annotate cm a x=y --record", "x=y --record=true"),
            ("run x --image=i --record", "x --image=i --record=true"),
            ("label cm a x=y --record=false", ""),
            ("label cm a x=y", ""),
        ] {
            let server = with_both().await;
            let result = server.kubectl(&line.split(' ').collect::<Vec<&str>>()).await;
            let verb = line.split(' ').next().unwrap_or_default();
            let found = cause(&server);
            assert_eq!(result.code, 0, "{line}: {result:?}");
            assert_eq!(found.starts_with(&format!("kubectl {verb} ")), !want.is_empty(), "{line}: {found}");
            assert!(found.contains(want), "{line}: {found}");
            let warned = result.err.contains("Flag --record has been deprecated, --record will be removed");
            assert_eq!(warned, line.contains("--record"), "{line}: {result:?}");
        }
    }

    #[tokio::test]
    async fn objects_of_files_are_recorded() {
        for verb in ["create", "apply"] {
            let server = Server::start().await;
            let text = config_map("b", json!({})).to_string();
            let line = [verb, "-f", "-", "--record"];
            let result = server.kubectl_in(&line, &text, crate::Env::default()).await;
            let want = format!("kubectl {verb} --filename=- --record=true");
            assert!(cause(&server).starts_with(&want), "{verb}: {result:?}");
        }
    }

    #[tokio::test]
    async fn the_cause_counts_as_a_change_if_it_is_another() {
        let server = with_both().await;
        for (line, want) in [
            ("set image deploy/web c=nginx:1 --record", "deployment.apps/web image updated\n"),
            ("set image deploy/web c=nginx:1 --record", ""),
            ("label cm a z=1 --record", "configmap/a labeled\n"),
            ("label cm a z=1 --record", "configmap/a not labeled\n"),
            ("label cm a z- --record", "configmap/a unlabeled\n"),
        ] {
            let result = server.kubectl(&line.split(' ').collect::<Vec<&str>>()).await;
            assert_eq!((result.code, result.out.as_str()), (0, want), "{line}: {result:?}");
        }
        let server = with_both().await;
        let result = server.kubectl(&["label", "cm", "a", "z-", "--record"]).await;
        assert_eq!(result.out, "configmap/a labeled\n", "the object has become longer: {result:?}");
    }

    #[tokio::test]
    async fn a_cause_that_the_line_gives_stays() {
        let server = with_both().await;
        let own = format!("{CHANGE_CAUSE}=own");
        let result = server.kubectl(&["annotate", "cm", "a", &own, "--record"]).await;
        assert_eq!((result.code, cause(&server)), (0, "own".to_string()), "{result:?}");
    }

    /// kubectl's replace alone lacks the flag: `NewReplaceOptions` makes no `RecordFlags`.
    #[tokio::test]
    async fn replace_records_nothing() {
        let result = Server::away().await.kubectl(&["replace", "-f", "-", "--record"]).await;
        assert!(result.code == 1 && result.err.starts_with("error: unknown flag: --record\n"), "{result:?}");
    }

    #[tokio::test]
    async fn a_trial_of_the_client_records_nothing_on_the_server() {
        let server = with_both().await;
        let line = ["scale", "deploy/web", "--replicas=3", "--record", "--dry-run=client"];
        let result = server.kubectl(&line).await;
        assert_eq!((result.code, cause(&server)), (0, String::new()), "{result:?}");
    }
}
