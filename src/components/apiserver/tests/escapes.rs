//! Objects whose texts are escaped when they are sent, and not when they are stored.

use crate::auth::user::{MASTERS, User};
use crate::request::http::full;
use crate::testing::Api;
use ::http::Request;
use etcd::Kv;
use http_body_util::BodyExt;
use rng::Rng;
use serde_json::{Value, json};
use std::sync::Arc;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const QUOTA: u64 = 8 << 20;

fn map(name: &str, text: &str) -> Value {
    json!({"metadata": {"name": name}, "data": {"k": text}})
}

/// The body of an answer as it is sent.
async fn sent(api: &Api, path: &str) -> String {
    let request = Request::builder().uri(path).body(full("")).unwrap();
    let answer = api.fixture.server.call(request, User::new("admin", &[MASTERS])).await;
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

/// What is sent of an object may be much larger than what is stored. Only the latter says whether a
/// write needs room.
#[tokio::test]
async fn an_object_that_grows_in_the_store_may_not_use_its_reserve() {
    let kv = Kv::in_memory(Rng::seeded(1).fork("etcd")).with_quota(QUOTA);
    let api = Api::on(Arc::new(kv)).await;
    api.made(MAPS, map("page", &"<".repeat(100_000))).await;
    let mut made = 0;
    for size in [500_000, 50_000, 5_000] {
        loop {
            made += 1;
            let (code, answer) = api.post(MAPS, map(&format!("m{made}"), &"v".repeat(size))).await;
            if code != 201 {
                assert_eq!(code, 507, "{answer}");
                break;
            }
            assert!(made < 100, "nothing bounds the store");
        }
    }
    let page = format!("{MAPS}/page");
    for (length, want) in [(150_000, 507), (50_000, 200), (75_000, 507)] {
        let (code, answer) = api.patch(&page, json!({"data": {"k": "<".repeat(length)}})).await;
        assert_eq!(code, want, "{length}: {}", answer["message"]);
    }
}

#[tokio::test]
async fn lists_and_watches_send_escaped_texts() {
    let api = Api::bare().await;
    let text = "<a href=\"x?a&b\">\u{2028}</a>".repeat(1000);
    api.made(MAPS, map("page", &text)).await;
    let list = sent(&api, MAPS).await;
    let watch = sent(&api, &format!("{MAPS}?watch=1&timeoutSeconds=1&resourceVersion=0")).await;
    let told = watch.lines().find(|line| line.contains(r#""name":"page""#)).unwrap();
    for body in [list.as_str(), told] {
        assert!(body.contains("\\u003ca href=") && !body.contains(['<', '>', '&', '\u{2028}']), "{body}");
    }
    let list: Value = serde_json::from_str(&list).unwrap();
    let page = list["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == "page");
    assert_eq!(page.unwrap()["data"]["k"], text);
    let told: Value = serde_json::from_str(told).unwrap();
    assert_eq!((&told["type"], &told["object"]["data"]["k"]), (&json!("ADDED"), &json!(text)));
}
