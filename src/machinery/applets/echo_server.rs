//! The image `echo`: an HTTP server that answers with the request and with who answers.
//! One sees which pod a service chose, and what an ingress made of a request.

use super::daemon::{self, Answer, FullRequest};
use http::{StatusCode, header};
use serde_json::{Map, Value, json};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::rc::Rc;

/// `echo-server [PORT]`; else `$PORT`, else 8080.
pub(crate) fn main(args: Vec<OsString>) -> i32 {
    let port = args.get(1).map(|a| a.to_string_lossy().into_owned()).or_else(|| std::env::var("PORT").ok());
    match daemon::parse_port(port.as_deref(), 8080) {
        Ok(port) => daemon::serve("echo-server", run(port)),
        Err(e) => {
            super::write_stderr(&format!("echo-server: {e}\n"));
            1
        }
    }
}

async fn run(port: u16) -> Result<(), String> {
    let host: Rc<str> = super::host_name().into();
    daemon::serve_http(port, move |request| {
        let host = host.clone();
        async move { answer(&request, &host) }
    })
    .await
}

fn wants_json(request: &FullRequest) -> bool {
    let accepts = request.headers.get(header::ACCEPT).and_then(|v| v.to_str().ok());
    accepts.is_some_and(|a| a.contains("application/json"))
        || request.uri.query().is_some_and(|query| query.contains("format=json"))
}

fn headers(request: &FullRequest) -> impl Iterator<Item = (&str, String)> {
    request
        .headers
        .iter()
        .map(|(name, v)| (name.as_str(), String::from_utf8_lossy(v.as_bytes()).into_owned()))
}

fn answer(request: &FullRequest, host: &str) -> Answer {
    let pod_ip = request.local.map(|a| a.ip().to_string()).unwrap_or_default();
    let (version, body) = (format!("{:?}", request.version), String::from_utf8_lossy(&request.body));
    if wants_json(request) {
        let headers: Map<String, Value> =
            headers(request).map(|(name, v)| (name.to_string(), v.into())).collect();
        let value = json!({
            "hostname": host,
            "podIP": pod_ip,
            "client": request.peer.ip().to_string(),
            "method": request.method.as_str(),
            "uri": request.uri.to_string(),
            "version": version,
            "headers": headers,
            "body": body,
        });
        return daemon::new_answer(StatusCode::OK, "application/json", format!("{value:#}\n"));
    }
    let mut text = format!("Hostname: {host}\nPod IP: {pod_ip}\nClient: {}\n\n", request.peer.ip());
    // Writing to a String never fails.
    let _ = writeln!(text, "{} {} {version}", request.method, request.uri);
    for (name, value) in headers(request) {
        let _ = writeln!(text, "{name}: {value}");
    }
    let _ = writeln!(text, "\n{body}");
    daemon::new_answer(StatusCode::OK, "text/plain; charset=utf-8", text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue, Method, Version};
    use http_body_util::BodyExt;

    async fn body(request: &FullRequest) -> String {
        let bytes = answer(request, "web-1").into_body().collect().await.unwrap().to_bytes();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    #[tokio::test]
    async fn the_answer_repeats_the_question() {
        let mut request = FullRequest {
            method: Method::POST,
            uri: "/a?b=1".parse().unwrap(),
            version: Version::HTTP_11,
            headers: HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("echo"))]),
            body: "hi".into(),
            peer: "10.244.1.9:4000".parse().unwrap(),
            local: "10.244.1.3:8080".parse().ok(),
        };
        // Checks of lessons read the pod's name from these answers: see `by` in
        // src/lab/observe/probe.rs.
        assert_eq!(body(&request).await, include_str!("answers/echo.txt"));
        request.uri = "/?format=json".parse().unwrap();
        let value: Value = serde_json::from_str(&body(&request).await).unwrap();
        let want: Value = serde_json::from_str(include_str!("answers/echo.json")).unwrap();
        assert_eq!(value, want);
    }
}
