//! debug: an additional container in a running pod, or a copy of the pod to try changes on.

use super::common::select_names;
use super::debug_profile::{self, PROFILES, Style, container_mut};
use super::exec::{self, Session};
use super::set_env::variable;
use super::until::until;
use crate::ctx::Ctx;
use crate::error::{Fail, Refusal, text as fail};
use crate::info::Info;
use crate::scheme;
use crate::wire::api::{STRATEGIC_PATCH, encoded};
use api::gostr::quote;
use api::image_name::is_reference;
use api::value::{self, at, list, text};
use rng::Rng;
use serde_json::{Value, json};
use std::time::Duration;

const LEGACY: &str = "--profile=legacy is deprecated and will be removed in the future. It is recommended to explicitly specify a profile, for example \"--profile=general\".";
const NOT_ROOT: &str = "Warning: Non-root user is configured for the entire target Pod, and some capabilities granted by debug profile may not work. Please consider using \"--custom\" with a custom profile that specifies \"securityContext.runAsUser: 0\".";

/// The flags and arguments of `debug`, read once.
struct DebugOptions<'a> {
    ctx: &'a Ctx,
    names: &'a [String],
    /// The command, or its arguments.
    words: &'a [String],
    stdin: bool,
    tty: bool,
    attach: bool,
    /// The container fields of the file of `--custom`.
    custom: Option<Value>,
}

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    // A malformed value of a flag is reported before any other mistake.
    for flag in ["env", "set-image"] {
        let Some((value, pair)) = ctx.flags.malformed_pair(flag) else { continue };
        let (value, why) = (quote(&value), format!("{pair} must be formatted as key=value"));
        return fail(format!(
            "invalid argument {value} for \"--{flag}\" flag: {why}\nSee 'kubectl debug --help' for usage."
        ));
    }
    let profile = ctx.flags.text("profile");
    if !PROFILES.contains(&profile) {
        return fail(format!("unknown profile: {profile}"));
    }
    let at_dash = ctx.dash.unwrap_or(ctx.args.len());
    let stdin = ctx.flags.is("stdin");
    let options = DebugOptions {
        ctx,
        names: &ctx.args[..at_dash],
        words: &ctx.args[at_dash..],
        stdin,
        tty: ctx.flags.is("tty"),
        attach: if ctx.flags.changed("attach") { ctx.flags.is("attach") } else { stdin },
        custom: debug_profile::custom(ctx)?,
    };
    options.check()?;
    if profile == "legacy" {
        ctx.note(LEGACY);
    }
    let found = select_names(ctx, "pods", options.names).await?;
    let (infos, failures) = scheme::objects(ctx, found).await?;
    Fail::first(failures)?;
    for info in infos {
        match info.resource.plural.as_str() {
            "pods" if info.resource.group.is_empty() => options.pod(info).await?,
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

impl DebugOptions<'_> {
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
        if has("image") && !is_reference(self.flag("image")) {
            let image = quote(self.flag("image"));
            return fail(format!("invalid image name {image}: invalid reference format"));
        }
        if self.names.is_empty() && self.ctx.flags.list("filename").is_empty() {
            return fail("NAME or filename is required for debug");
        }
        let policy = self.flag("image-pull-policy");
        if !matches!(policy, "" | "Always" | "IfNotPresent" | "Never") {
            return fail(format!("invalid image pull policy: {policy}"));
        }
        for (name, image) in self.images()? {
            if !is_reference(&image) {
                let (name, image) = (quote(&name), quote(&image));
                return fail(format!(
                    "invalid image name {image} for container {name}: invalid reference format"
                ));
            }
        }
        if has("target") && has("copy-to") {
            return fail("--target is incompatible with --copy-to. Use --share-processes instead.");
        }
        if self.tty && !self.stdin {
            return fail("-i/--stdin is required for containers with -t/--tty=true");
        }
        self.custom.as_ref().map_or(Ok(()), debug_profile::check_custom)
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
            let waits = state.map_or("", |state| text(state, "waiting.message"));
            if !waits.is_empty() && !self.ctx.flags.is("quiet") {
                self.ctx.note(format!("Warning: container {container}: {waits}"));
            }
            Ok(state.is_some_and(|s| !at(s, "running").is_null() || !at(s, "terminated").is_null()))
        };
        until(self.ctx, &mut info, Duration::ZERO, runs).await?;
        let quiet = self.ctx.flags.is("quiet");
        if state_of(&info.object, &container).is_some_and(|s| !at(s, "terminated").is_null()) {
            return super::logs::print_one(self.ctx, &info, &container, true).await;
        }
        let session = Session { stdin: self.stdin, tty: self.tty, quiet };
        if let Err(fail) = exec::attach_to(self.ctx, &info, &container, session).await {
            // The container may have ended in between; its log is still there.
            let (name, why) = (&info.name, fail.message());
            self.ctx.note(format!(
                "warning: couldn't attach to pod/{name}, falling back to streaming logs: {why}"
            ));
            super::logs::print_one(self.ctx, &info, &container, true).await?;
        }
        Ok(())
    }

    /// The debug container's name: that of `--container`, or one that no container of the pod has.
    fn name(&self, pod: &Value) -> String {
        if !self.flag("container").is_empty() {
            return self.flag("container").to_string();
        }
        let is_taken = |name: &str| {
            let lists = ["spec.containers", "spec.initContainers", "spec.ephemeralContainers"];
            lists.iter().any(|l| list(pod, l).iter().any(|c| text(c, "name") == name))
        };
        let rng = Rng::from_os();
        let name = loop {
            let name = format!("debugger-{}", rng.name_suffix(5));
            if !is_taken(&name) {
                break name;
            }
        };
        if !self.ctx.flags.is("quiet") {
            self.ctx.line(format!("Defaulting debug container name to {name}."));
        }
        name
    }

    /// Puts the flags about a container into it: its image, variables, command, streams.
    fn put_flags(&self, container: &mut Value) -> Result<(), Fail> {
        if !self.words.is_empty() {
            value::put(container, self.words_field(), json!(self.words));
            if self.words_field() == "command" {
                value::remove(container, "args");
            }
        }
        let mut env = vec![];
        for pair in self.ctx.flags.pairs("env") {
            if let Some((key, text)) = pair.split_once('=') {
                env.push(variable(key, text));
            }
        }
        if !env.is_empty() {
            value::put(container, "env", env);
        }
        for (key, flag) in [("image", "image"), ("imagePullPolicy", "image-pull-policy")] {
            if !self.flag(flag).is_empty() {
                value::put(container, key, self.flag(flag));
            }
        }
        for (key, on) in [("stdin", self.stdin), ("tty", self.tty)] {
            match on {
                true => value::put(container, key, true),
                false => drop(value::remove(container, key)),
            }
        }
        Ok(())
    }

    /// Warns if a container has privileges or capabilities, but runs as another user than root
    /// because its whole pod does.
    fn warn(&self, pod: &Value, container: &Value) {
        if debug_profile::lacks_root(pod, container) {
            self.ctx.note(NOT_ROOT);
        }
    }

    fn words_field(&self) -> &'static str {
        if self.ctx.flags.is("arguments-only") { "args" } else { "command" }
    }

    /// Adds an ephemeral container to the pod.
    async fn join(&self, mut info: Info) -> Result<(Info, String), Fail> {
        let target = self.flag("target");
        if !target.is_empty() && !self.ctx.flags.is("quiet") {
            self.ctx.line(format!("Targeting container {}. If you don't see processes from this container it may be because the container runtime doesn't support this feature.", quote(target)));
        }
        let name = self.name(&info.object);
        let mut container = json!({"name": name, "terminationMessagePolicy": "File"});
        self.put_flags(&mut container)?;
        if !target.is_empty() {
            container["targetContainerName"] = target.into();
        }
        let mut pod = info.object.clone();
        debug_profile::push(&mut pod, "spec.ephemeralContainers", container);
        debug_profile::apply(self.ctx, &mut pod, &name, Style::Ephemeral);
        if let Some(custom) = &self.custom {
            debug_profile::customize(&mut pod, "ephemeralContainers", &name, custom)?;
        }
        let container = container_mut(&mut pod, &name).map(std::mem::take).unwrap_or_default();
        self.warn(&pod, &container);
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

    /// Creates a copy of the pod with another image, another command or an additional container.
    async fn copy(&self, info: Info, name: &str) -> Result<(Info, String), Fail> {
        let mut copy = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": info.namespace}});
        copy["spec"] = at(&info.object, "spec").clone();
        for map in ["metadata.labels", "metadata.annotations"] {
            value::copy(&info.object, &mut copy, map);
        }
        value::remove(&mut copy, "spec.ephemeralContainers");
        if self.ctx.flags.changed("share-processes") {
            value::put(&mut copy, "spec.shareProcessNamespace", self.ctx.flags.is("share-processes"));
        }
        if !self.ctx.flags.is("same-node") {
            value::remove(&mut copy, "spec.nodeName");
        }
        let container = self.change_or_add(&mut copy)?;
        if !container.is_empty() {
            debug_profile::apply(self.ctx, &mut copy, &container, Style::Copy);
            if let Some(custom) = &self.custom {
                debug_profile::customize(&mut copy, "containers", &container, custom)?;
            }
            let of_copy = list(&copy, "spec.containers").iter().find(|c| text(c, "name") == container);
            self.warn(&copy, of_copy.unwrap_or(&Value::Null));
        }
        let api = self.ctx.api().await?;
        let (replace, at_once) = (self.ctx.flags.is("replace"), json!({"gracePeriodSeconds": 0}));
        // With `--replace` and the same name the original is deleted before its copy is created.
        let first = replace && name == info.name;
        if first {
            api.delete(&info.path(), &[], &at_once).await?;
        }
        let made = api.post(&info.collection(), &[], &copy).await?;
        // With another name the original is deleted after the copy was created: a refused copy must
        // not cost it.
        if replace && !first {
            api.delete(&info.path(), &[], &at_once).await?;
        }
        Ok((Info { name: name.into(), object: made, ..info }, container))
    }

    /// `--set-image`: containers and their images.
    fn images(&self) -> Result<Vec<(String, String)>, Fail> {
        let pairs = self.ctx.flags.pairs("set-image");
        let pairs = pairs.iter().map(|pair| match pair.split_once('=') {
            Some((name, image)) => Ok((name.to_string(), image.to_string())),
            None => fail(format!("invalid container=image pair: {pair}")),
        });
        pairs.collect()
    }

    /// Sets images, and changes the container that `-c` names, else adds one if there is an image
    /// for it. Returns the name of the container that is debugged; it is empty if only images were
    /// set.
    fn change_or_add(&self, copy: &mut Value) -> Result<String, Fail> {
        let images = self.images()?;
        for container in value::list_mut(copy, "spec.containers") {
            let own = text(container, "name").to_string();
            let named = |name: &str| images.iter().rfind(|(of, _)| of == name);
            if let Some((_, image)) = named(&own).or_else(|| named("*")) {
                value::put(container, "image", image.as_str());
            }
        }
        let mut name = self.flag("container").to_string();
        if name.is_empty() || container_mut(copy, &name).is_none() {
            if self.flag("image").is_empty() {
                return match images.is_empty() {
                    false => Ok(String::new()),
                    true => fail("you must specify image when creating new container"),
                };
            }
            name = self.name(copy);
            let container = json!({"name": name, "terminationMessagePolicy": "File"});
            debug_profile::push(copy, "spec.containers", container);
        }
        if let Some(container) = container_mut(copy, &name) {
            self.put_flags(container)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{ReceivedRequest, Server, refusal};

    const PODS: &str = "/api/v1/namespaces/default/pods";

    fn pod() -> Value {
        let container = |name: &str| {
            json!({"name": name, "image": "i", "args": ["x"], "livenessProbe": {},
                "securityContext": {"capabilities": {"add": ["CHOWN"]}}})
        };
        json!({"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "namespace": "default", "labels": {"l": "1"}, "annotations": {"a": "1"}},
            "spec": {"nodeName": "n", "initContainers": [{"name": "init"}], "securityContext": {"runAsUser": 1000},
                "containers": [container("a"), container("b")], "ephemeralContainers": [{"name": "e"}]}})
    }

    /// Returns the writing requests of `debug p` with these flags, and its result.
    async fn debug(flags: &str) -> (Vec<ReceivedRequest>, crate::testing::CommandResult) {
        let server = Server::start().await;
        server.hold(&format!("{PODS}/p"), pod());
        server.hold(&format!("{PODS}/p/ephemeralcontainers"), pod());
        let words: Vec<&str> = ["debug", "p"].into_iter().chain(flags.split_whitespace()).collect();
        let result = server.kubectl(&words).await;
        (server.requests().into_iter().filter(|request| request.method != "GET").collect(), result)
    }

    #[tokio::test]
    async fn a_copy_is_what_the_flags_say() {
        let (writes, result) = debug("--copy-to=c --set-image=a=y,*=z --share-processes=false").await;
        assert_eq!((writes.len(), result.code), (1, 0), "{result:?}");
        let made = &writes[0].body;
        let images: Vec<&Value> = list(made, "spec.containers").iter().map(|c| &c["image"]).collect();
        assert_eq!(images, ["y", "z"]);
        // Only images were set: no profile is applied, as in kubectl.
        assert_eq!(
            (&made["metadata"]["labels"]["l"], &made["spec"]["initContainers"][0]["name"]),
            (&json!("1"), &json!("init"))
        );
        assert_eq!(made["spec"]["shareProcessNamespace"], false);
        assert!(made["spec"]["nodeName"].is_null() && made["spec"]["ephemeralContainers"].is_null());

        let (writes, _) =
            debug("--copy-to=c --same-node -c a --env=E=1 --image-pull-policy=Never -- sh").await;
        let (made, a) = (&writes[0].body, &writes[0].body["spec"]["containers"][0]);
        assert_eq!(
            (&made["spec"]["nodeName"], &a["command"], &a["args"]),
            (&json!("n"), &json!(["sh"]), &Value::Null)
        );
        assert_eq!((&a["env"][0]["name"], &a["imagePullPolicy"]), (&json!("E"), &json!("Never")));
        // The legacy profile drops the labels and nothing else.
        assert!(made["metadata"]["labels"].is_null() && made["spec"]["shareProcessNamespace"].is_null());
        assert_eq!((&made["metadata"]["annotations"]["a"], &a["livenessProbe"]), (&json!("1"), &json!({})));
    }

    #[tokio::test]
    async fn a_profile_changes_the_container_that_is_debugged() {
        let (writes, result) = debug("--copy-to=c -c b --profile=general --keep-labels -- sh").await;
        let made = &writes[0].body;
        let b = &made["spec"]["containers"][1];
        assert_eq!(b["securityContext"]["capabilities"]["add"], json!(["CHOWN", "SYS_PTRACE"]));
        assert_eq!(
            (&made["spec"]["shareProcessNamespace"], &made["metadata"]["labels"]["l"]),
            (&json!(true), &json!("1"))
        );
        assert!(made["metadata"]["annotations"].is_null() && b["livenessProbe"].is_null());
        assert!(result.err.contains("Non-root user is configured"), "{result:?}");

        let (writes, result) = debug("--image=busybox --target=a --profile=netadmin -c d").await;
        let added = &writes[0].body["spec"]["ephemeralContainers"][0];
        assert_eq!(added["securityContext"]["capabilities"]["add"], json!(["NET_ADMIN", "NET_RAW"]));
        assert_eq!((&added["name"], &added["targetContainerName"]), (&json!("d"), &json!("a")));
        assert!(result.out.starts_with("Targeting container \"a\"."), "{result:?}");
    }

    #[tokio::test]
    async fn the_original_goes_only_when_its_copy_is_there() {
        let (writes, _) = debug("--copy-to=c --replace --set-image=*=z").await;
        let methods: Vec<&str> = writes.iter().map(|request| request.method.as_str()).collect();
        assert_eq!(methods, ["POST", "DELETE"]);
        let (writes, result) = debug("--copy-to=p --replace --set-image=*=z").await;
        let methods: Vec<&str> = writes.iter().map(|request| request.method.as_str()).collect();
        assert_eq!((result.code, methods), (0, vec!["DELETE", "POST"]), "of the same name: {result:?}");
        let server =
            Server::start_with(|request| (request.method == "POST").then(|| refusal(403, "Forbidden", "no")))
                .await;
        server.hold(&format!("{PODS}/p"), pod());
        let result = server.kubectl(&["debug", "p", "--copy-to=c", "--replace", "--set-image=*=z"]).await;
        assert_eq!(result.code, 1, "{result:?}");
        assert!(server.object(&format!("{PODS}/p")).is_some());
    }

    #[tokio::test]
    async fn what_cannot_be_done_is_refused() {
        for (flags, why) in [
            ("--copy-to=c -c new -- sh", "you must specify image when creating new container"),
            ("pod/nope --image=i", "pods/nope not found"),
            ("--image=Busybox", "invalid image name \"Busybox\": invalid reference format"),
            ("--image=i --image-pull-policy=Soon", "invalid image pull policy: Soon"),
            (
                "--image=i --env A",
                "error: invalid argument \"A\" for \"--env\" flag: A must be formatted as key=value\nSee 'kubectl debug --help' for usage.\n",
            ),
            (
                "--image=i --env=a=1,b=2,c",
                "invalid argument \"a=1,b=2,c\" for \"--env\" flag: c must be formatted as key=value",
            ),
            (
                "--copy-to=c --set-image=a",
                "invalid argument \"a\" for \"--set-image\" flag: a must be formatted as key=value",
            ),
            (
                "--copy-to=c --set-image=a=B",
                "invalid image name \"B\" for container \"a\": invalid reference format",
            ),
        ] {
            let (writes, result) = debug(flags).await;
            assert_eq!((writes.len(), result.code), (0, 1), "{flags}");
            assert!(result.err.contains(why), "{result:?}");
        }
    }
}
