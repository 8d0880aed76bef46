//! `shop-page`: what a visitor of the shop sees. It keeps nothing itself and asks `shop-logic`.

use super::{LATE, Sales, ask_within, item_of_query};
use crate::daemon::{self, Answer, FullRequest};
use crate::http::{self as client, Deadline, Url};
use http::{HeaderValue, Method, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

/// How long the page waits for an answer of the logic.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of an answer of the logic.
const ANSWER_MAX: usize = 64 << 10;

struct Page {
    /// The logic, as it was named.
    named: String,
    logic: Option<(String, u16)>,
    host: String,
    sales: Sales,
}

/// Reads `$PORT` and `$LOGIC`.
pub(crate) fn main(_: Vec<OsString>) -> i32 {
    let named = super::environment_or("LOGIC", "logic:8080");
    let logic = super::host_and_port(&named, super::PORT);
    let page = Page { logic, named, host: crate::host_name(), sales: Sales::default() };
    let hello = format!("a small program of Ropewalk; asks the logic {} (from $LOGIC)", page.named);
    let page = Arc::new(page);
    super::serve("shop-page", &hello, |port| {
        daemon::serve_http(port, move |request| {
            let page = page.clone();
            async move { answer(page, &request).await }
        })
    })
}

async fn answer(page: Arc<Page>, request: &FullRequest) -> Answer {
    let item = item_of_query(request).unwrap_or_default();
    match (request.method.clone(), request.uri.path()) {
        (Method::GET | Method::HEAD, "/healthz") => daemon::new_answer(StatusCode::OK, "text/plain", "ok\n"),
        (Method::GET | Method::HEAD, "/") => {
            let text = "<p>Welcome to the small shop.</p>\n<p><a href=\"/goods\">See the goods</a></p>\n";
            page.html_answer(StatusCode::OK, "A small shop", text, None)
        }
        (Method::GET | Method::HEAD, "/goods") => match ask_logic(&page, "GET", "/goods".into()).await {
            Ok((200, reply)) if reply["goods"].is_array() => {
                page.html_answer(StatusCode::OK, "Goods", &goods_as_html(&reply), Some(&reply))
            }
            other => page.refusal(other),
        },
        (Method::GET | Method::HEAD, "/buy") => {
            let text = format!("{}\n<p><a href=\"/goods\">Back to the goods</a></p>\n", buy_form(&item));
            page.html_answer(StatusCode::OK, "Buy", &text, None)
        }
        (Method::POST, "/buy") => {
            let path = format!("/buy?item={}", utf8_percent_encode(&item, NON_ALPHANUMERIC));
            match ask_logic(&page, "POST", path).await {
                Ok((200, reply)) if reply["bought"].is_string() => {
                    page.sales.add_one();
                    let text = format!(
                        "<p>You bought 1 {} for {} coins.</p>\n<p><a href=\"/goods\">Back to the goods</a></p>\n",
                        field_as_html(&reply, "bought"),
                        field_as_html(&reply, "price")
                    );
                    page.html_answer(StatusCode::OK, "Thank you", &text, Some(&reply))
                }
                other => page.refusal(other),
            }
        }
        (Method::GET | Method::HEAD, "/sold") => page.sales.answer(),
        (_, "/" | "/goods" | "/buy" | "/healthz" | "/sold") => page.html_answer(
            StatusCode::METHOD_NOT_ALLOWED,
            "Not like this",
            "<p>Only /buy takes POST.</p>\n",
            None,
        ),
        _ => {
            page.html_answer(StatusCode::NOT_FOUND, "No such page", "<p>There are / and /goods.</p>\n", None)
        }
    }
}

/// Returns a text as HTML shows it.
fn escape_html(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

/// Returns a field of the logic's reply, as HTML shows it; empty if there is none.
fn field_as_html(reply: &Value, name: &str) -> String {
    match &reply[name] {
        Value::String(text) => escape_html(text),
        Value::Number(number) => number.to_string(),
        _ => String::new(),
    }
}

fn buy_form(item: &str) -> String {
    let query = utf8_percent_encode(item, NON_ALPHANUMERIC);
    format!(
        "<form method=\"post\" action=\"/buy?item={query}\"><button>Buy 1 {}</button></form>",
        escape_html(item)
    )
}

fn goods_as_html(reply: &Value) -> String {
    let mut text = "<ul>\n".to_string();
    for good in reply["goods"].as_array().into_iter().flatten() {
        let discount = match (field_as_html(good, "discount_percent"), field_as_html(good, "regular_price")) {
            (percent, regular) if !percent.is_empty() => format!(" ({percent}% off, before: {regular})"),
            _ => String::new(),
        };
        text += &format!(
            "<li>{}: {} coins{discount}, {} in stock\n{}</li>\n",
            field_as_html(good, "item"),
            field_as_html(good, "price"),
            field_as_html(good, "stock"),
            buy_form(good["item"].as_str().unwrap_or_default())
        );
    }
    text + "</ul>\n"
}

impl Page {
    /// Returns a page with who has made it.
    fn html_answer(&self, status: StatusCode, title: &str, body: &str, reply: Option<&Value>) -> Answer {
        let mut by = format!("page {}", escape_html(&self.host));
        if let Some(reply) = reply {
            by += &format!(
                ", logic {} (version {})",
                field_as_html(reply, "logic"),
                field_as_html(reply, "version")
            );
        }
        let text = format!(
            "<!DOCTYPE html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n</head>\n<body>\n\
             <h1>{title}</h1>\n{body}<p>Answered by {by}.</p>\n\
             <p>This shop is made of small programs of Ropewalk.</p>\n</body>\n</html>\n"
        );
        let mut answer = daemon::new_answer(status, "text/html; charset=utf-8", text);
        let headers = answer.headers_mut();
        let policy =
            HeaderValue::from_static("default-src 'none'; form-action 'self'; frame-ancestors 'none'");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        answer
    }

    /// Returns a page that says why there is none of the other kind.
    fn refusal(&self, got: Result<(u16, Value), String>) -> Answer {
        let (status, title, text, reply) = match got {
            Err(why) => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Something is missing",
                format!("The page works, but the logic {} did not answer: {}.", self.named, why),
                None,
            ),
            Ok((503, reply)) => {
                let why = reply["error"].as_str().unwrap_or("it does not say why").to_string();
                let text = format!("The page and the logic work, but {why}.");
                (StatusCode::SERVICE_UNAVAILABLE, "Something is missing", text, Some(reply))
            }
            Ok((status @ (400 | 404 | 409), reply)) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                let text = format!("The logic says: {}.", reply["error"].as_str().unwrap_or("no"));
                (status, "Not sold", text, Some(reply))
            }
            Ok((status, _)) => (
                StatusCode::BAD_GATEWAY,
                "Something is wrong",
                format!("The logic {} answered with {status}. Is it shop-logic?", self.named),
                None,
            ),
        };
        let text = format!("<p>{}</p>\n<p><a href=\"/\">Back</a></p>\n", escape_html(&text));
        self.html_answer(status, title, &text, reply.as_ref())
    }
}

/// Asks the logic: its status, and what it says.
async fn ask_logic(page: &Arc<Page>, method: &'static str, path: String) -> Result<(u16, Value), String> {
    let page = page.clone();
    let asking = ask_within(PATIENCE, move |deadline| {
        let (host, port) = page.logic.clone().ok_or("$LOGIC is to be HOST:PORT")?;
        let url =
            Url { secure: false, host, port, path, user: None, zone: None, login: None, fragment: None };
        request_logic(&url, method, &deadline)
    });
    asking.await
}

fn request_logic(url: &Url, method: &str, deadline: &Deadline) -> Result<(u16, Value), String> {
    let failed = |e: client::Error| match e {
        client::Error::TimedOut => LATE.to_string(),
        client::Error::NoAnswer | client::Error::Cut { .. } => "it ended the connection".to_string(),
        e => e.to_string(),
    };
    let places = client::look_up(url, None, deadline)
        .map_err(|e| format!("cannot find the name {}: {e}", url.host))?;
    let stream = client::connect_to(&places, deadline, |_| {}).map_err(|e| failed(e.into()))?;
    let request = format!(
        "{method} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: shop-page\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        url.path,
        url.authority()
    );
    let stream = client::Stream::Plain(stream);
    let answer = client::exchange(stream, request.as_bytes(), None, false, *deadline, None, &mut Vec::new());
    let mut answer = answer.map_err(failed)?;
    let status = answer.head.status;
    let text = answer.read_to_end(ANSWER_MAX).map_err(failed)?;
    Ok((status, serde_json::from_slice(&text).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::tests::server;
    use crate::shop::request_of;
    use http_body_util::BodyExt;

    fn page(logic: &str) -> Arc<Page> {
        let place = super::super::host_and_port(logic, super::super::PORT);
        let (named, host) = (logic.into(), "page-1".into());
        Arc::new(Page { named, logic: place, host, sales: Sales::default() })
    }

    async fn outcome(page: &Arc<Page>, method: &str, uri: &str) -> (u16, String) {
        let answer = answer(page.clone(), &request_of(method, uri)).await;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Returns the page of a logic that answers with this once, and the request that the logic got.
    async fn with(answer: &str, method: &str, uri: &str) -> (u16, String, String) {
        let answer: &'static str = Box::leak(answer.to_string().into_boxed_str());
        let (port, server) = server(vec![answer]);
        let (status, text) = outcome(&page(&format!("127.0.0.1:{port}")), method, uri).await;
        let request = tokio::task::spawn_blocking(|| server.join()).await.unwrap().unwrap().remove(0);
        (status, text, request)
    }

    #[tokio::test]
    async fn goods_are_listed_with_who_answered_and_nothing_is_html() {
        let json = r#"{"goods":[{"item":"<b>&\"","price":9,"stock":3,"discount_percent":10,"regular_price":10}],"logic":"<logic>","version":"1.1"}"#;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{json}", json.len());
        let (status, text, request) = with(&answer, "GET", "/goods").await;
        assert!(status == 200 && request.starts_with("GET /goods HTTP/1.1\r\n"), "{request}");
        assert!(
            text.contains("<li>&lt;b&gt;&amp;&quot;: 9 coins (10% off, before: 10), 3 in stock\n"),
            "{text}"
        );
        assert!(text.contains("action=\"/buy?item=%3Cb%3E%26%22\""), "{text}");
        assert!(text.contains("Answered by page page-1, logic &lt;logic&gt; (version 1.1)."), "{text}");
    }

    #[tokio::test]
    async fn a_sale_is_asked_for_with_the_item_as_it_is() {
        let json = r#"{"bought":"rope","price":10,"stock":9,"logic":"l","version":"1.0"}"#;
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{json}", json.len());
        let (status, text, request) = with(&answer, "POST", "/buy?item=a%20b%0D%0Ax").await;
        assert!(request.starts_with("POST /buy?item=a%20b%0D%0Ax HTTP/1.1\r\n"), "{request}");
        assert!(status == 200 && text.contains("You bought 1 rope for 10 coins."), "{text}");
        let sold_out = "HTTP/1.1 409 Conflict\r\n\r\n{\"error\":\"sold out: rope\"}";
        let (status, text, _) = with(sold_out, "POST", "/buy?item=rope").await;
        assert!(status == 409 && text.contains("The logic says: sold out: rope."), "{text}");
    }

    #[tokio::test]
    async fn the_page_says_who_is_missing() {
        let down =
            "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"error\":\"the database db:6379 did not answer: x\"}";
        let (status, text, _) = with(down, "GET", "/goods").await;
        let want = "The page and the logic work, but the database db:6379 did not answer: x.";
        assert!(status == 503 && text.contains(want), "{text}");
        let (status, text, _) = with("HTTP/1.1 200 OK\r\n\r\n<html>", "GET", "/goods").await;
        assert!(status == 502 && text.contains("answered with 200. Is it shop-logic?"), "{text}");
        let (status, text, _) = with("HTTP/1.1 302 Found\r\n\r\n", "GET", "/goods").await;
        assert!(status == 502 && text.contains("answered with 302. Is it shop-logic?"), "{text}");
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let page = page(&closed.to_string());
        let (status, text) = outcome(&page, "GET", "/goods").await;
        let want = format!("The page works, but the logic {closed} did not answer: Connection refused.");
        assert!(status == 503 && text.contains(&want), "{text}");
        let (status, text) = outcome(&page, "GET", "/").await;
        assert_eq!((status, text.as_str()), (200, include_str!("../answers/page.html")));
        assert_eq!(outcome(&page, "GET", "/buy?item=%3Cx").await.0, 200);
        assert_eq!((outcome(&page, "POST", "/").await.0, outcome(&page, "GET", "/x").await.0), (405, 404));
        assert_eq!(outcome(&page, "GET", "/healthz").await, (200, "ok\n".into()));
        assert_eq!(outcome(&page, "POST", "/buy?item=rope").await.0, 503);
        assert_eq!(outcome(&page, "GET", "/sold").await, (200, "0\n".into()), "no attempt is a sale");
    }
}
