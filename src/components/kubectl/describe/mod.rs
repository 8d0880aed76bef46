//! describe: one object with all its fields and its events, as text. Parts of an object are
//! indented below it; events come last.

mod autoscaling;
mod batch;
mod certificates;
mod cluster;
mod config;
mod containers;
mod generic;
mod network;
mod node;
mod pods;
mod policy;
mod rbac;
pub(crate) mod related;
mod services;
mod storage;
mod text;
mod volumes;
mod workloads;

use super::ctx::Ctx;
use super::error::Fail;
use super::info::Info;
pub(crate) use rbac::rows as rules;
use serde_json::Value;
pub(crate) use text::{Text, interval, since};

/// The whole description of an object.
pub(crate) async fn describe(ctx: &Ctx, info: &Info) -> Result<String, Fail> {
    let show_events = ctx.flags.is("show-events");
    let mut text = Text::default();
    let object = &info.object;
    let (group, plural) = (info.resource.group.as_str(), info.resource.plural.as_str());
    let mut events = show_events;
    match (group, plural) {
        ("", "pods") => pods::pod(&mut text, object),
        ("apps", "deployments") => workloads::deployment(ctx, &mut text, info).await?,
        ("apps", "replicasets") => workloads::replica_set(ctx, &mut text, info).await?,
        ("", "replicationcontrollers") => workloads::replication_controller(ctx, &mut text, info).await?,
        ("apps", "daemonsets") => workloads::daemon_set(ctx, &mut text, info).await?,
        ("apps", "statefulsets") => batch::stateful_set(ctx, &mut text, info).await?,
        ("autoscaling", "horizontalpodautoscalers") => autoscaling::autoscaler(&mut text, object),
        ("batch", "jobs") => batch::job(&mut text, object),
        ("batch", "cronjobs") => batch::cron_job(&mut text, object),
        ("", "services") => services::service(ctx, &mut text, info).await?,
        ("", "endpoints") => services::endpoints(&mut text, object),
        ("discovery.k8s.io", "endpointslices") => services::endpoint_slice(&mut text, object),
        ("", "nodes") => {
            node::node(ctx, &mut text, info, show_events).await?;
            events = false;
        }
        ("", "namespaces") => {
            cluster::namespace(ctx, &mut text, info).await?;
            events = false;
        }
        ("", "configmaps") => config::config_map(&mut text, object),
        ("", "secrets") => {
            config::secret(&mut text, object);
            events = false;
        }
        ("", "serviceaccounts") => config::service_account(&mut text, &info.object),
        ("", "persistentvolumeclaims") => storage::claim(ctx, &mut text, info).await?,
        ("", "persistentvolumes") => storage::volume(&mut text, object),
        ("storage.k8s.io", "storageclasses") => storage::class(&mut text, object),
        ("certificates.k8s.io", "certificatesigningrequests") => certificates::request(&mut text, object)?,
        ("networking.k8s.io", "ingresses") => network::ingress(ctx, &mut text, info).await?,
        ("networking.k8s.io", "ingressclasses") => network::ingress_class(&mut text, object),
        ("networking.k8s.io", "networkpolicies") => {
            network::policy(&mut text, object);
            events = false;
        }
        ("policy", "poddisruptionbudgets") => policy::budget(&mut text, object),
        ("", "resourcequotas") => {
            policy::quota(&mut text, object);
            events = false;
        }
        ("", "limitranges") => {
            policy::limit_range(&mut text, object);
            events = false;
        }
        ("scheduling.k8s.io", "priorityclasses") => cluster::priority_class(&mut text, object),
        ("rbac.authorization.k8s.io", "roles" | "clusterroles") => {
            rbac::role(&mut text, object);
            events = false;
        }
        ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings") => {
            rbac::binding(&mut text, object);
            events = false;
        }
        _ => generic::object(&mut text, object),
    }
    if events {
        let found = related::events_of(ctx, info).await?;
        text.events(&found);
    }
    Ok(text.finish())
}

/// A pod template alone; its tabs stay tabs, as kubectl's `rollout` prints them.
pub(crate) fn template(template: &Value) -> String {
    let mut text = Text::default();
    pods::template(&mut text, template);
    text.plain()
}
