//! Refusals of arguments beside `-f`.

use crate::ctx::Ctx;
use crate::error::Fail;
use crate::file_names;

/// Returns a failure for each file that is not there. kubectl looks for all of them before it reads
/// one, or looks at the arguments.
pub(crate) fn missing(ctx: &Ctx, files: &[String]) -> Vec<Fail> {
    let is_path =
        |file: &&String| *file != "-" && !file.starts_with("http://") && !file.starts_with("https://");
    files.iter().filter(is_path).filter_map(|file| file_names::expand(ctx, file).err()).collect()
}

/// Returns the refusal of arguments beside files. `are_pairs`: they have the form `TYPE/NAME`, or
/// mean that. Source: `visitByPaths` of kubectl's builder.
pub(crate) fn refusal(ctx: &Ctx, files: &[String], are_pairs: bool) -> Fail {
    let why = match are_pairs {
        true => "resource/name arguments cannot be provided when a path is specified",
        false => {
            "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well"
        }
    };
    Fail::join(missing(ctx, files)).err().unwrap_or_else(|| Fail::Text(why.into()))
}

#[cfg(test)]
mod tests {
    use crate::Env;
    use crate::testing::{Server, at, config_map};
    use serde_json::json;

    #[tokio::test]
    async fn an_empty_file_name_does_not_mean_the_current_folder() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        for name in ["a", "b"] {
            let map = config_map(name, json!({}));
            std::fs::write(dir.path().join(format!("{name}.yaml")), map.to_string()).unwrap();
            server.hold(&at(name), map);
        }
        let why = "the path \"\" does not exist\n";
        for (file, want) in [("a.yaml,", format!("error: {why}")), (",", format!("{why}{why}"))] {
            let env = Env { cwd: dir.path().into(), ..Env::default() };
            let result = server.kubectl_in(&["delete", "-f", file], "", env).await;
            assert_eq!((result.code, result.err), (1, want), "{file}");
            assert!(server.object(&at("a")).is_some() && server.object(&at("b")).is_some(), "{file}");
        }
    }

    /// kubectl looks for the path as it was typed, so the errors are those of the kernel.
    #[tokio::test]
    async fn a_path_that_cannot_be_read_is_reported_as_by_go() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        std::fs::create_dir(dir.path().join("sub")).unwrap();
        for file in ["a.yaml", "sub/a.yaml"] {
            std::fs::write(dir.path().join(file), config_map("a", json!({})).to_string()).unwrap();
        }
        std::os::unix::fs::symlink("sub", dir.path().join("link")).unwrap();
        server.hold(&at("a"), config_map("a", json!({})));
        for (file, want) in [
            ("a.yaml/", "error: the path \"a.yaml/\" cannot be accessed: stat a.yaml/: not a directory\n"),
            ("link", "error: error parsing link: read link: is a directory\n"),
            ("link/", ""),
        ] {
            let env = Env { cwd: dir.path().into(), ..Env::default() };
            let result = server.kubectl_in(&["get", "-o", "name", "-f", file], "", env).await;
            assert_eq!(result.err, want, "{file}");
            assert_eq!(result.out == "configmap/a\n", want.is_empty(), "{result:?}");
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_does_not_keep_the_others() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        for name in ["a", "z"] {
            let file = dir.path().join(format!("{name}.yaml"));
            std::fs::write(file, config_map(name, json!({})).to_string()).unwrap();
        }
        std::os::unix::fs::symlink(".", dir.path().join("m.yaml")).unwrap();
        let env = || Env { cwd: dir.path().into(), ..Env::default() };
        let result = server.kubectl_in(&["create", "-o", "name", "-f", "."], "", env()).await;
        assert_eq!((result.code, result.out.as_str()), (1, "configmap/a\nconfigmap/z\n"), "{result:?}");
        assert_eq!(result.err, "error: error parsing m.yaml: read m.yaml: is a directory\n");
        // Files are named as Go's `filepath.Walk` does.
        let result = server.kubectl_in(&["create", "-f", "./."], "", env()).await;
        assert!(result.code == 1 && result.err.contains("error when creating \"z.yaml\""), "{result:?}");
    }

    #[tokio::test]
    async fn arguments_beside_files_are_refused() {
        let (server, dir) = (Server::start().await, tempfile::tempdir().unwrap());
        let path = |name: &str| dir.path().join(name).display().to_string();
        for name in ["a", "b"] {
            std::fs::write(path(name), config_map(name, json!({})).to_string()).unwrap();
        }
        let paths = ["a", "b", "gone"].map(path);
        let [there, other, gone] = paths.each_ref().map(String::as_str);
        let not_there = format!("the path \"{gone}\" does not exist");
        let not_there = not_there.as_str();
        let pairs = "resource/name arguments cannot be provided when a path is specified";
        let types =
            "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well";
        for (line, why) in [
            (&["get", "-f", there, "cm"][..], types),
            (&["get", "-f", there, "cm", "a"], types),
            (&["get", "-f", there, "cm/a"], pairs),
            (&["get", "-f", there, "cm,secrets", "a"], pairs),
            (&["get", "-f", gone, "cm/a"], not_there),
            (&["exec", "-f", there, "web", "--", "date"], pairs),
            (&["exec", "-f", gone, "web", "--", "date"], not_there),
            (
                &["exec", "-f", there, "-f", other, "--", "date"],
                "cannot exec into multiple objects at a time",
            ),
        ] {
            let result = server.kubectl(line).await;
            assert_eq!((result.code, result.err), (1, format!("error: {why}\n")), "{line:?}");
        }
    }
}
