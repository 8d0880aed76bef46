//! What has to be asked over the network: HTTP from the host, commands in containers, logs, access
//! reviews, the store and its members. All read only.

use crate::cel::{Probe, value};
use crate::run;
use cel::Value;
use client::kube::api::PostParams;
use client::{Api, Client};
use cluster::guest::{Host, Room};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use std::path::Path;
use std::time::{Duration, Instant};
use tap::{ADMIN, LEARNER, TEACHER};
use tokio::net::TcpStream;

/// A command or request that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(5);
const BODY_MAX: usize = 1 << 20;

/// The user of a request without credentials.
const ANONYMOUS: &str = "system:anonymous";

const LATE: &str = "no answer in time";

/// Says why there is no answer. An expression that uses it fails, so that what was not seen counts
/// neither as a yes nor as a no.
fn no_answer(why: &str) -> Value {
    value::map([("error", value::text(why))])
}

/// A log that cannot be had is not an empty one.
fn logs(ran: &run::Ran) -> Value {
    match ran.code {
        0 => value::text(&ran.stdout),
        _ => no_answer(ran.stderr.trim()),
    }
}

/// How a command in a container ended. kubectl's own failure is no exit code of it: no such pod, no
/// kubelet, no answer in time.
fn ended(ran: &run::Ran) -> Value {
    let told = format!("command terminated with exit code {}", ran.code);
    if ran.code != 0 && !ran.stderr.trim_end().ends_with(&told) {
        return no_answer(ran.stderr.trim());
    }
    value::map([
        ("exit", Value::Int(ran.code.into())),
        ("stdout", value::text(&ran.stdout)),
        ("stderr", value::text(&ran.stderr)),
    ])
}

/// The groups that the authenticator gives a user of this name, as far as they follow from it. The
/// certificates of the learner, the teacher and the administrator of a cluster of Ropewalk's own
/// have the group of administrators; in a room of another cluster nothing is known of them. Source:
/// `serviceaccount.MakeGroupNames`; for requests without credentials `anonymous.NewAuthenticator`.
fn groups(user: &str, room: &Room) -> Vec<String> {
    if user == ANONYMOUS {
        return vec!["system:unauthenticated".into()];
    }
    let mut groups = vec!["system:authenticated".to_string()];
    if [LEARNER, TEACHER, ADMIN].contains(&user) && *room == Room::default() {
        groups.push("system:masters".into());
    }
    if let Some((namespace, _)) = user.strip_prefix("system:serviceaccount:").and_then(|u| u.split_once(':'))
    {
        groups.extend(["system:serviceaccounts".into(), format!("system:serviceaccounts:{namespace}")]);
    }
    if user.starts_with("system:node:") {
        groups.push("system:nodes".into());
    }
    groups
}

/// `deployments.apps/scale` → resource, group, subresource.
fn resource(words: &str) -> (&str, &str, &str) {
    let (whole, subresource) = words.split_once('/').unwrap_or((words, ""));
    let (name, group) = whole.split_once('.').unwrap_or((whole, ""));
    (name, group, subresource)
}

/// Asks in a room, and answers with what the expression sees. Never fails: a failure is an answer,
/// too.
pub(crate) async fn ask(
    probe: &Probe,
    host: &Host,
    client: &Client,
    kubeconfig: &Path,
    room: &Room,
) -> Value {
    match probe {
        Probe::Inside(what) => {
            let asked = tokio::time::timeout(LIMIT, host.inside(what)).await;
            let answer = asked.unwrap_or_else(|_| Err(LATE.into()));
            answer.map_or_else(|why| no_answer(&why), |a| value::of_json(&a))
        }
        Probe::Http { url, .. } => http(url).await,
        Probe::Within { url, .. } => within(host, url).await,
        Probe::Exec { target, command, .. } => {
            let mut words: Vec<String> = ["kubectl", "exec"].map(String::from).into();
            words.extend(pod(target, room));
            words.extend(["--", "sh", "-c", command].map(String::from));
            ended(&run::kubectl(words, String::new(), kubeconfig, LIMIT).await)
        }
        Probe::Logs { target } => {
            logs(&run::kubectl_from_the_end(log_words(target, room), kubeconfig, LIMIT).await)
        }
        Probe::Can { user, verb, resource: words, namespace } => {
            let (resource, group, subresource) = resource(words);
            let text = |t: &str| Some(t.to_string()).filter(|t| !t.is_empty());
            let review = SubjectAccessReview {
                spec: SubjectAccessReviewSpec {
                    user: text(user),
                    groups: Some(groups(user, room)),
                    resource_attributes: Some(ResourceAttributes {
                        namespace: text(room.real(namespace)),
                        verb: text(verb),
                        group: text(group),
                        resource: text(resource),
                        subresource: text(subresource),
                        ..ResourceAttributes::default()
                    }),
                    ..SubjectAccessReviewSpec::default()
                },
                ..SubjectAccessReview::default()
            };
            let api: Api<SubjectAccessReview> = client.all();
            let asked = tokio::time::timeout(LIMIT, api.create(&PostParams::default(), &review)).await;
            match asked {
                Ok(Ok(answer)) => answer.status.map_or_else(
                    || no_answer("a review without a verdict"),
                    |status| Value::Bool(status.allowed),
                ),
                Ok(Err(error)) => no_answer(&cluster::chain(&error)),
                Err(_) => no_answer(LATE),
            }
        }
    }
}

/// Lines of a log that are read, from its end: what the learner has just caused stands there.
const LOG_LINES: usize = 4_000;

fn log_words(target: &str, room: &Room) -> Vec<String> {
    let tail = format!("--tail={LOG_LINES}");
    let mut words: Vec<String> = ["kubectl", "logs", "--timestamps", &tail].map(String::from).into();
    words.extend(pod(target, room));
    words
}

/// `ns/pod[/container]` as kubectl's words.
fn pod(target: &str, room: &Room) -> Vec<String> {
    let parts: Vec<&str> = target.split('/').collect();
    let mut words = match parts.as_slice() {
        [namespace, pod, ..] => vec![(*pod).to_string(), "-n".into(), room.real(namespace).to_string()],
        _ => vec![target.to_string()],
    };
    if let Some(container) = parts.get(2) {
        words.extend(["-c".to_string(), (*container).to_string()]);
    }
    words
}

async fn http(url: &str) -> Value {
    let began = Instant::now();
    let answer = tokio::time::timeout(LIMIT, fetch(url)).await.unwrap_or_else(|_| Err("timed out".into()));
    answer_map(answer, began)
}

/// What each node is answered, in the order of their names.
async fn within(host: &Host, url: &str) -> Value {
    let began = Instant::now();
    let late = |_| Err("timed out".to_string());
    let to = match url.parse::<hyper::Uri>() {
        Ok(uri) => uri,
        Err(e) => return no_answer(&format!("{url:?} is no URL: {e}")),
    };
    // A field of an object may have its address in another form than URLs do.
    let address = api::cidr::canonical_ip(host_of(&to));
    let Some(address) = address else {
        return no_answer(&format!("{url:?} names no address; nodes ask by address"));
    };
    let to = (address, to.port_u16().unwrap_or(80)).into();
    let Ok(dialled) = tokio::time::timeout(LIMIT, host.dial(to)).await else { return no_answer(LATE) };
    if dialled.is_empty() {
        return no_answer("no node can be asked");
    }
    let asked = dialled.into_iter().map(|(_, stream)| async move {
        let answer = match stream {
            Ok(stream) => tokio::time::timeout(LIMIT, get(url, stream)).await.unwrap_or_else(late),
            Err(error) => Err(error.to_string()),
        };
        answer_map(answer, began)
    });
    value::list(futures::future::join_all(asked).await)
}

fn answer_map(answer: Result<(i64, String), String>, began: Instant) -> Value {
    let (status, body, error) = match answer {
        Ok((status, body)) => (status, body, String::new()),
        Err(error) => (0, String::new(), error),
    };
    let by = answered_by(&body).unwrap_or_default();
    value::map([
        ("status", Value::Int(status)),
        ("body", value::text(&body)),
        ("error", value::text(&error)),
        ("ms", Value::Float(began.elapsed().as_secs_f64() * 1000.0)),
        ("by", value::text(&by)),
    ])
}

/// Returns the name of the pod that answered, where the answer says it: `echo` in its first line or
/// its JSON, `shop-logic` in its JSON, `shop-page` below its page. A page of nginx begins with the
/// same line as an answer of `echo` if its author wrote it there. Lines below the first one do not
/// count in `echo`'s text: they repeat the request. A program may write any name, so a check that
/// must not be deceived compares it with names of pods.
///
/// ```text
/// Hostname: web-1                                                web-1
/// {"hostname": "web-1", ...}                                     web-1
/// {"logic": "logic-1", "program": "shop-logic, ...", ...}        logic-1
/// <p>Answered by page page-1, logic logic-1 (version 1.0).</p>   page-1
/// ```
fn answered_by(body: &str) -> Option<String> {
    if let Some(name) = body.lines().next().and_then(|line| line.strip_prefix("Hostname: ")) {
        return Some(name.trim().into());
    }
    if body.starts_with('{') {
        let said: serde_json::Value = serde_json::from_str(body).ok()?;
        let is_logic = said["program"].as_str().is_some_and(|program| program.starts_with("shop-logic"));
        return said[if is_logic { "logic" } else { "hostname" }].as_str().map(String::from);
    }
    let below = body.lines().find_map(|line| line.strip_prefix("<p>Answered by page "))?;
    Some(below.split([',', '<']).next()?.trim_end_matches('.').into())
}

/// The host of a URL, an IPv6 address without its brackets: no resolver takes them.
fn host_of(uri: &hyper::Uri) -> &str {
    uri.host().unwrap_or_default().trim_matches(['[', ']'])
}

/// One GET on a connection of its own, so that a Service chooses anew each time.
async fn fetch(url: &str) -> Result<(i64, String), String> {
    let uri: hyper::Uri = url.parse().map_err(|e| format!("{url:?} is no URL: {e}"))?;
    if uri.scheme_str() != Some("http") {
        return Err("only http:// is asked".into());
    }
    let port = uri.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host_of(&uri), port)).await.map_err(|e| e.to_string())?;
    get(url, stream).await
}

/// One GET on this connection.
async fn get(url: &str, stream: TcpStream) -> Result<(i64, String), String> {
    let uri: hyper::Uri = url.parse().map_err(|e| format!("{url:?} is no URL: {e}"))?;
    let (host, port) = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80));
    let (mut send, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let path = uri.path_and_query().map_or("/", |p| p.as_str());
    let request = hyper::Request::get(path)
        .header("host", format!("{host}:{port}"))
        .header("user-agent", TEACHER)
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let asked = async {
        let answer = send.send_request(request).await.map_err(|e| e.to_string())?;
        let status = answer.status().as_u16().into();
        let body = Limited::new(answer.into_body(), BODY_MAX).collect().await.map_err(|e| e.to_string())?;
        Ok((status, String::from_utf8_lossy(&body.to_bytes()).into_owned()))
    };
    tokio::pin!(asked);
    tokio::select! {
        done = &mut asked => done,
        ended = connection => match ended {
            Ok(()) => asked.await,
            Err(error) => Err(error.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cel::value::{int_field, str_field};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// What the programs of the built-in images answer: their own tests compare them with it.
    const ECHO: &str = include_str!("../../machinery/applets/answers/echo.txt");
    const ECHO_JSON: &str = include_str!("../../machinery/applets/answers/echo.json");
    const LOGIC: &str = include_str!("../../machinery/applets/answers/logic.json");
    const PAGE: &str = include_str!("../../machinery/applets/answers/page.html");

    #[test]
    fn an_ipv6_address_is_dialled_without_its_brackets() {
        for (url, host) in [
            ("http://[::1]:8080/x", "::1"),
            ("http://web.d.svc/", "web.d.svc"),
            ("http://10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(host_of(&url.parse().unwrap()), host);
        }
    }

    #[test]
    fn the_pod_that_answered_is_read_from_what_each_built_in_image_says() {
        let by = |body: &str| answered_by(body).unwrap_or_default();
        assert_eq!([by(ECHO), by(ECHO_JSON), by(LOGIC), by(PAGE)], ["web-1", "web-1", "logic-1", "page-1"]);
        let both = PAGE.replace("page page-1.", "page page-1, logic logic-1 (version 1.1).");
        assert_eq!(by(&both), "page-1", "the one that was asked, not the one that it asked");
        assert_eq!(by("Hostname: menu-7f\n"), "menu-7f", "a page of nginx");
        for silent in
            ["", "<h1>Welcome to nginx!</h1>\n", "ok\n", "{\"a\":1}", "{", "[1]", "x\nHostname: y\n"]
        {
            assert_eq!(by(silent), "", "{silent:?}");
        }
    }

    #[tokio::test]
    async fn a_page_is_fetched_and_a_closed_port_is_an_answer() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 512];
            let n = stream.read(&mut buffer).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", ECHO.len());
            stream.write_all(format!("{head}{ECHO}").as_bytes()).await.unwrap();
            String::from_utf8_lossy(&buffer[..n]).into_owned()
        });
        let answer = http(&format!("http://127.0.0.1:{port}/a?b")).await;
        assert_eq!((int_field(&answer, "status"), str_field(&answer, "by")), (200, "web-1"));
        assert!(server.await.unwrap().starts_with("GET /a?b HTTP/1.1"));
        let refused = http(&format!("http://127.0.0.1:{port}/")).await;
        assert_eq!(int_field(&refused, "status"), 0);
        assert!(str_field(&refused, "error").contains("refused"), "{refused:?}");
    }

    #[test]
    fn a_long_log_is_read_from_its_end() {
        let words = log_words("default/web", &Room::default()).join(" ");
        assert_eq!(words, format!("kubectl logs --timestamps --tail={LOG_LINES} web -n default"));
    }

    #[test]
    fn a_log_that_cannot_be_had_is_not_an_empty_one() {
        let ran = |code, stdout: &str, stderr: &str| {
            logs(&run::Ran { code, stdout: stdout.into(), stderr: stderr.into() })
        };
        assert_eq!(ran(0, "", ""), value::text(""));
        assert_eq!(ran(0, "a\n", ""), value::text("a\n"));
        assert_eq!(str_field(&ran(1, "", "pods \"x\" not found\n"), "error"), "pods \"x\" not found");
        // What was read until the time was over may lack the line that matters.
        assert_ne!(str_field(&ran(124, "a\n", "gave up after 5 s\n"), "error"), "");
    }

    #[test]
    fn what_kubectl_could_not_run_has_no_exit_code() {
        let ran = |code, stderr: &str| ended(&run::Ran { code, stdout: "out".into(), stderr: stderr.into() });
        assert_eq!(int_field(&ran(0, ""), "exit"), 0);
        let own = ran(7, "no such host\ncommand terminated with exit code 7\n");
        assert_eq!((int_field(&own, "exit"), str_field(&own, "error")), (7, ""));
        assert_eq!(str_field(&ran(1, "pods \"x\" not found\n"), "error"), "pods \"x\" not found");
        assert_ne!(str_field(&ran(124, "gave up after 5 s\n"), "error"), "");
    }

    #[test]
    fn a_review_is_about_the_user_whom_the_server_would_see() {
        let (home, room) = (Room::default(), Room { namespace: Some("own".into()), ..Room::default() });
        // As src/cluster/launch.rs has their certificates made.
        assert_eq!(groups("learner", &home), ["system:authenticated", "system:masters"]);
        assert_eq!(groups("learner", &room), ["system:authenticated"], "somebody else's cluster");
        assert_eq!(groups("kubernetes-admin", &home), ["system:authenticated", "system:masters"]);
        assert_eq!(groups("jane", &home), ["system:authenticated"]);
        for place in [&home, &room] {
            assert_eq!(groups("system:anonymous", place), ["system:unauthenticated"]);
        }
        let own = groups("system:serviceaccount:shop:web", &home);
        assert_eq!(own, ["system:authenticated", "system:serviceaccounts", "system:serviceaccounts:shop"]);
        assert_eq!(resource("deployments.apps/scale"), ("deployments", "apps", "scale"));
        assert_eq!(resource("pods/log"), ("pods", "", "log"));
        let custom = ("ships", "example.com", "");
        assert_eq!(resource("ships.example.com"), custom);
    }

    #[test]
    fn targets_become_kubectls_words() {
        let (home, room) = (Room::default(), Room { namespace: Some("own".into()), ..Room::default() });
        assert_eq!(pod("ns/p", &home), ["p", "-n", "ns"]);
        assert_eq!(pod("ns/p/c", &home), ["p", "-n", "ns", "-c", "c"]);
        assert_eq!(pod("default/p", &room), ["p", "-n", "own"]);
    }
}
