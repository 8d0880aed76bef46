//! Tests of kustomize's errors about files that are missing or named twice, and about patches. The
//! texts are those of kustomize 5.5; 5.7 has the same.

use super::tests::{built, write};
use std::path::Path;

const MAP: &str = "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}";

/// Checks the error of each kustomization in the folder `k`; `{}` stands for the folder around it.
async fn assert_errors(root: &Path, cases: &[(&str, String)]) {
    for (content, want) in cases {
        write(root, &[("k/kustomization.yaml", content)]);
        let message = built(root, "k").await.unwrap_err();
        assert_eq!(message, want.replace("{}", &root.display().to_string()), "{content}");
    }
}

#[tokio::test]
async fn what_is_missing_or_there_twice_is_reported_in_kustomizes_words() {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap();
    let twice = format!("{MAP}\n---\n{MAP}\n");
    write(
        &root,
        &[
            ("k/a.yaml", MAP),
            ("k/twice.yaml", &twice),
            ("k/in/kustomization.yaml", "resources: [a.yaml]"),
            ("k/in/a.yaml", MAP),
            ("out.yaml", MAP),
        ],
    );
    let head = "accumulating resources: accumulation err=";
    let id = "may not add resource with an already registered id: ConfigMap.v1.[noGrp]/a.[noNs]";
    let link = "evalsymlink failure on '{}/k/x/y.yaml' : lstat {}/k/x: no such file or directory";
    let no_root = "must build at directory:";
    let cases = [
        (
            "resources: [x/y.yaml]",
            format!(
                "{head}'accumulating resources from 'x/y.yaml': {link}': {no_root} not a valid directory: {link}"
            ),
        ),
        (
            "resources: [/no/a.yaml]",
            format!(
                "{head}'accumulating resources from '/no/a.yaml': evalsymlink failure on '/no/a.yaml' : lstat /no: no such file or directory': new root '/no/a.yaml' cannot be absolute"
            ),
        ),
        (
            "resources: ['']",
            format!(
                "{head}'accumulating resources from '': '{{}}/k' must resolve to a file': new root cannot be empty"
            ),
        ),
        (
            "resources: [../out.yaml]",
            format!(
                "{head}'accumulating resources from '../out.yaml': security; file '{{}}/out.yaml' is not in or below '{{}}/k'': {no_root} '{{}}/out.yaml': file is not directory"
            ),
        ),
        (
            "resources: [a.yaml, a.yaml]",
            format!(
                "{head}'merging resources from 'a.yaml': {id}': {no_root} '{{}}/k/a.yaml': file is not directory"
            ),
        ),
        (
            "resources: [twice.yaml]",
            format!(
                "{head}'accumulating resources from 'twice.yaml': {id}': {no_root} '{{}}/k/twice.yaml': file is not directory"
            ),
        ),
        (
            "resources: [a.yaml, in]",
            format!(
                "{head}'accumulating resources from 'in': '{{}}/k/in' must resolve to a file': recursed merging from path '{{}}/k/in': {id}"
            ),
        ),
    ];
    assert_errors(&root, &cases).await;
}

#[tokio::test]
async fn patches_that_cannot_be_read_are_reported_with_their_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let root = std::fs::canonicalize(dir.path()).unwrap();
    let gone = "evalsymlink failure on '{}/k/gone' : lstat {}/k/gone: no such file or directory";
    let misconfigured = |of: &str, config: &str| {
        format!("trouble configuring builtin {of}Transformer with config: `\n{config}`: ")
    };
    let cases = [
        (
            "patches: [{path: gone, target: {kind: Pod, labelSelector: a=b}, options: {allowNameChange: true}}]",
            misconfigured(
                "Patch",
                "options:\n  allowNameChange: true\npath: gone\ntarget:\n  kind: Pod\n  labelSelector: a=b\n",
            ) + "failed to get the patch file from path(gone): "
                + gone,
        ),
        (
            "patches: [{patch: 'x: y', path: b.yaml}]",
            misconfigured("Patch", "patch: 'x: y'\npath: b.yaml\n")
                + "patch and path can't be set at the same time\npatch: 'x: y'\npath: b.yaml\n",
        ),
        (
            "patchesStrategicMerge: [gone, other.yaml]",
            misconfigured("PatchStrategicMerge", "paths:\n- gone\n- other.yaml\n") + gone,
        ),
        (
            "patchesJson6902: [{path: gone, target: {kind: Pod, name: a, version: v1}}]",
            misconfigured("PatchJson6902", "path: gone\ntarget:\n  kind: Pod\n  name: a\n  version: v1\n")
                + gone,
        ),
    ];
    assert_errors(&root, &cases).await;
}
