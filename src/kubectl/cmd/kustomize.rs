//! kustomize: prints what a folder comes to.

use crate::kubectl::ctx::Ctx;
use crate::kubectl::error::{Fail, text};
use crate::kubectl::kustomize::build;

pub async fn run(ctx: &Ctx) -> Result<(), Fail> {
    let shown = match ctx.args.as_slice() {
        [] => ".",
        [one] => one.as_str(),
        _ => return text("specify one path to kustomization.yaml"),
    };
    for flag in ["enable-helm", "enable-alpha-plugins"] {
        if ctx.flags.is(flag) {
            return text(format!("--{flag} is not implemented in ropewalk's built-in kubectl"));
        }
    }
    let built = build(&ctx.path(shown), shown).await?;
    built.warnings.iter().for_each(|warning| ctx.note(warning));
    let output = ctx.flags.text("output");
    match output {
        "" => ctx.out(built.to_yaml()),
        file => {
            let path = ctx.path(file);
            if path.is_dir() {
                for object in &built.objects {
                    let part = |p: &str| crate::api::value::text(object, p).to_lowercase();
                    let name = format!(
                        "{}_{}_{}.yaml",
                        part("apiVersion").replace('/', "_"),
                        part("kind"),
                        part("metadata.name")
                    );
                    std::fs::write(path.join(name), crate::kubectl::print::yaml::to_string(object))?;
                }
            } else {
                std::fs::write(&path, built.to_yaml())?;
            }
        }
    }
    Ok(())
}
