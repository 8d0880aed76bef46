//! set env: the variables of containers.

use super::set::{all_or_none, each};
use super::typed::spec_path;
use crate::builder;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::info::Options;
use crate::merge;
use crate::scheme;
use api::gostr::quote;
use api::value;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Returns whether `--containers`, a name in which each `*` stands for any text, means this
/// container. As in kubectl, a text before the first `*` may stand anywhere. Source: kubectl's
/// `pkg/cmd/set/helper.go`, `selectString`.
///
/// Example: `web*` means `web-1` and also `my-web`; `*web` does not mean `web-1`.
pub(super) fn chosen(pattern: &str, name: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == name;
    }
    let parts: Vec<&str> = pattern.split('*').collect();
    let mut from = 0;
    for (i, part) in parts.iter().enumerate().filter(|(_, part)| !part.is_empty()) {
        let Some(at) = name.get(from..).and_then(|rest| rest.find(*part)) else { return false };
        // A place counts from `from`, and is compared with places from the beginning.
        if at < from || (i + 1 == parts.len() && name.len() != part.len() + at) {
            return false;
        }
        from = at;
    }
    true
}

/// Words that name resources, and behind them the changes: `KEY=VALUE`, `KEY-`, `-`.
fn split(args: &[String]) -> Result<(&[String], &[String]), Fail> {
    let is_change =
        |w: &String| w.ends_with('-') || w.split_once('=').is_some_and(|(key, _)| !key.is_empty());
    let at = args.iter().position(is_change).unwrap_or(args.len());
    let (resources, changes) = args.split_at(at);
    match changes.iter().all(is_change) {
        true => Ok((resources, changes)),
        false => {
            text(format!("all resources must be specified before environment changes: {}", args.join(" ")))
        }
    }
}

/// Variables to set, and names of those to remove.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    set: Vec<(String, Value)>,
    remove: Vec<String>,
}

/// Reads words of changes. The word `-` stands for the variables of `stdin`, one a line, in which
/// `#` begins a comment.
fn parse(words: &[String], stdin: &str) -> Result<Changes, Fail> {
    let Changes { mut set, mut remove } = Changes::default();
    for word in words {
        match word.split_once('=') {
            None if word == "-" => {
                let lines = stdin.lines().map(|line| line.split_once('#').map_or(line, |(before, _)| before));
                set.extend(lines.filter_map(|line| {
                    let (key, given) = line.split_once('=')?;
                    Some((key.to_string(), json!({"value": given})))
                }));
            }
            Some((key, given)) => {
                check_variable(key)?;
                set.push((key.into(), json!({"value": given})));
            }
            None => match word.strip_suffix('-') {
                Some(key) => remove.push(key.into()),
                None => return text(format!("unknown environment variable: {word}")),
            },
        }
    }
    if words.iter().filter_map(|w| w.split_once('=')).any(|(key, _)| remove.iter().any(|r| r == key)) {
        return text("can not both modify and remove the same environment variable in the same command");
    }
    Ok(Changes { set, remove })
}

pub(crate) async fn env(ctx: &Ctx) -> Result<(), Fail> {
    let (resources, changes) = split(&ctx.args)?;
    if resources.is_empty() && !ctx.names_files() {
        return text("one or more resources must be specified as <resource> <name> or <resource>/<name>");
    }
    if ctx.flags.is("list") && !ctx.flags.text("output").is_empty() {
        return text("--list and --output may not be specified together");
    }
    if !ctx.flags.list("keys").is_empty() && ctx.flags.text("from").is_empty() {
        return text("when specifying --keys, a configmap or secret must be provided with --from");
    }
    let mut words = ctx.flags.list("env");
    words.extend_from_slice(changes);
    let stdin = match words.iter().any(|w| w == "-") {
        true => String::from_utf8_lossy(&ctx.read_stdin().await?).into_owned(),
        false => String::new(),
    };
    let Changes { mut set, remove } = parse(&words, &stdin)?;
    if !ctx.flags.text("from").is_empty() {
        set.extend(imported(ctx).await?);
    }
    let prefix = ctx.flags.text("prefix");
    set.iter_mut().for_each(|(key, _)| key.insert_str(0, prefix));
    if ctx.flags.is("list") {
        return list(ctx, resources, &set, &remove).await;
    }
    let pattern = ctx.flags.text("containers");
    let overwrite = ctx.flags.is("overwrite");
    each(ctx, resources, "env updated", |info, spec| {
        let mut after = info.object.clone();
        let path = spec_path(&info.resource.kind).unwrap_or_default();
        let mut any = false;
        for field in CONTAINERS {
            for (i, container) in value::list(spec, field).iter().enumerate() {
                if chosen(pattern, value::text(container, "name")) {
                    any = true;
                    let env = changed(value::list(container, "env"), &set, &remove, overwrite)?;
                    let there = value::list_mut(&mut after, &format!("{path}.{field}")).get_mut(i);
                    match there {
                        Some(there) if env.is_empty() => drop(value::remove(there, "env")),
                        Some(there) => value::put(there, "env", env),
                        None => {}
                    }
                }
            }
        }
        if !any {
            let (kind, name) = (&info.resource.kind, &info.name);
            ctx.note(format!(
                "Warning: {kind}/{name} does not have any containers matching {}",
                quote(pattern)
            ));
        }
        // The patch says the order of the variables: one may be made of those before it.
        let patch = merge::strategic_two_way(&info.resource.kind, &info.object, &after);
        Ok(Some(value::at(&patch, path).clone()).filter(Value::is_object))
    })
    .await
}

/// Where a pod spec has containers, in the order in which `--list` prints them.
pub(super) const CONTAINERS: [&str; 2] = ["containers", "initContainers"];

const VARIABLE: &str = "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', and must not start with a digit (e.g. 'my.env-name',  or 'MY_ENV.NAME',  or 'MyEnvName1', regex used for validation is '[-._a-zA-Z][-._a-zA-Z0-9]*')";

/// Refuses what cannot be the name of an environment variable. Source: apimachinery's
/// `IsEnvVarName`.
///
/// # Errors
/// [`Fail::Text`] in kubectl's words.
pub(crate) fn check_variable(name: &str) -> Result<(), Fail> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let mut wrong = vec![];
    if !name.starts_with(|c: char| !c.is_ascii_digit()) || !name.chars().all(fits) {
        wrong.push(VARIABLE);
    }
    match name {
        "." => wrong.push("must not be '.'"),
        ".." => wrong.push("must not be '..'"),
        _ if name.starts_with("..") => wrong.push("must not start with '..'"),
        _ => {}
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => text(format!("{} is not a valid key name: {}", quote(name), wrong.join(";"))),
    }
}

/// A container's variables after the changes: those that are there keep their places, new ones come
/// last. Of several changes of one variable the first counts. A variable that stood twice stands
/// once afterwards: the container would use the last one, which is not the one that was set.
/// Source: kubectl's `pkg/cmd/set/helper.go`, `updateEnv`.
fn changed(
    old: &[Value],
    set: &[(String, Value)],
    remove: &[String],
    overwrite: bool,
) -> Result<Vec<Value>, Fail> {
    let mut covered: BTreeSet<&str> = remove.iter().map(String::as_str).collect();
    let mut env = vec![];
    for there in old {
        let name = value::text(there, "name");
        if covered.contains(name) {
            continue;
        }
        let Some((_, given)) = set.iter().find(|(key, _)| key == name) else {
            env.push(there.clone());
            continue;
        };
        let fresh = variable_of(name, given);
        if !overwrite && variable_of(name, there) != fresh {
            return text(format!(
                "'{name}' already has a value ({}), and --overwrite is false",
                value::text(there, "value")
            ));
        }
        covered.insert(name);
        env.push(fresh);
    }
    for (key, given) in set {
        if covered.insert(key) {
            env.push(variable_of(key, given));
        }
    }
    Ok(env)
}

/// A variable of a container.
fn variable_of(name: &str, given: &Value) -> Value {
    let mut made = variable(name, value::text(given, "value"));
    value::copy(given, &mut made, "valueFrom");
    made
}

/// A variable with a text of its own. An empty text is left out, as in every typed object.
pub(crate) fn variable(name: &str, given: &str) -> Value {
    let mut variable = json!({"name": name});
    if !given.is_empty() {
        value::put(&mut variable, "value", given);
    }
    variable
}

/// `--from`: a variable for each key of a ConfigMap or a Secret, by reference.
async fn imported(ctx: &Ctx) -> Result<Vec<(String, Value)>, Fail> {
    let from = [ctx.flags.text("from").to_string()];
    let selection =
        builder::by_arguments(ctx, &from, Options { other_selector: true, ..Options::default() }).await?;
    let (infos, failures) = scheme::objects(ctx, selection).await?;
    Fail::join(failures)?;
    let wanted = ctx.flags.list("keys");
    let mut all = vec![];
    for info in infos {
        let reference = match info.resource.kind.as_str() {
            "ConfigMap" => "configMapKeyRef",
            "Secret" => "secretKeyRef",
            _ => return text("unsupported resource specified in --from"),
        };
        let mut keys: Vec<&String> =
            value::at(&info.object, "data").as_object().into_iter().flat_map(Map::keys).collect();
        keys.sort();
        for key in keys.into_iter().filter(|k| wanted.is_empty() || wanted.contains(k)) {
            let from = json!({"valueFrom": {reference: {"key": key, "name": info.name}}});
            let name = name_of(key);
            if name != *key {
                ctx.note(format!("Warning: key {key} transferred to {name}"));
            }
            all.push((name, from));
        }
    }
    Ok(all)
}

/// A key as the name of a variable: `log.level` is `LOG_LEVEL`.
fn name_of(key: &str) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c.to_ascii_uppercase() } else { '_' };
    key.chars().map(fit).collect()
}

/// Prints the variables that containers have, with those that `more` would add and without those of
/// `less`.
async fn list(
    ctx: &Ctx,
    resources: &[String],
    more: &[(String, Value)],
    less: &[String],
) -> Result<(), Fail> {
    for info in all_or_none(ctx, resources).await? {
        let spec = value::at(&info.object, spec_path(&info.resource.kind).unwrap_or_default());
        let containers = CONTAINERS.iter().flat_map(|field| value::list(spec, field));
        for container in containers.filter(|c| chosen(ctx.flags.text("containers"), value::text(c, "name"))) {
            let name = value::text(container, "name");
            ctx.line(format!("# {} {}, container {name}", info.resource.kind, info.name));
            // A list changes nothing, so there is nothing that must not be overwritten.
            for variable in changed(value::list(container, "env"), more, less, true)? {
                print_variable(ctx, value::text(&variable, "name"), &variable);
            }
        }
    }
    Ok(())
}

fn print_variable(ctx: &Ctx, name: &str, variable: &Value) {
    match variable.get("valueFrom") {
        None => ctx.line(format!("{name}={}", value::text(variable, "value"))),
        Some(from) => ctx.line(format!("# {name} from {}", source(from))),
    }
}

fn source(from: &Value) -> String {
    let part = |path: &str| value::text(from, path).to_string();
    if from.get("configMapKeyRef").is_some() {
        format!("configmap {}, key {}", part("configMapKeyRef.name"), part("configMapKeyRef.key"))
    } else if from.get("secretKeyRef").is_some() {
        format!("secret {}, key {}", part("secretKeyRef.name"), part("secretKeyRef.key"))
    } else if from.get("fieldRef").is_some() {
        format!("field path {}", part("fieldRef.fieldPath"))
    } else {
        format!("resource field {}", part("resourceFieldRef.resource"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Env;
    use crate::testing::Server;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn stars_stand_for_any_text_as_in_kubectl() {
        for (pattern, wanted) in [
            ("*", &["web", "web-1", "my-web", "my-web-1"][..]),
            ("web", &["web"]),
            ("", &[]),
            ("*web", &["web", "my-web"]),
            ("web*", &["web", "web-1", "my-web", "my-web-1"]),
            ("*web*", &["web", "web-1", "my-web", "my-web-1"]),
            ("w*1", &["web-1"]),
        ] {
            let names = ["web", "web-1", "my-web", "my-web-1"];
            let found: Vec<&str> = names.into_iter().filter(|name| chosen(pattern, name)).collect();
            assert_eq!(found, wanted, "{pattern}");
        }
    }

    #[test]
    fn changes_stand_behind_resources_and_do_not_contradict_each_other() {
        let all = words("deploy/a A=1 B-");
        let (resources, changes) = split(&all).unwrap();
        assert_eq!((resources, changes), (&all[..1], &all[1..]));
        assert!(split(&words("A=1 deploy/a")).is_err());
        let set = vec![("A".to_string(), json!({"value": "1"}))];
        assert_eq!(parse(changes, "").unwrap(), Changes { set, remove: words("B") });
        for (line, why) in [
            ("A=1 A-", "can not both modify and remove the same environment variable"),
            ("A", "unknown environment variable: A"),
            ("1=x", "\"1\" is not a valid key name"),
        ] {
            let message = parse(&words(line), "").unwrap_err().message();
            assert!(message.starts_with(why), "{line}: {message}");
        }
    }

    #[tokio::test]
    async fn variables_come_from_standard_input_and_get_the_prefix() {
        let server = Server::start().await;
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        server.hold("/apis/apps/v1/namespaces/default/deployments/web", web);
        let line = ["set", "env", "deploy/web", "-e", "-", "--prefix=P_", "B=2"];
        let result = server.kubectl_in(&line, "# note\nA=1#one\n\n", Env::default()).await;
        assert_eq!(result.code, 0, "{result:?}");
        let requests = server.requests();
        let patch = requests.iter().find(|a| a.method == "PATCH").expect("a patch");
        let env = &patch.body["spec"]["template"]["spec"]["containers"][0]["env"];
        let found: Vec<(&str, &str)> = env
            .as_array()
            .into_iter()
            .flatten()
            .map(|v| (value::text(v, "name"), value::text(v, "value")))
            .collect();
        assert_eq!(found, [("P_A", "1"), ("P_B", "2")]);
    }

    #[tokio::test]
    async fn a_new_variable_comes_behind_those_that_it_may_be_made_of() {
        let server = Server::start().await;
        let env = json!([{"name": "A", "value": "1"}, {"name": "Z", "value": "2"}]);
        let web = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default"},
            "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "i", "env": env}]}}}});
        server.hold("/apis/apps/v1/namespaces/default/deployments/web", web.clone());
        let result = server.kubectl(&["set", "env", "deploy/web", "B=$(A)", "Z-"]).await;
        assert_eq!(result.code, 0, "{result:?}");
        let sent = server.requests().into_iter().find(|a| a.method == "PATCH").expect("a patch").body;
        let mut after = web;
        api::strategic::apply("Deployment", &mut after, &sent).unwrap();
        let env = &after["spec"]["template"]["spec"]["containers"][0]["env"];
        assert_eq!(*env, json!([{"name": "A", "value": "1"}, {"name": "B", "value": "$(A)"}]));
    }

    #[test]
    fn a_variable_that_is_set_stands_once() {
        let given = |name: &str, text: &str| (name.to_string(), json!({"value": text}));
        let old = [variable("A", "1"), variable("B", "2"), variable("A", "3")];
        let env = changed(&old, &[given("A", "4"), given("A", "5"), given("C", "6")], &[], true);
        assert_eq!(env.unwrap(), [variable("A", "4"), variable("B", "2"), variable("C", "6")]);
        let env = changed(&old, &[given("B", "2")], &words("A"), false);
        assert_eq!(env.unwrap(), [variable("B", "2")]);
        let message = changed(&old, &[given("B", "7")], &[], false).unwrap_err().message();
        assert_eq!(message, "'B' already has a value (2), and --overwrite is false");
        let empty = [json!({"name": "E"})];
        assert_eq!(changed(&empty, &[given("E", "")], &[], false).unwrap(), empty);
        assert_eq!(changed(&[], &[given("E", "")], &[], true).unwrap(), empty);
    }
}
