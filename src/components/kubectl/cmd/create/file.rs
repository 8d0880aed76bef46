//! create -f

use super::super::common::{DryRun, Printer, remember, send_raw, validation};
use super::super::record::record;
use crate::builder::about;
use crate::cmd::edit;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::files;
use crate::info::Options;

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let files = ctx.flags.list("filename");
    if !ctx.args.is_empty() {
        return ctx.usage(format!("Unexpected args: [{}]", ctx.args.join(" ")));
    }
    if !ctx.names_files() {
        return text("must specify one of -f and -k");
    }
    let dry_run = DryRun::of(ctx)?;
    let printer = Printer::of(ctx, dry_run)?;
    let raw = ctx.flags.text("raw");
    if !raw.is_empty() {
        if ctx.flags.is("edit") {
            return text("--raw and --edit are mutually exclusive");
        }
        if !ctx.flags.text("selector").is_empty() {
            return text("--raw and --selector (-l) are mutually exclusive");
        }
        return send_raw(ctx, http::Method::POST, raw, &files).await;
    }
    let options = Options { validated: validation(ctx)? != "Ignore", ..Options::default() };
    let (infos, unread) = files::read(ctx, &files, options).await?;
    if infos.is_empty() {
        Fail::join(unread)?;
        return text("no objects passed to create");
    }
    if ctx.flags.is("edit") {
        Fail::join(unread)?;
        return edit::edit(ctx, infos, ctx.flags.text("output") == "json", edit::Mode::Create).await;
    }
    let mut failures = vec![];
    for mut info in infos {
        remember(ctx, &mut info.object);
        record(ctx, &mut info.object);
        if dry_run != DryRun::Client {
            let mut query = vec![
                ("fieldManager", ctx.flags.text("field-manager")),
                ("fieldValidation", validation(ctx)?),
            ];
            dry_run.query(&mut query);
            match ctx.api().await?.create(&info.collection(), &query, &info.object).await {
                Ok(object) => info.object = object,
                Err(fail @ (Fail::Api(_) | Fail::Text(_))) => {
                    failures.push(about(fail, "creating", &info.source));
                    continue;
                }
                Err(other) => return Err(other),
            }
        }
        printer.print(ctx, &info.object, "created", true)?;
    }
    // Failures to read documents come last, as in kubectl: its visitor of files returns them when
    // all documents were visited.
    failures.extend(unread);
    Fail::join(failures)
}

#[cfg(test)]
mod tests {
    use crate::Env;
    use crate::testing::{Server, config_map, refusal};
    use serde_json::json;

    #[tokio::test]
    async fn documents_that_cannot_be_read_are_reported_behind_refusals() {
        let server = Server::start_with(|request| {
            (request.method != "GET").then(|| refusal(409, "Conflict", "not now"))
        })
        .await;
        let unknown = json!({"apiVersion": "v1", "kind": "Foo", "metadata": {"name": "b"}});
        let text = format!("{unknown}\n{}\n", config_map("a", json!({})));
        for verb in ["create", "replace", "delete"] {
            let result = server.kubectl_in(&[verb, "-f", "-"], &text, Env::default()).await;
            let (refused, unread) = (result.err.find("not now"), result.err.find("no matches for kind"));
            assert!(result.code == 1 && refused.is_some() && refused < unread, "{verb}: {result:?}");
        }
    }

    /// A path of the API cannot have that namespace, so that no request is sent.
    #[tokio::test]
    async fn an_object_that_no_request_can_create_does_not_keep_the_others() {
        let server = Server::start().await;
        let mut first = config_map("a", json!({}));
        first["metadata"]["namespace"] = json!("x/y");
        let text = format!("{first}\n{}\n", config_map("b", json!({})));
        let result = server.kubectl_in(&["create", "-f", "-"], &text, Env::default()).await;
        assert_eq!((result.code, result.out.as_str()), (1, "configmap/b created\n"), "{result:?}");
        let why = "error when creating \"STDIN\": invalid namespace \"x/y\": [may not contain '/']";
        assert!(result.err.contains(why), "{result:?}");
    }

    #[tokio::test]
    async fn a_validation_is_a_word_or_a_boolean_and_not_empty() {
        let server = Server::start().await;
        let text = config_map("a", json!({})).to_string();
        for (given, want) in [("True", "Strict"), ("f", "Ignore"), ("warn", "Warn")] {
            let flag = format!("--validate={given}");
            let line = ["create", "-f", "-", "--dry-run=server", &flag];
            let result = server.kubectl_in(&line, &text, Env::default()).await;
            let query = server.requests().last().map(|request| request.query.clone()).unwrap_or_default();
            assert!(query.contains(&format!("fieldValidation={want}")), "{given}: {query} {result:?}");
        }
        let result = server.kubectl_in(&["create", "-f", "-", "--validate="], &text, Env::default()).await;
        assert!(
            result.code == 1 && result.err.starts_with("error: invalid - validate option \"\";"),
            "{result:?}"
        );
    }

    #[tokio::test]
    async fn of_several_failures_each_names_its_file() {
        let server = Server::start_with(|request| {
            (request.method == "POST").then(|| refusal(422, "Invalid", "x is 0"))
        })
        .await;
        let text = format!("{}\n{}\n", config_map("a", json!({})), config_map("b", json!({})));
        let result = server.kubectl_in(&["create", "-f", "-"], &text, Env::default()).await;
        let line = "Error from server (Invalid): error when creating \"STDIN\": x is 0\n";
        assert_eq!((result.code, result.err), (1, line.repeat(2)));
    }

    #[tokio::test]
    async fn a_line_without_files_is_refused_in_one_sentence() {
        let server = Server::start().await;
        for line in [&["create"][..], &["replace"], &["replace", "cm", "a"]] {
            let result = server.kubectl(line).await;
            let why = "error: must specify one of -f and -k\n";
            assert_eq!((result.code, result.err.as_str()), (1, why), "{line:?}");
        }
    }

    #[tokio::test]
    async fn a_raw_request_is_refused_with_flags_that_it_cannot_obey() {
        let server = Server::start().await;
        for (flags, why) in [
            (vec!["-f", "-", "--edit"], "--raw and --edit are mutually exclusive"),
            (vec!["-f", "-", "-l", "a=b"], "--raw and --selector (-l) are mutually exclusive"),
            (vec!["-f", "-", "-o", "name"], "--raw and --output are mutually exclusive"),
            (vec!["-f", "-", "-R"], "--raw and --recursive are mutually exclusive"),
            (vec!["-f", "a", "-f", "b"], "--raw can only use a single local file or stdin"),
            (vec!["-f", "https://x/y"], "--raw cannot read from a url"),
        ] {
            let words: Vec<&str> = ["create", "--raw=/api/v1/x"].into_iter().chain(flags).collect();
            let result = server.kubectl_in(&words, "{}", Env::default()).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")), "{words:?}");
        }
        assert!(server.requests().is_empty(), "nothing was created");
    }
}
