//! version, api-resources, api-versions, cluster-info, help, options, completion; and groups of
//! verbs.

use crate::Env;
use crate::ctx::{Ctx, Streams};
use crate::error::{Fail, text};
use crate::output::Output;
use crate::print::{json, tab, yaml};
use crate::wire::paths;
use crate::{complete, help, parse, table};
use api::VERSION;
use api::value;
use client::discovery::Resource;
use serde_json::{Value, json};
use std::sync::Arc;

/// Prints the help of a verb that only has verbs below it, such as `set`; refuses a word behind
/// it that is none of these.
pub(crate) async fn group(ctx: &Ctx) -> Result<(), Fail> {
    if !ctx.args.is_empty() {
        return ctx.usage(format!("unknown command {}", api::gostr::quote(&ctx.args.join(" "))));
    }
    let help = help::of(table::named(ctx.verb));
    match ctx.verb {
        "" | "certificate" => {
            ctx.out(help);
            return Ok(());
        }
        "rollout" => ctx.out(help),
        _ => ctx.output.err(&help),
    }
    Err(Fail::Exit(1))
}

/// `help rollout status` is `rollout status --help`. An unknown word is reported, but is no
/// failure.
pub(crate) async fn help(ctx: &Ctx) -> Result<(), Fail> {
    let mut verb = table::root();
    for word in &ctx.args {
        match verb.child(word) {
            Some(child) => verb = child,
            None if verb.path.is_empty() => {
                let topic = ctx.args.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(" ");
                ctx.output.err(&format!("Unknown help topic [{topic}]\n{}", help::of(verb)));
                return Ok(());
            }
            None => break,
        }
    }
    ctx.out(help::of(verb));
    Ok(())
}

pub(crate) async fn options(ctx: &Ctx) -> Result<(), Fail> {
    ctx.out(format!(
        "The following options can be passed to any command:\n\n{}",
        help::flags(table::global())
    ));
    Ok(())
}

/// The version of this build.
fn client_version() -> Value {
    let mut parts = VERSION.trim_start_matches('v').split('.');
    let (major, minor) = (parts.next().unwrap_or("1"), parts.next().unwrap_or(""));
    json!({"major": major, "minor": minor, "gitVersion": VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none (rust)", "compiler": "rustc", "platform": "linux/amd64"})
}

/// The kustomize version that kubectl 1.35 has, whose texts the built-in one has.
const KUSTOMIZE: &str = "v5.7.1";

pub(crate) async fn version(ctx: &Ctx) -> Result<(), Fail> {
    let output = ctx.flags.text("output");
    if !ctx.args.is_empty() {
        return text(format!("extra arguments: [{}]", ctx.args.join(" ")));
    }
    if !matches!(output, "" | "json" | "yaml") {
        return text("--output must be 'yaml' or 'json'");
    }
    let mut all = json!({"clientVersion": client_version(), "kustomizeVersion": KUSTOMIZE});
    let mut failed = None;
    if !ctx.flags.is("client") {
        match ctx.api().await?.get_as("/version", &[("timeout", "32s")], "application/json, */*").await {
            Ok(server) => value::put(&mut all, "serverVersion", server),
            Err(fail) => failed = Some(fail),
        }
    }
    match output {
        "json" => ctx.line(json::pretty(&all, "  ", false)),
        "yaml" => ctx.line(yaml::to_string(&all)),
        _ => {
            ctx.line(format!("Client Version: {VERSION}"));
            ctx.line(format!("Kustomize Version: {KUSTOMIZE}"));
            if failed.is_none() && !ctx.flags.is("client") {
                ctx.line(format!("Server Version: {}", value::text(&all, "serverVersion.gitVersion")));
            }
        }
    }
    match failed {
        Some(fail) => Err(fail),
        None => skew(ctx, &all),
    }
}

fn skew(ctx: &Ctx, all: &Value) -> Result<(), Fail> {
    let minor = |who: &str| -> Option<i64> {
        let text = value::text(all, &format!("{who}.minor"));
        text.trim_end_matches('+').parse().ok()
    };
    if let (Some(client), Some(server)) = (minor("clientVersion"), minor("serverVersion"))
        && (client - server).abs() > 1
    {
        let why = format!(
            "version difference between client (1.{client}) and server (1.{server}) exceeds the supported minor version skew of +/-1"
        );
        if ctx.flags.is("warnings-as-errors") {
            return text(why);
        }
        ctx.note(format!("Warning: {why}"));
    }
    Ok(())
}

pub(crate) async fn api_versions(ctx: &Ctx) -> Result<(), Fail> {
    if !ctx.args.is_empty() {
        return ctx.usage(format!("unexpected arguments: [{}]", ctx.args.join(" ")));
    }
    let mut versions = ctx.discovery().await?.group_versions.clone();
    versions.sort();
    versions.iter().for_each(|v| ctx.line(v));
    Ok(())
}

pub(crate) async fn api_resources(ctx: &Ctx) -> Result<(), Fail> {
    let output = ctx.flags.text("output");
    if !matches!(output, "" | "wide" | "name" | "json" | "yaml") {
        return text(format!("--output {output} is not available"));
    }
    if !ctx.args.is_empty() {
        return ctx.usage(format!("unexpected arguments: [{}]", ctx.args.join(" ")));
    }
    let sort = ctx.flags.text("sort-by");
    if !matches!(sort, "" | "name" | "kind") {
        return text("--sort-by accepts only name or kind");
    }
    let verbs = ctx.flags.list("verbs");
    let categories = ctx.flags.list("categories");
    let mut found: Vec<Arc<Resource>> = ctx.discovery().await?.preferred();
    found.retain(|r| {
        !r.verbs.is_empty()
            && (!ctx.flags.changed("api-group") || r.group == ctx.flags.text("api-group"))
            && (!ctx.flags.changed("namespaced") || r.namespaced == ctx.flags.is("namespaced"))
            && verbs.iter().all(|v| r.can(v))
            && categories.iter().all(|c| r.categories.contains(c))
    });
    match sort {
        "kind" => found.sort_by(|a, b| (&a.kind, &a.plural).cmp(&(&b.kind, &b.plural))),
        "name" => found.sort_by(|a, b| a.plural.cmp(&b.plural)),
        _ => found.sort_by(|a, b| (&a.group, &a.plural).cmp(&(&b.group, &b.plural))),
    }
    if output == "name" {
        found.iter().for_each(|r| ctx.line(r.qualified()));
        return Ok(());
    }
    if output == "json" || output == "yaml" {
        return text(format!("api-resources --output {output} is not implemented"));
    }
    let wide = output == "wide";
    let mut rows = String::new();
    if !ctx.flags.is("no-headers") {
        rows.push_str("NAME\tSHORTNAMES\tAPIVERSION\tNAMESPACED\tKIND");
        rows.push_str(if wide { "\tVERBS\tCATEGORIES\n" } else { "\n" });
    }
    for r in found {
        let short = r.short_names.join(",");
        rows.push_str(&format!("{}\t{short}\t{}\t{}\t{}", r.plural, r.api_version(), r.namespaced, r.kind));
        if wide {
            rows.push_str(&format!("\t{}\t{}", r.verbs.join(","), r.categories.join(",")));
        }
        rows.push('\n');
    }
    ctx.out(tab::align(&rows, 6, 3));
    Ok(())
}

pub(crate) async fn cluster_info(ctx: &Ctx) -> Result<(), Fail> {
    let namespace =
        if ctx.flags.text("namespace").is_empty() { "kube-system" } else { ctx.flags.text("namespace") };
    let path = paths::within("/api/v1", namespace, "services");
    let api = ctx.api().await?;
    let list =
        api.get(&path, &[("labelSelector", "kubernetes.io/cluster-service=true"), ("limit", "500")]).await?;
    let host = api.target().url();
    ctx.line(format!("Kubernetes control plane is running at {host}"));
    for service in value::list(&list, "items") {
        let link = match value::list(service, "status.loadBalancer.ingress").first() {
            Some(ingress) => {
                let address = match value::text(ingress, "ip") {
                    "" => value::text(ingress, "hostname"),
                    ip => ip,
                };
                let ports = value::list(service, "spec.ports").iter().filter_map(|p| value::int(p, "port"));
                ports.map(|port| format!("http://{address}:{port} ")).collect::<String>()
            }
            None => format!(
                "{host}/api/v1/namespaces/{}/services/{}/proxy",
                value::text(service, "metadata.namespace"),
                proxied_name(service)
            ),
        };
        let name = match value::text(service, "metadata.labels.kubernetes\\.io/name") {
            "" => service["metadata"]["labels"]["kubernetes.io/name"]
                .as_str()
                .unwrap_or(value::text(service, "metadata.name")),
            name => name,
        };
        ctx.line(format!("{name} is running at {link}"));
    }
    ctx.line("\nTo further debug and diagnose cluster problems, use 'kubectl cluster-info dump'.");
    Ok(())
}

/// The name of a Service in a proxy path, with scheme and port: `https:dashboard:https`. A port
/// 443, or one called `https`, is taken for one with TLS. Source: upstream's `JoinSchemeNamePort`.
fn proxied_name(service: &Value) -> String {
    let name = value::text(service, "metadata.name");
    let Some(port) = value::list(service, "spec.ports").first() else { return name.to_string() };
    let of_port = value::text(port, "name");
    match of_port == "https" || value::int(port, "port") == Some(443) {
        true => format!("https:{name}:{of_port}"),
        false if of_port.is_empty() => name.to_string(),
        false => format!("{name}:{of_port}"),
    }
}

/// A script for a shell that asks `kubectl __complete` at every tab.
pub(crate) async fn completion(ctx: &Ctx) -> Result<(), Fail> {
    let script = match ctx.args.as_slice() {
        [shell] if shell == "bash" => {
            "_kubectl() {\n  local IFS=$'\\n'\n  COMPREPLY=($(kubectl __complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null | cut -f1))\n  [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n}\ncomplete -F _kubectl kubectl\n"
        }
        [shell] if shell == "zsh" => {
            "#compdef kubectl\n_kubectl() {\n  local -a found\n  found=(${(f)\"$(kubectl __complete \"${(@)words[2,CURRENT]}\" 2>/dev/null | cut -f1)\"})\n  compadd -a found\n}\ncompdef _kubectl kubectl\n"
        }
        [shell] if shell == "fish" => {
            "complete -c kubectl -f -a '(kubectl __complete (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'\n"
        }
        [] => return ctx.usage("Shell not specified."),
        [shell] => {
            return ctx.usage(format!("Unsupported shell type {}.", api::gostr::quote(shell)));
        }
        _ => return ctx.usage("Too many arguments. Expected only the shell type."),
    };
    ctx.out(script);
    Ok(())
}

/// Completes the last word of a command line, as a shell's script asks by `kubectl __complete WORD…
/// LAST`. Names of objects come from the cluster that the flags among the words select.
pub(crate) async fn complete_words(words: &[String], env: Env, output: Arc<Output>) -> Result<(), Fail> {
    let Some((last, before)) = words.split_last() else { return Ok(()) };
    // The first pass finds out which names are needed; they are read before the second one.
    let wanted = parking_lot::Mutex::new(None);
    complete::of_words(before, last, &|kind, namespace| {
        let mut wanted = wanted.lock();
        *wanted = Some((kind.to_string(), namespace.to_string()));
        vec![]
    });
    let wanted = wanted.into_inner();
    let mut names = vec![];
    if let Some((kind, namespace)) = wanted {
        let mut line = vec!["get".to_string(), kind.clone()];
        line.extend(complete::global_flags(before));
        if !namespace.is_empty() {
            line.extend(["-n".to_string(), namespace]);
        }
        let parsed = parse::parse(&line)?;
        let streams =
            Streams { stdin: Box::new(tokio::io::empty()), terminal: None, stdout_is_terminal: false };
        let ctx = Ctx::new(parsed.line(), streams, env, output.clone());
        let resource = ctx.resource(&kind).await?;
        let (namespace, _) = ctx.namespace()?;
        let listing = crate::lists::Listing { resource, namespace };
        names = crate::lists::list(&ctx, &listing).await?.into_iter().map(|i| i.name).collect();
    }
    for found in complete::of_words(before, last, &|_, _| names.clone()) {
        output.out(&format!("{}\t{}\n", found.text, found.help));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::kept::Kept;
    use crate::testing::{Server, at, config_map};
    use crate::{Env, Io, run};
    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    #[tokio::test]
    async fn names_are_those_of_the_cluster_that_the_line_names() {
        let server = Server::start().await;
        server.hold(&at("a"), config_map("a", json!({})));
        let there = format!("--server={}", server.address);
        let words = ["kubectl", "__complete", &there, "delete", "cm", ""].map(String::from);
        let (out, err) = (Kept::all(), Kept::all());
        let io = Io {
            stdin: Box::new(tokio::io::empty()),
            stdout: Box::new(out.clone()),
            stderr: Box::new(err.clone()),
            terminal: None,
            stdout_is_terminal: false,
            own: false,
            cancel: CancellationToken::new(),
        };
        let code = run(words.to_vec(), io, Env::default()).await;
        assert_eq!((code, out.text().as_str()), (0, "a\t\n"), "{}", err.text());
    }

    /// Without the scheme the proxy would speak plain HTTP to a port with TLS.
    #[test]
    fn a_service_with_tls_is_reached_by_its_scheme() {
        for (ports, name) in [
            (json!([]), "s"),
            (json!([{"port": 80}]), "s"),
            (json!([{"name": "dns", "port": 53}, {"name": "https", "port": 443}]), "s:dns"),
            (json!([{"name": "https", "port": 8443}]), "https:s:https"),
            (json!([{"name": "web", "port": 443}]), "https:s:web"),
            (json!([{"port": 443}]), "https:s:"),
        ] {
            let service = json!({"metadata": {"name": "s"}, "spec": {"ports": ports}});
            assert_eq!(super::proxied_name(&service), name, "{service}");
        }
    }

    #[tokio::test]
    async fn a_server_of_a_far_version_is_warned_of() {
        let server = Server::start_with(|request| {
            let version = || (200, json!({"major": "1", "minor": "20", "gitVersion": "v1.20.0"}));
            (request.path == "/version").then(version)
        })
        .await;
        let why = "exceeds the supported minor version skew of +/-1\n";
        for (flags, code, begin) in [
            (&[] as &[&str], 0, "Warning: version difference between client (1."),
            (&["--warnings-as-errors"], 1, "error: version difference between client (1."),
        ] {
            let result = server.kubectl(&[&["version"], flags].concat()).await;
            assert!(result.err.starts_with(begin) && result.err.ends_with(why), "{result:?}");
            assert_eq!(result.code, code, "{result:?}");
        }
    }

    #[tokio::test]
    async fn an_empty_last_word_is_completed_too() {
        // Without the quotes a shell drops an empty word, and the one before it would be completed.
        let server = Server::away().await;
        for (shell, words) in
            [("bash", "\"${COMP_WORDS[@]:1:COMP_CWORD}\""), ("zsh", "\"${(@)words[2,CURRENT]}\"")]
        {
            let result = server.kubectl(&["completion", shell]).await;
            assert!(result.out.contains(&format!("kubectl __complete {words} ")), "{result:?}");
        }
    }

    #[tokio::test]
    async fn resources_of_one_kind_are_sorted_by_their_names_and_have_verbs() {
        let server = Server::start_with(|request| {
            let of = |plural: &str, kind: &str| {
                json!({"resource": plural, "responseKind": {"kind": kind}, "scope": "Namespaced", "verbs": ["get"]})
            };
            let verbless = json!({"resource": "v", "responseKind": {"kind": "V"}, "verbs": []});
            let resources = [of("z", "B"), of("b", "A"), of("a", "A"), verbless];
            let versions = json!([{"version": "v1", "resources": resources}]);
            let groups = json!([{"metadata": {"name": "g"}, "versions": versions}]);
            (request.path == "/apis")
                .then(|| (200, json!({"kind": "APIGroupDiscoveryList", "items": groups})))
        })
        .await;
        let result =
            server.kubectl(&["api-resources", "--api-group=g", "--sort-by=kind", "-o", "name"]).await;
        assert_eq!((result.code, result.out.as_str()), (0, "a.g\nb.g\nz.g\n"), "{result:?}");
    }
}
