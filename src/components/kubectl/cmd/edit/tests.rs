use super::*;

#[test]
fn a_line_of_a_script_is_no_comment() {
    let script = "data:\n  run: |\n    # a remark\n    echo hi\n";
    let bare = "data:\n  run: |\n    echo hi\n";
    assert_ne!(meant(script), meant(bare));
    assert_eq!(meant(&format!("{HEADER}{script}# the end\n")), meant(script));
    assert_eq!(without_head(&format!("{HEADER}{script}")), script);
    assert_eq!(meant("# a\nx: [\n"), meant("x: [\n"));
    assert_ne!(meant("#!/bin/sh\nx: [\n"), meant("x: [\n"));
    assert!(is_blank(HEADER) && !is_blank(script));
}

use crate::Env;
use crate::testing::{CommandResult, Server, at, config_map, refusal};

/// An editor of this shell text, whose `$1` is the file. Each run adds a line to the file `runs`.
/// The shell reads the script: a file that was just written cannot be run as a program while
/// another test starts one, which has it open for writing for a moment.
fn prepared(dir: &Path, script: &str) -> Env {
    let program = dir.join("editor");
    let runs = dir.join("runs");
    std::fs::write(&program, format!("echo >> {}\n{script}\n", runs.display())).unwrap();
    let drafts = dir.join("drafts");
    std::fs::create_dir(&drafts).unwrap();
    let vars =
        [("EDITOR", format!("/bin/sh {}", program.display())), ("TMPDIR", drafts.display().to_string())];
    Env { vars: vars.map(|(key, text)| (key.to_string(), text)).into(), cwd: dir.into(), ..Env::default() }
}

/// The texts of the drafts that were not removed.
fn left(dir: &Path) -> Vec<String> {
    let drafts = std::fs::read_dir(dir.join("drafts")).unwrap();
    drafts.map(|e| std::fs::read_to_string(e.unwrap().path()).unwrap()).collect()
}

/// Runs a verb with an editor of this shell text; returns what stayed of the drafts, too.
async fn edited(server: &Server, args: &[&str], script: &str) -> (CommandResult, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let env = prepared(dir.path(), script);
    let limit = std::time::Duration::from_secs(60);
    let result = tokio::time::timeout(limit, server.kubectl_in(args, "", env)).await.expect("an end");
    let runs = std::fs::read(dir.path().join("runs")).unwrap();
    assert!(runs.len() < 5, "the editor ran again and again: {result:?}");
    (result, left(dir.path()))
}

/// Interrupts an edit when the editor has made the file `saved` beside itself.
async fn interrupted(server: &Server, script: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved");
    let script = format!("{script}\necho > {}\nexec sleep 60", saved.display());
    let env = prepared(dir.path(), &script);
    let opened = async {
        while !saved.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        result = server.kubectl_in(&["edit", "cm", "a"], "", env) => panic!("it ended: {result:?}"),
        () = opened => {}
    }
    left(dir.path())
}

#[tokio::test]
async fn edits_that_the_editor_has_saved_outlive_an_interrupt() {
    let server = Server::start().await;
    server.hold(&at("a"), config_map("a", json!({})));
    let left = interrupted(&server, "echo 'data: {k: v}' >> $1").await;
    assert!(left.len() == 1 && left[0].contains("data: {k: v}"), "{left:?}");
    let left = interrupted(&server, "").await;
    assert!(left.is_empty(), "nothing was saved: {left:?}");
}

#[tokio::test]
async fn what_editing_cannot_repair_ends_the_edit_and_keeps_the_file() {
    let server = Server::start_with(|request| {
        (request.method == "PATCH").then(|| refusal(403, "Forbidden", "you may not"))
    })
    .await;
    server.hold(&at("a"), config_map("a", json!({})));
    let (result, left) = edited(&server, &["edit", "cm", "a"], "echo \"data: {x: '$$'}\" >> $1").await;
    assert_eq!(result.code, 1, "{result:?}");
    assert!(result.err.contains("configmaps \"a\" could not be patched: you may not"), "{result:?}");
    assert!(result.err.contains("kubectl replace -f "), "{result:?}");
    assert!(left.len() == 1 && left[0].contains("data: {x: "), "{left:?}");
    let (result, left) = edited(&server, &["edit", "cm", "a"], "echo 'data: {}' >> $1; exit 3").await;
    assert!(result.err.contains("A copy of your changes has been stored to"), "{result:?}");
    assert_eq!((result.code, left.len()), (1, 1));
    let (_, left) = edited(&server, &["edit", "cm", "a"], "exit 3").await;
    assert!(left.is_empty(), "nothing was edited: {left:?}");
}

#[tokio::test]
async fn what_is_invalid_is_opened_again_with_the_reason() {
    let server = Server::start_with(|request| {
        let wrong = request.method == "PATCH" && request.body["data"]["k"] == "wrong";
        wrong.then(|| refusal(422, "Invalid", "it is wrong"))
    })
    .await;
    server.hold(&at("a"), config_map("a", json!({})));
    let script = "if grep -q 'was not valid' $1; then sed -i s/wrong/right/ $1; else echo 'data: {k: wrong}' >> $1; fi";
    let dir = tempfile::tempdir().unwrap();
    let opened = dir.path().join("opened");
    let script = format!("echo $1 >> {}; {script}", opened.display());
    let (result, left) = edited(&server, &["edit", "cm", "a"], &script).await;
    assert_eq!((result.code, result.out.as_str(), left.len()), (0, "configmap/a edited\n", 0), "{result:?}");
    assert_eq!(server.object(&at("a")).unwrap()["data"]["k"], "right");
    // vi goes to the line where the user left a file of this path; the reason is above it.
    let opened = std::fs::read_to_string(opened).unwrap();
    let paths: Vec<&str> = opened.lines().collect();
    assert!(paths.len() == 2 && paths[0] != paths[1], "{paths:?}");
}

#[tokio::test]
async fn a_file_with_windows_lines_keeps_them_when_it_is_opened_again() {
    let server = Server::start_with(|request| {
        let text = request.body["data"]["k"].as_str().unwrap_or("");
        (request.method == "PATCH" && text.starts_with("wrong")).then(|| refusal(422, "Invalid", "no"))
    })
    .await;
    server.hold(&at("a"), config_map("a", json!({})));
    let script = r"if grep -q 'was not valid' $1; then sed -i s/wrong/right/ $1; else printf 'data:\r\n  k: |\r\n    wrong\r\n    b\r\n' >> $1; fi";
    let (result, _) = edited(&server, &["edit", "cm", "a", "--windows-line-endings"], script).await;
    assert_eq!(result.code, 0, "{result:?}");
    assert_eq!(server.object(&at("a")).unwrap()["data"]["k"], "right\nb\n");
}

#[tokio::test]
async fn what_was_edited_is_printed_in_the_format_that_was_asked_for() {
    let server = Server::start().await;
    server.hold(&at("a"), config_map("a", json!({})));
    let script = "echo 'data: {k: v}' >> $1";
    let (result, _) = edited(&server, &["edit", "cm", "a", "-o", "yaml"], script).await;
    assert!(result.code == 0 && result.out.starts_with("apiVersion: v1\ndata:\n  k: v\n"), "{result:?}");
}

#[tokio::test]
async fn edited_objects_are_found_wherever_they_stand_in_the_file() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        server.hold(&at(name), config_map(name, json!({})));
    }
    let turned = r#"{"kind": "List", "apiVersion": "v1", "items": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b", "namespace": "default", "uid": "uid-2"}, "data": {"k": "of b"}},
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "default", "uid": "uid-1"}, "data": {"k": "of a"}}]}"#;
    let (result, _) =
        edited(&server, &["edit", "cm", "a", "b"], &format!("cat > $1 <<'E'\n{turned}\nE")).await;
    assert_eq!(
        (result.code, result.out.as_str()),
        (0, "configmap/b edited\nconfigmap/a edited\n"),
        "{result:?}"
    );
    for name in ["a", "b"] {
        assert_eq!(server.object(&at(name)).unwrap()["data"]["k"], format!("of {name}"));
    }
}

#[tokio::test]
async fn a_refused_object_does_not_keep_the_others_from_being_created() {
    let server = Server::start_with(|request| {
        let refused = request.method == "POST" && request.body["metadata"]["name"] == "a";
        refused.then(|| refusal(403, "Forbidden", "not this one"))
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let both = ["a", "b"].map(|name| config_map(name, json!({})).to_string()).join("\n");
    let file = dir.path().join("both.yaml");
    std::fs::write(&file, both).unwrap();
    let args = ["create", "--edit", "-f", &file.display().to_string()];
    let (result, left) = edited(&server, &args, "echo 'data: {k: v}' >> $1").await;
    assert_eq!((result.code, result.out.as_str()), (1, "configmap/b created\n"), "{result:?}");
    assert!(result.err.contains("not this one") && left.len() == 1, "{result:?} {left:?}");
    assert_eq!(server.object(&at("b")).unwrap()["data"]["k"], "v");
}

#[tokio::test]
async fn a_subresource_is_read_and_written_where_it_is() {
    let server = Server::start().await;
    let status = format!("{}/status", at("a"));
    server.hold(&at("a"), config_map("a", json!({})));
    server.hold(&status, config_map("a", json!({"of": "status"})));
    let script = "grep -q 'of: status' $1 && echo 'status: {phase: Done}' >> $1";
    let (result, _) = edited(&server, &["edit", "cm", "a", "--subresource=status"], script).await;
    assert_eq!(result.code, 0, "{result:?}");
    assert_eq!(server.object(&status).unwrap()["status"]["phase"], "Done");
    assert!(server.object(&at("a")).unwrap()["status"].is_null());
}

#[tokio::test]
async fn a_file_that_says_no_object_is_opened_again_with_the_reason() {
    let server = Server::start().await;
    server.hold(&at("a"), config_map("a", json!({})));
    let refused = |why: &str| {
        let what = "# configmaps \"a\" was not valid:\n# * <nil>: Invalid value: ";
        format!("{what}\"The edited file failed validation\": {why}\n#\n")
    };
    let unknown = "resource mapping not found for name: \"a\" namespace: \"default\" from \"edited-file\": no matches for kind \"Foo\" in version \"v1\"\n# ensure CRDs are installed first\n#\n";
    let unknown = format!("# The edited file had a syntax error: {unknown}");
    for (script, want, reason) in [
        (
            "printf 'a: 1\\n# b\\nb: c: d\\n' > $1",
            true,
            refused("yaml: line 2: mapping values are not allowed in this context"),
        ),
        ("sed -i '/^kind:/d' $1", true, refused("kind not set")),
        (": > $1", true, refused("invalid object to validate")),
        ("sed -i 's/^kind:.*/kind: Foo/' $1", false, unknown),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let opened = dir.path().join("opened");
        let again = format!("if [ -e {0} ]; then cp $1 {0}; else touch {0}; {script}; fi", opened.display());
        let (result, left) = edited(&server, &["edit", "cm", "a"], &again).await;
        assert_eq!((result.code, left.len()), (1, 1), "{script}: {result:?}");
        assert_eq!(
            result.err.starts_with("error: configmaps \"a\" is invalid\n"),
            want,
            "{script}: {result:?}"
        );
        assert!(result.err.ends_with("error: Edit cancelled, no valid changes were saved.\n"), "{result:?}");
        let opened = std::fs::read_to_string(opened).unwrap();
        assert!(opened.contains(&reason), "{script}: {opened}");
    }
    let (result, left) = edited(&server, &["edit", "cm", "a", "--validate=false"], ": > $1").await;
    assert_eq!((result.code, result.err.as_str()), (0, "Edit cancelled, saved file was empty.\n"));
    assert!(left.is_empty() && server.requests().iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn an_object_stays_in_its_namespace() {
    let server = Server::start().await;
    server.hold(&at("a"), config_map("a", json!({})));
    let script = "sed -i 's/namespace: default/namespace: other/' $1";
    let (result, left) = edited(&server, &["edit", "cm", "a"], script).await;
    let why = "does not match the namespace \"default\". You must pass '--namespace=other' to perform this operation.\n";
    assert!(result.code == 1 && result.err.ends_with(why), "{result:?}");
    assert_eq!(left.len(), 1);
    // A second object is not written either.
    server.hold(&at("b"), config_map("b", json!({})));
    let script = "sed -i -e 's/labels: {}/labels: {x: y}/' -e '/name: b/{n;s/default/other/;}' $1";
    let (result, _) = edited(&server, &["edit", "cm", "a", "b"], script).await;
    assert!(result.code == 1 && result.err.ends_with(why), "{result:?}");
    assert!(server.requests().iter().all(|request| request.method == "GET"));
    // An object whose namespace line was deleted keeps its namespace.
    let (result, left) = edited(&server, &["edit", "cm", "a"], "sed -i '/namespace: default/d' $1").await;
    assert_eq!((result.code, result.out.as_str()), (0, "configmap/a skipped\n"), "{result:?}");
    assert!(left.is_empty());
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
    server.hold("/api/v1/namespaces/n", namespace);
    let script = r#"sed -i 's/"name": "n"/"name": "n", "namespace": "x"/' $1"#;
    let (result, _) = edited(&server, &["edit", "ns", "n", "-o", "json"], script).await;
    assert!(result.code == 0 && !result.out.contains("\"namespace\""), "{result:?}");
    assert!(server.requests().iter().all(|request| request.method == "GET"));
}

#[tokio::test]
async fn an_editor_is_split_at_spaces_and_one_that_is_not_there_is_named() {
    let server = Server::start().await;
    server.hold(&at("a"), config_map("a", json!({})));
    let dir = tempfile::tempdir().unwrap();
    for (editor, why) in [
        ("no-such-editor --wait", "unable to launch the editor \"no-such-editor --wait\""),
        ("/no/such/editor", "there was a problem with the editor \"/no/such/editor\""),
        ("false $(touch made)", "there was a problem with the editor \"false $(touch made)\""),
        ("exit '3'", "there was a problem with the editor \"/bin/sh -c exit '3'\""),
    ] {
        let vars = [("EDITOR", editor), ("SHELL", "/bin/sh")];
        let vars = vars.map(|(key, text)| (key.to_string(), text.to_string())).into();
        let env = Env { vars, cwd: dir.path().into(), ..Env::default() };
        let result = server.kubectl_in(&["edit", "cm", "a"], "", env).await;
        assert_eq!((result.code, result.err), (1, format!("error: {why}\n")), "{editor}");
    }
    assert!(!dir.path().join("made").exists(), "no shell has read it");
}

#[tokio::test]
async fn of_several_configurations_those_that_were_not_edited_are_skipped() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        let mut object = config_map(name, json!({}));
        let last = object.to_string();
        object["metadata"]["annotations"] = json!({LAST_APPLIED: last});
        server.hold(&at(name), object);
    }
    let line = ["apply", "edit-last-applied", "cm", "a", "b"];
    let (result, left) = edited(&server, &line, "sed -i '0,/labels: {}/s//labels: {x: z}/' $1").await;
    assert_eq!(
        (result.code, result.out.as_str()),
        (0, "configmap/a edited\nconfigmap/b skipped\n"),
        "{result:?}"
    );
    let patches = server.requests().into_iter().filter(|request| request.method == "PATCH").count();
    assert!(patches == 1 && left.is_empty(), "{left:?}");
}
