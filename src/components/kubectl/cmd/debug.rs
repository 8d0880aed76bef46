//! debug: a container more in a running pod, or a copy of the pod to try things on.

use super::exec::{self, Session};
use super::wait::{Away, until};
use crate::builder::{self, Info, Options};
use crate::ctx::Ctx;
use crate::error::{Fail, Refusal, text as fail};
use crate::gostr::quote;
use crate::wire::api::{STRATEGIC_PATCH, encoded};
use api::value::{self, at, list, text};
use rng::Rng;
use serde_json::{Value, json};
use std::time::Duration;

const LEGACY: &str = "--profile=legacy is deprecated and will be removed in the future. It is recommended to explicitly specify a profile, for example \"--profile=general\".";
const PROFILES: [&str; 6] = ["legacy", "general", "baseline", "netadmin", "restricted", "sysadmin"];

/// What is asked for, read once.
struct Asked<'a> {
    ctx: &'a Ctx,
    names: &'a [String],
    /// The command, or its arguments.
    words: &'a [String],
    stdin: bool,
    tty: bool,
    attach: bool,
}

pub async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let at_dash = ctx.dash.unwrap_or(ctx.args.len());
    let stdin = ctx.flags.is("stdin");
    let asked = Asked {
        ctx,
        names: &ctx.args[..at_dash],
        words: &ctx.args[at_dash..],
        stdin,
        tty: ctx.flags.is("tty"),
        attach: if ctx.flags.changed("attach") { ctx.flags.is("attach") } else { stdin },
    };
    let profile = ctx.flags.text("profile");
    if !PROFILES.contains(&profile) {
        return fail(format!("unknown profile: {profile}"));
    }
    if !ctx.flags.text("custom").is_empty() {
        return fail("debug --custom is not implemented in ropewalk's built-in kubectl");
    }
    asked.check()?;
    if profile == "legacy" {
        ctx.note(LEGACY);
    }
    let resource = asked.names.first().is_none_or(|n| !n.contains('/'));
    let args: Vec<String> = match resource && !asked.names.is_empty() {
        true => std::iter::once("pods".to_string()).chain(asked.names.iter().cloned()).collect(),
        false => asked.names.to_vec(),
    };
    let found = builder::ask(ctx, &args, Options::default()).await?;
    let (infos, failures) = builder::objects(ctx, found).await?;
    Fail::join(failures)?;
    for info in infos {
        match info.resource.plural.as_str() {
            "pods" if info.resource.group.is_empty() => asked.pod(info).await?,
            "nodes" if info.resource.group.is_empty() => {
                return fail("debugging a node is not implemented in ropewalk's built-in kubectl");
            }
            _ => {
                let (r, kind) = (&info.resource, &info.resource.kind);
                let gvk = format!("{}/{}, Kind={kind}", r.group, r.version);
                return fail(format!("{} not supported by debug", quote(&gvk)));
            }
        }
    }
    Ok(())
}

impl Asked<'_> {
    fn flag(&self, name: &str) -> &str {
        self.ctx.flags.text(name)
    }

    fn check(&self) -> Result<(), Fail> {
        let has = |name: &str| !self.flag(name).is_empty();
        let images = !self.ctx.flags.list("set-image").is_empty();
        if self.attach && self.ctx.flags.changed("attach") && !has("image") && !has("container") {
            return fail(
                "you must specify --container or create a new container using --image in order to attach.",
            );
        }
        if has("copy-to") {
            if !has("image") && !images && self.words.is_empty() {
                return fail("you must specify --image, --set-image or command arguments.");
            }
            if !self.words.is_empty() && !has("container") && !has("image") {
                return fail("you must specify an existing container or a new image when specifying args.");
            }
        } else if self.ctx.flags.is("replace") {
            return fail("--replace may only be used with --copy-to.");
        } else if self.ctx.flags.is("same-node") {
            return fail("--same-node may only be used with --copy-to.");
        } else if images {
            return fail("--set-image may only be used with --copy-to.");
        } else if !has("image") {
            return fail("you must specify --image when not using --copy-to.");
        }
        if self.names.is_empty() && self.ctx.flags.list("filename").is_empty() {
            return fail("NAME or filename is required for debug");
        }
        if has("target") && has("copy-to") {
            return fail("--target is incompatible with --copy-to. Use --share-processes instead.");
        }
        if self.tty && !self.stdin {
            return fail("-i/--stdin is required for containers with -t/--tty=true");
        }
        Ok(())
    }

    async fn pod(&self, info: Info) -> Result<(), Fail> {
        let (mut info, container) = match self.flag("copy-to") {
            "" => self.join(info).await?,
            name => self.copy(info, name).await?,
        };
        if !self.attach || container.is_empty() {
            return Ok(());
        }
        let name = info.name.clone();
        let runs = |pod: &Value| {
            if pod.is_null() {
                return Err(Fail::Api(Refusal::not_found("pods", &name)));
            }
            let state = state_of(pod, &container);
            Ok(state.is_some_and(|s| !at(s, "running").is_null() || !at(s, "terminated").is_null()))
        };
        until(self.ctx, &mut info, Duration::ZERO, Away::Waits, runs).await?;
        let quiet = self.ctx.flags.is("quiet");
        if state_of(&info.object, &container).is_some_and(|s| !at(s, "terminated").is_null()) {
            return super::logs::print_one(self.ctx, &info, &container, true).await;
        }
        let session = Session { stdin: self.stdin, tty: self.tty, quiet };
        if let Err(fail) = exec::attach_to(self.ctx, &info, &container, session).await {
            // It may have ended in between: what it said is still there.
            let (name, why) = (&info.name, fail.message());
            self.ctx.note(format!(
                "warning: couldn't attach to pod/{name}, falling back to streaming logs: {why}"
            ));
            super::logs::print_one(self.ctx, &info, &container, true).await?;
        }
        Ok(())
    }

    /// The debug container's name: the one asked for, or one that nobody has.
    fn name(&self, pod: &Value) -> String {
        if !self.flag("container").is_empty() {
            return self.flag("container").to_string();
        }
        let taken = |name: &str| {
            let lists = ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"];
            lists.iter().any(|l| list(pod, l).iter().any(|c| text(c, "name") == name))
        };
        let rng = Rng::from_os();
        let name = loop {
            let name = format!("debugger-{}", rng.name_suffix(5));
            if !taken(&name) {
                break name;
            }
        };
        if !self.ctx.flags.is("quiet") {
            self.ctx.note(format!("Defaulting debug container name to {name}."));
        }
        name
    }

    /// The debug container, without what its profile adds.
    fn container(&self, name: &str) -> Result<Value, Fail> {
        let mut container =
            json!({"name": name, "image": self.flag("image"), "terminationMessagePolicy": "File"});
        let mut env = vec![];
        for pair in self.ctx.flags.pairs("env") {
            match pair.split_once('=').filter(|(key, _)| !key.is_empty()) {
                Some((key, text)) => env.push(json!({"name": key, "value": text})),
                None => return fail(format!("invalid env: {pair}")),
            }
        }
        if !env.is_empty() {
            container["env"] = env.into();
        }
        if !self.flag("image-pull-policy").is_empty() {
            container["imagePullPolicy"] = self.flag("image-pull-policy").into();
        }
        if self.stdin {
            container["stdin"] = true.into();
        }
        if self.tty {
            container["tty"] = true.into();
        }
        if !self.words.is_empty() {
            container[self.words_field()] = json!(self.words);
        }
        let security = match self.flag("profile") {
            "general" => json!({"capabilities": {"add": ["SYS_PTRACE"]}}),
            "netadmin" => json!({"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}}),
            "sysadmin" => json!({"privileged": true}),
            "restricted" => {
                json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}})
            }
            _ => Value::Null,
        };
        if !security.is_null() {
            container["securityContext"] = security;
        }
        Ok(container)
    }

    fn words_field(&self) -> &'static str {
        if self.ctx.flags.is("arguments-only") { "args" } else { "command" }
    }

    /// Adds an ephemeral container to the pod.
    async fn join(&self, mut info: Info) -> Result<(Info, String), Fail> {
        let target = self.flag("target");
        if !target.is_empty() && !self.ctx.flags.is("quiet") {
            self.ctx.note(format!("Targeting container {}. If you don't see processes from this container it may be because the container runtime doesn't support this feature.", quote(target)));
        }
        let name = self.name(&info.object);
        let mut container = self.container(&name)?;
        if !target.is_empty() {
            container["targetContainerName"] = target.into();
        }
        let order: Vec<Value> = list(&info.object, "spec.ephemeralContainers")
            .iter()
            .map(|c| json!({"name": text(c, "name")}))
            .chain([json!({"name": name})])
            .collect();
        let patch = json!({"spec": {"$setElementOrder/ephemeralContainers": order, "ephemeralContainers": [container]}});
        let path = format!("{}/ephemeralcontainers", info.path());
        info.object = self.ctx.api().await?.patch(&path, &[], STRATEGIC_PATCH, encoded(&patch)).await?;
        Ok((info, name))
    }

    /// Makes a copy of the pod with another image, another command or a container more.
    async fn copy(&self, info: Info, name: &str) -> Result<(Info, String), Fail> {
        let mut copy = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": info.namespace}});
        copy["spec"] = at(&info.object, "spec").clone();
        for (map, keep) in [("labels", "keep-labels"), ("annotations", "keep-annotations")] {
            if self.ctx.flags.is(keep) {
                value::copy(&info.object, &mut copy, &format!("metadata.{map}"));
            }
        }
        value::remove(&mut copy, "spec.ephemeralContainers");
        if !self.ctx.flags.is("same-node") {
            value::remove(&mut copy, "spec.nodeName");
        }
        if !self.ctx.flags.is("keep-init-containers") {
            value::remove(&mut copy, "spec.initContainers");
        }
        for container in value::list_mut(&mut copy, "spec.containers") {
            for (probe, keep) in [
                ("livenessProbe", "keep-liveness"),
                ("readinessProbe", "keep-readiness"),
                ("startupProbe", "keep-startup"),
            ] {
                if !self.ctx.flags.is(keep) {
                    value::remove(container, probe);
                }
            }
        }
        if self.ctx.flags.is("share-processes") || !self.ctx.flags.changed("share-processes") {
            value::put(&mut copy, "spec.shareProcessNamespace", true);
        }
        self.set_images(&mut copy)?;
        let container = self.change_or_add(&mut copy)?;
        if self.ctx.flags.is("replace") {
            self.ctx.api().await?.delete(&info.path(), &[], &json!({"gracePeriodSeconds": 0})).await?;
        }
        let made = self.ctx.api().await?.post(&info.collection(), &[], &copy).await?;
        Ok((Info { name: name.into(), object: made, ..info }, container))
    }

    fn set_images(&self, copy: &mut Value) -> Result<(), Fail> {
        let mut images = vec![];
        for pair in self.ctx.flags.pairs("set-image") {
            match pair.split_once('=') {
                Some((name, image)) => images.push((name.to_string(), image.to_string())),
                None => return fail(format!("invalid container=image pair: {pair}")),
            }
        }
        for container in value::list_mut(copy, "spec.containers") {
            let own = text(container, "name").to_string();
            let exact = images.iter().find(|(name, _)| *name == own);
            if let Some((_, image)) = exact.or(images.iter().find(|(name, _)| name == "*")) {
                value::put(container, "image", image.as_str());
            }
        }
        Ok(())
    }

    /// Changes the container that `-c` names, else adds one if there is an image for it. Answers
    /// which one is meant.
    fn change_or_add(&self, copy: &mut Value) -> Result<String, Fail> {
        let named = self.flag("container");
        let image = self.flag("image");
        let known = list(copy, "spec.containers").iter().any(|c| text(c, "name") == named);
        if !named.is_empty() && known {
            for container in value::list_mut(copy, "spec.containers") {
                if text(container, "name") != named {
                    continue;
                }
                if !image.is_empty() {
                    value::put(container, "image", image);
                }
                if !self.words.is_empty() {
                    let other = if self.words_field() == "command" { "args" } else { "" };
                    value::remove(container, other);
                    value::put(container, self.words_field(), json!(self.words));
                }
                if self.stdin {
                    value::put(container, "stdin", true);
                }
                if self.tty {
                    value::put(container, "tty", true);
                }
            }
            return Ok(named.to_string());
        }
        if image.is_empty() {
            return match named {
                "" => Ok(String::new()),
                named => fail(format!("you must specify image when creating new container {}", quote(named))),
            };
        }
        let name = self.name(copy);
        let container = self.container(&name)?;
        if let Some(Value::Array(all)) = value::at_mut(copy, "spec.containers") {
            all.push(container);
        }
        Ok(name)
    }
}

fn state_of<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    let lists =
        ["status.containerStatuses", "status.initContainerStatuses", "status.ephemeralContainerStatuses"];
    let mut all = lists.iter().flat_map(|l| list(pod, l));
    all.find(|s| text(s, "name") == container).map(|s| at(s, "state"))
}
