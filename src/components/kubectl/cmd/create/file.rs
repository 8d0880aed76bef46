//! create -f

use super::super::common::{DryRun, Teller, remember, send_raw, validation};
use crate::builder::about;
use crate::cmd::edit;
use crate::ctx::Ctx;
use crate::error::{Fail, text};
use crate::files;
use crate::info::Options;

pub(crate) async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let files = ctx.flags.list("filename");
    if !ctx.names_files() {
        if !ctx.args.is_empty() {
            return ctx.usage(format!("Unexpected args: [{}]", ctx.args.join(" ")));
        }
        ctx.output.err("error: must specify one of -f and -k\n\n");
        ctx.output.err(&crate::help::of(crate::table::named(ctx.verb)));
        return Err(Fail::Exit(1));
    }
    if !ctx.args.is_empty() {
        return ctx.usage(format!("Unexpected args: [{}]", ctx.args.join(" ")));
    }
    let dry_run = DryRun::of(ctx)?;
    let teller = Teller::of(ctx, dry_run)?;
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
    let (infos, mut failures) = files::read(ctx, &files, options).await?;
    if infos.is_empty() {
        Fail::join(failures)?;
        return text("no objects passed to create");
    }
    if ctx.flags.is("edit") {
        Fail::join(failures)?;
        return edit::edit(ctx, infos, ctx.flags.text("output") == "json", edit::Mode::Create).await;
    }
    for mut info in infos {
        remember(ctx, &mut info.object);
        if dry_run != DryRun::Client {
            let mut query = vec![
                ("fieldManager", ctx.flags.text("field-manager")),
                ("fieldValidation", validation(ctx)?),
            ];
            dry_run.query(&mut query);
            match ctx.api().await?.create(&info.collection(), &query, &info.object).await {
                Ok(object) => info.object = object,
                Err(fail @ Fail::Api(_)) => {
                    failures.push(about(fail, "creating", &info.source));
                    continue;
                }
                Err(other) => return Err(other),
            }
        }
        teller.tell(ctx, &info.object, "created", true)?;
    }
    Fail::join(failures)
}

#[cfg(test)]
mod tests {
    use crate::Env;
    use crate::testing::Server;

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
            let said = server.kubectl_in(&words, "{}", Env::default()).await;
            assert_eq!((said.code, said.err), (1, format!("error: {why}\n")), "{words:?}");
        }
        assert!(server.asked().is_empty(), "nothing was created");
    }
}
