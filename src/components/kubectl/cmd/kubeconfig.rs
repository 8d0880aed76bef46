//! config: contexts, clusters and users of kubeconfig files: lists, and changes.

use super::kubeconfig_file::{entry, home_of, rewrite};
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::print::tab;
use crate::{help, table};
use api::gostr::quote;
use api::value;
use client::kubeconfig::Kubeconfig;
use serde_json::Value;

pub(crate) async fn current_context(ctx: &Ctx) -> Result<(), Fail> {
    let files = ctx.kubeconfig_or_new()?;
    if files.current.is_empty() {
        return text("current-context is not set");
    }
    ctx.line(&files.current);
    Ok(())
}

pub(crate) async fn get_contexts(ctx: &Ctx) -> Result<(), Fail> {
    let files = ctx.kubeconfig_or_new()?;
    let output = ctx.flags.text("output");
    if !matches!(output, "" | "name") {
        return text(format!("output must be one of '' or 'name': {output}"));
    }
    let mut names: Vec<&str> = files.contexts.iter().map(|c| c.name.as_str()).collect();
    names.sort();
    let lost: Vec<Fail> = ctx
        .args
        .iter()
        .filter(|wanted| !names.contains(&wanted.as_str()))
        .map(|wanted| Fail::Text(format!("context {wanted} not found")))
        .collect();
    names.retain(|n| ctx.args.is_empty() || ctx.args.iter().any(|a| a == n));
    if output == "name" {
        names.iter().for_each(|n| ctx.line(n));
        return Fail::join(lost);
    }
    let mut rows = String::new();
    if !ctx.flags.is("no-headers") {
        rows.push_str("CURRENT\tNAME\tCLUSTER\tAUTHINFO\tNAMESPACE\n");
    }
    for name in names {
        let Some(entry) = Kubeconfig::find(&files.contexts, name) else { continue };
        let part = |key: &str| value::text(&entry.value, key);
        let star = if name == files.current { "*" } else { "" };
        rows.push_str(&format!(
            "{star}\t{name}\t{}\t{}\t{}\n",
            part("cluster"),
            part("user"),
            part("namespace")
        ));
    }
    ctx.out(tab::align(&rows, 6, 3));
    Fail::join(lost)
}

pub(crate) async fn get_clusters(ctx: &Ctx) -> Result<(), Fail> {
    let files = ctx.kubeconfig_or_new()?;
    names(ctx, files.clusters.iter().map(|e| e.name.clone()).collect())
}

pub(crate) async fn get_users(ctx: &Ctx) -> Result<(), Fail> {
    let files = ctx.kubeconfig_or_new()?;
    names(ctx, files.users.iter().map(|e| e.name.clone()).collect())
}

fn names(ctx: &Ctx, mut names: Vec<String>) -> Result<(), Fail> {
    names.sort();
    ctx.line("NAME");
    names.iter().for_each(|n| ctx.line(n));
    Ok(())
}

/// The one argument of a line.
///
/// # Errors
/// As [`unexpected`]: there is none, or there are several.
pub(super) fn single_argument(ctx: &Ctx) -> Result<String, Fail> {
    match ctx.args.as_slice() {
        [name] => Ok(name.clone()),
        _ => unexpected(ctx),
    }
}

/// Refuses a line with too few or too many words. Its verb's help goes to standard output. Source:
/// kubectl's `pkg/cmd/config/config.go`, `helpErrorf`.
pub(super) fn unexpected<T>(ctx: &Ctx) -> Result<T, Fail> {
    ctx.output.out(&help::of(table::named(ctx.verb)));
    let first = if ctx.verb == "config set-credentials" { "unexpected" } else { "Unexpected" };
    text(format!("{first} args: [{}]", ctx.args.join(" ")))
}

pub(crate) async fn use_context(ctx: &Ctx) -> Result<(), Fail> {
    let name = single_argument(ctx)?;
    if name.is_empty() {
        return text("empty context names are not allowed");
    }
    let files = ctx.kubeconfig_or_new()?;
    if Kubeconfig::find(&files.contexts, &name).is_none() {
        return text(format!("no context exists with the name: {}", quote(&name)));
    }
    rewrite(&home_of(&files, None), |config| {
        value::put(config, "current-context", name.as_str());
        Ok(())
    })?;
    ctx.line(format!("Switched to context {}.", quote(&name)));
    Ok(())
}

pub(crate) async fn set_context(ctx: &Ctx) -> Result<(), Fail> {
    let files = ctx.kubeconfig_or_new()?;
    let name = match (ctx.flags.is("current"), ctx.args.as_slice()) {
        (true, []) if files.current.is_empty() => return text("no current context is set"),
        (true, []) => files.current.clone(),
        (true, _) => return text("you cannot specify both a context name and --current"),
        (false, [name]) if !name.is_empty() => name.clone(),
        (false, [] | [_]) => return text("you must specify a non-empty context name or --current"),
        _ => return unexpected(ctx),
    };
    let known = Kubeconfig::find(&files.contexts, &name);
    let path = home_of(&files, known.map(|e| e.file.as_path()));
    rewrite(&path, |config| {
        let context = entry(config, "contexts", "context", &name);
        for key in ["cluster", "user"] {
            context.entry(key).or_insert("".into());
        }
        for key in ["cluster", "user", "namespace"].into_iter().filter(|key| ctx.flags.changed(key)) {
            // An empty namespace is left out; cluster and user are always written.
            match (key, ctx.flags.text(key)) {
                ("namespace", "") => drop(context.shift_remove(key)),
                (_, given) => drop(context.insert(key.into(), given.into())),
            }
        }
        Ok(())
    })?;
    ctx.line(format!("Context {} {}.", quote(&name), if known.is_some() { "modified" } else { "created" }));
    Ok(())
}

fn remove(ctx: &Ctx, list: &str, what: &str) -> Result<(), Fail> {
    let [name] = ctx.args.as_slice() else {
        if what == "user" {
            return ctx.usage("user to delete is required");
        }
        ctx.output.out(&help::of(table::named(ctx.verb))); // no failure, as in kubectl
        return Ok(());
    };
    let files = ctx.kubeconfig_or_new()?;
    let entries = match list {
        "clusters" => &files.clusters,
        "users" => &files.users,
        _ => &files.contexts,
    };
    let file = files.files.first().map_or(String::new(), |f| f.display().to_string());
    let Some(found) = Kubeconfig::find(entries, name) else {
        return text(format!("cannot delete {what} {name}, not in {file}"));
    };
    if list == "contexts" && files.current == *name {
        ctx.note("warning: this removed your active context, use \"kubectl config use-context\" to select a different one");
    }
    rewrite(&found.file, |config| {
        if let Some(Value::Array(entries)) = config.get_mut(list) {
            entries.retain(|e| value::text(e, "name") != name);
        }
        Ok(())
    })?;
    ctx.line(format!("deleted {what} {name} from {}", found.file.display()));
    Ok(())
}

pub(crate) async fn delete_cluster(ctx: &Ctx) -> Result<(), Fail> {
    remove(ctx, "clusters", "cluster")
}

pub(crate) async fn delete_context(ctx: &Ctx) -> Result<(), Fail> {
    remove(ctx, "contexts", "context")
}

pub(crate) async fn delete_user(ctx: &Ctx) -> Result<(), Fail> {
    remove(ctx, "users", "user")
}

pub(crate) async fn rename_context(ctx: &Ctx) -> Result<(), Fail> {
    let [old, new] = ctx.args.as_slice() else {
        return unexpected(ctx);
    };
    if new.is_empty() {
        return text("You must specify a new non-empty context name");
    }
    let files = ctx.kubeconfig_or_new()?;
    let Some(found) = Kubeconfig::find(&files.contexts, old) else {
        let path = files.files.first().map_or(String::new(), |f| f.display().to_string());
        return text(format!("cannot rename the context {}, it's not in {path}", quote(old)));
    };
    if Kubeconfig::find(&files.contexts, new).is_some() {
        let path = found.file.display();
        return text(format!(
            "cannot rename the context {}, the context {} already exists in {path}",
            quote(old),
            quote(new)
        ));
    }
    rewrite(&found.file, |config| {
        for entry in value::list_mut(config, "contexts") {
            if value::text(entry, "name") == old {
                value::put(entry, "name", new.as_str());
            }
        }
        Ok(())
    })?;
    if files.current == *old {
        // It goes to the first file, whichever has the context: among several files the first
        // `current-context` counts.
        rewrite(&home_of(&files, None), |config| {
            value::put(config, "current-context", new.as_str());
            Ok(())
        })?;
    }
    ctx.line(format!("Context {} renamed to {}.", quote(old), quote(new)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest;
    use crate::testing::Server;
    use serde_json::json;

    #[tokio::test]
    async fn a_line_with_other_words_gets_the_help_of_its_verb() {
        let server = Server::away().await;
        for (line, code, err) in [
            ("use-context", 1, "error: Unexpected args: []\n"),
            ("set a", 1, "error: Unexpected args: [a]\n"),
            ("unset a b", 1, "error: Unexpected args: [a b]\n"),
            ("rename-context a", 1, "error: Unexpected args: [a]\n"),
            ("set-cluster", 1, "error: Unexpected args: []\n"),
            ("set-credentials a b", 1, "error: unexpected args: [a b]\n"),
            ("delete-context", 0, ""),
            ("delete-cluster a b", 0, ""),
        ] {
            let words: Vec<&str> = ["config"].into_iter().chain(line.split(' ')).collect();
            let result = server.kubectl(&words).await;
            assert_eq!((result.code, result.err.as_str()), (code, err), "{line}");
            assert!(result.out.contains("Usage:\n  kubectl config "), "{line}: {result:?}");
        }
        let result = server.kubectl(&["config", "delete-user"]).await;
        assert!(
            result.code == 1 && result.err.starts_with("error: user to delete is required\nSee "),
            "{result:?}"
        );
    }

    #[test]
    fn a_file_is_written_as_kubectl_writes_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(&file, "users: [{name: b, user: {}}]\ncontexts: [{name: c, context: {}}]\n").unwrap();
        rewrite(&file, |config| {
            entry(config, "users", "user", "a");
            config["contexts"] = json!([]);
            Ok(())
        })
        .unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("contexts: null\n"), "{text}");
        assert!(text.find("name: a") < text.find("name: b"), "{text}");
        let commented = "# mine\nclusters: [{name: c, cluster: {}}]\n";
        std::fs::write(&file, commented).unwrap();
        let set = |server: &str| {
            let change = |config: &mut Value| {
                entry(config, "clusters", "cluster", "c").insert("server".into(), server.into());
                Ok(())
            };
            rewrite(&file, change).unwrap();
            std::fs::read_to_string(&file).unwrap()
        };
        assert_eq!(set(""), commented, "it says the same");
        assert!(set("s").contains("- cluster:\n    server: s\n"));
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::thread::scope(|scope| {
            for n in 0..20 {
                let file = &file;
                scope.spawn(move || {
                    rewrite(file, |config| {
                        entry(config, "contexts", "context", &format!("c{n}"));
                        Ok(())
                    })
                    .unwrap();
                });
            }
        });
        let config = manifest::parse_yaml(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(value::list(&config, "contexts").len(), 20);
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left, ["config"], "neither the lock nor a draft stays");
    }

    #[tokio::test]
    async fn an_empty_namespace_is_none_in_the_file() {
        let (server, dir) = (crate::testing::Server::away().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("config");
        let flag = format!("--kubeconfig={}", file.display());
        for namespace in ["--namespace=shop", "--namespace="] {
            let result = server.kubectl(&["config", "set-context", "c", &flag, namespace, "--user=u"]).await;
            assert_eq!(result.code, 0, "{result:?}");
            let text = std::fs::read_to_string(&file).unwrap();
            assert_eq!(text.contains("namespace: shop"), namespace.ends_with("shop"), "{text}");
            assert_eq!(text.contains("namespace:"), namespace.ends_with("shop"), "{text}");
        }
        let result = server.kubectl(&["config", "rename-context", "c", "", &flag]).await;
        assert_eq!(result.err, "error: You must specify a new non-empty context name\n");
        assert!(std::fs::read_to_string(&file).unwrap().contains("name: c\n"), "it keeps its name");
        let result = server.kubectl(&["config", "use-context", "", &flag]).await;
        assert_eq!(result.err, "error: empty context names are not allowed\n");
        let result = server.kubectl(&["config", "view", &flag, "c"]).await;
        assert!(
            result.code == 1 && result.err.starts_with("error: unexpected arguments: [c]\n"),
            "{result:?}"
        );
    }
}
