//! Answers for eyes: indented, where a person seems to read them, or YAML, where the client accepts
//! that first. Programs get JSON without a space, as they do from Kubernetes.

use crate::request::accept::{self, Range};
use crate::request::context::Context;
use crate::request::http::{Answer, Query, failure, full};
use crate::state::State;
use api::{Status, gojson, yaml};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Request};
use http_body::Body as _;
use http_body_util::BodyExt;
use serde_json::Value;
use std::io;

/// Programs that people type, by how they call themselves. Source: `negotiation.isPrettyPrint`.
const BY_HAND: [&str; 3] = ["curl", "Wget", "Mozilla/5.0"];

/// How an answer is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    AsItIs,
    Indented,
    Yaml,
}

/// Returns the look that the client wants.
fn wanted(ctx: &Context) -> Look {
    let is_pretty = chosen(ctx.accept()).is_some_and(|range| range.parameter("pretty") == "1");
    match (is_yaml(ctx.accept()), is_pretty || is_indented(&ctx.headers, &ctx.query)) {
        (true, _) => Look::Yaml,
        (false, true) => Look::Indented,
        (false, false) => Look::AsItIs,
    }
}

/// Returns the first range of an Accept header with a media type that this server writes.
fn chosen(accept: &str) -> Option<Range<'_>> {
    let is_known = |range: &Range| range.takes("application/json") || range.takes("application/yaml");
    accept::ranges(accept).into_iter().find(is_known)
}

/// True if YAML is the first of the media types in an Accept header that this server writes.
fn is_yaml(accept: &str) -> bool {
    chosen(accept).is_some_and(|range| !range.takes("application/json"))
}

/// Returns whether the answer is to be indented: the query asks for it, or a program that people
/// type sends the request.
fn is_indented(headers: &HeaderMap, query: &Query) -> bool {
    match query.get("pretty") {
        "" => {
            let agent = headers.get("user-agent").and_then(|v| v.to_str().ok()).unwrap_or_default();
            BY_HAND.iter().any(|name| agent.starts_with(name))
        }
        asked => matches!(asked, "1" | "t" | "T" | "true" | "TRUE" | "True"),
    }
}

/// Longer answers, in bytes, stay as they are: indented, a list takes several times its memory, and
/// a program or `jq` reads it as well without. Upstream has no bound.
const LONGEST: u64 = 512 << 10;

/// Keeps what is written, up to [`LONGEST`]: deep nesting makes a hundred times as much of an
/// answer, and no account of memory has that.
#[derive(Default)]
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.0.len() + bytes.len()) as u64 > LONGEST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes a document in another look; `None` if that would be longer than [`LONGEST`].
fn in_look(look: Look, bytes: &[u8]) -> Result<Option<Vec<u8>>, Status> {
    let value: Value = serde_json::from_slice(bytes).map_err(Status::internal)?;
    if look == Look::Yaml {
        return Ok(yaml::write::to_string_within(&value, LONGEST as usize).map(String::into_bytes));
    }
    let mut shown = Bounded::default();
    let written = gojson::write_indented(&value, &mut shown).is_ok();
    Ok(written.then_some(shown.0))
}

/// The warning beside a long answer that stays as it is.
const AS_IT_IS: &str = "the answer is not indented, because it would be longer than 512 KiB; jq . indents it";
/// The warning beside a long answer that is not written as YAML.
const NO_YAML: &str = "the answer is JSON, because as YAML it would be longer than 512 KiB";
/// The warning beside an answer that stays as it is because too much large work waits.
const TOO_BUSY: &str = "the answer is not indented, because the server is too busy; jq . indents it";
/// The warning beside an answer that is not written as YAML because too much large work waits.
const TOO_BUSY_FOR_YAML: &str = "the answer is JSON, because the server is too busy to write YAML";

/// Indents an answer or writes it as YAML, if that is wanted and it is a document of our own: no
/// stream of events, and no answer of a kubelet or a proxied server. A refusal of this server
/// (`is_refusal`) is one for every request. A longer answer is worked on where large objects are.
/// If too many wait there it stays as it is: it may tell of a write that is done, and a refusal
/// would make its client write again.
pub(crate) async fn formatted(state: &State, ctx: &Context, answer: Answer, is_refusal: bool) -> Answer {
    let streams = ["proxy", "log", "exec", "attach", "portforward"];
    let foreign = streams.contains(&ctx.info.subresource.as_str()) || ctx.info.verb == "watch";
    let kind = answer.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let json = kind.split(';').next() == Some("application/json");
    let look = wanted(ctx);
    if !json || foreign && !is_refusal || look == Look::AsItIs {
        return answer;
    }
    if answer.body().size_hint().lower() > LONGEST {
        ctx.warn(if look == Look::Yaml { NO_YAML } else { AS_IT_IS });
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    let bytes = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return failure(&Status::internal(error.to_string())),
    };
    let (length, plain) = (bytes.len(), bytes.clone());
    let work = async move { in_look(look, &bytes) };
    match state.compute.run(&ctx.user, length, state.stop.clone(), work).await {
        Ok(None) => {
            ctx.warn(if look == Look::Yaml { NO_YAML } else { AS_IT_IS });
            Answer::from_parts(head, full(plain))
        }
        Ok(Some(shown)) => {
            if look == Look::Yaml {
                head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/yaml"));
            }
            Answer::from_parts(head, full(shown))
        }
        Err(_) => {
            ctx.warn(if look == Look::Yaml { TOO_BUSY_FOR_YAML } else { TOO_BUSY });
            Answer::from_parts(head, full(plain))
        }
    }
}

/// Makes the refusal of a request of which no more is known, for example a 401 because its
/// credentials are not believed. As every answer it is indented for eyes.
pub(crate) fn refusal<B>(request: &Request<B>, status: &Status) -> Answer {
    let answer = failure(status);
    let mut shown = Bounded::default();
    let is_shown = is_indented(request.headers(), &Query::parse(request.uri().query()))
        && gojson::write_indented(&status.to_value(), &mut shown).is_ok();
    if is_shown { answer.map(|_| full(shown.0)) } else { answer }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::user::User;
    use crate::flowcontrol::compute::LARGE;
    use crate::request::http::json;
    use crate::testing;

    #[test]
    fn nothing_becomes_longer_than_the_longest_by_its_look() {
        let deep = format!("{}{}0{}", "[".repeat(100), "0,".repeat(100_000), "]".repeat(100));
        for look in [Look::Indented, Look::Yaml] {
            assert_eq!(in_look(look, deep.as_bytes()), Ok(None), "{} bytes would be 20 million", deep.len());
            let small = in_look(look, br#"{"kind": "Pod"}"#).unwrap().unwrap();
            assert!(String::from_utf8(small).unwrap().contains("kind"));
        }
    }

    /// `curl … | curl -X PUT …`: words that are booleans or numbers for Kubernetes stay keys and
    /// texts.
    #[tokio::test]
    async fn an_answer_in_yaml_can_be_sent_back() {
        const MAPS: &str = "/api/v1/namespaces/default/configmaps";
        let api = testing::Api::bare().await;
        let data = serde_json::json!({"no": "yes", "1_0": "0644", "on": "1:30", "a": "- x"});
        api.made(MAPS, serde_json::json!({"metadata": {"name": "m"}, "data": data})).await;
        let admin = || User::new("admin", &["system:masters"]);
        let path = format!("{MAPS}/m");
        let get = http::Request::builder().uri(&path).header("accept", "application/yaml");
        let answer = api.fixture.server.call(get.body(full("")).unwrap(), admin()).await;
        let text = answer.into_body().collect().await.unwrap().to_bytes();
        let put = http::Request::builder().method("PUT").uri(&path).header(CONTENT_TYPE, "application/yaml");
        let (code, got) = api.send(admin(), put.body(full(text.clone())).unwrap()).await;
        assert_eq!((code, &got["data"]), (200, &data), "{}", String::from_utf8_lossy(&text));
    }

    /// A client that got 429 would make the object of a `generateName` once more.
    #[tokio::test]
    async fn an_answer_that_cannot_be_worked_on_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let state = &fixture.server.state;
        state.stop.cancel(); // refuses work as a line that is full does
        let (user, (info, headers)) = (User::new("bob", &[]), Default::default());
        let query = Query::parse(Some("pretty=1"));
        let ctx = Context::new("r".into(), user, info, query, headers, fixture.tap.clone());
        let made = serde_json::json!({"kind": "ConfigMap", "data": {"a": "x".repeat(LARGE + 1)}});
        let answer = formatted(state, &ctx, json(201, &made), false).await;
        assert_eq!(answer.status(), 201);
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(bytes, format!("{made}\n"));
        assert_eq!(ctx.take_warnings(), [TOO_BUSY]);
    }

    /// As by the query `pretty=1` (upstream: `MediaTypeOptions.Pretty`).
    #[tokio::test]
    async fn a_range_may_ask_for_an_indented_answer() {
        let api = testing::Api::bare().await;
        for (accept, is_indented) in [
            ("application/json;pretty=1", true),
            ("application/json;pretty=0", false),
            ("text/html;pretty=1, application/json", false),
        ] {
            let request = http::Request::builder().uri("/api/v1/namespaces/default").header("accept", accept);
            let admin = User::new("admin", &["system:masters"]);
            let answer = api.fixture.server.call(request.body(full("")).unwrap(), admin).await;
            let bytes = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(bytes.starts_with(b"{\n"), is_indented, "{accept}");
        }
    }

    /// As upstream: `json.Encoder` ends the line of an object, `json.MarshalIndent` does not.
    #[tokio::test]
    async fn an_object_for_programs_ends_with_its_line() {
        let api = testing::Api::bare().await;
        let ends_line = async |path: &str, accept: &str| {
            let request = http::Request::builder().uri(path).header("accept", accept);
            let admin = User::new("admin", &["system:masters"]);
            let answer = api.fixture.server.call(request.body(full("")).unwrap(), admin).await;
            let bytes = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(bytes.starts_with(b"{"), "{path}: {}", bytes.escape_ascii());
            bytes.ends_with(b"}\n")
        };
        let (one, all) = ("/api/v1/namespaces/default", "/api/v1/namespaces");
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        let groups = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        for (path, accept) in [
            (one, "*/*"),
            (all, "*/*"),
            (one, table),
            (all, table),
            ("/api/v1/namespaces/none", "*/*"),
            ("/apis", "*/*"),
            ("/apis", groups),
            ("/apis/apps/v1", "*/*"),
        ] {
            assert!(ends_line(path, accept).await, "{path} {accept}");
        }
        for path in ["/api/v1/namespaces/default?pretty=1", "/version", "/openapi/v3"] {
            assert!(!ends_line(path, "*/*").await, "{path}");
        }
    }

    /// Also where the answer would have been a stream or another server's.
    #[tokio::test]
    async fn every_refusal_is_indented_for_eyes() {
        let api = testing::Api::bare().await;
        for path in [
            "/api/v1/namespaces/default/pods/none/log",
            "/api/v1/namespaces/default/pods/none/exec?command=sh",
            "/api/v1/nodes/none/proxy/healthz",
            "/api/v1/pods?watch=1&timeoutSeconds=x",
            "/api/v1/namespaces/none",
        ] {
            let request = http::Request::builder().uri(path).header("user-agent", "curl/8.5.0");
            let admin = User::new("admin", &["system:masters"]);
            let answer = api.fixture.server.call(request.body(full("")).unwrap(), admin).await;
            assert!(answer.status().is_client_error(), "{path}: {}", answer.status());
            let bytes = answer.into_body().collect().await.unwrap().to_bytes();
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.starts_with("{\n  \"kind\": \"Status\""), "{path}: {text}");
        }
    }

    #[tokio::test]
    async fn an_answer_is_yaml_for_a_client_that_accepts_yaml_first() {
        let dir = tempfile::tempdir().unwrap();
        let fixture = testing::start(dir.path()).await;
        let protobuf = "application/vnd.kubernetes.protobuf";
        for (accept, is_yaml) in [
            ("application/yaml", true),
            (&*format!("{protobuf}, application/yaml, */*"), true),
            (&*format!("{protobuf}, application/yaml;q=0.9, */*"), false),
            ("application/json, application/yaml", false),
            ("application/json;q=0.5, application/yaml", true),
            ("application/yaml;q=0.5, application/json", false),
            ("*/*", false),
        ] {
            for path in ["/api/v1/namespaces/default", "/api/v1/namespaces", "/api/v1/namespaces/none"] {
                let request = http::Request::builder().uri(path).header("accept", accept);
                let user = User::new("admin", &["system:masters"]);
                let answer = fixture.server.call(request.body(full("")).unwrap(), user).await;
                let wanted = if is_yaml { "application/yaml" } else { "application/json" };
                assert_eq!(answer.headers()[CONTENT_TYPE], wanted, "{accept} {path}");
                let bytes = answer.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(bytes.starts_with(b"{"), !is_yaml, "{accept} {path}");
                let value = yaml::parse(&bytes).unwrap();
                assert!(value["kind"].is_string(), "{accept} {path}: {value}");
            }
        }
    }
}
