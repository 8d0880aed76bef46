//! Bodies that would become much larger or deeper than they are sent.

use super::*;

#[tokio::test]
async fn patches_neither_multiply_nor_nest_without_a_bound() {
    let api = Api::with_accounts().await;
    assert_eq!(
        api.post_answer(MAPS, json!({"metadata": {"name": "r8"}, "data": {"a": "b"}})).await.code,
        201
    );
    let path = format!("{MAPS}/r8");
    let doubling: Vec<Value> =
        (0..40).map(|i| json!({"op": "copy", "from": "/data", "path": format!("/data/k{i}")})).collect();
    let got = api.patch_answer(&path, "json-patch+json", Value::from(doubling).to_string()).await;
    assert_eq!(got.code, 422, "{}", got.body);
    assert!(
        got.body["details"]["causes"][0]["message"].as_str().unwrap().contains("accumulated size increase")
    );
    let deep = vec![json!({"op": "copy", "from": "/data", "path": "/data/x"}); 9_900];
    let got = api.patch_answer(&path, "json-patch+json", Value::from(deep).to_string()).await;
    assert_eq!(got.code, 422, "{}", got.body);
    let deep = api::bounds::nested(120);
    for media in ["merge-patch+json", "strategic-merge-patch+json"] {
        let got =
            api.patch_answer(&path, media, json!({"metadata": {"annotations": deep}}).to_string()).await;
        assert_eq!(got.code, 400, "{media}: {}", got.body);
        assert!(got.message().contains("nested too deeply"), "{media}: {}", got.message());
    }
    let got =
        api.patch_answer(&format!("{path}?fieldManager=m"), "apply-patch+yaml", "{a: ".repeat(5_000)).await;
    assert_eq!(got.code, 400, "{}", got.body);
    assert_eq!(
        api.post_answer(MAPS, json!({"metadata": {"name": "deep", "annotations": deep}})).await.code,
        400
    );
}

#[tokio::test]
async fn aliases_in_a_body_do_not_multiply() {
    let api = Api::with_accounts().await;
    let (zeros, aliases) = (vec!["0"; 3_000].join(","), vec!["*a"; 3_000].join(","));
    let bomb = format!(
        "apiVersion: authorization.k8s.io/v1\nkind: SelfSubjectAccessReview\na: &a [{zeros}]\nb: [{aliases}]\n"
    );
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let got =
        api.answer(User::service_account("default", "default"), "POST", path, "application/yaml", bomb).await;
    assert_eq!(got.code, 400, "{}", got.body);
    assert!(got.message().contains("document contains excessive aliasing"), "{}", got.message());
}

#[tokio::test]
async fn an_object_has_so_many_maps_and_no_more() {
    let api = Api::with_accounts().await;
    let spec = json!({"metrics": vec![json!({}); 100_000]});
    let path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let got = api.post_answer(path, json!({"metadata": {"name": "s"}, "spec": spec})).await;
    assert!(got.code == 400 && got.message().contains("more than 100000 maps"), "{}", got.message());
}
