//! certificate approve and deny: the decision about a certificate request.

use crate::builder;
use crate::cmd::common::{DryRun, Printer, select_names};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::Info;
use api::gostr::quote;
use api::value;
use serde_json::json;

/// How often the decision is written at most, if other clients write the same request.
const TRIES: usize = 10;

/// A decision about a certificate request: the condition that it sets, and the opposite one, which
/// excludes it.
struct Decision {
    condition: &'static str,
    opposite: &'static str,
    reason: &'static str,
    done: &'static str,
    verb: &'static str,
}

pub(crate) async fn approve(ctx: &Ctx) -> Result<(), Fail> {
    let decision = Decision {
        condition: "Approved",
        opposite: "Denied",
        reason: "KubectlApprove",
        done: "approved",
        verb: "approve",
    };
    decide(ctx, &decision).await
}

pub(crate) async fn deny(ctx: &Ctx) -> Result<(), Fail> {
    let decision = Decision {
        condition: "Denied",
        opposite: "Approved",
        reason: "KubectlDeny",
        done: "denied",
        verb: "deny",
    };
    decide(ctx, &decision).await
}

async fn decide(ctx: &Ctx, decision: &Decision) -> Result<(), Fail> {
    if ctx.args.is_empty() && !ctx.names_files() {
        return text("one or more CSRs must be specified as <name> or -f <filename>");
    }
    let printer = Printer::of(ctx, DryRun::No)?;
    let selection = select_names(ctx, "certificatesigningrequests", &ctx.args).await?;
    let (infos, mut failures) = builder::objects(ctx, selection).await?;
    if infos.is_empty() && failures.is_empty() {
        ctx.line("No resources found");
    }
    for mut info in infos {
        let outcome = match info.resource.plural.as_str() {
            "certificatesigningrequests" => write(ctx, decision, &mut info).await,
            _ => {
                let (kind, group) = (&info.resource.kind, &info.resource.group);
                let got = if group.is_empty() { kind.clone() } else { format!("{kind}.{group}") };
                text(format!(
                    "can only handle CertificateSigningRequest.certificates.k8s.io objects, got {got}"
                ))
            }
        };
        match outcome {
            Ok(()) => printer.print(ctx, &info.object, decision.done, false)?,
            Err(fail @ (Fail::Api(_) | Fail::Text(_))) => failures.push(fail),
            Err(other) => return Err(other),
        }
    }
    Fail::join(failures)
}

async fn write(ctx: &Ctx, decision: &Decision, info: &mut Info) -> Result<(), Fail> {
    for left in (0..TRIES).rev() {
        let conditions = value::list(&info.object, "status.conditions");
        let has = |kind: &str| conditions.iter().any(|c| value::text(c, "type") == kind);
        if has(decision.opposite) {
            return text(format!(
                "certificate signing request {} is already {}",
                quote(&info.name),
                decision.opposite
            ));
        }
        if has(decision.condition) && !ctx.flags.is("force") {
            return Ok(());
        }
        let mut next = info.object.clone();
        if !has(decision.condition) {
            let message = format!("This CSR was {} by kubectl certificate {}.", decision.done, decision.verb);
            let condition = json!({"type": decision.condition, "status": "True", "reason": decision.reason, "message": message,
                "lastUpdateTime": clock::rfc3339(clock::now()), "lastTransitionTime": null});
            let mut all = conditions.to_vec();
            all.push(condition);
            value::put(&mut next, "status.conditions", all);
        }
        match ctx.api().await?.put(&format!("{}/approval", info.path()), &[], &next).await {
            // As in kubectl the request is printed as it was before the decision.
            Ok(_) => return Ok(()),
            Err(fail) if fail.code() == Some(409) && left > 0 => info.fetch(ctx).await?,
            Err(fail) => return Err(fail),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, at, config_map};
    use serde_json::json;

    #[tokio::test]
    async fn an_object_of_another_kind_is_named() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        let file = config_map("a", json!({})).to_string();
        let result =
            server.kubectl_in(&["certificate", "approve", "-f", "-"], &file, crate::Env::default()).await;
        let want =
            "error: can only handle CertificateSigningRequest.certificates.k8s.io objects, got ConfigMap\n";
        assert_eq!((result.code, result.err.as_str()), (1, want), "{result:?}");
    }

    const AT: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";

    #[tokio::test]
    async fn a_request_that_is_denied_keeps_no_other_from_its_approval() {
        let server = Server::start_with(|request| {
            let requests = json!({"resource": "certificatesigningrequests", "scope": "Cluster",
                "responseKind": {"kind": "CertificateSigningRequest"}, "verbs": ["get"]});
            let group = json!({"metadata": {"name": "certificates.k8s.io"}, "versions": [{"version": "v1", "resources": [requests]}]});
            let list = || (200, json!({"kind": "APIGroupDiscoveryList", "items": [group]}));
            (request.path == "/apis").then(list)
        })
        .await;
        for (name, conditions) in [("a", json!([{"type": "Denied"}])), ("b", json!([]))] {
            let object = json!({"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
                "metadata": {"name": name}, "status": {"conditions": conditions}});
            server.hold(&format!("{AT}/{name}"), object.clone());
            server.hold(&format!("{AT}/{name}/approval"), object);
        }
        // The form of `get csr -o name` is a name of a request, too.
        let b = "certificatesigningrequest.certificates.k8s.io/b";
        let result = server.kubectl(&["certificate", "approve", "a", b]).await;
        let approved = "certificatesigningrequest.certificates.k8s.io/b approved\n";
        assert_eq!((result.code, result.out.as_str()), (1, approved), "{result:?}");
        assert_eq!(result.err, "error: certificate signing request \"a\" is already Denied\n");
        let written = server.object(&format!("{AT}/b/approval")).unwrap();
        assert_eq!(written["status"]["conditions"][0]["type"], "Approved");
    }
}
