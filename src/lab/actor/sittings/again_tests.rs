//! Steps whose base is gone: it is said when the step opens, and a jump makes the base again.

use super::*;
use crate::progress::{Lesson as Noted, Step as NotedStep};
use client::testing::Scripted;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LESSON: &str = "first-voyage/05";
const BASE: &str = "deployments.apps/default/dpy-nginx";

/// Paths at which something was made.
type Made = Arc<Mutex<Vec<String>>>;

/// Answers one request: what is sent is made, and nothing else is there.
async fn answer_one(mut stream: TcpStream, made: Made) -> Option<()> {
    let (mut asked, mut chunk) = (Vec::new(), [0; 4096]);
    let (head, length) = loop {
        let n = stream.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        asked.extend_from_slice(&chunk[..n]);
        let text = String::from_utf8_lossy(&asked).into_owned();
        let Some((head, _)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        break (head.to_string(), length.unwrap_or_default());
    };
    let body_at = head.len() + 4;
    while asked.len() < body_at + length {
        let n = stream.read(&mut chunk).await.ok().filter(|n| *n > 0)?;
        asked.extend_from_slice(&chunk[..n]);
    }
    let path = head.split(['?', ' ']).nth(1).unwrap_or_default().to_string();
    let (code, body) = match head.starts_with("POST ") {
        true => {
            made.lock().push(path);
            ("201 Created", String::from_utf8_lossy(&asked[body_at..]).into_owned())
        }
        false => {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                "reason": "NotFound", "code": 404, "message": "not found"});
            ("404 Not Found", status.to_string())
        }
    };
    let answer = format!(
        "HTTP/1.1 {code}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await.ok()
}

/// The server of the teacher's kubectl.
async fn maker() -> (SocketAddr, Made) {
    let (listener, address) = stage::silent().await;
    let made = Made::default();
    let keeps = made.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer_one(stream, keeps.clone()));
        }
    });
    (address, made)
}

/// A learner has made the Deployment of lesson 05 and deleted it, and is at this step.
async fn without_base(dir: &Path, at: &str) -> (Sitting, Made) {
    let mut progress = Progress { format: progress::FORMAT, ..Progress::default() };
    let done = NotedStep { state: State::Done, done: true, since: 3, ..NotedStep::default() };
    let steps = ["create", "describe"].map(|step| (step.to_string(), done.clone()));
    let made = [(BASE.to_string(), 4)].into();
    let noted =
        Noted { set_up: true, began: 2, step: at.into(), steps: steps.into(), made, ..Noted::default() };
    progress.lessons.insert(LESSON.into(), noted);
    std::fs::create_dir_all(dir.join("clusters/stage")).unwrap();
    progress.save(&dir.join("clusters/stage/lessons.json")).unwrap();

    let (address, made) = maker().await;
    let there = made.clone();
    let client = Scripted::new(move |asked| {
        let is_there = there.lock().iter().any(|path| path.ends_with("/deployments"));
        let wanted = asked.line.ends_with("/deployments") && is_there;
        let item = json!({"metadata": {"namespace": "default", "name": "dpy-nginx", "resourceVersion": "9"}});
        wanted.then(|| (200, json!({"metadata": {"resourceVersion": "9"}, "items": [item]})))
    });
    let (past, _) = server(|| Ok(json!([])), Ok(json!({})));
    (Sitting::with(dir, past, address, client.await.client).await, made)
}

#[tokio::test]
async fn a_step_says_when_it_opens_that_its_base_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (sitting, _made) = without_base(dir.path(), "chain").await;
    let opened = sitting.answer("en", sure(LESSON)).await.unwrap();
    let lost = opened["lost"].as_str().unwrap_or_default();
    assert!(lost.contains("gone: Deployment dpy-nginx") && lost.contains("`goto 3`"), "{opened}");
    let korean = sitting.answer("ko", Ask::Show).await.unwrap();
    assert!(korean["lost"].as_str().unwrap().contains("없어졌습니다: Deployment dpy-nginx"), "{korean}");
    sitting.crew.kill();
}

/// Also at a step where the learner never was: the steps before it are done and not played for
/// that reason alone.
#[tokio::test]
async fn a_jump_to_a_step_whose_base_is_gone_plays_the_steps_before_it_again() {
    for at in ["chain", "create"] {
        let dir = tempfile::tempdir().unwrap();
        let (sitting, made) = without_base(dir.path(), at).await;
        sitting.answer("en", sure(LESSON)).await.unwrap();
        assert!(made.lock().is_empty(), "nothing is made unasked");
        let goto = Ask::Sure { ask: Box::new(Ask::Goto { step: "3".into() }), agreed: None };
        let view = sitting.answer("en", goto).await.unwrap();
        assert_eq!(*made.lock(), ["/apis/apps/v1/namespaces/default/deployments"], "{view}");
        assert_eq!((&view["stepId"], &view["lost"]), (&json!("chain"), &serde_json::Value::Null));
        let told = json!(words::say("en", Word::MadeAgain, &["Deployment dpy-nginx"]));
        assert!(view["notices"].as_array().unwrap().contains(&told), "{view}");
        sitting.crew.kill();
    }
}
